"""The start of ``casr segment``: seconds from the command to its end for one image, the shipped sample.

    python benchmarks/start.py --output benchmarks/results/start.json [--rounds 5] [--note TEXT]
    python benchmarks/start.py --table benchmarks/results/start.json [--into docs/speed.md]

Each command is a process of its own; all run in turns, so that whatever else happens on the machine meets all alike,
and each has run twice before. "by its plan" is what a user gets who has run the command before; "configured" is the
ordinary way, which a command takes the first time. Ratios are to torch. While it runs, the training runner of
``make evidence`` waits (its pause lock is held). Say by ``--note`` what else was running. ``--table`` prints the table
of a result, or puts it between the marks ``<!-- start -->`` of a text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from casr_net.inference.bundle import bundle_root
from casr_net.inference.runtimes.machine import processor
from casr_net.inference.runtimes.packages import installed_runtimes, runtime_versions

BASE = "torch"
MARK = "<!-- start -->"

PLANNED = "import sys; from casr_net.cli import main; sys.exit(main(sys.argv[1:]))"
CONFIGURED = f"import torch; {PLANNED}"
"""With torch there already, a command takes the ordinary way."""


def commands(sample: Path, folder: Path) -> dict[str, list[str]]:
    """What is timed, by name."""
    found = {"an empty Python": ["-c", "pass"], "import torch and MONAI": ["-c", "import torch, monai.transforms"]}
    for runtime in installed_runtimes():
        words = ["segment", str(sample), "-o", str(folder), "--overwrite", "-q", "--runtime", runtime]
        if runtime == "torch":
            found[BASE] = ["-c", PLANNED, *words]
        else:
            found[f"{runtime}, configured"] = ["-c", CONFIGURED, *words]
            found[f"{runtime}, by its plan"] = ["-c", PLANNED, *words]
    return found


def timed(arguments: list[str]) -> tuple[float, float]:
    """Seconds until a process of Python ended, and of processors that it used."""
    mark, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *arguments], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - mark, used


def table(result: dict[str, Any]) -> str:
    """Ratios first, which other work on the machine changes least."""
    lines = ["| command | part of torch's processor time | processor seconds | seconds |", "|---|---|---|---|"]
    for name, entry in result["commands"].items():
        lines.append(
            f"| {name} | {entry['processor_ratio']:.2f} | {entry['processor_seconds']['median']:.2f} | "
            f"{entry['seconds']['median']:.2f} |"
        )
    lines.append("")
    lines.append(
        f"One image of 512 x 512, from the command to the end of its process; medians of {result['rounds']} runs in "
        f"turns, {result['processors']} processor(s), {result['processor']}; {result['note']}."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", type=Path)
    action.add_argument("--table", type=Path)
    parser.add_argument("--into", type=Path, help="text that the table is put into")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="nothing else was running")
    options = parser.parse_args()
    if options.table:
        words = table(json.loads(options.table.read_text(encoding="utf-8")))
        if options.into is None:
            print(words)
            return
        before, _, behind = options.into.read_text(encoding="utf-8").split(MARK)
        options.into.write_text(f"{before}{MARK}\n{words}\n{MARK}{behind}", encoding="utf-8")
        return
    lock = platformdirs.user_cache_path("casr-net") / "evidence" / "pause.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name, FileLock(lock):
        listed = commands(bundle_root() / "sample" / "images" / "angiogram.png", Path(name))
        for turn in range(options.rounds + 2):
            for command, arguments in listed.items():
                taken = timed(arguments)
                if turn > 1:  # the first convert, measure and make plans
                    found.setdefault(command, []).append(taken)
    columns = {command: list(zip(*pairs, strict=True)) for command, pairs in found.items()}
    base = [statistics.median(column) for column in columns[BASE]]
    result = {
        "what": __doc__.splitlines()[0], "note": options.note, "rounds": options.rounds, "processor": processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg(), "platform": platform.platform(),
        "versions": runtime_versions(installed_runtimes()),
        "commands": {
            command: {
                "seconds": spread(wall), "ratio": round(statistics.median(wall) / base[0], 3),
                "processor_seconds": spread(used), "processor_ratio": round(statistics.median(used) / base[1], 3),
            }
            for command, (wall, used) in columns.items()
        },
    }  # fmt: skip
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


def spread(values: tuple[float, ...]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 3), "least": round(min(values), 3), "most": round(max(values), 3)
    }  # fmt: skip


if __name__ == "__main__":
    main()
