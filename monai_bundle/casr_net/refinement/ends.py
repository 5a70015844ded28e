"""Free ends of the vessels of a mask: where they lie, where they point, how wide they are.

Arrays are (X, Y); all lengths are in pixels. The rules are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["VesselEnds", "vessel_ends"]

SPUR_LENGTH = 2.0
"""Longest spur of a skeleton, in half widths of the vessel that it starts in. A square end forks over 1.4 of them."""

# The eight neighbours in order around the pixel.
_RING = np.array([(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)])


@dataclass(frozen=True)
class VesselEnds:
    """Free ends of the skeleton, n of them.

    Attributes:
        points: int (n, 2), positions of the skeleton's end points.
        directions: float (n, 2), unit vectors that point out of the vessel.
        radii: float (n,), half of the local width in pixels: the median over the last stretch of the skeleton.
        labels: int (n,), component of each end.
    """

    points: np.ndarray
    directions: np.ndarray
    radii: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Skeleton:
    """A skeleton in a frame of one pixel, and its points: positions (n, 2) in the frame, neighbours, branch from 1.

    Branches end at junctions; points at a junction belong to branch 0. ``order`` sorts the points by branch, those of
    branch b start at ``first[b]``.
    """

    image: np.ndarray
    points: np.ndarray
    is_end: np.ndarray
    branch: np.ndarray
    order: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray) -> _Skeleton:
        points = np.argwhere(image)
        ring = image[points[:, None, 0] + _RING[:, 0], points[:, None, 1] + _RING[:, 1]]
        crossings = (ring & ~np.roll(ring, 1, axis=1)).sum(axis=1)
        # Beside a junction, branches touch at corners: its neighbours are cut out with it.
        junctions = np.zeros(image.shape, np.uint8)
        junctions[tuple(points[crossings > 2].T)] = 1
        apart = image & (cv2.dilate(junctions, np.ones((3, 3), np.uint8)) == 0)
        branch = cv2.connectedComponents(apart.astype(np.uint8), connectivity=8)[1][tuple(points.T)]
        order = np.argsort(branch, kind="stable")
        first = np.searchsorted(branch[order], np.arange(branch.max(initial=0) + 2))
        return cls(image, points, ring.sum(axis=1) == 1, branch, order, first)

    def members(self, point: int) -> np.ndarray:
        """Indices of the points on the same branch."""
        branch = self.branch[point]
        return self.order[self.first[branch] : self.first[branch + 1]]

    def pruned(self, depth: np.ndarray) -> _Skeleton:
        """Without spurs: branches with one free end that hardly leave the disc of the vessel that they start in.

        The skeleton of a blunt or hollow end forks towards its corners.
        """
        ends = np.flatnonzero(self.is_end)
        free = np.bincount(self.branch[ends], minlength=len(self.first))
        half_width = cv2.dilate(depth, np.ones((5, 5), np.uint8))  # reaches over what is cut out beside a junction
        spurs = np.zeros(self.image.shape, np.uint8)
        for end in ends[free[self.branch[ends]] == 1].tolist():
            members = self.points[self.members(end)]
            length = np.hypot(*(members - self.points[end]).T).max() + 1
            if self.branch[end] and length <= SPUR_LENGTH * half_width[tuple(members.T)].max():
                spurs[tuple(members.T)] = 1
        loose = self.points[self.branch == 0]
        near = cv2.dilate(spurs, np.ones((3, 3), np.uint8)) > 0
        image = self.image & (spurs == 0)
        image[tuple(loose[near[tuple(loose.T)]].T)] = False
        image[tuple(self.points[self.is_end & (self.branch == 0)].T)] = False
        if np.array_equal(image, self.image):
            return self  # thinned already
        return _Skeleton.of(np.pad(skeletonize(image[1:-1, 1:-1]), 1))


def vessel_ends(labels: np.ndarray, depth: np.ndarray, length: float) -> VesselEnds:
    """Find the skeleton's free ends and the directions in which they point.

    The direction runs from the mean of the branch's last ``length`` pixels to its end. Branches shorter than half of
    ``length`` have no reliable direction (specks, blobs): their ends are left out.

    Args:
        labels: int (X, Y), components of the mask, 0 outside.
        depth: (X, Y), distance of each vessel pixel to the nearest pixel outside, in pixels.
        length: stretch of the skeleton that gives direction and width, in pixels.
    """
    inside = labels > 0
    columns, rows = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        return VesselEnds(np.zeros((0, 2), int), np.zeros((0, 2)), np.zeros(0), np.zeros(0, labels.dtype))
    # Only where the vessels are: thinning passes over each pixel again and again.
    window = slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1)
    corner = np.array((columns[0], rows[0]))
    depth = np.pad(depth[window], 1)
    skeleton = _Skeleton.of(np.pad(skeletonize(inside[window]), 1)).pruned(depth)
    kept, directions, radii = [], [], []
    for end in np.flatnonzero(skeleton.is_end & (skeleton.branch > 0)).tolist():
        members = skeleton.points[skeleton.members(end)]
        offsets = skeleton.points[end] - members
        distance = np.hypot(offsets[:, 0], offsets[:, 1])
        tail = distance <= length
        direction = offsets[tail].mean(axis=0)
        if distance[tail].max() < max(length / 2, 1) or not direction.any():
            continue
        kept.append(end)
        directions.append(direction / np.hypot(*direction))
        # Half a pixel less: the distance runs from pixel centre to pixel centre.
        radii.append(_median(depth[tuple(members[tail].T)]) - 0.5)
    position = skeleton.points[kept] - 1 + corner
    return VesselEnds(
        position, np.reshape(directions, (-1, 2)), np.array(radii), labels[position[:, 0], position[:, 1]]
    )


def _median(values: np.ndarray) -> float:
    """As numpy's, which takes ten times as long for few values."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / ordered.dtype.type(2))


def skeletonize(mask: np.ndarray) -> np.ndarray:
    """scikit-image's, which takes longer to import than a frame to refine: when it is needed, or beforehand."""
    from skimage.morphology import skeletonize

    return skeletonize(mask)
