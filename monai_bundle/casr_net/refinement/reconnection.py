"""Stage 3, second half: patch lines that reconnect fragments of a vessel mask along least-cost paths.

The paper (arXiv 2510.27315) names "contour refinement" only; a third-party summary speaks of "patch-line generation to
reconnect fragmented vessel segments". The rules here are our choice. Arrays are (X, Y); all lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.draw import line
from skimage.graph import MCP_Geometric

from .ends import VesselEnds, vessel_ends

__all__ = ["Bridge", "BridgeLimits", "VesselEnds", "draw_bridges", "find_bridges", "vessel_ends"]

COST_FLOOR = 0.02
"""Least cost of a path's pixel, so that a path through certain pixels still has a length."""

_AROUND = np.ones((3, 3), np.uint8)
_STEPS = np.argwhere(np.arange(9).reshape(3, 3) != 4) - 1  # those that MCP makes for each of its own

SMOOTHING = 5
"""Points in the running mean that smooths a path on the pixel grid."""


@dataclass(frozen=True)
class BridgeLimits:
    """Limits of a patch line.

    Attributes:
        gap: longest path between the two components, in pixels.
        angle: largest angle between the line from start to end and a vessel's direction at its end, in degrees.
        cost: largest mean of ``1 - probability`` over the path's pixels between the two components.
    """

    gap: float
    angle: float
    cost: float


@dataclass(frozen=True)
class Bridge:
    """A path that joins two components.

    Attributes:
        path: int (m, 2), pixels from a free end to the other component.
        radii: half of the local width at the path's start and end, in pixels.
        labels: the two components.
        cost: sum of the costs along the path, which orders competing bridges.
    """

    path: np.ndarray
    radii: tuple[float, float]
    labels: tuple[int, int]
    cost: float


def find_bridges(
    probability: np.ndarray,
    labels: np.ndarray,
    ends: VesselEnds,
    joinable: np.ndarray,
    limits: BridgeLimits,
    boxes: np.ndarray | None = None,
) -> list[Bridge]:
    """Choose the patch lines: from each free end, the least-cost path to another component within all limits.

    Cheap paths go first, and a path between two components that are already joined is dropped, so that no loop arises.
    A path may end at another free end or at the side of a vessel (a branch cut off from its parent).

    Args:
        probability: (X, Y) in [0, 1].
        labels: int (X, Y), components of the mask, 0 outside.
        ends: of :func:`vessel_ends`.
        joinable: bool, one value per label: components that may be joined. Others are passed over like background.
        limits: of a patch line.
        boxes: int, one row per label: first column and row, number of columns and rows, by which ends with nothing
            around are passed over; None looks around each.
    """
    starts = np.flatnonzero(joinable[ends.labels])
    if not len(starts):
        return []
    tips = 2 * ends.radii + 2  # the skeleton ends inside the vessel, up to about its half width from the tip
    corners, fars = _cones(ends.points, ends.directions, np.deg2rad(limits.angle), limits.gap + tips, tips)
    # Distances from a pixel in the middle: those around each end are a part of them.
    middle = int(max((ends.points - corners).max(), (fars - ends.points).max()))
    offsets = np.arange(-middle, middle + 1)
    away = np.hypot(offsets[:, None], offsets)
    corners, fars = np.maximum(corners, 0), np.minimum(fars, labels.shape)
    if boxes is not None:
        # Around most ends of a tree there is no other component's box.
        others = np.flatnonzero(joinable)
        first, last = boxes[others, 1::-1], boxes[others, 1::-1] + boxes[others, :1:-1]
        around = ((first < fars[starts, None]) & (last > corners[starts, None])).all(axis=2)
        starts = starts[(around & (others != ends.labels[starts, None])).any(axis=1)]
    found = [
        _bridge_from(index, (corners[index], fars[index]), away, probability, labels, ends, joinable, limits)
        for index in starts.tolist()
    ]
    group = np.arange(len(joinable))
    chosen = []
    for bridge in sorted((bridge for bridge in found if bridge is not None), key=lambda bridge: bridge.cost):
        first, second = group[list(bridge.labels)]
        if first != second:
            group[group == second] = first
            chosen.append(bridge)
    return chosen


def _bridge_from(
    index: int,
    place: tuple[np.ndarray, np.ndarray],
    away: np.ndarray,
    probability: np.ndarray,
    labels: np.ndarray,
    ends: VesselEnds,
    joinable: np.ndarray,
    limits: BridgeLimits,
) -> Bridge | None:
    """The bridge from a free end; ``place`` is where a path can be: around the tip, and in the cone ahead; ``away``
    holds the distances from the pixel in its middle."""
    corner, far = place
    first, last = corner.tolist(), far.tolist()
    window = slice(first[0], last[0]), slice(first[1], last[1])
    near = labels[window]
    label = ends.labels[index]
    other = joinable[near]
    other &= near != label
    # Most ends have nothing there, or nothing ahead.
    if not other.any():
        return None
    point, direction, radius = ends.points[index], ends.directions[index], ends.radii[index]
    limit = np.cos(np.deg2rad(limits.angle))
    tip = 2 * radius + 2
    start = point - corner
    rows = np.arange(-start[0], near.shape[0] - start[0])[:, None]
    columns = np.arange(-start[1], near.shape[1] - start[1])
    middle = away.shape[0] // 2 - start
    distance = away[middle[0] : middle[0] + near.shape[0], middle[1] : middle[1] + near.shape[1]]
    passable = rows * direction[0] + columns * direction[1] >= limit * distance
    passable &= distance <= limits.gap + tip
    targets = other & passable
    if not targets.any():
        return None
    # The path leaves its own vessel at the tip only, and touches no other joinable vessel on its way.
    passable &= near != label
    passable |= distance <= tip
    passable &= ~other
    shore = targets & cv2.dilate(passable.view(np.uint8), _AROUND).view(bool)
    if not shore.any():
        return None
    passable |= shore  # what lies behind costs more
    price = np.where(passable, np.maximum(1 - probability[window], COST_FLOOR), -1.0)
    router = MCP_Geometric(price, _STEPS)
    # Paths are found from the cheapest on, so that those to the cheapest pixel are known when one to the nearest is;
    # told all pixels where to end, it takes five times as long.
    x, y = np.nonzero(shore)
    nearest = int(np.argmin(distance[x, y]))
    costs, _ = router.find_costs([tuple(start)], [(x[nearest], y[nearest])])
    nearest = int(np.argmin(costs[x, y]))
    total = float(costs[x[nearest], y[nearest]])
    if not np.isfinite(total):
        return None
    path = np.array(router.traceback((x[nearest], y[nearest])))
    leaves = np.flatnonzero(near[path[:, 0], path[:, 1]] == label)[-1]
    between = path[leaves + 1 : -1]
    cost = (1 - probability[window][between[:, 0], between[:, 1]]).mean()
    path += corner
    gap = path[leaves:]
    if cost > limits.cost or np.hypot(*np.diff(gap, axis=0).T).sum() > limits.gap:
        return None
    target = int(labels[tuple(path[-1])])
    partner = _end_near(path[-1], target, ends)
    if partner is None:
        return Bridge(path, (radius, radius), (int(label), target), total)
    chord = ends.points[partner] - point
    if chord @ direction < limit * np.hypot(*chord) or -chord @ ends.directions[partner] < limit * np.hypot(*chord):
        return None
    path = np.vstack([path, np.transpose(line(*path[-1], *ends.points[partner]))[1:]])
    return Bridge(path, (radius, ends.radii[partner]), (int(label), target), total)


def _cones(
    points: np.ndarray, directions: np.ndarray, angle: float, reach: np.ndarray, tip: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel, plus one, of windows with all pixels within ``tip`` of a point, and all within ``reach``
    and an angle (below a right one, in radians) of a direction; one row a point."""
    sine, cosine = np.sin(angle), np.cos(angle)
    x, y = directions.T
    left = np.stack((cosine * x - sine * y, sine * x + cosine * y), axis=1)
    right = np.stack((cosine * x + sine * y, cosine * y - sine * x), axis=1)
    most = np.where(directions >= cosine, 1.0, np.maximum(left, right))
    least = np.where(-directions >= cosine, -1.0, np.minimum(left, right))
    corners = np.floor(np.minimum(reach[:, None] * least, -tip[:, None])).astype(int) - 1
    fars = np.ceil(np.maximum(reach[:, None] * most, tip[:, None])).astype(int) + 2
    return points + corners, points + fars


def _end_near(point: np.ndarray, label: int, ends: VesselEnds) -> int | None:
    """The free end of a component at whose tip a path arrives; None at the side of a vessel."""
    distance = np.hypot(*(ends.points - point).T)
    distance[(ends.labels != label) | (distance > 2 * ends.radii + 2)] = np.inf
    nearest = int(np.argmin(distance))
    return nearest if np.isfinite(distance[nearest]) else None


def draw_bridges(mask: np.ndarray, bridges: list[Bridge]) -> np.ndarray:
    """Draw bridges into a mask as lines whose width goes over from the one end's to the other's.

    Args:
        mask: bool (X, Y).
        bridges: of :func:`find_bridges`.

    Returns:
        bool (X, Y), a new array; no pixel of the mask is lost.
    """
    canvas = np.array(mask, dtype=np.uint8, order="C")
    for bridge in bridges:
        from scipy import ndimage  # slow to import, and seldom needed

        path = ndimage.uniform_filter1d(bridge.path.astype(np.float64), SMOOTHING, axis=0, mode="nearest")
        # Discs, as cv2.line draws wider than it is told; with four fractional bits, from pixel centre to pixel centre.
        radii = np.round(16 * np.maximum(np.linspace(*bridge.radii, len(path)) - 0.5, 0)).astype(int)
        for (row, column), radius in zip(np.floor(path + 0.5).astype(int).tolist(), radii.tolist(), strict=True):
            cv2.circle(canvas, (16 * column, 16 * row), radius, 1, cv2.FILLED, shift=4)
    return canvas > 0
