"""What is measured along a vessel: widths, lesions, and intervals of doubt. Plain records without computation.

All lengths are in pixels; :class:`casr_net.vessels.Scale` turns them into millimetres where it is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BORDER", "BRANCH", "CROSSING", "GAP", "METHODS", "Interval", "Lesion", "Widths"]

METHODS = ("none", "edges", "cylinder", "mask")
"""How a width was found: not at all; by the edges of the profile; by a blurred cylinder that was fitted to it; by the
mask's distance transform, the fallback."""

CROSSING, BRANCH, BORDER, GAP = 1, 2, 4, 8
"""Flags of places where a width is not the vessel's alone: at a crossing, in the rim of a branch point, at the border
of the image or of its exposed field, where two ends were joined over a gap of the mask."""


@dataclass(frozen=True)
class Interval:
    """An interval that is to hold the true value with the probability ``level``."""

    low: float
    high: float
    level: float = 0.9


@dataclass(frozen=True, eq=False)
class Widths:
    """The width of a vessel along its centre line, n samples at equal distance.

    Attributes:
        points: float (n, 2), centre line, x and y.
        along: float (n,), length from its start.
        normals: float (n, 2), unit vectors across the vessel, towards its left contour.
        diameter: float (n,), NaN where there is none.
        left, right: float (n, 2), the contours, NaN where there is no width.
        method: uint8 (n,), index into :data:`METHODS`.
        area: float (n,), densitometric area of the cross-section in square pixels, scaled so that it agrees with the
            diameters where the vessel is not narrowed; NaN where there is none. A second opinion.
        unsure: uint8 (n,), flags CROSSING, BRANCH, BORDER, GAP.
    """

    points: np.ndarray
    along: np.ndarray
    normals: np.ndarray
    diameter: np.ndarray
    left: np.ndarray
    right: np.ndarray
    method: np.ndarray
    area: np.ndarray
    unsure: np.ndarray


@dataclass(frozen=True)
class Lesion:
    """A narrowed stretch of a vessel.

    Attributes:
        index, begin, end: samples of its :class:`Widths`: the narrowest, and its borders.
        position: x and y of the narrowest place.
        mld: minimum lumen diameter.
        reference: reference diameter at that place.
        reference_method: "interpolated" (PS3.17 T.4.2) or "user".
        percent_diameter: 100 (1 - mld / reference).
        percent_area: 100 (1 - (mld / reference)^2), of a round lumen.
        percent_area_densitometric: by the densitometric areas, None where they are not known.
        length: between the borders, along the centre line.
        unsure: why it may be none, words such as "crossing"; empty where nothing speaks against it.
        mld_interval, percent_interval: doubt of mld and percent_diameter, None where it was not asked for.
        rank: from 1, by percent_diameter, sure ones before unsure ones.
    """

    index: int
    begin: int
    end: int
    position: tuple[float, float]
    mld: float
    reference: float
    reference_method: str
    percent_diameter: float
    percent_area: float
    percent_area_densitometric: float | None
    length: float
    unsure: tuple[str, ...] = ()
    mld_interval: Interval | None = None
    percent_interval: Interval | None = None
    rank: int = 0
