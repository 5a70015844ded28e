"""Which share of two networks to average: Dice on own images that both were trained on, and ARCADE's val split.

python experiments/average_choice.py --data ../shared/data --output experiments/results/average_choice.json \\
    --networks NAME=FILE ... [--thresholds NAME=0.6 ...]

Own images that a network has seen tell how its masks lie beside those of their readers (too wide, too narrow), not how
good it is. Of ARCADE's val split, every fifth labelled image, as it is and with noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casr_net import Segmenter
from casr_net.evaluation.metrics import image_metrics
from casr_net.evaluation.perturbations import perturbed
from casr_net.evaluation.segments import segment_recall, split_rows
from casr_net.evaluation.usage import hardware
from casr_net.files.masks import read_mask
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases

EVERY, STARTS = {"ica_nj": 11, "dca1": 4}, {"ica_nj": (0, 3), "dca1": (0, 1)}
"""Steps through the images of a set, and where each walk begins."""

METRICS = ("dice", "cldice", "sensitivity", "precision")
NOISE = (0, 20)


def on_own(segmenter: Segmenter, cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [image_metrics(segmenter(case["image"]).mask, read_mask(case["label"])[..., 0].T) for case in cases]
    return {"images": len(rows), **{name: round(statistics.fmean(row[name] for row in rows), 5) for name in METRICS}}


def on_arcade(segmenter: Segmenter, folder: Path, names: Sequence[str], noise: float) -> dict[str, Any]:
    recall, share = [], []
    for name in names:
        image = cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE)
        segments = cv2.imread(str(folder / "segments" / f"{Path(name).stem}.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None and segments is not None, name
        if noise:
            image = perturbed("noise", noise, image, np.zeros(image.shape, bool))[0]
        mask = segmenter(image).mask
        found, there = segment_recall(mask, segments)["all"]
        recall.append(found / max(there, 1))
        share.append(float(mask.mean()))
    return {
        "images": len(names), "centre_line_recall": round(statistics.fmean(recall), 5),
        "vessel_share": round(statistics.fmean(share), 5),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", required=True, metavar="NAME=FILE")
    parser.add_argument("--thresholds", nargs="*", default=[], metavar="NAME=VALUE", help="in place of 0.5")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    thresholds = dict(word.split("=", 1) for word in options.thresholds)
    cases = load_cases(options.data, only_folds=[0, 1, 2, 3, 4])
    own = {
        name: [case for start in STARTS[name] for case in [c for c in cases if f"/{name}/" in c["image"]][start::step]]
        for name, step in EVERY.items()
    }
    arcade = options.data / "arcade"
    names = [row["file"] for row in split_rows(arcade, "val") if row["labelled"] != "no"][::5]
    record: dict[str, Any] = {"networks": {}, "hardware": hardware(), "versions": package_versions()}
    for word in options.networks:
        name, file = word.split("=", 1)
        threshold = float(thresholds.get(name, 0.5))
        segmenter = Segmenter(
            device="cpu", weights=file, runtime="openvino", precision="fp32", threshold=threshold,
            tta=False,
        )  # fmt: skip
        record["networks"][name] = {
            "sha256": sha256(Path(file)), "threshold": threshold,
            "own, seen in training": {kind: on_own(segmenter, images) for kind, images in own.items()},
            "arcade val": {f"noise {noise}": on_arcade(segmenter, arcade, names, noise) for noise in NOISE},
        }  # fmt: skip
        print(name, json.dumps(record["networks"][name]), flush=True)
        options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
