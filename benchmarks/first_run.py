"""The first run of ``casr segment``: from the command to its first mask, and to its end, of several versions in turns.

    python benchmarks/first_run.py --output benchmarks/results/first_run.json NAME=FOLDER [NAME=FOLDER ...]

Each NAME is a version of this package, in the ``monai_bundle`` of FOLDER; the first is what the others are compared
with. Every run is a process of its own over 20 synthetic frames of 512 x 512, with a copy of the weights beside which
nothing is kept yet: networks are converted, tried and measured in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casr_net.inference.bundle import bundle_root
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions
from common import write_json
from memory import write_cine


def timed(package: Path, runtime: str, cine: Path, folder: Path) -> dict[str, float]:
    """Seconds until the first mask is there and until the end, and of processors that all its processes used."""
    work = Path(tempfile.mkdtemp(dir=folder))
    weights = shutil.copy(bundle_root() / "models" / "model.pt", work)
    words = [sys.executable, "-m", "casr_net.cli", "segment", str(cine), "-o", str(work / "out"), "-q", "-d", "cpu"]
    before, mark = os.times(), time.perf_counter()
    run = subprocess.Popen(
        [*words, "--runtime", runtime, "--weights", str(weights)], env={**os.environ, "PYTHONPATH": str(package)}
    )
    first = 0.0
    while run.poll() is None:
        if not first and any((work / "out").glob("*_mask.png")):
            first = time.perf_counter() - mark
        time.sleep(0.01)
    if run.returncode:
        raise RuntimeError(f"{package}: exit code {run.returncode}")
    seconds, after = time.perf_counter() - mark, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    shutil.rmtree(work)
    return {"first_mask": first or seconds, "seconds": seconds, "processor_seconds": used}


def compared(found: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, Any]:
    """Medians, and medians of the ratios to the first version in the same round, since the load changes from round to
    round; by runtime and version."""

    def of_each(value: Callable[[str, dict[str, float], dict[str, float]], float]) -> dict[str, Any]:
        return {
            runtime: {
                name: {
                    key: round(
                        statistics.median(value(key, *pair) for pair in zip(entries, base, strict=True)), 2
                    )
                    for key in entries[0]
                }
                for name, entries in of.items()
            }
            for runtime, of in found.items()
            for base in [next(iter(of.values()))]
        }  # fmt: skip

    return {
        "medians": of_each(lambda key, entry, base: entry[key]),
        "ratios": of_each(lambda key, entry, base: entry[key] / base[key]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "auto"])
    parser.add_argument("--note", default="", help="what else ran")
    options = parser.parse_args()
    versions = {
        name: Path(folder) / "monai_bundle" for name, _, folder in (one.partition("=") for one in options.versions)
    }
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cine = Path(folder) / "cine.tif"
        write_cine(cine, 512, 20)
        for _ in range(options.rounds):
            for runtime in options.runtimes:
                for name, package in versions.items():
                    entry = timed(package, runtime, cine, Path(folder))
                    found.setdefault(runtime, {}).setdefault(name, []).append(entry)
                    print(runtime, name, {key: round(value, 2) for key, value in entry.items()}, flush=True)
    result: dict[str, Any] = {
        "what": (__doc__ or "").splitlines()[0], "machine": machine(), "platform": platform.platform(),
        "note": options.note, "rounds": options.rounds,
        "versions": runtime_versions([each for each in RUNTIMES if each in installed_runtimes()]), **compared(found),
        "runs": found,
    }  # fmt: skip
    write_json(options.output, result)
    for runtime, of in result["medians"].items():
        for name, entry in of.items():
            ratios = ", ".join(f"{key} {entry[key]} ({result['ratios'][runtime][name][key]:.2f} x)" for key in entry)
            print(f"{runtime}, {name}: {ratios}")


if __name__ == "__main__":
    main()
