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

# The eight neighbours in order around the pixel, and what their patterns mean, packed into a byte.
_RING = np.array([(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)])
_PATTERNS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) > 0
_CROSSINGS = (_PATTERNS & ~np.roll(_PATTERNS, 1, axis=1)).sum(axis=1)
_NEIGHBOURS = _PATTERNS.sum(axis=1)

WINDOWS = 24
"""Places at which a skeleton is thinned again one by one; with more of them, all of it. Our choice: as fast then."""

CUT, GUARD, REACH = 3, 3, 4
"""Pixels along the border of such a window that may change because it was cut out, pixels beside them that must not, so
that nothing that counts depends on the border, and pixels around the place that change because of it. Our choice:
changes reach one or two pixels."""


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
    def of(cls, image: np.ndarray, points: np.ndarray | None = None) -> _Skeleton:
        """``points``: where the image is True, in its order; looked for when None."""
        width = image.shape[1]
        if points is None:
            places = np.flatnonzero(image)
            points = np.stack((places // width, places % width), axis=1)
        else:
            places = points[:, 0] * width + points[:, 1]
        ring = _RING[:, 0] * width + _RING[:, 1]
        # The bits one by one: packbits takes several times as long.
        pattern = np.zeros(len(places), np.uint8)
        for near in image.view(np.uint8).reshape(-1).take(ring[:, None] + places):
            pattern <<= 1
            pattern |= near
        # Beside a junction, branches touch at corners: its neighbours are cut out with it.
        junctions = places[_CROSSINGS[pattern] > 2]
        apart = image.view(np.uint8).copy()
        apart.reshape(-1)[junctions] = 0
        apart.reshape(-1)[junctions[:, None] + ring] = 0
        count, labels = cv2.connectedComponents(apart, connectivity=8)
        # Small whole numbers are sorted by their digits.
        branch = labels.reshape(-1)[places].astype(np.min_scalar_type(count))
        order = np.argsort(branch, kind="stable")
        first = np.append(0, np.cumsum(np.bincount(branch, minlength=count)))
        return cls(image, points, _NEIGHBOURS[pattern] == 1, branch, order, first)

    def members(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of all points on the same branch as each of some; for each its place among those, from 0; and where
        those of each begin."""
        begin = self.first[self.branch[points]]
        count = self.first[self.branch[points] + 1] - begin
        starts = np.cumsum(count) - count
        owner = np.repeat(np.arange(len(points)), count)
        return self.order[(begin - starts)[owner] + np.arange(len(owner))], owner, starts

    def pruned(self, depth: np.ndarray) -> _Skeleton:
        """Without spurs: branches with one free end that hardly leave the disc of the vessel that they start in.

        The skeleton of a blunt or hollow end forks towards its corners.
        """
        gone = self.is_end & (self.branch == 0)
        boxes = [(*point, *point) for point in self.points[gone].tolist()]
        ends = np.flatnonzero(self.is_end & (self.branch > 0))
        free = np.bincount(self.branch[ends], minlength=len(self.first))
        ends = ends[free[self.branch[ends]] == 1]
        if len(ends):
            members, owner, starts = self.members(ends)
            way = self.points[members] - self.points[ends][owner]
            length = np.maximum.reduceat(np.hypot(way[:, 0], way[:, 1]), starts) + 1
            wide = cv2.dilate(depth, np.ones((5, 5), np.uint8))  # reaches over what is cut out beside a junction
            half_width = np.maximum.reduceat(wide[tuple(self.points[members].T)], starts)
            spurs = length <= SPUR_LENGTH * half_width
            cut = members[spurs[owner]]
            gone[cut] = True
            near = np.zeros(self.image.shape, bool)
            around = (self.points[cut][:, None] + _RING).reshape(-1, 2)
            near[tuple(around.T)] = True
            gone |= (self.branch == 0) & near[tuple(self.points.T)]
            for spur in np.flatnonzero(spurs).tolist():
                own = self.points[members[owner == spur]]
                boxes.append((*(own.min(axis=0) - 1).tolist(), *(own.max(axis=0) + 1).tolist()))
        if not gone.any():
            return self  # thinned already
        image = self.image.copy()
        image[tuple(self.points[gone].T)] = False
        image = _thinned_again(image, _joined(boxes, 2 * (CUT + GUARD + REACH)))
        return _Skeleton.of(image, self.points[image[tuple(self.points.T)]])


Box = tuple[int, int, int, int]


def _joined(boxes: list[Box], gap: int) -> list[Box]:
    """Boxes (first and last pixel along both axes), those nearer to each other than a gap as one."""
    apart: list[Box] = []
    for box in boxes:
        while True:
            near = [
                other
                for other in apart
                if box[0] - gap <= other[2] and other[0] - gap <= box[2]
                and box[1] - gap <= other[3] and other[1] - gap <= box[3]
            ]  # fmt: skip
            if not near:
                break
            apart = [other for other in apart if other not in near]
            corners = np.array([box, *near])
            low, high = corners[:, :2].min(axis=0).tolist(), corners[:, 2:].max(axis=0).tolist()
            box = (low[0], low[1], high[0], high[1])
        apart.append(box)
    return apart


def _thinned_again(image: np.ndarray, boxes: list[Box]) -> np.ndarray:
    """A skeleton in a frame that lost points, thinned again; elsewhere than in the boxes it is thin."""
    result = image.copy()
    for left, top, right, bottom in boxes if len(boxes) <= WINDOWS else ():
        low = np.maximum(np.array((left, top)) - CUT - GUARD - REACH, 0)
        high = np.minimum(np.array((right, bottom)) + CUT + GUARD + REACH + 1, image.shape)
        part = image[low[0] : high[0], low[1] : high[1]]
        thin = skeletonize(part)
        changed = thin != part
        inner, core = (_without_border(low, high, image.shape, width) for width in (CUT, CUT + GUARD))
        if changed[inner].sum() != changed[core].sum():
            break
        result[low[0] : high[0], low[1] : high[1]][core] = thin[core]
    else:
        if len(boxes) <= WINDOWS:
            return result
    return _framed(skeletonize(image[1:-1, 1:-1]))


def _without_border(low: np.ndarray, high: np.ndarray, shape: tuple[int, ...], width: int) -> tuple[slice, ...]:
    """The part of a window (first pixel, last plus one) that lies farther from the sides at which it was cut out."""
    return tuple(
        slice(width if first else 0, last - first - (width if last < size else 0))
        for first, last, size in zip(low.tolist(), high.tolist(), shape, strict=True)
    )


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
    nothing = VesselEnds(np.zeros((0, 2), int), np.zeros((0, 2)), np.zeros(0), np.zeros(0, labels.dtype))
    # Only where the vessels are: thinning passes over each pixel again and again.
    left, top, columns, rows = cv2.boundingRect(inside.view(np.uint8))
    if not columns:
        return nothing
    window = slice(top, top + rows), slice(left, left + columns)
    corner = np.array((top, left))
    depth = cv2.copyMakeBorder(depth[window], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    skeleton = _Skeleton.of(_framed(skeletonize(inside[window]))).pruned(depth)
    ends = np.flatnonzero(skeleton.is_end & (skeleton.branch > 0))
    if not len(ends):
        return nothing
    members, owner, starts = skeleton.members(ends)
    offsets = skeleton.points[ends][owner] - skeleton.points[members]
    distance = np.hypot(offsets[:, 0], offsets[:, 1])
    tail = distance <= length
    count = np.add.reduceat(tail.astype(int), starts)
    directions = np.add.reduceat(offsets * tail[:, None], starts, axis=0) / count[:, None]
    long = np.maximum.reduceat(distance * tail, starts) >= max(length / 2, 1)
    kept = np.flatnonzero(long & directions.any(axis=1))
    directions = directions[kept]
    directions /= np.hypot(directions[:, 0], directions[:, 1])[:, None]
    medians = _medians(depth[tuple(skeleton.points[members[tail]].T)], owner[tail], count)
    position = skeleton.points[ends[kept]] - 1 + corner
    # Half a pixel less: the distance runs from pixel centre to pixel centre.
    return VesselEnds(position, directions, medians[kept] - 0.5, labels[position[:, 0], position[:, 1]])


def _medians(values: np.ndarray, owner: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Of the values of each owner, at least one for each, whose numbers rise; in their precision, as float64."""
    ordered = values[np.lexsort((values, owner))]
    starts = np.cumsum(count) - count
    middle = (ordered[starts + (count - 1) // 2] + ordered[starts + count // 2]) / ordered.dtype.type(2)
    return middle.astype(np.float64)


def _framed(mask: np.ndarray) -> np.ndarray:
    """With a pixel of False around."""
    return cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0).view(bool)


def skeletonize(mask: np.ndarray) -> np.ndarray:
    """scikit-image's, which takes longer to import than a frame to refine: when it is needed, or beforehand."""
    from skimage.morphology import skeletonize

    return skeletonize(mask)
