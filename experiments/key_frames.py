"""Arrival of the contrast, and end-diastole by the motion, on synthetic cines with truth; the masks are the true ones.

    python experiments/key_frames.py --output experiments/results/key_frames.json

The levels in ``casr_net.cine`` were set on seeds 3000 to 3005; the seeds here are others. The network plays no part.
Contraction is 0 in end-diastole and 1 in end-systole; arrival is the first frame with a pixel in the true mask.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.cine.contrast import contrast_curve
from casr_net.cine.keyframes import END_DIASTOLIC, key_frames
from casr_net.synthetic.angiogram import make_cine

SEEDS, FRAMES, SIZE = range(3100, 3105), 26, 256
HEADER = {"FrameTime": 66.667}
END_OF_SYSTOLE = 0.66  # of the beat, see casr_net.synthetic


def contraction(phase: float) -> float:
    return float(np.sin(np.pi * phase / END_OF_SYSTOLE) ** 2) if phase < END_OF_SYSTOLE else 0.0


def measure(seed: int) -> dict[str, Any]:
    cine = make_cine(seed, FRAMES, SIZE)
    curve = contrast_curve((frame.mask.T, 1 - frame.image.T / np.float32(255)) for frame in cine)
    keys = [key for key in key_frames(curve, HEADER, FRAMES) if key.kind == END_DIASTOLIC]
    return {
        "seed": seed,
        "arrival_true": next(index for index, frame in enumerate(cine) if frame.mask.any()),
        "arrival_found": curve.arrival,
        "departure_found": curve.departure,
        "end_diastolic": [key.frame for key in keys],
        "contraction_there": [round(contraction(cine[key.frame].truth["phase"]), 3) for key in keys],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    cines = [measure(seed) for seed in SEEDS]
    late = [cine["arrival_found"] - cine["arrival_true"] for cine in cines if cine["arrival_found"] is not None]
    there = [value for cine in cines for value in cine["contraction_there"]]
    record = {
        "what": "arrival and end-diastole by motion on synthetic cines, true masks",
        "frames": FRAMES,
        "size": SIZE,
        "arrival_frames_late": late,
        "arrival_not_found": len(cines) - len(late),
        "end_diastolic_frames": len(there),
        "contraction_max": max(there, default=None),
        "cines": cines,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "scipy")}},
        "hardware": f"{platform.machine()}, CPU, one core",
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
