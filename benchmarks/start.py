"""The start of ``casr segment``: seconds from the command to its end for one image, the shipped sample.

    python benchmarks/start.py --output benchmarks/results/start.json [--rounds 5] [--note TEXT] [--no-lock]

Each command is a process of its own; all run in turns, and each has run twice before. "by its plan" is what a user gets
who has run the command before; "configured" is the ordinary way, which a command takes the first time. Ratios are to
torch. A single image goes through the network with its mirror images unless the name says otherwise. ``bench.py`` runs
all benchmarks.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from casr_net.inference.bundle import bundle_root
from casr_net.inference.runtimes.packages import installed_runtimes
from common import arguments, median, paused_training, record, summary, told, turns, write_json

__all__ = ["BASE", "commands", "measure", "table"]

BASE = "torch"

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
            found[f"{runtime}, by its plan, without mirror images"] = ["-c", PLANNED, *words, "--no-tta"]
    return found


def timed(arguments: list[str]) -> dict[str, float]:
    """Seconds until a process of Python ended, and of processors that it used."""
    mark, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *arguments], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.perf_counter() - mark, "processor_seconds": used}


def measure(rounds: int) -> dict[str, Any]:
    """Seconds, processor seconds and ratios, by command."""
    with tempfile.TemporaryDirectory() as name:
        listed = commands(bundle_root() / "sample" / "images" / "angiogram.png", Path(name))
        found = {command: functools.partial(timed, words) for command, words in listed.items()}
        for run in found.values():  # the first convert, measure and make plans
            run()
        times = summary(turns(found, rounds, lambda run: run()), 3)
    return {
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "commands": {
            command: {
                **entry,
                **{
                    ratio: round(median(times, command, quantity) / median(times, BASE, quantity), 3)
                    for ratio, quantity in (("ratio", "seconds"), ("processor_ratio", "processor_seconds"))
                },
            }
            for command, entry in times.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """Ratios first, which other work on the machine changes least."""
    lines = ["| command | part of torch's processor time | processor seconds | seconds |", "|---" * 4 + "|"]
    for name, entry in result["commands"].items():
        lines.append(
            f"| {name} | {entry['processor_ratio']:.2f} | {entry['processor_seconds'][0]:.2f} | "
            f"{entry['seconds'][0]:.2f} |"
        )
    foot = f"One image of 512 x 512, from the command to the end of its process; medians. {told(result)}"
    return "\n".join([*lines, "", foot])


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    options = parser.parse_args()
    with paused_training(options.lock):
        result = record(__doc__, options, **measure(options.rounds))
    if options.output:
        write_json(options.output, result)
    print(table(result))


if __name__ == "__main__":
    main()
