"""What the worker process adds to a frame, side by side with plain inference in one run.

python experiments/worker_overhead.py --output experiments/results/worker_overhead.json

A synthetic cine goes through ``Segmenter.frame`` in this process and through ``python -m casr_net.worker``, in turns.
What counts for the worker is the time from one frame's message to the next, as the program in front sees it: reading
the frame, the network, both result files and the message. Starting and loading are reported by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from casr_net import Segmenter
from casr_net.report import package_versions
from casr_net.synthetic import make_cine

BUNDLE = Path(__file__).resolve().parents[1] / "monai_bundle"


def plain(segmenter: Segmenter, frames: np.ndarray) -> list[float]:
    """Seconds of each frame in this process."""
    seconds = []
    for frame in frames:
        mark = time.perf_counter()
        segmenter.frame(frame, (0.0, 255.0))
        seconds.append(time.perf_counter() - mark)
    return seconds


def by_worker(frames: np.ndarray) -> tuple[float, list[float]]:
    """Seconds until the network was loaded, and between the messages of one frame and the next."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "frames.npy", frames)
        job = {"indices": list(range(len(frames))), "intensity_range": [0, 255], "device": "cpu"}
        (Path(folder) / "job.json").write_text(json.dumps(job))
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "casr_net.worker", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(BUNDLE)},
        )
        assert process.stdout is not None
        marks: dict[str, list[float]] = {}
        for line in process.stdout:
            marks.setdefault(json.loads(line)["event"], []).append(time.perf_counter())
        if process.wait():
            raise SystemExit(f"the worker ended with exit code {process.returncode}")
    times = marks["loaded"] + marks["frame"]
    return times[0] - started, list(np.diff(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    frames = np.stack([frame.image for frame in make_cine(seed=11, frames=options.frames)])
    segmenter = Segmenter(device="cpu")
    segmenter.frame(frames[0])  # the first frame is slower everywhere
    here: list[float] = []
    there: list[float] = []
    start: list[float] = []
    for _ in range(options.rounds):
        here += plain(segmenter, frames)[1:]
        loaded, seconds = by_worker(frames)
        start.append(loaded)
        there += seconds[1:]
    medians = float(np.median(here)), float(np.median(there))
    record: dict[str, Any] = {
        "what": "seconds a 512 x 512 frame, median, first frame of each run left out; same process against the worker",
        "frames": len(here),
        "plain_s": round(medians[0], 4),
        "worker_s": round(medians[1], 4),
        "overhead": round(medians[1] / medians[0] - 1, 4),
        "worker_start_and_load_s": round(float(np.median(start)), 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} hyperthreads",
        "versions": package_versions(),
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({key: value for key, value in record.items() if key != "versions"}, indent=1))


if __name__ == "__main__":
    main()
