"""The skeleton of a vessel mask, its local radius, and the skeleton's pixels as nodes and edges.

Arrays are (X, Y), points are (x, y): indices into such arrays, a pixel's centre is at whole numbers. Lengths and radii
are in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from .net import Net

__all__ = ["PINHOLE", "local_radius", "trace_skeleton", "vessel_skeleton"]

PINHOLE = 8
"""Largest hole in a mask, in pixels, that is a flaw of the mask and no loop of vessels."""

_EIGHT = np.ones((3, 3), bool)
# Half of the eight neighbours; the others are their opposites.
_SIDES = ((0, 1), (1, 0))
_CORNERS = ((1, 1), (1, -1))


def local_radius(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel's centre to the outline of the mask; beyond the image's border the vessel goes on.

    Args:
        mask: bool (X, Y), with at least one pixel outside the vessels.

    Returns:
        float32 (X, Y): 0 outside, 0.5 for a line of one pixel (its outline runs between the pixels).
    """
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.maximum(distance - 0.5, 0).astype(np.float32)


def vessel_skeleton(mask: np.ndarray) -> np.ndarray:
    """Centre lines of one pixel's width, bool (X, Y), by thinning (Zhang and Suen, CACM 27:236, 1984).

    Holes of at most ``PINHOLE`` pixels are filled before.
    """
    # With a margin around, as background that reaches the border is no hole.
    background = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, label, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= PINHOLE
    small[0] = True  # the vessels
    return skeletonize(small[label[1:-1, 1:-1]])


def trace_skeleton(skeleton: np.ndarray, radius: np.ndarray) -> Net:
    """Cut a skeleton into edges at its ends and where three or more lines meet.

    Two pixels are neighbours when they share a side, or a corner and no side neighbour; so the corner of an "L" is no
    branch point. Branch pixels that touch make one node, at the pixel nearest to their mean. A closed line without
    branches gets one node, a single pixel is a node without edges.

    Args:
        skeleton: bool (X, Y), one pixel wide.
        radius: float (X, Y), see :func:`local_radius`.
    """
    points = np.argwhere(skeleton)
    net = Net()
    if not len(points):
        return net
    neighbours = _neighbours(skeleton, points)
    degree = np.array([len(near) for near in neighbours])
    node_of = _nodes(net, skeleton, points, degree)

    def add(way: list[int]) -> None:
        first, last = int(node_of[way[0]]), int(node_of[way[-1]])
        # From node to node: a node of several pixels lies beside the pixel where the line leaves it.
        line = np.vstack([net.positions[first], points[way], net.positions[last]]).astype(float)
        line = line[np.append(True, np.diff(line, axis=0).any(axis=1))]
        at = line.astype(int)
        net.add_edge(first, last, line, radius[at[:, 0], at[:, 1]].astype(float))

    done: set[tuple[int, int]] = set()
    seen = node_of >= 0
    for start in np.flatnonzero(node_of >= 0).tolist():
        for step in neighbours[start]:
            if (start, step) in done or (node_of[step] == node_of[start]):
                continue
            way = _follow(start, step, neighbours, node_of)
            done.add((way[-1], way[-2]))
            seen[way] = True
            add(way)
    for start in range(len(points)):  # what is left are closed lines
        if not seen[start]:
            node_of[start] = net.add_node(points[start])
            way = _follow(start, neighbours[start][0], neighbours, node_of)
            seen[way] = True
            add(way)
    return net


def _neighbours(skeleton: np.ndarray, points: np.ndarray) -> list[list[int]]:
    padded = np.pad(skeleton, 1)
    index = np.full(padded.shape, -1)
    index[tuple((points + 1).T)] = np.arange(len(points))
    near: list[list[int]] = [[] for _ in points]
    x, y = (points + 1).T
    for dx, dy in _SIDES + _CORNERS:
        other = index[x + dx, y + dy]
        linked = other >= 0
        if dx and dy:
            linked &= ~padded[x + dx, y] & ~padded[x, y + dy]
        for one, two in zip(np.flatnonzero(linked).tolist(), other[linked].tolist(), strict=True):
            near[one].append(two)
            near[two].append(one)
    return near


def _nodes(net: Net, skeleton: np.ndarray, points: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Add the nodes of ends and branch points to the net; the node of each skeleton pixel, -1 between nodes."""
    node_of = np.full(len(points), -1)
    for single in np.flatnonzero(degree <= 1).tolist():
        node_of[single] = net.add_node(points[single])
    branching = np.zeros(skeleton.shape, bool)
    branching[tuple(points[degree > 2].T)] = True
    clusters, count = ndimage.label(branching, _EIGHT)
    cluster = clusters[tuple(points.T)]
    order = np.argsort(cluster, kind="stable")
    first = np.searchsorted(cluster[order], np.arange(1, count + 2))
    for index in range(count):
        members = order[first[index] : first[index + 1]]
        offset = points[members] - points[members].mean(axis=0)
        node_of[members] = net.add_node(points[members[np.argmin((offset**2).sum(axis=1))]])
    return node_of


def _follow(start: int, step: int, neighbours: list[list[int]], node_of: np.ndarray) -> list[int]:
    """Pixels from a node's pixel through its neighbour to the next node's pixel."""
    way = [start, step]
    while node_of[way[-1]] < 0:
        one, two = neighbours[way[-1]]
        way.append(two if one == way[-2] else one)
    return way
