"""The worker of 3D Slicer beside ``casr segment`` on the same cine: frames a second, processor time, peak memory.

    python benchmarks/worker.py --output benchmarks/results/worker.json [--frames 80] [--sides 512 1024] [--rounds 3]

A synthetic cine is written as DICOM; ``casr segment`` writes masks and probability maps as PNG, the worker does a job
with the same frames, as the Slicer extension writes it: with the file as their source, and without. Both in turns, each
time in a process of its own, on the CPU by the same runtime. Frames a second are those between the first and the last
mask on the disk, processor time is what a long cine takes beyond a short one, so that start and conversion are in
neither.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import arguments, median, paused_training, record, summary, write_json
from memory import frames, write_cine

SHORT = 2
"""Frames of the short cine."""

INNER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_maxrss, used.ru_utime + used.ru_stime, done.returncode, done.stderr]))
"""


def measured(command: list[str], masks: Callable[[], list[Path]], runtime: str) -> dict[str, float]:
    """Largest resident memory in MB (1e6 bytes), processor seconds, and seconds from the first mask to the last."""
    environment = {**os.environ, "CASR_RUNTIME": runtime}
    # A process between, since the largest of all children is what the system tells.
    out = subprocess.run(
        [sys.executable, "-c", INNER, *command], capture_output=True, text=True, check=True, env=environment
    ).stdout
    kib, seconds, code, errors = json.loads(out)
    times = [path.stat().st_mtime for path in masks()]
    if code or not times:
        raise RuntimeError(f"{' '.join(command)}: {errors[-2000:]}")
    return {
        "peak_mb": kib * (1024 if sys.platform != "darwin" else 1) / 1e6, "cpu_s": seconds,
        "span_s": max(times) - min(times), "masks": len(times),
    }  # fmt: skip


def segmented(cine: Path, runtime: str) -> dict[str, float]:
    """``casr segment``."""
    with tempfile.TemporaryDirectory(dir=cine.parent) as folder:
        command = [sys.executable, "-m", "casr_net.cli", "segment", str(cine), "-o", folder, "-d", "cpu", "-q"]
        return measured([*command, "--probability"], lambda: [*Path(folder).glob("*_mask*.png")], runtime)


def worked(cine: Path, pixels: np.ndarray, runtime: str, source: bool) -> dict[str, float]:
    """The worker, with the file beside the frames or without."""
    with tempfile.TemporaryDirectory(dir=cine.parent) as folder:
        job: dict[str, Any] = {"indices": list(range(len(pixels))), "device": "cpu"}
        if source:
            job |= {"source": str(cine), "source_frames": job["indices"], "unchanged": True}
        Path(folder, "job.json").write_text(json.dumps(job))
        np.save(Path(folder, "frames.npy"), pixels)
        return measured(
            [sys.executable, "-m", "casr_net.worker", folder], lambda: [*Path(folder).glob("mask_*.npy")], runtime
        )


def case(side: int, count: int, runtime: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One size of frames by one runtime."""
    works: dict[str, Any] = {}
    for name, frames_of_it in (("short", SHORT), ("long", count)):
        cine = folder / f"{name}.dcm"
        write_cine(cine, side, frames_of_it)
        pixels = np.stack(list(frames(side, frames_of_it)))
        works |= {
            f"casr segment, {name}": functools.partial(segmented, cine, runtime),
            f"worker, {name}": functools.partial(worked, cine, pixels, runtime, True),
            f"worker without the file, {name}": functools.partial(worked, cine, pixels, runtime, False),
        }
    for name in works:
        if name.endswith("short"):
            works[name]()  # converts and compiles
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            for quantity, value in work().items():
                samples[name].setdefault(quantity, []).append(value)
    found = summary(samples)
    ways = {}
    for way in ("casr segment", "worker", "worker without the file"):
        long, short = f"{way}, long", f"{way}, short"
        masks = median(found, long, "masks")
        if masks != count:
            raise RuntimeError(f"{way}: {masks:g} masks of {count} frames")
        ways[way] = {
            "frames_a_second": round((count - 1) / median(found, long, "span_s"), 2),
            "cpu_ms_a_frame": round(
                1000 * (median(found, long, "cpu_s") - median(found, short, "cpu_s")) / (count - SHORT), 1
            ),
            "peak_mb": round(median(found, long, "peak_mb")),
            "peak_mb_short": round(median(found, short, "peak_mb")),
        }
    return {"side": side, "frames": count, "runtime": runtime, "ways": ways, "samples": found}


def main() -> None:
    parser = arguments(__doc__, 1)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "torch"])
    options = parser.parse_args()
    cases: list[dict[str, Any]] = []
    with paused_training(options.lock), tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            for runtime in options.runtimes:
                cases.append(case(side, options.frames, runtime, options.rounds, Path(folder)))
                for way, entry in cases[-1]["ways"].items():
                    print(f"{side}, {runtime}, {way}: {entry}", flush=True)
                if options.output:
                    result = record(__doc__, options, threads=os.environ.get("OMP_NUM_THREADS", ""), cases=cases)
                    write_json(options.output, result)


if __name__ == "__main__":
    main()
