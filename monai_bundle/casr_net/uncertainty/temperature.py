"""Temperature scaling that leaves one half where it is, with a temperature on either side of it.

A network that learns by overlap, such as Dice, is too sure of the pixels that it takes for vessel, and less so of the
others: one temperature (Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017) fits neither
side. Platt's intercept fits both, but moves one half: a mask made at a threshold of 0.5 would no longer lie where the
probability is at least 0.5. Two temperatures are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .platt import LogitCalibration, fit_calibration

__all__ = ["TwoTemperatures", "fit_temperatures"]


@dataclass(frozen=True)
class TwoTemperatures:
    """logit -> below * logit where it is negative, above * logit elsewhere; as it is made, it changes nothing.

    Attributes:
        below, above: 1 over the temperature, above 0.
    """

    below: float = 1.0
    above: float = 1.0

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32, of probabilities in [0, 1] of any shape; order and 0.5 are kept."""
        p = np.asarray(probability, np.float32)
        result = LogitCalibration(self.below)(p)
        vessel = p >= 0.5
        result[vessel] = LogitCalibration(self.above)(p[vessel])
        return result


def fit_temperatures(probabilities: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> TwoTemperatures:
    """The temperatures with the lowest mean negative log-likelihood; on a side, all images that reach it count alike.

    Args:
        probabilities: one array an image, in [0, 1].
        labels: of the same shapes, vessel where not 0.

    Raises:
        DataError: for no image, or shapes that differ.
    """
    sides = []
    for side in (False, True):
        chosen = [(np.asarray(p) >= 0.5) == side for p in probabilities]
        maps = [np.asarray(p)[c] for p, c in zip(probabilities, chosen, strict=True)]
        truth = [np.asarray(t)[c] for t, c in zip(labels, chosen, strict=True)]
        there = [place for place, values in enumerate(maps) if values.size]
        known = LogitCalibration()  # where no image reaches a side, nothing is known of it
        if there or not probabilities:
            known = fit_calibration([maps[i] for i in there], [truth[i] for i in there], intercept=False)
        sides.append(known.slope)
    return TwoTemperatures(*sides)
