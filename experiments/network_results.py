"""Results of the network on held-out folds at native size, with and without stage 3 and each of its parts.

python experiments/network_results.py --data DIR --weights FILE --output experiments/results/light_fold0.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import platform
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casr_net.evaluation.metrics import count_pixels, image_metrics, pooled_metrics
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.refinement.contours import RefinementParameters, refine
from probabilities import maps

PARTS = ("reconnect", "fill_pinholes", "remove_components")
MEANS = ("dice", "iou", "cldice", "sensitivity", "precision", "hd95", "betti0_error", "false_positive_components")


def variants() -> dict[str, RefinementParameters]:
    """Threshold only, each part alone, the shipped defaults, and everything."""
    switches = {"none": {}, **{part: {part: True} for part in PARTS}, "all": dict.fromkeys(PARTS, True)}
    off = dict.fromkeys(PARTS, False)
    return {
        "default": RefinementParameters(),
        **{name: RefinementParameters(**{**off, **on}) for name, on in switches.items()},
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Per-image means and medians, and pooled figures, of one data set and variant."""
    return {
        "images": len(rows),
        "mean": {name: round(float(np.mean([row[name] for row in rows])), 4) for name in MEANS},
        "median": {name: round(float(np.median([row[name] for row in rows])), 4) for name in MEANS},
        "pooled": {k: round(v, 4) for k, v in pooled_metrics([row["counts"] for row in rows]).items()},
        "worst": [
            {"name": row["name"], "dice": round(row["dice"], 4)} for row in sorted(rows, key=lambda r: r["dice"])[:5]
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--count", type=int, help="at most so many images of each data set")
    parser.add_argument("--config", nargs="*", default=[], help="overlays of inference.json")
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = variants()
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    milliseconds: list[float] = []
    cv2.setNumThreads(1)
    for item in maps(options.data, options.weights, options.folds, options.cache, options.count, tuple(options.config)):
        for name, parameters in chosen.items():
            started = time.process_time()
            mask = refine(item.probability, parameters)
            if name == "all" and item.probability.shape == (512, 512):
                milliseconds.append(1000 * (time.process_time() - started))
            counts = count_pixels(mask, item.reference)
            row = {"name": item.name, "counts": counts, **image_metrics(mask, item.reference, counts)}
            for dataset in (item.dataset, "both"):
                rows.setdefault(dataset, {}).setdefault(name, []).append(row)
    record = {
        "what": "network on held-out images at native size; per image and pooled over all pixels",
        "folds": options.folds,
        "weights_sha256": sha256(options.weights),
        "network_size": 512,
        "threshold": RefinementParameters().threshold,
        "defaults": dataclasses.asdict(RefinementParameters()),
        "refinement_ms_512": {
            "what": "processor time of all parts of stage 3 for one 512 x 512 image, one thread",
            "images": len(milliseconds),
            "median": round(float(np.median(milliseconds)), 1) if milliseconds else None,
            "p95": round(float(np.percentile(milliseconds, 95)), 1) if milliseconds else None,
        },
        "machine": platform.processor() or platform.machine(),
        "versions": package_versions(),
        "results": {d: {name: summarise(r) for name, r in by.items()} for d, by in sorted(rows.items())},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    for dataset, by in record["results"].items():
        for name, result in by.items():
            mean, pooled = result["mean"], result["pooled"]
            print(
                f"{dataset:8} {name:18} n={result['images']:3} dice {mean['dice']:.4f} (pooled {pooled['dice']:.4f}) "
                f"cldice {mean['cldice']:.4f} (pooled {pooled['cldice']:.4f}) fp components "
                f"{mean['false_positive_components']:.2f} betti0 {mean['betti0_error']:.2f} hd95 {mean['hd95']:.1f}"
            )


if __name__ == "__main__":
    main()
