"""Write monai_bundle/models/calibration.json, and how well it fits the weights that ship.

python experiments/shipped_calibration.py --data ../shared/data

The temperatures are those of results/trust.json and trust_tta.json: of networks of the same kind, each on the fold that
it had not seen. The weights that ship have seen all folds, so that none can be fitted for themselves; the errors in
results/shipped_calibration.json are on images that they were trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.uncertainty.platt import calibration_error
from casr_net.uncertainty.temperature import TwoTemperatures
from evidence_differences import RESULTS
from probabilities import maps
from tables import ROOT

MODELS = ROOT / "monai_bundle" / "models"
RECORDS = {"single": "trust", "tta": "trust_tta"}
WHAT = """\
by the digest of a file of weights: what logits below and above 0 are multiplied by, so that probability maps are \
calibrated (casr_net.uncertainty.TwoTemperatures); for one run of the network, and for the mean over mirror images"""


def content(records: dict[str, dict[str, Any]], weights: Path) -> dict[str, Any]:
    """Of the file: the stored fits of the records, for these weights."""
    fits: dict[str, Any] = {kind: record["fit"]["sides"] for kind, record in records.items()}
    about = {"file": weights.name, "fitted_with": records["single"]["network"], "how": records["single"]["how"]}
    return {"what": WHAT, "weights": {sha256(weights): {**about, **fits}}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--count", type=int, help="at most so many images of each data set")
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    records = {kind: json.loads((RESULTS / f"{name}.json").read_text()) for kind, name in RECORDS.items()}
    weights = MODELS / "model.pt"
    made = content(records, weights)
    (MODELS / "calibration.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    errors, number = {}, 0
    for kind in RECORDS:
        calibration = TwoTemperatures(**made["weights"][sha256(weights)][kind])
        seen = [*maps(options.data, weights, [options.fold], options.cache, options.count, tta=kind == "tta")]
        raw, truth = (np.concatenate([part.ravel() for part in parts]) for parts in zip(
            *((item.probability, item.reference) for item in seen), strict=True))  # fmt: skip
        errors[kind] = {
            name: round(calibration_error(values, truth)[0], 5)
            for name, values in (("before", raw), ("after", calibration(raw)))
        }
        number = len(seen)
    result = {
        "what": "expected calibration error (15 bins, all pixels, native size) of the weights that ship, as they are "
        "and calibrated, on images that they were trained on",
        "weights_sha256": sha256(weights), "fold": options.fold, "images": number, "ece": errors,
        "versions": package_versions(),
    }  # fmt: skip
    (RESULTS / "shipped_calibration.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(errors)


if __name__ == "__main__":
    main()
