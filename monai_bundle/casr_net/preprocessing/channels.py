"""The network's input from a grey image, as a function of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .field import fill_outside
from .filters import ben_graham, clahe

__all__ = ["CHANNELS", "network_channels"]

CHANNELS = ("grey", "clahe", "ben_graham", "zero")


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
        if name == "grey":
            part[...] = grey
        elif name == "clahe":
            part[...] = clahe(grey, clip_limit, tiles)
        elif name == "ben_graham":
            part[...] = ben_graham(grey, field, alpha, sigma_fraction)
        else:
            part[...] = 0.5
    result *= 2
    result -= 1
    return result
