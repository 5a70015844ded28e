"""What the runtimes change in the masks: against torch in single precision, and against the experts' masks.

    python experiments/runtime_accuracy.py --data DIR --weights FILE --output experiments/results/runtime_accuracy.json

The images are those of fold 0, which the weights must not have seen; at most ``--count`` of each data set. A runtime is
offered by default when it changes mean Dice and mean clDice against the experts by at most 0.2 points.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from casr_net import Segmenter
from casr_net.evaluation.metrics import cldice, dice
from casr_net.files.images import read_angiogram
from casr_net.files.masks import read_mask
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions
from casr_net.inference.runtimes.prepared import Runtimes
from casr_net.network.weights import sha256
from casr_net.preprocessing.load import image_tensor
from casr_net.training.cases import load_cases
from probabilities import spread

logger = logging.getLogger("experiments")

GATE = 0.2
"""Points of mean Dice and clDice."""

VARIANTS = {
    "torch fp32": ("torch", "fp32"),
    "torch bf16": ("torch", "bf16"),
    "onnx fp32": ("onnx", "fp32"),
    "openvino fp32": ("openvino", "fp32"),
    "openvino bf16": ("openvino", "bf16"),
}


def masks_of(segmenter: Segmenter, inferer: Any, image: str) -> np.ndarray:
    """The refined mask of an image, bool (X, Y), with one way to compute the network."""
    source = read_angiogram(image)
    prepared = segmenter.channels({"image": image_tensor(source.grey(0), source.affine)})
    prepared["pred"] = inferer(prepared["image"][None].as_tensor())[0]
    done: dict[Any, Any] = segmenter.postprocessing(prepared)
    return np.asarray(done["pred"][0]) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--count", type=int, default=15, help="images of each data set (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    segmenter = Segmenter(options.config, device="cpu", weights=str(options.weights), runtime="torch", precision="fp32")
    wanted = {name: pair for name, pair in VARIANTS.items() if pair[0] in installed_runtimes()}
    engines = {}
    for name, (runtime, precision) in wanted.items():
        engine = Runtimes(runtime, options.weights, segmenter.channels, precision).engine(segmenter.network)
        assert engine is not None
        engines[name] = engine
    cases = spread(load_cases(options.data, only_folds=[0]), options.count)
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(cases, start=1):
        reference = read_mask(case["label"])[..., 0] > 0
        masks = {name: masks_of(segmenter, engine, case["image"]) for name, engine in engines.items()}
        plain = masks["torch fp32"]
        for name, mask in masks.items():
            rows.append({
                "runtime": name, "image": case["name"],
                "dice": dice(mask, reference), "cldice": cldice(mask, reference),
                "dice_with_fp32": dice(mask, plain), "cldice_with_fp32": cldice(mask, plain),
            })  # fmt: skip
        logger.info("%d of %d images", number, len(cases))
    summary = {}
    for name in engines:
        own = [row for row in rows if row["runtime"] == name]
        base = [row for row in rows if row["runtime"] == "torch fp32"]
        entry: dict[str, Any] = {}
        for metric in ("dice", "cldice"):
            change = 100 * (np.array([row[metric] for row in own]) - np.array([row[metric] for row in base]))
            entry[f"{metric}_percent"] = round(100 * float(np.mean([row[metric] for row in own])), 3)
            entry[f"{metric}_change_points"] = round(float(change.mean()), 4)
            entry[f"{metric}_largest_change_points"] = round(float(np.abs(change).max()), 3)
            entry[f"{metric}_with_fp32"] = round(float(np.mean([row[f"{metric}_with_fp32"] for row in own])), 5)
        entry["passes"] = all(abs(entry[f"{metric}_change_points"]) <= GATE for metric in ("dice", "cldice"))
        summary[name] = entry
    result = {
        "what": __doc__.splitlines()[0], "gate_points": GATE, "images": len(cases), "folds": [0],
        "weights_sha256": sha256(options.weights), "config": options.config, "network": segmenter.network.settings,
        "machine": machine(), "platform": platform.platform(),
        "versions": {"torch": torch.__version__, **runtime_versions(list(RUNTIMES))}, "summary": summary, "rows": rows,
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    logger.info("%s", json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
