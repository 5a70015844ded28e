"""``casr doctor``: what is installed, what is missing, and whether it works."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "say what is installed and what is missing, and try the network"
EXAMPLES = """\
  casr doctor                                                 packages, devices, runtimes, weights, one frame
  casr doctor --quick                                         without running the network
  casr doctor --json                                          the same for programs, or for a report of an error
  casr doctor --clear-cache                                   remove what runtimes keep for the next run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--quick", action="store_true", help="do not run the network, which takes some seconds")
    parser.add_argument(
        "--clear-cache", nargs="*", metavar="WEIGHTS",
        help="only remove what runs keep for the next one, of the shipped weights and beside these",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Look, print what is found, and return the exit code: 1 when something that is needed is broken."""
    from . import checkup, kept

    if options.clear_cache is not None:
        for path in options.clear_cache:
            if not Path(path).is_file():
                raise UsageError(f"--clear-cache: {path} is no file; expected weights.")
        removed = kept.clear(options.clear_cache)
        print(json.dumps(removed, indent=2) if options.json else _removed(removed))
        return 0
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
        "kept for the next run",
        *(_line("files", str(row["files"]), _size(row)) for row in found["kept"]),
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


def _removed(rows: Sequence[dict[str, Any]]) -> str:
    return "\n".join(f"removed: {row['files']} file(s), {_size(row)}" for row in rows)


def _size(row: dict[str, Any]) -> str:
    return f"{row['bytes'] / 1e6:.1f} MB in {row['folder']}"


def _line(name: str, value: str, remark: str) -> str:
    return f"  {name:<24}{value:<14}{'  ' + remark if remark else ''}".rstrip()
