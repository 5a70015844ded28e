"""How well the MONAI Label app's scores tell good masks from bad ones, and how well calibrated its probabilities are.

PYTHONPATH=monai_bundle/label_app:monai_bundle .venv-label/bin/python experiments/label_scores.py \
    --data ../shared/data --weights STATE/baseline-light-fold1/model.pt --fold 1 \
    --output experiments/results/label_scores.json

The weights must never have seen the fold. The app's own inference gives every image's mask, with its mirror images as
the app does it unless it is told otherwise, the probability of one run, the mean over four mirrored copies, and its
four scores. Temperatures (casr_net.uncertainty.TwoTemperatures) are fitted as after a fine-tuning; errors and scores
are those of fits on the other half of the patient groups.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
from pathlib import Path
from typing import Any

import casr_label.shim  # noqa: F401 - before anything of MONAI Label
import numpy as np
import torch
from casr_label.inference import CASRDropoutTask, CASRInferTask
from casr_label.requests import checked_request
from casr_label.scoring import DisagreementScoring, DropoutScoring, mirrored_mean
from casr_label.state import Calibrations
from scipy.stats import spearmanr

from casr_net.evaluation.metrics import dice
from casr_net.files.masks import read_mask
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases
from casr_net.uncertainty.entropy import entropy_score
from casr_net.uncertainty.platt import calibration_error
from casr_net.uncertainty.quality import soft_dice_confidence
from casr_net.uncertainty.temperature import fit_temperatures

BUNDLE = Path(__file__).resolve().parents[1] / "monai_bundle"
UNSURE = (
    0.05,
    0.95,
)  # besides all pixels, the error is given where the network is not sure: most pixels are background


def collect(cases: list[dict[str, Any]], weights: Path) -> list[dict[str, Any]]:
    """Maps and scores of every case."""
    task = CASRInferTask(str(BUNDLE), {}, weights)
    dropout = DropoutScoring(CASRDropoutTask(str(BUNDLE), {}, weights, dropout=DropoutScoring.PROBABILITY))
    disagreement = DisagreementScoring(task)
    options = checked_request({"device": "cpu"})
    found = []
    for number, case in enumerate(cases):
        path = case["image"]
        result, label = task.segment_frame(path, 0, options), read_mask(case["label"])[..., 0]
        single = task.segment_frame(path, 0, {**options, "refine": False}, one_pass=True)
        tta, _ = mirrored_mean(task, path, 0, {**options, "refine": False})
        found.append(
            {
                **case, "truth": label, "single": single.probability, "tta": tta.astype(np.float32),
                "mask": result.mask, "dice": dice(result.mask, label),
                "dropout": dropout.score("", path, 0, {**options, "refine": False}),
                "disagreement": disagreement.score("", path, 0, options),
            }
        )  # fmt: skip
        print(f"{number + 1}/{len(cases)} {case['name']} Dice {found[-1]['dice']:.3f}", flush=True)
    return found


def halves_of(cases: list[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Each half of the patient groups, and the other one."""
    first, second = ([case for case in cases if case["half"] == half] for half in (0, 1))
    return [(first, second), (second, first)]


def errors(cases: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Calibration errors before and after, with fits on the other half of the patient groups."""
    before, after, truth = [], [], []
    for own, other in halves_of(cases):
        fit = fit_temperatures([c[kind] for c in other], [c["truth"] for c in other])
        for case in own:
            before.append(case[kind].astype(np.float32).ravel())
            after.append(fit(case[kind]).ravel())
            truth.append(case["truth"].ravel())
    p, q, t = map(np.concatenate, (before, after, truth))
    unsure = (p > UNSURE[0]) & (p < UNSURE[1])
    found = {"share_unsure": round(float(unsure.mean()), 4)}
    for name, values in (("before", p), ("after", q)):
        found[name] = round(calibration_error(values, t)[0], 5)
        found[f"{name}_unsure"] = round(calibration_error(values[unsure], t[unsure])[0], 5)
    return found


def groups(data: Path) -> dict[str, str]:
    """Patient group of each case, by its name."""
    with open(data / "cases.csv", newline="", encoding="utf-8") as stream:
        return {f"{row['dataset']}/{row['file']}": row["group"] for row in csv.DictReader(stream)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--network", default="", help="what the weights are, for the record")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    cases = collect(load_cases(options.data, only_folds=[options.fold], limit=options.limit), options.weights)
    group = groups(options.data)
    names = sorted({group[case["name"]] for case in cases})
    for case in cases:
        case["half"] = names.index(group[case["name"]]) % 2
    kinds = ("single", "tta")
    truths = [case["truth"] for case in cases]
    calibrations = Calibrations(*(fit_temperatures([c[kind] for c in cases], truths) for kind in kinds))
    for own, other in halves_of(cases):
        tta = fit_temperatures([case["tta"] for case in other], [case["truth"] for case in other])
        for case in own:
            case["entropy"] = entropy_score(tta(case["tta"]))
            case["quality"] = 1 - soft_dice_confidence(tta(case["tta"]), case["mask"])

    def correlation(kind: str, dataset: str) -> float | None:
        pairs = [(case[kind], case["dice"]) for case in cases if case["dataset"] == dataset]
        found = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        return None if np.isnan(found) else round(found, 3)

    sets = sorted({case["dataset"] for case in cases})
    record = {
        "what": "masks with mirror images; two temperatures fitted on the images of a fold that the network has not "
        "seen, native size, all pixels; calibration errors pooled over the pixels, and scores, with fits on the other "
        "half of the patient groups",
        "network": options.network, "weights_sha256": sha256(options.weights), "fold": options.fold,
        "images": len(cases), "mean_dice": round(float(np.mean([case["dice"] for case in cases])), 4),
        "calibration": calibrations.record(),
        "calibration_error": {kind: errors(cases, kind) for kind in kinds},
        "spearman_of_score_and_dice": {
            score: {name: correlation(score, name) for name in sets}
            for score in ("entropy", "dropout", "disagreement", "quality")
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} hyperthreads",
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
