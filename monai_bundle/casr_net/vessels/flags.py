"""Where a width is not a vessel's alone: beside other vessels, at the border of what is seen, over gaps of the mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, map_coordinates
from scipy.spatial import KDTree

from .measures import BORDER, BRANCH, CROSSING, GAP
from .profiles import STEP, Course
from .tree import VesselTree

__all__ = ["Others", "flags_of", "others_of"]

BESIDE = 1.5
"""How near another vessel's outline may come to a contour, in pixels: about a blur."""
EDGE = 4.0
"""The same for the border of the image or of the exposed field: a profile needs background on both sides."""
_NEAR = 8  # points of other vessels that each contour point is compared with


@dataclass(frozen=True, eq=False)
class Others:
    """All vessels of a tree as points, so that each path can be compared with what is not its own.

    Attributes:
        points: float (n, 2), radii: float (n,), of all edges one after the other.
        edge: int (n,), number of the edge of each point.
        near: int (n,), node at whose end of its edge a point lies.
        first: int (e,), index of the first point of each edge.
        gaps: points (m, 2) of each joint over a gap.
        branch: keys of the nodes that are no crossings.
    """

    points: np.ndarray
    radii: np.ndarray
    edge: np.ndarray
    near: np.ndarray
    first: np.ndarray
    gaps: tuple[np.ndarray, ...]
    branch: np.ndarray


def others_of(tree: VesselTree) -> Others:
    """Prepare a tree for :func:`flags_of`."""
    points, radii, near, gaps = [np.zeros((0, 2))], [np.zeros(0)], [np.zeros(0, int)], []
    for a, b, data in tree.graph.edges(data=True):
        line = data["points"]
        if data["gap"]:
            gaps.append(line)
            continue
        points.append(line)
        # In the rim of a branch point the distance to the outline is the wider vessel's.
        radii.append(np.minimum(data["radii"], 1.2 * data["radius"]))
        near.append(np.where(np.arange(len(line)) < len(line) / 2, a, b))
    sizes = [len(line) for line in points[1:]]
    branch = np.array([key for key, kind in tree.graph.nodes(data="kind") if kind != "crossing"], int)
    return Others(
        np.concatenate(points), np.concatenate(radii), np.repeat(np.arange(len(sizes)), sizes), np.concatenate(near),
        np.append(0, np.cumsum(sizes))[:-1].astype(int), tuple(gaps), branch,
    )  # fmt: skip


def flags_of(
    course: Course, image: np.ndarray, mask: np.ndarray, others: Others | None, radius: np.ndarray
) -> np.ndarray:
    """Flags CROSSING, BRANCH, BORDER and GAP of each sample, uint8 (n,).

    Args:
        course: of the vessel.
        image: float (X, Y); what is not finite lies beyond the border.
        mask: bool (X, Y).
        others: of the mask's tree; None: crossings and branch points are not told.
        radius: (n,), the vessel's.
    """
    flags = np.zeros(len(course.points), np.uint8)
    contours = [course.points + side * radius[:, None] * course.normals for side in (1, -1)]
    limit = np.array(mask.shape) - 1
    finite = np.isfinite(image)
    unseen = None if finite.all() else binary_dilation(~finite, iterations=int(EDGE)).astype(np.float32)
    for line in (course.points, *contours):
        near = ((line < EDGE) | (line > limit - EDGE)).any(axis=1)
        if unseen is not None:
            near |= map_coordinates(unseen, line.T, order=0, mode="nearest") > 0
        flags[near] |= BORDER
    bridged = map_coordinates(mask.astype(np.float32), course.points.T, order=0, mode="nearest") == 0
    flags[bridged] |= GAP
    if others is not None:
        _mark_others(flags, course, contours, others)
    return flags


def _mark_others(flags: np.ndarray, course: Course, contours: list[np.ndarray], others: Others) -> None:
    """Flag where a contour lies in another vessel: a crossing, unless that vessel branches off here."""
    own = KDTree(course.points)
    for line in others.gaps:
        _mark_gap(flags, course, line)
    if not len(others.points):
        return
    distance = own.query(others.points)[0]
    apart = distance > np.maximum(0.5 * others.radii, 1.0)
    # An edge that the path takes for a part of its way is its own.
    taken = np.add.reduceat((~apart).astype(float), others.first) / np.bincount(others.edge)
    apart &= taken[others.edge] <= 0.5
    if not apart.any():
        return
    # A vessel branches off here if it starts on the path, and its node is no crossing.
    starts = np.zeros(len(distance), bool)
    last = np.append(others.first[1:], len(distance)) - 1
    ends = np.concatenate([others.first, last])
    touching = {(int(others.edge[at]), int(others.near[at])) for at in ends if distance[at] < 2}
    joined = np.isin(others.near, others.branch)
    for edge, node in touching:
        starts |= (others.edge == edge) & (others.near == node)
    branch = (starts & joined)[apart]
    where, size = others.points[apart], others.radii[apart]
    tree = KDTree(where)
    for line in contours:
        gap, index = tree.query(line, k=min(_NEAR, len(where)))
        gap, index = gap.reshape(len(line), -1), index.reshape(len(line), -1)
        touched = gap < size[index] + BESIDE
        flags[(touched & branch[index]).any(axis=1)] |= BRANCH
        flags[(touched & ~branch[index]).any(axis=1)] |= CROSSING


def _mark_gap(flags: np.ndarray, course: Course, line: np.ndarray) -> None:
    middle = (line[0] + line[-1]) / 2
    nearest = int(np.argmin(np.hypot(*(course.points - middle).T)))
    if np.hypot(*(course.points[nearest] - middle)) < 2:
        half = int(np.hypot(*(line[-1] - line[0])) / STEP / 2) + 1
        flags[max(nearest - half, 0) : nearest + half + 1] |= GAP
