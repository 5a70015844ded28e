"""How much of the attenuation is the vessels': what lies beside them is taken for what lies behind them."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["vessel_depth"]

REACH = 8.0
"""Standard deviation of the Gaussian that carries the background into the vessels, in pixels."""
NOISE = 0.8
"""Standard deviation of the Gaussian that takes noise from the difference, in pixels."""


def vessel_depth(attenuation: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Optical depth of the vessels alone: attenuation less a weighted mean of the background around.

    Args:
        attenuation: float (X, Y), see :func:`casr_net.vessels.vessel_tree`; what is not finite counts as background.
        mask: bool (X, Y).

    Returns:
        float32 (X, Y), 0 or more.
    """
    finite = np.isfinite(attenuation)
    values = np.where(finite, attenuation, 0).astype(np.float32)
    beside = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    weight = (beside & finite).astype(np.float32)
    blurred, total = (cv2.GaussianBlur(array, (0, 0), REACH) for array in (values * weight, weight))
    depth = np.where(finite, np.maximum(values - blurred / np.maximum(total, 1e-3), 0), 0)
    return cv2.GaussianBlur(depth.astype(np.float32), (0, 0), NOISE)
