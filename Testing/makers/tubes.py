"""Tubes of known width and their image."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["SIDE", "tube"]

SIDE, FINE = 128, 4


def tube(
    radius: float, turn: float = 0.3, noise: float = 0.004, narrowed: float = 0.0, half: float = 14.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attenuation and mask (X, Y) of a tube through (64, 64), and two points of its axis."""
    axis = (np.arange(SIDE * FINE) + 0.5) / FINE - 0.5
    x, y = np.meshgrid(axis - 64, axis - 64, indexing="ij")
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    local = radius * (1 - narrowed * np.where(np.abs(along) < half, np.cos(np.pi / 2 * along / half) ** 2, 0))
    chord = 2 * np.sqrt(np.maximum(local**2 - across**2, 0)).reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    mask = (np.abs(across) <= local).reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3)) >= 0.5
    image = gaussian_filter(0.05 * chord, 1.2) + np.random.default_rng(0).normal(0, noise, (SIDE, SIDE))
    image += 0.001 * np.arange(SIDE)[:, None]  # what lies behind
    ends = np.array([[64 + s * np.cos(turn), 64 + s * np.sin(turn)] for s in (-50, 50)])
    return image.astype(np.float32), mask, ends
