"""Contours of a straightened vessel: the cheapest way along the extrema of both derivatives of its profiles.

Quantitative coronary angiography takes the mean of the places where the first and the second derivative of the profile
are extreme (Reiber et al., Circulation 71:280, 1985; Fleagle et al., Am. J. Cardiol. 64:1205, 1989), and looks for
smooth contours by a minimum-cost search over neighbouring profiles.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from .chord import radius_of_edges
from .profiles import ACROSS

__all__ = ["DERIVATIVE", "contours", "corrected"]

DERIVATIVE = 0.8
"""Standard deviation of the Gaussian whose derivatives are taken, in pixels. Our choice."""
BEND = 0.5
"""What a contour's step of one sample across costs, in shares of the vessel's strongest edge. Our choice."""
AWAY = 0.15
"""What it costs to lie a radius away from the mask's outline, in the same unit. Our choice."""


def contours(stack: np.ndarray, offset: np.ndarray, radius: np.ndarray, blur: float) -> np.ndarray:
    """Distance of both edges from the line.

    Args:
        stack: float (n, m), profiles, high in the vessel; NaN where there is none.
        offset: (m,), of its columns.
        radius: (n,), about the vessel's, from the mask.
        blur: standard deviation of the image's blur, in pixels.

    Returns:
        float (2, n): of the left and of the right edge, NaN where none was found. Not yet corrected for the blur.
    """
    middle = len(offset) // 2
    filled = _filled(stack)
    first = gaussian_filter1d(filled, DERIVATIVE / ACROSS, axis=1, order=1) / ACROSS
    second = gaussian_filter1d(filled, DERIVATIVE / ACROSS, axis=1, order=2) / ACROSS**2
    known = np.isfinite(stack)
    sides = []
    for sign in (1, -1):
        falls = -sign * first[:, middle:] if sign > 0 else first[:, middle::-1]
        bends = second[:, middle:] if sign > 0 else second[:, middle::-1]
        seen = known[:, middle:] if sign > 0 else known[:, middle::-1]
        sides.append((falls, bends, seen))
    outward = offset[middle:]
    return np.stack([_edge(*side, outward, radius, float(np.hypot(blur, DERIVATIVE))) for side in sides])


def corrected(edges: np.ndarray, blur: float) -> np.ndarray:
    """Radius (n,) of the vessel between edges (2, n), freed from what the blur does to their distance."""
    return radius_of_edges(edges.mean(axis=0), float(np.hypot(blur, DERIVATIVE)))


def _edge(
    falls: np.ndarray, bends: np.ndarray, seen: np.ndarray, outward: np.ndarray, radius: np.ndarray, blur: float
) -> np.ndarray:
    rows = np.arange(len(falls))
    reach = 0.5 * radius + 1.5 * blur + 1
    allowed = (np.abs(outward[None] - radius[:, None]) <= reach[:, None]) & seen
    usable = allowed.any(axis=1)
    allowed[~usable] = True
    strongest = np.maximum(np.where(allowed, falls, 0).max(axis=1), 1e-12)
    # Neighbours share their scale: where a vessel fades for a few profiles, noise must not count as a full edge.
    scale = np.maximum(uniform_filter1d(strongest, min(25, len(strongest)), mode="nearest"), 1e-12)[:, None]
    share = np.abs(outward[None] - radius[:, None]) / (radius[:, None] + blur)
    cost = np.where(allowed, AWAY * share - falls / scale, 1e3)
    way = _cheapest(cost)
    # The steepest place, and beyond it the sharpest bend, each by the parabola through three samples.
    near = np.abs(outward[None] - outward[way][:, None]) <= 0.75 * blur
    steepest = np.argmax(np.where(near & allowed, falls, -np.inf), axis=1)
    beyond = (outward[None] >= outward[steepest][:, None]) & (outward[None] <= outward[steepest][:, None] + 2.5 * blur)
    sharpest = np.argmax(np.where(beyond & seen, bends, -np.inf), axis=1)
    found = (_peak(falls, rows, steepest) + _peak(bends, rows, sharpest)) / 2 * ACROSS
    found[~usable | (falls[rows, steepest] <= 0) | ~seen[rows, sharpest]] = np.nan
    return found


def _cheapest(cost: np.ndarray) -> np.ndarray:
    """Column of each row, so that costs and steps together are least; a step goes at most two columns aside."""
    rows, columns = cost.shape
    total = cost[0].copy()
    came = np.zeros((rows, columns), np.int8)
    padded = np.full(columns + 4, np.inf)
    steps = (0, -1, 1, -2, 2)
    choices = np.empty((len(steps), columns))
    index = np.arange(columns)
    for row in range(1, rows):
        padded[2:-2] = total
        for number, step in enumerate(steps):
            np.add(padded[2 + step : columns + 2 + step], BEND * ACROSS * abs(step), out=choices[number])
        best = choices.argmin(axis=0)
        came[row] = best
        total = choices[best, index] + cost[row]
    way = np.empty(rows, int)
    way[-1] = int(np.argmin(total))
    for row in range(rows - 1, 0, -1):
        way[row - 1] = way[row] + steps[came[row, way[row]]]
    return way


def _peak(values: np.ndarray, rows: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Column of the vertex of the parabola through a maximum and its neighbours."""
    inner = np.clip(column, 1, values.shape[1] - 2)
    before, at, after = (values[rows, inner + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0)
    return np.where(inner == column, column + np.clip(shift, -0.5, 0.5), column)


def _filled(stack: np.ndarray) -> np.ndarray:
    """Profiles whose unknown ends repeat the nearest known value; 0 where nothing is known."""
    known = np.isfinite(stack)
    if known.all():
        return stack
    columns = np.arange(stack.shape[1])
    filled = stack.copy()
    for row in np.flatnonzero(~known.all(axis=1)):
        if known[row].any():
            filled[row] = np.interp(columns, columns[known[row]], stack[row, known[row]])
        else:
            filled[row] = 0
    return filled
