"""What the mean over mirror images (``casr segment --tta``) brings on images that the network has not seen.

python experiments/tta.py --data ../shared/data --weights 1=STATE/baseline-light-fold1/model.pt 2=... \
    --output experiments/results/tta.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.evaluation.bootstrap import LEVEL, SAMPLES, paired_difference
from casr_net.evaluation.metrics import count_pixels, image_metrics, pooled_metrics
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.refinement.contours import RefinementParameters, refine
from casr_net.uncertainty.platt import calibration_error
from evidence_differences import groups_of
from probabilities import folds_of, maps

METRICS = ("dice", "cldice", "sensitivity", "precision", "false_positive_components", "betti0_error")
KINDS = {"refined": RefinementParameters(), "threshold": RefinementParameters().threshold_only()}


def rows_of(options: argparse.Namespace, weights: dict[int, Path], tta: bool) -> dict[str, Any]:
    """By case: data set, metrics of both kinds of masks, and the probability's calibration error."""
    found = {}
    for fold, path in weights.items():
        for item in maps(options.data, path, [fold], options.cache, options.count, tuple(options.config), tta):
            ece = calibration_error(item.probability, item.reference)[0]
            row: dict[str, Any] = {"dataset": item.dataset, "ece": ece}
            for kind, parameters in KINDS.items():
                mask = refine(item.probability, parameters)
                counts = count_pixels(mask, item.reference)
                row[kind] = {**image_metrics(mask, item.reference, counts), "counts": counts}
            found[item.name] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", required=True, metavar="FOLD=WEIGHTS", help="of what held FOLD out")
    parser.add_argument("--config", nargs="*", default=[], help="overlays of inference.json")
    parser.add_argument("--count", type=int, help="at most so many images of each data set")
    parser.add_argument("--network", default="", help="what the weights are, for the record")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    weights = folds_of(options.weights)
    off, on = rows_of(options, weights, False), rows_of(options, weights, True)
    groups = groups_of(options.data)
    results: dict[str, Any] = {}
    for dataset in (*dict.fromkeys(row["dataset"] for row in off.values()), "together"):
        names = [name for name, row in off.items() if dataset in (row["dataset"], "together")]
        table: dict[str, Any] = {"images": len(names)}
        for kind in KINDS:
            table[kind] = {}
            for metric in METRICS:
                first, second = ({name: float(rows[name][kind][metric]) for name in names} for rows in (off, on))
                table[kind][metric] = {
                    "off": round(float(np.mean([*first.values()])), 5),
                    "on": round(float(np.mean([*second.values()])), 5),
                    "difference": paired_difference(first, second, groups).as_dict(),
                }
            table[kind]["pooled"] = {
                name: {k: round(v, 5) for k, v in pooled_metrics([rows[n][kind]["counts"] for n in names]).items()}
                for name, rows in (("off", off), ("on", on))
            }
        results[dataset] = table
    record = {
        "what": "mean probability of an image and its three mirror images against the image alone; native size, means "
        "of the images, paired bootstrap over patient groups",
        "network": options.network, "folds": [*weights], "level": LEVEL, "samples": SAMPLES,
        "weights_sha256": {str(fold): sha256(path) for fold, path in weights.items()},
        "versions": package_versions(), "results": results,
        "mean_ece_of_images": {name: round(float(np.mean([r["ece"] for r in rows.values()])), 5)
                               for name, rows in (("off", off), ("on", on))},
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for dataset, table in results.items():
        print(dataset, {m: table["refined"][m] for m in ("dice", "cldice")})


if __name__ == "__main__":
    main()
