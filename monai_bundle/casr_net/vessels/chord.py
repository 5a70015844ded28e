"""How a vessel of round cross-section looks across its course: the chord of a circle, blurred.

The length of a ray through a cylinder of radius r at the distance u from its axis is 2 sqrt(r^2 - u^2). Focal spot,
detector and motion blur it; a Gaussian stands for all of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

__all__ = ["RADII", "chords", "half_width_of_edges", "radius_of_edges"]

RADII = 0.1 * 1.08 ** np.arange(79)
"""Radii in blurs that profiles are known for: to 40, each 8 % above the one before."""
_FINE = 1 / 16  # of the blur: grid of the profiles
_REACH = float(RADII[-1]) + 8
_LARGEST = 24.0  # largest radius in blurs that edges are corrected for; beyond, nothing is left to correct


@lru_cache(maxsize=1)
def _profiles() -> np.ndarray:
    """(radii, offsets from 0 on), chords of cylinders blurred by a Gaussian of standard deviation 1."""
    count = int(_REACH / _FINE)
    edges = (np.arange(-count, count + 2) - 0.5) * _FINE
    # The mean over each cell, from the integral, as the chord is steep at its ends.
    share = np.clip(edges[None] / RADII[:, None], -1, 1)
    integral = RADII[:, None] ** 2 * (share * np.sqrt(1 - share**2) + np.arcsin(share))
    return gaussian_filter1d(np.diff(integral, axis=1) / _FINE, 1 / _FINE, axis=1, truncate=6)[:, count:]


def chords(offset: np.ndarray, index: np.ndarray, blur: float) -> np.ndarray:
    """Chord of cylinders, convolved with a Gaussian.

    Args:
        offset: (...), distance from the axis, any sign.
        index: (k,), of the radii in :data:`RADII`, which are in blurs.
        blur: standard deviation of the Gaussian, above 0, in the unit of the offset.

    Returns:
        float (k, ...), in the same unit.
    """
    table = _profiles()
    at = np.minimum(np.abs(np.asarray(offset, float)) / (blur * _FINE), table.shape[1] - 1.001)
    low = at.astype(int)
    rows = table[index]
    return (rows[:, low] * (1 - (at - low)) + rows[:, low + 1] * (at - low)) * blur


@lru_cache(maxsize=1)
def _edge_table() -> tuple[np.ndarray, np.ndarray]:
    """Radii in blurs, and where the mean of the two derivatives' extrema lies for each, in blurs; both rising."""
    used = (RADII > 0.4) & (RADII < _LARGEST)
    found = []
    for profile in _profiles()[used]:
        first = np.gradient(profile)
        second = np.gradient(first)
        steepest = int(np.argmin(first))
        sharpest = steepest + int(np.argmax(second[steepest:]))
        found.append(_FINE * (_vertex(-first, steepest) + _vertex(second, sharpest)) / 2)
    return RADII[used], np.maximum.accumulate(found) + 1e-6 * np.arange(len(found))


def _vertex(values: np.ndarray, index: int) -> float:
    """Place of the maximum by the parabola through three samples."""
    before, at, after = values[index - 1 : index + 2]
    return index + 0.5 * float(before - after) / float(before - 2 * at + after)


def half_width_of_edges(radius: np.ndarray, blur: float) -> np.ndarray:
    """Where the edges of a blurred cylinder are found, from its axis; see :func:`radius_of_edges`."""
    radii, found = _edge_table()
    scaled = np.asarray(radius, float) / blur
    inside = np.interp(scaled, radii, found)
    return np.where(scaled > radii[-1], scaled + found[-1] - radii[-1], inside) * blur


def radius_of_edges(half_width: np.ndarray, blur: float) -> np.ndarray:
    """The radius of the cylinder whose edges are found at ``half_width``.

    An edge is the mean of the places where the first derivative of the profile is steepest and where its second
    derivative is largest outside of that. For a blurred cylinder this is not the radius: too large for thin vessels,
    whose edges stay apart by the blur however thin they are.

    Args:
        half_width: half the distance of both edges.
        blur: standard deviation of the Gaussian, of the image's blur and the derivative's together.
    """
    radii, found = _edge_table()
    scaled = np.asarray(half_width, float) / blur
    inside = np.interp(scaled, found, radii)
    return np.where(scaled > found[-1], scaled - found[-1] + radii[-1], inside) * blur
