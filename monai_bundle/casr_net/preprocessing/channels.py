"""The network's input from a grey image, as a function of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .field import fill_outside
from .filters import SHARES, ben_graham, clahe_levels

__all__ = ["CHANNELS", "network_channels"]

CHANNELS = ("grey", "clahe", "ben_graham", "zero")

_SCALED = SHARES * 2 - 1


def network_channels(
    grey: np.ndarray,
    field: np.ndarray,
    channels: Sequence[str] = ("grey", "clahe", "ben_graham"),
    clip_limit: float = 2.0,
    tiles: int = 8,
    alpha: float = 4.0,
    sigma_fraction: float = 1 / 30,
) -> np.ndarray:
    """Chosen channels of one grey image, scaled to [-1, 1].

    Args:
        grey: (X, Y) in [0, 1].
        field: bool (X, Y), True inside the exposed field.
        channels: any of :data:`CHANNELS`, in order.
        clip_limit, tiles: of :func:`casr_net.preprocessing.clahe`.
        alpha, sigma_fraction: of :func:`casr_net.preprocessing.ben_graham`.

    Returns:
        float32 (C, X, Y).
    """
    grey = fill_outside(np.asarray(grey, np.float32), field)
    result = np.empty((len(channels), *grey.shape), np.float32)
    for name, part in zip(channels, result, strict=True):
        if name == "clahe":
            cv2.LUT(clahe_levels(grey, clip_limit, tiles), _SCALED, dst=part)
        elif name == "zero":
            part[...] = 0
        else:
            value = grey if name == "grey" else ben_graham(grey, field, alpha, sigma_fraction)
            np.multiply(value, 2, out=part)
            part -= 1
    return result
