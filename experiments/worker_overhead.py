"""What the worker process adds to a frame, side by side with plain inference in one run.

python experiments/worker_overhead.py --output experiments/results/worker_overhead.json

Frames of a synthetic cine go through ``Segmenter.frame`` in this process and through a serving ``python -m
casr_net.worker``, in turns, frame by frame and in changing order, so that the machine is the same for both. What counts
for the worker is the time from the command to the message, as the program in front sees it: job file, frame, network,
both result files. That is more than in a job of many frames, whose job file is read once.
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
import torch

from casr_net import Segmenter
from casr_net.inference.provenance import package_versions
from casr_net.synthetic.angiogram import make_cine

BUNDLE = Path(__file__).resolve().parents[1] / "monai_bundle"


class Served:
    """A serving worker process, asked for one frame at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "casr_net.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(BUNDLE)},
            text=True,
        )

    def seconds(self, frame: np.ndarray) -> float:
        """From writing the frame to the message that its mask is there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            mark = time.perf_counter()
            np.save(Path(folder) / "frames.npy", frame[None])
            job = {"indices": [0], "intensity_range": [0, 255], "device": "cpu"}
            (Path(folder) / "job.json").write_text(json.dumps(job))
            self._process.stdin.write(json.dumps({"command": "segment", "folder": folder}) + "\n")
            self._process.stdin.flush()
            result = 0.0
            for line in self._process.stdout:
                event = json.loads(line)["event"]
                if event == "frame":
                    result = time.perf_counter() - mark
                elif event == "done":
                    return result
        raise SystemExit("the worker has ended")

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def plain(segmenter: Segmenter, frame: np.ndarray) -> float:
    """Seconds in this process."""
    mark = time.perf_counter()
    segmenter.frame(frame, (0.0, 255.0))
    return time.perf_counter() - mark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="nothing else was running")
    options = parser.parse_args()
    frames = np.stack([frame.image for frame in make_cine(seed=11, frames=options.frames)])
    os.environ["CASR_RUNTIME"] = "torch"  # what Slicer has
    segmenter = Segmenter(device="cpu")
    segmenter.frame(frames[0])  # the first frame is slower everywhere
    served = Served()
    started = time.perf_counter()
    served.seconds(frames[0])
    start = time.perf_counter() - started
    here: list[float] = []
    there: list[float] = []
    for number, frame in enumerate(frame for _ in range(options.rounds) for frame in frames):
        if number % 2:
            here.append(plain(segmenter, frame))
        there.append(served.seconds(frame))
        if not number % 2:
            here.append(plain(segmenter, frame))
    served.close()
    medians = float(np.median(here)), float(np.median(there))
    ratios = np.array(there) / np.array(here)
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    record: dict[str, Any] = {
        "what": "seconds a 512 x 512 frame, medians; the same frames in this process and through the worker, in turns",
        "frames": len(here),
        "plain_s": round(medians[0], 4),
        "worker_s": round(medians[1], 4),
        "overhead": round(float(np.median(ratios)) - 1, 4),
        "overhead_95_percent_interval": [round(float(low) - 1, 4), round(float(high) - 1, 4)],
        "worker_start_load_and_first_frame_s": round(start, 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} hyperthreads, {torch.get_num_threads()} threads of torch",
        "runtime": segmenter.inferer.used,
        "note": options.note,
        "versions": package_versions(),
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({key: value for key, value in record.items() if key != "versions"}, indent=1))


if __name__ == "__main__":
    main()
