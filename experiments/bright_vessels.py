"""Whether angiograms of the wrong polarity can be told by the mask: what share of the image the shipped network marks
on images as they are, and on the same images inverted; and the least share that readers have marked.

    python experiments/bright_vessels.py --data ../shared/data --output experiments/results/bright_vessels.json

Images: some of each set, chosen by a fixed seed; the frames of the cines are every twelfth, some before contrast.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from casr_net import __version__
from casr_net.files.images import read_angiogram
from casr_net.inference.filerecord import FEW
from casr_net.inference.segmenter import Segmenter

COUNTS = {"ica_nj": 60, "dca1": 30, "arcade": 60}
SEED = 0
STEP = 12
"""Of the cines' frames."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    segmenter = Segmenter()
    found: dict[str, Any] = {"version": __version__, "seed": SEED, "limit": FEW, "readers": {}, "network": {}}
    with open(options.data / "cases.csv", encoding="utf-8", newline="") as file:
        cases = list(csv.DictReader(file))
    for name in ("ica_nj", "dca1"):
        shares = [float(case["vessel_fraction"]) for case in cases if case["dataset"] == name]
        found["readers"][name] = {"images": len(shares), "least": min(shares)}
    for name, paths in _images(options.data).items():
        measured: dict[str, list[float]] = {"as it is": [], "inverted": []}
        for path in paths:
            grey = read_angiogram(path).grey(0)
            for kind, shown in (("as it is", grey), ("inverted", 1 - grey)):
                measured[kind].append(float((segmenter.grey(shown, frames=1).mask > 0).mean()))
        found["network"][name] = {
            kind: {
                "images": len(values), "below": sum(value < FEW for value in values), "least": round(min(values), 4),
                "most": round(max(values), 4), "median": round(float(np.median(values)), 4),
            }
            for kind, values in measured.items()
        }  # fmt: skip
        print(name, json.dumps(found["network"][name]), flush=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _images(data: Path) -> dict[str, list[Path]]:
    chosen = {}
    for name, count in COUNTS.items():
        paths = sorted((data / name / "images").iterdir())
        random.Random(SEED).shuffle(paths)
        chosen[name] = paths[:count]
    chosen["cines"] = sorted((data / "cines").glob("*/*.jpg"))[::STEP]
    return chosen


if __name__ == "__main__":
    main()
