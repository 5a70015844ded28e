"""Whether the mean over mirror images wants another threshold than 0.5, with contour refinement.

python experiments/tta_threshold.py --data ../shared/data --weights 1=STATE/light-continued-fold1/model.pt 2=... \
    --count 15 --output experiments/results/tta_threshold.json
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.evaluation.metrics import count_pixels, image_metrics
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.refinement.contours import RefinementParameters, refine
from probabilities import folds_of, maps

THRESHOLDS = (0.35, 0.4, 0.45, 0.5, 0.55)
METRICS = ("dice", "cldice", "sensitivity", "precision", "false_positive_components")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", required=True, metavar="FOLD=WEIGHTS", help="of what held FOLD out")
    parser.add_argument("--count", type=int, help="at most so many images of each data set and fold")
    parser.add_argument("--network", default="", help="what the weights are, for the record")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    weights = folds_of(options.weights)
    rows: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
    for fold, path in weights.items():
        for item in maps(options.data, path, [fold], options.cache, options.count, tta=True):
            for threshold in THRESHOLDS:
                mask = refine(item.probability, replace(RefinementParameters(), threshold=threshold))
                found = image_metrics(mask, item.reference, count_pixels(mask, item.reference))
                rows[item.dataset, threshold].append([float(found[name]) for name in METRICS])
    results: dict[str, Any] = {}
    for (dataset, threshold), values in sorted(rows.items()):
        means = {name: round(float(np.mean([row[i] for row in values])), 4) for i, name in enumerate(METRICS)}
        results.setdefault(dataset, {"images": len(values)})[str(threshold)] = means
    record = {
        "what": "masks of the mean over mirror images at several thresholds, refined; native size, means of the images",
        "network": options.network, "folds": [*weights],
        "weights_sha256": {str(fold): sha256(path) for fold, path in weights.items()},
        "versions": package_versions(), "results": results,
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
