"""How good a mask probably is, told from the probability map alone: a prediction of its Dice coefficient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .entropy import entropy_score

__all__ = ["FEATURES", "QualityModel", "fit_quality", "quality_features", "risk_coverage", "soft_dice_confidence"]

FEATURES = ("soft_dice", "entropy", "mean_inside", "unsure", "vessel_fraction")
UNSURE = (0.05, 0.95)
RIDGE = 1.0  # penalty of the standardised coefficients, against few images. Our choice.


def soft_dice_confidence(probability: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Dice coefficient that the probabilities themselves promise a mask: ``2 sum(p m) / (sum(p) + sum(m))``.

    Borges, Ferreira and Silva: Selective prediction for semantic segmentation (arXiv 2402.10665), the soft Dice
    confidence.

    Args:
        probability: in [0, 1], of any shape.
        mask: of the same shape, vessel where not 0; None takes the pixels of at least a half.

    Returns:
        0 to 1; 0 for an empty mask, whose Dice cannot be promised.
    """
    p = np.asarray(probability, np.float64)
    m = p >= 0.5 if mask is None else np.asarray(mask) != 0
    if not m.any():
        return 0.0
    return float(2 * p[m].sum() / (p.sum() + m.sum()))


def quality_features(probability: np.ndarray) -> np.ndarray:
    """What :class:`QualityModel` goes by, float64, in the order of :data:`FEATURES`.

    soft_dice: :func:`soft_dice_confidence`; entropy: :func:`entropy_score`; mean_inside: mean probability where it is
    at least a half; unsure: pixels between 0.05 and 0.95 as a share of the mask's and these; vessel_fraction: natural
    logarithm of the mask's share of the pixels, bounded at one in 10,000.
    """
    p = np.asarray(probability, np.float32)
    mask, unsure = p >= 0.5, (p > UNSURE[0]) & (p < UNSURE[1])
    inside = float(p[mask].mean()) if mask.any() else 0.5
    any_vessel = int((mask | unsure).sum())
    share = float(unsure.sum()) / any_vessel if any_vessel else 1.0
    return np.array(
        [soft_dice_confidence(p), entropy_score(p), inside, share, np.log(max(float(mask.mean()), 1e-4))], np.float64
    )


@dataclass(frozen=True)
class QualityModel:
    """A linear prediction of the Dice coefficient from :func:`quality_features`.

    Attributes:
        coefficients: of the features, in the order of :data:`FEATURES`.
        intercept: of the prediction.
        low, high: range of each feature among the images of the fit; beyond it, a feature counts as its limit.
    """

    coefficients: tuple[float, ...]
    intercept: float
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, probability: np.ndarray) -> float:
        """Predicted Dice, 0 to 1, of the mask that a probability map gives."""
        return self.of_features(quality_features(probability))

    def of_features(self, features: np.ndarray) -> float:
        """The same of features that are there already."""
        x = np.clip(features, self.low, self.high)
        return float(np.clip(self.intercept + x @ np.asarray(self.coefficients), 0, 1))

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "features": list(FEATURES), "coefficients": [round(value, 6) for value in self.coefficients],
            "intercept": round(self.intercept, 6), "low": [round(value, 6) for value in self.low],
            "high": [round(value, 6) for value in self.high],
        }  # fmt: skip

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> QualityModel:
        """Read back what :meth:`record` gave.

        Raises:
            DataError: for a record of other features, or with a value missing.
        """
        names = ("coefficients", "low", "high")
        if list(record.get("features", [])) != list(FEATURES) or any(
            len(record.get(name, [])) != len(FEATURES) for name in names
        ):
            raise DataError(f"quality model of features {record.get('features')}; expected {', '.join(FEATURES)}.")
        parts = [tuple(float(value) for value in record[name]) for name in names]
        return cls(parts[0], float(record["intercept"]), parts[1], parts[2])


def fit_quality(features: np.ndarray, dices: Sequence[float], ridge: float = RIDGE) -> QualityModel:
    """Ridge regression of Dice on the standardised features.

    Args:
        features: (images, features), rows of :func:`quality_features`.
        dices: of the same images' masks.
        ridge: penalty.

    Raises:
        DataError: for fewer than 10 images, or numbers that differ.
    """
    x, y = np.asarray(features, np.float64), np.asarray(dices, np.float64)
    if x.ndim != 2 or x.shape != (len(y), len(FEATURES)) or len(y) < 10:
        raise DataError(f"features of shape {x.shape} and {len(y)} Dice values; at least 10 pairs are needed.")
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = (x - mean) / scale
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(len(FEATURES)), z.T @ (y - y.mean())) / scale
    intercept = float(y.mean() - weights @ mean)
    low, high = x.min(axis=0), x.max(axis=0)
    return QualityModel(tuple(weights.tolist()), intercept, tuple(low.tolist()), tuple(high.tolist()))


def risk_coverage(scores: Sequence[float], dices: Sequence[float]) -> tuple[np.ndarray, np.ndarray, float]:
    """What is left when the images with the lowest scores are given to a human: the risk-coverage curve.

    Args:
        scores: higher is better; equal ones are taken together.
        dices: of the same images.

    Returns:
        coverage: (n,), share of the images that are kept, from 1 / n to 1.
        risk: (n,), mean of 1 - Dice of the kept ones.
        area: mean of the risk over the coverages (AURC; Geifman and El-Yaniv, NeurIPS 2017), lower is better.

    Raises:
        DataError: for no image, or numbers that differ.
    """
    s, loss = np.asarray(scores, np.float64), 1 - np.asarray(dices, np.float64)
    if not len(s) or s.shape != loss.shape:
        raise DataError(f"{len(s)} scores and {len(loss)} Dice values; equal numbers, at least one, are needed.")
    # Images of one score cannot be told apart: each counts as their mean.
    unique, inverse, counts = np.unique(-s, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, loss, len(unique)) / counts
    ordered = np.repeat(means, counts)
    kept = np.arange(1, len(s) + 1)
    risk = np.cumsum(ordered) / kept
    return kept / len(s), risk, float(risk.mean())
