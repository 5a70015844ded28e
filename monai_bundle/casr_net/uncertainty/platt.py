"""Calibration of probabilities by a slope and an intercept of their logits, and how well calibrated they are.

Platt: Probabilistic Outputs for Support Vector Machines, 1999. With an intercept of 0 it is temperature scaling (Guo,
Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017), the slope being 1 over the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError

__all__ = ["INTERCEPTS", "SLOPES", "LogitCalibration", "calibration_error", "fit_calibration"]

SLOPES, INTERCEPTS = (0.2, 5.0), (-3.0, 3.0)
"""Ranges of the fit; what lies outside is no calibration any more. Our choice."""

PIXELS = 50_000  # of each image, drawn for the fit: more change nothing but its duration
_EDGE = 1e-6  # probabilities are kept this far from 0 and 1: float32 has few values beyond, and their logit is infinite


@dataclass(frozen=True)
class LogitCalibration:
    """logit -> slope * logit + intercept; as it is made, it changes nothing."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32, of probabilities in [0, 1] of any shape; their order is kept."""
        if self == LogitCalibration():
            return np.asarray(probability, np.float32)
        return (1 / (1 + np.exp(-(self.slope * _logit(probability) + self.intercept)))).astype(np.float32)


def fit_calibration(
    probabilities: Sequence[np.ndarray], labels: Sequence[np.ndarray], intercept: bool = True
) -> LogitCalibration:
    """The calibration with the lowest mean negative log-likelihood; every image has the same weight.

    Args:
        probabilities: one array an image, in [0, 1].
        labels: of the same shapes, vessel where not 0.
        intercept: False fits a temperature only.

    Returns:
        slope and intercept within :data:`SLOPES` and :data:`INTERCEPTS`.

    Raises:
        DataError: for no image, or shapes that differ.
    """
    from scipy.optimize import (
        minimize,
    )  # takes longer to import than to run, and whoever applies a fit has no need of it

    if not probabilities or [p.shape for p in probabilities] != [t.shape for t in labels]:
        raise DataError(f"{len(probabilities)} probability maps and {len(labels)} labels of equal shapes are needed.")
    rng = np.random.default_rng(0)
    logits, truths, weights = [], [], []
    for probability, label in zip(probabilities, labels, strict=True):
        chosen = rng.permutation(probability.size)[:PIXELS]
        logits.append(_logit(probability.reshape(-1)[chosen]))
        truths.append(label.reshape(-1)[chosen] != 0)
        weights.append(np.full(len(chosen), 1 / (len(chosen) * len(probabilities))))
    x, t, w = np.concatenate(logits), np.concatenate(truths), np.concatenate(weights)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        z = values[0] * x + values[1]
        rest = w * (1 / (1 + np.exp(-z)) - t)
        value = float((w * (np.logaddexp(0, z) - t * z)).sum())
        return value, np.array([float((rest * x).sum()), float(rest.sum())])

    limits = [SLOPES, INTERCEPTS if intercept else (0.0, 0.0)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=limits, method="L-BFGS-B").x
    return LogitCalibration(float(found[0]), float(found[1]))


def calibration_error(probability: np.ndarray, label: np.ndarray, bins: int = 15) -> tuple[float, list[list[float]]]:
    """Expected calibration error of the probability of vessel, and the reliability diagram behind it.

    Args:
        probability: in [0, 1], any shape.
        label: of the same shape, vessel where not 0.
        bins: of equal width.

    Returns:
        error: mean over the pixels of the distance between probability and frequency of vessel, in [0, 1].
        diagram: of each bin that is not empty: mean probability, frequency of vessel, share of the pixels.
    """
    p, t = np.asarray(probability, np.float64).reshape(-1), np.asarray(label).reshape(-1) != 0
    index = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    sums, hits = np.bincount(index, p, bins), np.bincount(index, t, bins)
    filled = counts > 0
    mean, frequency, share = sums[filled] / counts[filled], hits[filled] / counts[filled], counts[filled] / p.size
    diagram = [[float(a), float(b), float(c)] for a, b, c in zip(mean, frequency, share, strict=True)]
    return float((share * np.abs(mean - frequency)).sum()), diagram


def _logit(probability: np.ndarray) -> np.ndarray:
    p = np.clip(np.asarray(probability, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)
