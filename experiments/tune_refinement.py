"""Tune the limits of stage 3 on the training folds, one limit after the other, twice round.

The objective is the mean of Dice and clDice, per image, averaged over the two data sets. The network has seen these
images in training, so its maps are cleaner than on new ones; this is the price of touching no held-out image.

    python experiments/tune_refinement.py --data DIR --weights FILE --output experiments/results/tune_refinement.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.evaluation.metrics import count_pixels, pooled_metrics
from casr_net.network.weights import sha256
from casr_net.refinement.contours import RefinementParameters, refine
from probabilities import Map, maps

logger = logging.getLogger("experiments")

GRID: dict[str, tuple[float, ...]] = {
    "min_area": (0.0, 0.0001, 0.0002, 0.0003, 0.0006, 0.0012, 0.002),
    "min_mean_probability": (0.0, 0.6, 0.7, 0.8),
    "min_elongation": (0.0, 1.5, 2.0, 3.0),
    "max_distance": (0.05, 0.1, 0.15, 0.3, 2.0),
    "max_gap": (0.0, 0.015, 0.03, 0.05),
    "max_cost": (0.5, 0.7, 0.85, 0.95),
    "max_hole_area": (0.0, 0.00004, 0.00008, 0.0002),
}


def score(images: list[Map], parameters: RefinementParameters) -> dict[str, float]:
    """Objective, and the means of Dice and clDice that it is made of, each averaged over the data sets."""
    values: dict[str, list[tuple[float, float]]] = {}
    for image in images:
        found = pooled_metrics(count_pixels(refine(image.probability, parameters), image.reference))
        values.setdefault(image.dataset, []).append((found["dice"], found["cldice"]))
    dice, cldice = np.mean([np.mean(v, axis=0) for v in values.values()], axis=0)
    return {"objective": float(dice + cldice) / 2, "dice": float(dice), "cldice": float(cldice)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--count", type=int, default=30, help="images of each data set")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    images = list(maps(options.data, options.weights, options.folds, options.cache, options.count))
    off = RefinementParameters().threshold_only()
    best = RefinementParameters(reconnect=True, fill_pinholes=True, remove_components=True)
    record: dict[str, Any] = {
        "what": "coordinate search on training folds; mean of per-image Dice and clDice, averaged over data sets",
        "folds": options.folds,
        "images": len(images),
        "weights_sha256": sha256(options.weights),
        "none": score(images, off),
        "start": score(images, best),
        "trials": [],
    }
    reached = record["start"]["objective"]
    for _ in range(options.rounds):
        for name, candidates in GRID.items():
            for value in candidates:
                change: dict[str, Any] = {name: value}
                trial = dataclasses.replace(best, **change)
                if trial == best:
                    continue
                result = score(images, trial)
                record["trials"].append({name: value, **result})
                if result["objective"] > reached + 1e-5:
                    best, reached = trial, result["objective"]
            logger.info("%s: %s -> %.5f", name, getattr(best, name), reached)
    # A part that does not help on the training folds is off by default.
    for part in ("reconnect", "fill_pinholes", "remove_components"):
        result = score(images, dataclasses.replace(best, **{part: False}))
        record["trials"].append({part: False, **result})
        logger.info("without %s: %s", part, result)
    record["best"] = {**score(images, best), "parameters": dataclasses.asdict(best)}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({key: record[key] for key in ("none", "start", "best")}, indent=1))


if __name__ == "__main__":
    main()
