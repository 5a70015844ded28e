"""Components of a mask: labels, sizes and depths, kept up to date while the mask grows."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["Parts", "depth_of"]

MOST, DEEP = 0.3, 48
"""Share of an image that a mask fills, and depth in pixels, up to which depths are computed for its pixels alone. Our
choice: beyond, the distance transform of the whole image is faster."""


class Parts:
    """A mask and its components; depths are computed when they are asked for.

    Args:
        mask: bool (X, Y).

    Attributes:
        mask: as given.
        count: labels, 0 (outside) included; not all of them need be in use.
        labels: int32 (X, Y).
        boxes: int (count, 4): first column and row, number of columns and rows; OpenCV's columns are our second axis.
        sizes: int (count,), pixels; 0 for a label that is not in use.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self._depth: np.ndarray | None = None
        self._known: np.ndarray | None = None
        self._deepest: np.ndarray | None = None
        self._places: np.ndarray | None = None
        self._at: np.ndarray | None = None
        # OpenCV's statistics of an image take three times as long as its labels, and as those of the mask's few pixels.
        found = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        self.count = found[0]
        self.labels: np.ndarray = found[1]
        self._starts: np.ndarray | None = _runs(self.places, mask.shape[1])
        self.boxes, self.sizes = _statistics(self.places, self._starts, self.at, self.count, mask.shape[1])

    @property
    def places(self) -> np.ndarray:
        """Flat indices of the mask's pixels: few, compared with the image."""
        if self._places is None:
            self._places = np.flatnonzero(self.mask)
        return self._places

    @property
    def at(self) -> np.ndarray:
        """Labels at :attr:`places`."""
        if self._at is None:
            self._at = self.labels.reshape(-1)[self.places]
        return self._at

    @property
    def depth(self) -> np.ndarray:
        """Distance of each pixel of the mask to the nearest pixel outside, in pixels; outside the image counts."""
        if self._depth is None:
            self._depth = np.zeros(self.mask.shape, np.float32)
            self._depth.reshape(-1)[self.places] = self._values
        return self._depth

    @property
    def _values(self) -> np.ndarray:
        """Depths at :attr:`places`."""
        if self._known is None:
            self._known = _depths(self.mask, self.places, self._starts)
        return self._known

    @property
    def deepest(self) -> np.ndarray:
        """float32 (count,), largest depth of each component."""
        if self._deepest is None:
            self._deepest = np.zeros(self.count, np.float32)
            np.maximum.at(self._deepest, self.at, self._values)
        return self._deepest

    def window(self, part: int, margin: int = 0) -> tuple[slice, slice]:
        """The part of the image with a component, and a margin around it."""
        left, top, width, height = self.boxes[part].tolist()
        return (
            slice(max(top - margin, 0), top + height + margin),
            slice(max(left - margin, 0), left + width + margin),
        )

    def grown(self, mask: np.ndarray) -> Parts:
        """Those of a mask with more pixels; only what lies near the new ones is looked at again, in the memory of what
        it grew from, which must not be used any more."""
        added = (mask ^ self.mask).view(np.uint8)
        left, top, columns, rows = cv2.boundingRect(added)
        if not columns:
            return self
        corner = top, left
        new = np.ascontiguousarray(added[top : top + rows, left : left + columns])
        pieces = cv2.connectedComponents(new, connectivity=8)[1]
        where = np.flatnonzero(new)
        at = pieces.reshape(-1)[where]
        found_boxes, found_sizes = _statistics(where, _runs(where, columns), at, int(at.max()) + 1, columns)
        known = self.deepest
        reach = int(np.ceil(known.max(initial=0)))
        windows = []
        for left, top, width, height in found_boxes[1:].tolist():
            inner = _around(mask.shape, corner[0] + top, corner[1] + left, height, width, reach + 1)
            # What changes the depth there lies no farther away than it is deep.
            outer = _around(mask.shape, corner[0] + top, corner[1] + left, height, width, 3 * reach + 5)
            within = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
            found = depth_of(mask[outer])[within]
            if found.size and found.max() > 2 * reach + 4:
                return Parts(mask)  # a blob: what is beyond the window counts
            windows.append((inner, found))
        more = len(found_boxes) - 1
        boxes = np.concatenate((self.boxes, found_boxes[1:] + np.array((corner[1], corner[0], 0, 0))))
        sizes = np.concatenate((self.sizes, found_sizes[1:]))
        deepest = np.concatenate((known, np.zeros(more, np.float32)))
        for number in range(1, more + 1):
            label = self.count + number - 1
            left, top, width, height = boxes[label].tolist()
            piece = _around(mask.shape, top, left, height, width, 1)
            own = np.zeros((piece[0].stop - piece[0].start, piece[1].stop - piece[1].start), np.uint8)
            of_piece = pieces[top - corner[0] : top - corner[0] + height, left - corner[1] : left - corner[1] + width]
            inset = top - piece[0].start, left - piece[1].start
            own[inset[0] : inset[0] + height, inset[1] : inset[1] + width] = of_piece == number
            labels = self.labels[piece]
            touched = np.unique(labels[cv2.dilate(own, np.ones((3, 3), np.uint8)) > 0])
            labels[own > 0] = label
            joined = [label, *touched[touched > 0].tolist()]
            kept = max(joined, key=lambda part: int(sizes[part]))
            for part in joined:
                if part != kept:
                    self._join(part, kept, boxes, sizes, deepest)
        for inner, found in windows:
            np.maximum.at(deepest, self.labels[inner].reshape(-1), found.reshape(-1))
        deepest[0] = 0
        self.mask, self.count, self.boxes, self.sizes, self._deepest = mask, self.count + more, boxes, sizes, deepest
        self._depth = self._known = self._places = self._at = self._starts = None
        return self

    def _join(self, part: int, kept: int, boxes: np.ndarray, sizes: np.ndarray, deepest: np.ndarray) -> None:
        """Give a component's pixels to another one."""
        left, top, width, height = boxes[part].tolist()
        window = self.labels[top : top + height, left : left + width]
        window[window == part] = kept
        first = np.minimum(boxes[part, :2], boxes[kept, :2])
        last = np.maximum(boxes[part, :2] + boxes[part, 2:], boxes[kept, :2] + boxes[kept, 2:])
        boxes[kept] = (*first, *(last - first))
        sizes[kept] += sizes[part]
        deepest[kept] = max(deepest[kept], deepest[part])
        sizes[part] = deepest[part] = 0


def depth_of(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a mask (X, Y) to the nearest pixel outside, float32; outside the image counts."""
    depth = np.zeros(mask.shape, np.float32)
    places = np.flatnonzero(mask)
    depth.reshape(-1)[places] = _depths(mask, places)
    return depth


def _depths(mask: np.ndarray, places: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Those at the pixels of the mask, which are given as flat indices that rise; with where :func:`_runs` begin.

    First the distance along each row, then the least of its square plus that of the way across rows (Saito and
    Toriwaki, Pattern Recognition 1994): vessels are thin and few, so that this takes a quarter of the time of a
    distance transform of the image, which is what thicker ones get.
    """
    width = mask.shape[1]
    if not len(places):
        return np.zeros(0, np.float32)
    if len(places) > MOST * mask.size:
        return _transformed(mask, places)
    starts = _runs(places, width) if starts is None else starts
    lengths = np.diff(starts, append=len(places))
    number = np.arange(len(places))
    before = number - np.repeat(starts, lengths)
    along = np.minimum(before, np.repeat(lengths, lengths) - 1 - before) + 1
    # A row of background before and behind, which ends every way across.
    squares = np.zeros((mask.shape[0] + 2) * width, np.int32)
    here = places + width
    least = (along * along).astype(np.int32)
    squares[here] = least
    active, step = number, 1
    while True:
        active = active[least[active] > step * step]
        if not len(active):
            return np.sqrt(least).astype(np.float32)
        if step > DEEP:
            return _transformed(mask, places)
        places_now = here[active]
        across = np.minimum(squares[places_now - step * width], squares[places_now + step * width])
        least[active] = np.minimum(least[active], across + step * step)
        step += 1


def _runs(places: np.ndarray, width: int) -> np.ndarray:
    """Where runs of pixels along the rows begin among flat indices that rise."""
    begins = np.ones(len(places), bool)
    np.not_equal(places[1:], places[:-1] + 1, out=begins[1:])
    begins |= places % width == 0
    return np.flatnonzero(begins)


def _statistics(
    places: np.ndarray, starts: np.ndarray, at: np.ndarray, count: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (first column and row, number of columns and rows) and sizes of components, 0 for the label 0; of flat
    indices that rise, where their :func:`_runs` begin, and their labels."""
    sizes = np.bincount(at, minlength=count)
    boxes = np.zeros((count, 4), np.intp)
    if not len(places):
        return boxes, sizes
    ends = np.append(starts[1:], len(places)) - 1
    row, left = np.divmod(places[starts], width)
    label = at[starts]
    first = np.full((2, count), places[-1] + width)
    last = np.zeros((2, count), np.intp)
    np.minimum.at(first[0], label, left)
    np.maximum.at(last[0], label, left + places[ends] - places[starts])
    np.minimum.at(first[1], label, row)
    np.maximum.at(last[1], label, row)
    used = np.flatnonzero(sizes)
    boxes[used, :2] = first[:, used].T
    boxes[used, 2:] = (last - first)[:, used].T + 1
    return boxes, sizes


def _transformed(mask: np.ndarray, places: np.ndarray) -> np.ndarray:
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = mask
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    found: np.ndarray = depth[places // mask.shape[1], places % mask.shape[1]]
    return found


def _around(shape: tuple[int, ...], top: int, left: int, height: int, width: int, margin: int) -> tuple[slice, slice]:
    return (
        slice(max(top - margin, 0), min(top + height + margin, shape[0])),
        slice(max(left - margin, 0), min(left + width + margin, shape[1])),
    )
