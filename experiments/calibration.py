"""Calibration of the MONAI Label app's uncertainty, and how well its scores tell good masks from bad ones.

PYTHONPATH=monai_bundle/label_app:monai_bundle .venv-label/bin/python experiments/calibration.py \
    --data ../shared/data --weights runs/fold1/model.pt --fold 1 --output monai_bundle/label_app/calibration.json

The weights must never have seen the fold. The app's own inference gives every image's probability (one run), the mean
over four mirrored copies, and its three scores. Slope and intercept (Platt) are fitted on all images of the fold; the
calibration errors are those of fits on the other half of the patient groups. A temperature alone is given beside it.
Afterwards, with ``--weights monai_bundle/models/model.pt --transfer``, it is measured how that fits to the shipped
weights.
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
from casr_label.state import PlattRecord
from scipy.stats import spearmanr

from casr_net.evaluation.metrics import dice
from casr_net.files.masks import read_mask
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases
from casr_net.uncertainty.entropy import entropy_score
from casr_net.uncertainty.platt import calibration_error, fit_calibration

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
        tta, _ = mirrored_mean(task, path, 0, {**options, "refine": False})
        found.append(
            {
                **case, "truth": label, "single": result.probability, "tta": tta.astype(np.float32),
                "dice": dice(result.mask, label),
                "dropout": dropout.score("", path, 0, {**options, "refine": False}),
                "disagreement": disagreement.score("", path, 0, options),
            }
        )  # fmt: skip
        print(f"{number + 1}/{len(cases)} {case['name']} Dice {found[-1]['dice']:.3f}", flush=True)
    return found


def errors(cases: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Calibration errors before and after, with fits on the other half of the patient groups."""
    halves = [[c for c in cases if c["half"] == half] for half in (0, 1)]
    before, after, temperature, truth = [], [], [], []
    for own, other in (halves, halves[::-1]):
        maps, labels = [c[kind] for c in other], [c["truth"] for c in other]
        full, simple = fit_calibration(maps, labels), fit_calibration(maps, labels, intercept=False)
        for case in own:
            before.append(case[kind].astype(np.float32).ravel())
            after.append(full(case[kind]).ravel())
            temperature.append(simple(case[kind]).ravel())
            truth.append(case["truth"].ravel())
    p, q, s, t = map(np.concatenate, (before, after, temperature, truth))
    unsure = (p > UNSURE[0]) & (p < UNSURE[1])
    found = {"share_unsure": round(float(unsure.mean()), 4)}
    for name, values in (("before", p), ("after", q), ("temperature_only", s)):
        found[name] = round(calibration_error(values, t)[0], 5)
        found[f"{name}_unsure"] = round(calibration_error(values[unsure], t[unsure])[0], 5)
    return found


def transfer(cases: list[dict[str, Any]], weights: Path, calibration: PlattRecord) -> dict[str, dict[str, float]]:
    """Calibration errors of other weights, as they are and with this calibration."""
    task, options = CASRInferTask(str(BUNDLE), {}, weights), {**checked_request({"device": "cpu"}), "refine": False}
    maps: dict[str, list[np.ndarray]] = {"single": [], "tta": []}
    for case in cases:
        maps["single"].append(task.segment_frame(case["image"], 0, options).probability.ravel())
        maps["tta"].append(mirrored_mean(task, case["image"], 0, options)[0].ravel())
    truth = np.concatenate([read_mask(case["label"])[..., 0].ravel() for case in cases])
    found = {}
    for kind, fit in (("single", calibration.single), ("tta", calibration.tta)):
        p = np.concatenate(maps[kind]).astype(np.float32)
        unsure = (p > UNSURE[0]) & (p < UNSURE[1])
        found[kind] = {
            "before": round(calibration_error(p, truth)[0], 5), "after": round(calibration_error(fit(p), truth)[0], 5),
            "before_unsure": round(calibration_error(p[unsure], truth[unsure])[0], 5),
            "after_unsure": round(calibration_error(fit(p[unsure]), truth[unsure])[0], 5),
        }  # fmt: skip
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
    parser.add_argument(
        "--transfer", action="store_true", help="only add to the output how its calibration fits to these weights"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.transfer:
        there = json.loads(options.output.read_text(encoding="utf-8"))
        chosen = load_cases(options.data, only_folds=[options.fold], limit=options.limit)
        errors_there = transfer(chosen, options.weights, PlattRecord.of_record(there["calibration"]))
        there["shipped_weights"] = {
            "what": "the same on the shipped weights, which have been trained on these images",
            "weights_sha256": sha256(options.weights), "images": len(chosen), "calibration_error": errors_there,
        }  # fmt: skip
        options.output.write_text(json.dumps(there, indent=1) + "\n", encoding="utf-8")
        return
    cases = collect(load_cases(options.data, only_folds=[options.fold], limit=options.limit), options.weights)
    group = groups(options.data)
    names = sorted({group[case["name"]] for case in cases})
    for case in cases:
        case["half"] = names.index(group[case["name"]]) % 2
    kinds = ("single", "tta")
    truths = [case["truth"] for case in cases]
    calibration = PlattRecord(*(fit_calibration([c[kind] for c in cases], truths) for kind in kinds))
    dice = [case["dice"] for case in cases]
    for case in cases:
        case["entropy"] = entropy_score(calibration.tta(case["tta"]))

    def correlation(kind: str, dataset: str) -> float | None:
        pairs = [(case[kind], case["dice"]) for case in cases if case["dataset"] == dataset]
        found = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        return None if np.isnan(found) else round(found, 3)

    sets = sorted({case["dataset"] for case in cases})
    record = {
        "what": "slope and intercept of the logit of vessel (Platt 1999), native size, all pixels, every image "
        "with the same weight; calibration errors pooled over the pixels, cross-fitted on halves of the patient groups",
        "network": options.network, "weights_sha256": sha256(options.weights), "fold": options.fold,
        "images": len(cases), "mean_dice": round(float(np.mean(dice)), 4), "calibration": calibration.record(),
        "calibration_error": {kind: errors(cases, kind) for kind in kinds},
        "spearman_of_score_and_dice": {
            score: {name: correlation(score, name) for name in sets} for score in ("entropy", "dropout", "disagreement")
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} hyperthreads",
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
