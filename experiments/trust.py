"""Calibration of the probabilities and the quality score, from images that the network has not seen.

python experiments/trust.py --data ../shared/data --weights STATE/light-teacher-fold0/model.pt \
    [--fit 1=STATE/light-teacher-fold1/model.pt 2=...] --output experiments/results/trust.json

With --fit, slope, intercept and quality model are fitted on those folds, each by the network that held it out, and
reported on --fold. Without, they are fitted on one half of the fold's patient groups and reported on the other, both
ways round, which is little data; what is stored as the fit comes from the whole fold then.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from casr_net.evaluation.metrics import dice
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.refinement.contours import RefinementParameters, refine
from casr_net.uncertainty.platt import LogitCalibration, calibration_error, fit_calibration
from casr_net.uncertainty.quality import (
    FEATURES,
    QualityModel,
    fit_quality,
    quality_features,
    risk_coverage,
    soft_dice_confidence,
)
from casr_net.uncertainty.temperature import TwoTemperatures, fit_temperatures
from evidence_differences import groups_of
from probabilities import folds_of, maps

KINDS = {"before": "network", "platt": "slope and intercept", "temperature": "temperature", "sides": "two temperatures"}
UNSURE = (0.05, 0.95)  # most pixels are plain background: the error where the network is not sure is given too


class Seen(NamedTuple):
    """One image that its network has not seen."""

    name: str
    group: str
    probability: np.ndarray
    reference: np.ndarray
    mask: np.ndarray
    dice: float
    promised: float
    features: np.ndarray


class Fit(NamedTuple):
    """What is fitted."""

    platt: LogitCalibration
    temperature: LogitCalibration
    sides: TwoTemperatures
    quality: QualityModel


def collect(options: argparse.Namespace, weights: Path, fold: int, groups: dict[str, str]) -> list[Seen]:
    found = []
    items = maps(options.data, weights, [fold], options.cache, options.count, tuple(options.config), options.tta)
    for item in items:
        mask = refine(item.probability, RefinementParameters())
        features = quality_features(item.probability)
        quality = dice(mask, item.reference)
        promised = soft_dice_confidence(item.probability, mask)
        found.append(
            Seen(item.name, groups[item.name], item.probability, item.reference, mask, quality, promised, features)
        )
    return found


def fitted(images: list[Seen]) -> Fit:
    probabilities, references = [i.probability for i in images], [i.reference for i in images]
    return Fit(
        fit_calibration(probabilities, references),
        fit_calibration(probabilities, references, intercept=False),
        fit_temperatures(probabilities, references),
        fit_quality(np.array([i.features for i in images]), [i.dice for i in images]),
    )


def crossed(seen: dict[int, list[Seen]]) -> tuple[list[tuple[list[Seen], Fit]], str]:
    """Images, and a fit on others, for each fold, or for both halves of the only one; and how, in words."""
    parts = [*seen.values()]
    if len(seen) > 1:
        how = f"fitted on all but one of the folds {', '.join(map(str, seen))} and reported on that one, all ways round"
    else:
        ((fold, images),) = seen.items()
        groups = sorted({image.group for image in images})
        parts = [[i for i in images if groups.index(i.group) % 2 == half] for half in (0, 1)]
        how = f"fitted on half of fold {fold}'s patient groups, reported on the other half, both ways round"
    how += "; the stored fit is that on all of them, which nothing is reported for"
    return [(own, fitted([i for other in parts if other is not own for i in other])) for own in parts], how


def set_of(image: Seen) -> str:
    return image.name.partition("/")[0]


def ranked(scores: dict[str, list[float]], dices: list[float], chosen: Sequence[int]) -> dict[str, float | None]:
    """Spearman's rank correlation of each score with Dice over the chosen images; None of fewer than two."""
    if len(chosen) < 2:
        return dict.fromkeys(scores)
    truth = [dices[at] for at in chosen]
    return {
        name: round(float(spearmanr([values[at] for at in chosen], truth).statistic), 3)
        for name, values in scores.items()
    }


def report(pairs: list[tuple[list[Seen], Fit]]) -> dict[str, Any]:
    """Errors of fits on images that took no part in them."""
    images = [image for own, _ in pairs for image in own]
    truth = np.concatenate([image.reference.ravel() for image in images])
    raw = np.concatenate([image.probability.ravel() for image in images])
    unsure = (raw > UNSURE[0]) & (raw < UNSURE[1])
    calibration: dict[str, Any] = {"share_unsure": round(float(unsure.mean()), 4)}
    for name in KINDS:
        values = raw
        if name != "before":
            parts = [getattr(fit, name)(image.probability).ravel() for own, fit in pairs for image in own]
            values = np.concatenate(parts)
        error, diagram = calibration_error(values, truth)
        calibration[name] = {
            "ece": round(error, 5), "ece_unsure": round(calibration_error(values[unsure], truth[unsure])[0], 5),
            "diagram": [[round(v, 5) for v in row] for row in diagram],
        }  # fmt: skip
    dices = [image.dice for image in images]
    predicted = [fit.quality.of_features(image.features) for own, fit in pairs for image in own]
    calibrated = [soft_dice_confidence(fit.sides(i.probability), i.mask) for own, fit in pairs for i in own]
    scores = {
        "predicted Dice": predicted, "soft Dice confidence": [image.promised for image in images],
        "soft Dice confidence, calibrated": calibrated,
        "entropy score (negative)": [-image.features[1] for image in images],
    }  # fmt: skip
    coverage, risk, area = risk_coverage(predicted, dices)
    quality = {
        "features": list(FEATURES), "mean_absolute_error": round(float(np.abs(np.array(predicted) - dices).mean()), 4),
        "mean_absolute_error_of_soft_dice_confidence": round(
            float(np.abs(np.array([image.promised for image in images]) - dices).mean()), 4
        ),
        "mean_absolute_error_of_calibrated": round(float(np.abs(np.array(calibrated) - dices).mean()), 4),
        "mean_absolute_error_of_the_mean": round(float(np.abs(np.mean(dices) - np.array(dices)).mean()), 4),
        "spearman": ranked(scores, dices, range(len(images))),
        "spearman_within": {
            dataset: ranked(scores, dices, [at for at, image in enumerate(images) if set_of(image) == dataset])
            for dataset in sorted({set_of(image) for image in images})
        },
        "area_under_risk_coverage": {
            **{name: round(risk_coverage(s, dices)[2], 5) for name, s in scores.items()},
            "best possible": round(risk_coverage(dices, dices)[2], 5), "no score": round(1 - float(np.mean(dices)), 5),
        },
        "area": round(area, 5), "coverage": [round(v, 4) for v in coverage], "risk": [round(v, 5) for v in risk],
        "images": [{"name": i.name, "dice": round(i.dice, 4), "predicted": round(p, 4),
                    "promised": round(i.promised, 4)} for i, p in zip(images, predicted, strict=True)],
    }  # fmt: skip
    return {"images": len(images), "calibration": calibration, "quality": quality}


def picture(record: dict[str, Any], path: Path) -> None:
    """Reliability diagram and risk-coverage curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, label in KINDS.items():
        part = record["report"]["calibration"][name]
        x, y, _ = zip(*part["diagram"], strict=True)
        left.plot(x, y, marker="o", markersize=4, label=f"{label}, ECE {part['ece']:.4f}")
    left.set(xlabel="mean probability", ylabel="share of vessel pixels", title="Reliability", xlim=(0, 1), ylim=(0, 1))
    left.legend(loc="upper left", fontsize=9)
    quality = record["report"]["quality"]
    dices, promised = ([i[name] for i in quality["images"]] for name in ("dice", "promised"))
    best, plain = risk_coverage(dices, dices), risk_coverage(promised, dices)
    right.plot(quality["coverage"], quality["risk"], label="predicted Dice")
    right.plot(plain[0], plain[1], label="soft Dice confidence")
    right.plot(best[0], best[1], color="0.5", linestyle="--", label="best possible")
    right.axhline(quality["risk"][-1], color="0.7", linewidth=1, label="no score")
    right.set(xlabel="share of the images kept", ylabel="mean of 1 - Dice of those kept", title="Risk and coverage")
    right.legend(loc="best", fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", required=True, metavar="FOLD=WEIGHTS", help="of what held FOLD out")
    parser.add_argument("--config", nargs="*", default=[], help="overlays of inference.json")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--count", type=int, help="at most so many images of each data set and fold")
    parser.add_argument("--network", default="", help="what the weights are, for the record")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/probabilities"))
    options = parser.parse_args()
    groups = groups_of(options.data)
    weights = folds_of(options.weights)
    seen = {fold: collect(options, path, fold, groups) for fold, path in weights.items()}
    images = [image for own in seen.values() for image in own]
    pairs, how = crossed(seen)
    fit = fitted(images)
    record = {
        "what": "probability of vessel against its frequency (ECE: 15 bins, pooled over all pixels at native size), "
        "and the prediction of the refined mask's Dice from the probability map",
        "how": how, "network": options.network, "tta": options.tta,
        "weights_sha256": {str(fold): sha256(path) for fold, path in weights.items()},
        "fit": {"platt": {"slope": round(fit.platt.slope, 4), "intercept": round(fit.platt.intercept, 4)},
                "temperature": {"slope": round(fit.temperature.slope, 4), "intercept": 0.0},
                "sides": {name: round(value, 4) for name, value in dataclasses.asdict(fit.sides).items()},
                "quality": fit.quality.record()},
        "report": report(pairs), "versions": package_versions(),
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    picture(record, options.output.with_suffix(".png"))
    calibration, quality = record["report"]["calibration"], record["report"]["quality"]
    print({name: calibration[name]["ece"] for name in KINDS}, quality["spearman"],
          quality["area_under_risk_coverage"], quality["mean_absolute_error"])  # fmt: skip


if __name__ == "__main__":
    main()
