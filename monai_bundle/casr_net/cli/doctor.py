"""``casr doctor``: what is installed, what is missing, and whether it works."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "say what is installed and what is missing, and try the network"
EXAMPLES = """\
  casr doctor                                                 packages, devices, runtimes, weights, one frame
  casr doctor --quick                                         without running the network
  casr doctor --json                                          the same for programs, or for a report of an error"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--quick", action="store_true", help="do not run the network, which takes some seconds")


def run(options: argparse.Namespace) -> int:
    """Look, print what is found, and return the exit code: 1 when something that is needed is broken."""
    from . import checkup

    found = checkup.examine(try_network=not options.quick)
    print(json.dumps(found, indent=2, default=str) if options.json else _text(found))
    return 1 if found["problems"] else 0


def _text(found: dict[str, Any]) -> str:
    """The facts for people."""
    package, weights, network = found["casr_net"], found["weights"], found["network"]
    lines = [
        f"casr-net {package['version']} in {package['folder']}",
        f"Python {package['python']}, {package['platform']}",
        "",
        "packages",
        *(_line(row["name"], row["version"] or "-", row["problem"]) for row in found["packages"]),
        "",
        "optional",
        *(_line(row["name"], row["state"], row["install"]) for row in found["extras"]),
        "",
        "devices",
        *(_line(row["name"], row["description"], "") for row in found["devices"]),
        "",
        "weights",
        _line("file", weights["path"], weights["problem"]),
        _line("sha256", weights["sha256"] or "-", f"{weights['bytes']} bytes" if weights["bytes"] else ""),
        "",
        "network",
        _line("runtimes", ", ".join(found["runtimes"]) or "-", "installed"),
        _line("auto", network["runtime"] or "-", network["problem"] or network["note"]),
        "",
        "label server",
        _line("state", found["label_server"]["state"], found["label_server"]["note"]),
        "",
    ]
    problems = found["problems"]
    lines += (
        [f"{len(problems)} to mend:", *(f"  {line}" for line in problems)]
        if problems
        else ["All that is needed works."]
    )
    return "\n".join(lines)


def _line(name: str, value: str, remark: str) -> str:
    return f"  {name:<24}{value:<14}{'  ' + remark if remark else ''}".rstrip()
