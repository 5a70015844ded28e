"""A blurred cylinder fitted to profiles across a vessel, and what the fits tell of the image: its blur.

All radii and shifts of a grid are tried at once, as products of matrices: no iteration that might not converge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chord import RADII, chords
from .profiles import ACROSS

__all__ = ["BLUR", "Fit", "fit_blur", "fit_cylinders"]

BLUR = 1.2
"""Standard deviation of the blur in pixels where no vessel is wide enough to tell it. Our choice."""
BLURS = np.arange(0.6, 2.61, 0.2)
WIDE = 2.5
"""Least radius of a vessel that tells the blur, in pixels. Our choice."""
PROFILES = 300
"""Most profiles that the blur is taken from."""
MARGIN = 2.5
"""Background that a profile holds on each side of the vessel, in pixels beyond three blurs. Our choice."""
SHIFTS = np.arange(-1.5, 1.51, 0.5)
"""Distances of the cylinder's axis from the line, in pixels."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Fits of n profiles; NaN where none was possible.

    Attributes:
        radius, shift: float (n,), of the cylinder and its axis's distance to the left of the line, in pixels.
        density: float (n,), attenuation a pixel of thickness.
        area: float (n,), attenuation above the background, summed across the vessel: density times cross-section.
        misfit: float (n,), share of the profile's variance around its background line that is not explained.
        noise: float (n,), standard deviation of what is not explained.
    """

    radius: np.ndarray
    shift: np.ndarray
    density: np.ndarray
    area: np.ndarray
    misfit: np.ndarray
    noise: np.ndarray


def fit_cylinders(
    stack: np.ndarray,
    offset: np.ndarray,
    radius: np.ndarray,
    blur: float,
    density: tuple[np.ndarray, float] | None = None,
    margin: float = MARGIN,
) -> Fit:
    """Fit a cylinder on a linear background to each profile.

    Thin vessels show their cross-section times density only: at a tenth less radius and a fifth more density the
    profile is the same. So for them the density has to be known, from wider places of the same vessel.

    Args:
        stack: float (n, m), profiles; NaN where there is none.
        offset: (m,), of its columns.
        radius: (n,), about the vessel's.
        blur: standard deviation in pixels.
        density: (n,), what it is likely to be, NaN where nothing is known, and the standard deviation of its logarithm.
        margin: background on each side, in pixels beyond three blurs.
    """
    count = len(stack)
    result = {name: np.full(count, np.nan) for name in ("radius", "shift", "density", "area", "misfit", "noise")}
    expected, spread = (np.full(count, np.nan), 1.0) if density is None else density
    classes = np.round(3 * np.log2(np.maximum(radius, 0.5))).astype(int)
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        size = 2 ** (number / 3)
        inside = np.abs(offset) <= size + 3 * blur + margin
        part = stack[np.ix_(rows, np.flatnonzero(inside))].astype(np.float32)
        whole = np.isfinite(part).all(axis=1)
        if whole.any():
            found = _fit(part[whole], offset[inside], size, blur, expected[rows[whole]], spread)
            for name, values in found.items():
                result[name][rows[whole]] = values
    return Fit(**result)


def _fit(
    part: np.ndarray, offset: np.ndarray, size: float, blur: float, expected: np.ndarray, spread: float
) -> dict[str, np.ndarray]:
    radii = RADII * blur
    index = np.flatnonzero((radii >= 0.2 * min(size, 2.5)) & (radii <= 1.6 * size + 1.5))
    radii = radii[index]
    templates = chords(offset - SHIFTS[:, None], index, blur).swapaxes(0, 1).reshape(-1, len(offset))
    basis = np.linalg.qr(np.stack([np.ones_like(offset), offset], axis=1))[0].astype(np.float32)
    flat = (templates - (templates @ basis) @ basis.T).astype(np.float32)
    rest = part - (part @ basis) @ basis.T
    norms = (flat**2).sum(axis=1)
    energy = (rest**2).sum(axis=1)
    product = rest @ flat.T
    density = product / norms
    left = np.maximum(energy[:, None] - np.where(product > 0, product, 0) ** 2 / norms, 1e-12)
    # Samples across are closer than the noise's own grain of about a pixel: so many are independent.
    freedom = max(len(offset) * ACROSS - 4, 3)
    variance = left.min(axis=1) / freedom * ACROSS
    price = left * ACROSS / (2 * np.maximum(variance, 1e-12)[:, None])
    told = np.isfinite(expected) & (expected > 0)
    if told.any():
        unsure = variance[told, None] / ACROSS / norms / np.maximum(density[told], 1e-9) ** 2
        off = np.log(np.maximum(density[told], 1e-9) / expected[told, None])
        price[told] += off**2 / (2 * (spread**2 + unsure)) + 0.5 * np.log(spread**2 + unsure)
    price[product <= 0] = np.inf
    rows = np.arange(len(part))
    cube = price.reshape(len(part), len(SHIFTS), len(radii))
    best = price.argmin(axis=1)
    shift, at = np.unravel_index(best, cube.shape[1:])
    log_radius = np.log(radii[at]) + np.log(radii[1] / radii[0]) * _vertex(cube, rows, shift, at, 2)
    moved = SHIFTS[shift] + (SHIFTS[1] - SHIFTS[0]) * _vertex(cube, rows, shift, at, 1)
    # Where the radius slides between grid points at the same area, so does the density.
    area = density[rows, best] * np.pi * radii[at] ** 2
    radius = np.exp(log_radius)
    found = product[rows, best] > 0
    return {
        "radius": np.where(found, radius, np.nan),
        "shift": np.where(found, moved, np.nan),
        "density": np.where(found, area / (np.pi * radius**2), np.nan),
        "area": np.where(found, area, np.nan),
        "misfit": np.where(found, left[rows, best] / np.maximum(energy, 1e-12), np.nan),
        "noise": np.where(found, np.sqrt(left[rows, best] / len(offset)), np.nan),
    }


def _vertex(cube: np.ndarray, rows: np.ndarray, shift: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Offset of the parabola's vertex from a minimum, in steps, along one axis of the grid; 0 at its border."""
    last = cube.shape[axis] - 1
    middle = np.clip(shift if axis == 1 else at, 1, last - 1)
    inner = middle == (shift if axis == 1 else at)

    def value(step: int) -> np.ndarray:
        return cube[rows, middle + step, at] if axis == 1 else cube[rows, shift, middle + step]

    before, here, after = value(-1), value(0), value(1)
    with np.errstate(invalid="ignore"):
        bend = before - 2 * here + after
        usable = inner & np.isfinite(bend) & (bend > 0)
        return np.where(usable, np.clip(0.5 * (before - after) / np.where(usable, bend, 1), -0.5, 0.5), 0)


def fit_blur(stack: np.ndarray, offset: np.ndarray, radius: np.ndarray) -> float | None:
    """The blur with which cylinders explain the profiles of wide vessels best; None where there are too few.

    Args:
        stack, offset, radius: as for :func:`fit_cylinders`, of places where nothing else disturbs.
    """
    wide = np.flatnonzero((radius >= WIDE) & np.isfinite(stack).all(axis=1))
    if len(wide) < 20:
        return None
    wide = wide[np.linspace(0, len(wide) - 1, min(len(wide), PROFILES)).astype(int)]
    misfit = []
    for blur in BLURS:
        # The same piece of each profile for every blur, or their residuals would not compare.
        margin = MARGIN + 3 * float(BLURS[-1] - blur)
        fit = fit_cylinders(stack[wide], offset, radius[wide], float(blur), margin=margin)
        misfit.append(float(np.nanmedian(fit.misfit)) if np.isfinite(fit.misfit).any() else np.inf)
    at = int(np.argmin(misfit))
    if not 0 < at < len(BLURS) - 1:
        return float(BLURS[at])
    before, here, after = misfit[at - 1 : at + 2]
    if not np.isfinite([before, here, after]).all():
        return float(BLURS[at])
    return float(BLURS[at] + 0.2 * 0.5 * (before - after) / max(before - 2 * here + after, 1e-12))
