"""Calibration of probabilities by one temperature, and how well calibrated they are.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from .errors import DataError

__all__ = ["TEMPERATURES", "apply_temperature", "calibration_error", "fit_temperature"]

TEMPERATURES = (0.2, 5.0)
"""Range of the fit; what lies outside is no calibration any more. Our choice."""

_EDGE = 1e-6  # probabilities are kept this far from 0 and 1: float32 has few values beyond, and their logit is infinite


def apply_temperature(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logits are divided by a temperature: above 1 less sure, below 1 more; 0.5 stays 0.5.

    Args:
        probability: in [0, 1], any shape.
        temperature: above 0; 1 changes nothing.

    Returns:
        float32 of the same shape.
    """
    if temperature == 1:
        return np.asarray(probability, np.float32)
    logit = _logit(probability) / temperature
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def fit_temperature(probabilities: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The temperature with the lowest mean negative log-likelihood; every image has the same weight.

    Args:
        probabilities: one array an image, in [0, 1].
        labels: of the same shapes, vessel where not 0.

    Returns:
        a temperature within :data:`TEMPERATURES`.

    Raises:
        DataError: for no image, or shapes that differ.
    """
    if not probabilities or [p.shape for p in probabilities] != [t.shape for t in labels]:
        raise DataError(f"{len(probabilities)} probability maps and {len(labels)} labels of equal shapes are needed.")
    # sign * logit is what the network says for the true class.
    margins = [np.where(np.asarray(t) != 0, 1.0, -1.0) * _logit(p) for p, t in zip(probabilities, labels, strict=True)]

    def loss(log_temperature: float) -> float:
        return float(np.mean([np.logaddexp(0, -m / np.exp(log_temperature)).mean() for m in margins]))

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


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
