"""Write monai_bundle/models/calibration.json: temperatures of the weights that ship, and what such a fit is worth.

    python experiments/shipped_calibration.py --data ../shared/data --output RESULT.json \
        --siblings 1=STATE/baseline-light-fold1/model.pt 2=...

The weights that ship have seen all folds, so that they are fitted on images that they were trained on. What that is
worth on others is measured with siblings, each of which has not seen a fold: fitted on images of the folds that it has
seen, reported on the one that it has not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.uncertainty.platt import calibration_error
from casr_net.uncertainty.temperature import TwoTemperatures, fit_temperatures
from probabilities import Map, folds_of, maps
from tables import ROOT

MODELS = ROOT / "monai_bundle" / "models"
SHIPPED: dict[str, tuple[str, ...]] = {"model.pt": (), "compact.pt": ("compact",)}
FOLDS = [0, 1, 2, 3, 4]
KINDS = {"single": False, "tta": True}
WHAT = """\
by the digest of a file of weights: what logits below and above 0 are multiplied by, so that probability maps are \
calibrated (casr_net.uncertainty.TwoTemperatures); for one run of the network, and for the mean over mirror images"""


def fit(images: list[Map]) -> TwoTemperatures:
    return fit_temperatures([image.probability for image in images], [image.reference for image in images])


def errors(images: list[Map], temperatures: TwoTemperatures) -> dict[str, float]:
    """Expected calibration error as the network gives the probabilities, and with the temperatures."""
    raw, truth = (np.concatenate([np.ravel(part) for part in parts]) for parts in zip(
        *((image.probability, image.reference) for image in images), strict=True))  # fmt: skip
    return {
        name: round(calibration_error(values, truth)[0], 5)
        for name, values in (("before", raw), ("after", temperatures(raw)))
    }


def rounded(temperatures: TwoTemperatures) -> dict[str, float]:
    return {name: round(value, 4) for name, value in dataclasses.asdict(temperatures).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--siblings", nargs="+", required=True, metavar="FOLD=WEIGHTS", help="of what held FOLD out")
    parser.add_argument("--network", default="", help="what the siblings are, for the record")
    parser.add_argument("--count", type=int, default=60, help="images of each data set that are fitted on")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    siblings: dict[str, Any] = {}
    for fold, weights in folds_of(options.siblings).items():
        seen = [*maps(options.data, weights, [f for f in FOLDS if f != fold], options.cache, options.count)]
        unseen, temperatures = [*maps(options.data, weights, [fold], options.cache)], fit(seen)
        siblings[str(fold)] = {
            "weights_sha256": sha256(weights), "fitted_on": len(seen), **rounded(temperatures),
            "fitted_on_unseen": rounded(fit(unseen)), "images": len(unseen), "ece": errors(unseen, temperatures),
        }  # fmt: skip
        print(fold, siblings[str(fold)], flush=True)
    shipped: dict[str, Any] = {}
    entries: dict[str, Any] = {}
    for name, config in SHIPPED.items():
        own: dict[str, Any] = {}
        for kind, tta in KINDS.items():
            images = [*maps(options.data, MODELS / name, FOLDS, options.cache, options.count, config, tta)]
            temperatures = fit(images)
            own[kind] = {"images": len(images), **rounded(temperatures), "ece_there": errors(images, temperatures)}
        shipped[name] = own
        entries[sha256(MODELS / name)] = {
            "file": name,
            **{kind: {side: own[kind][side] for side in ("below", "above")} for kind in KINDS},
        }
        print(name, own, flush=True)
    content = {"what": WHAT, "weights": entries}
    (MODELS / "calibration.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    result = {
        "what": "two temperatures fitted on images that a network was trained on. Siblings: expected calibration error "
        "(15 bins, all pixels, native size) on the fold that it has not seen, before and after. Shipped: what is in "
        "models/calibration.json, and the error on the images of the fit",
        "network": options.network, "siblings": siblings,
        "mean_ece": {name: round(float(np.mean([s["ece"][name] for s in siblings.values()])), 5)
                     for name in ("before", "after")},
        "shipped": shipped, "versions": package_versions(),
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(result["mean_ece"])


if __name__ == "__main__":
    main()
