"""The exposed field of an angiogram: collimator blades and black borders are found and filled before filtering."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["field_of_view", "fill_outside"]

BLOCK = 128
"""Rows of a rim that are taken at once. Our choice: the fastest."""


def field_of_view(
    grey: np.ndarray,
    dark: float = 0.08,
    bright: float = 0.97,
    flatness: float = 0.03,
    min_border: float = 0.02,
    margin: float = 0.006,
    blade_contrast: float = 0.6,
    max_blade: float = 0.12,
) -> np.ndarray:
    """Find the exposed field: everything but flat, very dark or very bright regions and dark bands along the border.

    The thresholds are our choice; they were set by looking at the rims of the public sets.

    Args:
        grey: (X, Y) in [0, 1].
        dark: a rim pixel is at most this dark, or
        bright: at least this bright.
        flatness: largest intensity range within the 5 x 5 surroundings of a rim pixel.
        min_border: shortest contact of a rim region with the image border, as a share of the border's length; thin
            objects that leave the image, such as a dense catheter, touch it less.
        margin: width of the soft edge given to the rim, as a share of the longer side.
        blade_contrast: a straight, possibly noisy or blurred blade is darker than this share of the inner image.
        max_blade: widest such band, as a share of the side; a wider dark band is taken for anatomy.

    Returns:
        bool (X, Y), True inside the field. All True when nothing was found, or when less than a fifth would be left.
    """
    image = np.asarray(grey, dtype=np.float32)
    everything = np.ones(image.shape, dtype=bool)
    if min(image.shape) < 8:
        return everything
    edge = 1 + round(margin * max(image.shape))
    border = _border(image.shape)
    rim = np.zeros(image.shape, dtype=bool)
    outermost = image[border]
    flat: np.ndarray | None = None
    # The seam between rim and field is not flat: what is still fairly dark or bright there belongs to the rim.
    for extreme, fairly in (
        (lambda part: part <= dark, lambda part: part <= 3 * dark),
        (lambda part: part >= bright, lambda part: part >= bright),
    ):
        if not extreme(outermost).any():
            continue  # a rim reaches the border: most images have none, and are done
        if flat is None:
            kernel = np.ones((5, 5), np.uint8)
            flat = cv2.dilate(image, kernel) - cv2.erode(image, kernel) <= flatness
        candidate = flat & extreme(image)
        if not candidate[border].any():
            continue
        count, labels = cv2.connectedComponents(candidate.astype(np.uint8), connectivity=4)
        contact = np.bincount(labels[border], minlength=count)
        kept = contact >= min_border * border.sum()
        kept[0] = False
        rim |= kept[labels] | (_dilate(kept[labels], 4 + edge) & fairly(image))
    rim |= _blades(image, rim, blade_contrast, max_blade)
    if not rim.any():
        return everything
    rim = _dilate(rim, edge)
    # What the rim encloses without touching the field (text, blade corners) is rim as well.
    count, labels = cv2.connectedComponents((~rim).view(np.uint8), connectivity=4)
    if count < 2:
        return everything
    field = ~rim
    if count > 2:
        field = labels == 1 + int(np.argmax(np.bincount(labels.ravel(), minlength=count)[1:]))
    # Holes: all around the field is one region, by a border of its own.
    around = np.pad(~field, 1, constant_values=True).view(np.uint8)
    count, labels = cv2.connectedComponents(around, connectivity=4)
    if count > 2:
        field = labels[1:-1, 1:-1] != labels[0, 0]
    return field if field.mean() >= 0.2 else everything


def fill_outside(grey: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Replace what lies outside the field by its mirror image at the nearest point of the field's edge.

    Args:
        grey: (X, Y).
        field: bool (X, Y), True inside; at least one pixel.

    Returns:
        (X, Y) of the type of ``grey``; values inside the field are unchanged.
    """
    if field.all():
        return grey
    position, edge = _nearest_inside(field)
    mirror = [
        np.clip(2 * near - here, 0, size - 1) for near, here, size in zip(edge, position, field.shape, strict=True)
    ]
    usable = field[mirror[0], mirror[1]]
    source = tuple(np.where(usable, there, near) for there, near in zip(mirror, edge, strict=True))
    filled = grey.copy()
    filled[position] = grey[source]
    return filled


Places = tuple[np.ndarray, ...]


def _nearest_inside(field: np.ndarray) -> tuple[Places, Places]:
    """The pixels outside the field, and for each the nearest one inside; of several, as
    ``scipy.ndimage.distance_transform_edt`` has it: the first column, and in that the first row ("column": along the
    second axis).

    That computes it for all pixels, which takes five times as long: here a rim is taken piece by piece.
    """
    rows, columns = field.shape
    far = rows + columns
    # A key holds the squared distance and, in its last digits, the column: the least one is the answer.
    digits = int(columns - 1).bit_length()
    kind = np.int32 if (2 * far**2) << digits < 2**31 else np.int64
    index = np.arange(rows, dtype=kind)[:, None]
    before, behind = np.where(field, index, kind(-far)), np.where(field, index, kind(rows + far))
    some = np.flatnonzero(~field.all(axis=1))  # in all other rows each pixel is its own nearest
    # ufunc.accumulate goes down each column, which takes five times as long.
    for row in some[some > 0].tolist():
        np.maximum(before[row], before[row - 1], out=before[row])
    for row in some[some < rows - 1][::-1].tolist():
        np.minimum(behind[row], behind[row + 1], out=behind[row])
    outside, before, behind, index = ~field[some], before[some], behind[some], index[some]
    nearest = np.where(index - before <= behind - index, before, behind)
    key = (np.minimum(np.abs(nearest - index), far) ** 2 << digits) + np.arange(columns, dtype=kind)
    found = np.empty(key.shape, kind)
    for top in range(0, len(some), BLOCK):
        part = slice(top, top + BLOCK)
        edges = np.flatnonzero(np.diff(outside[part].any(axis=0), prepend=False, append=False))
        for left, right in edges.reshape(-1, 2).tolist():
            found[part, left:right] = _least(key[part], outside[part, left:right], left, right, digits)
    place = np.nonzero(outside)
    column = found[place] & ((1 << digits) - 1)
    return (some[place[0]], place[1]), (nearest[place[0], column], column)


def _least(key: np.ndarray, outside: np.ndarray, left: int, right: int, digits: int) -> np.ndarray:
    """The least key of the pixels from ``left`` to ``right``, each column in turn giving its own plus the squared way
    to it."""
    best = key[:, left:right].copy()
    for step in range(1, key.shape[1]):
        way = step * step << digits
        if step % 4 == 1 and way > best[outside].max():
            break
        for shift in (-step, step):
            first, last = max(left + shift, 0), min(right + shift, key.shape[1])
            if first < last:
                target = best[:, first - shift - left : last - shift - left]
                np.minimum(target, key[:, first:last] + key.dtype.type(way), out=target)
    return best


def _blades(image: np.ndarray, known: np.ndarray, contrast: float, widest: float) -> np.ndarray:
    """Bands along the four sides whose median line is dark. Noise and vessels hardly change the median of a line.

    What is known to be rim is left out, so that the dark corners of a round field do not make its first lines dark.
    """
    rim = np.zeros(image.shape, dtype=bool)
    some = bool(known.any())
    for axis in (0, 1):
        size = image.shape[axis]
        middle = slice(size // 4, size - size // 4)
        if some:
            lines = _line_medians(image, axis, known)
        else:
            # A blade needs a dark outermost line, against a limit that is at most what the brightest quarter of the
            # inner image gives: half of its lines have half of their pixels above their median.
            sides = np.median(np.take(image, (0, -1), axis), axis=1 - axis)
            inner = image[middle] if axis == 0 else image[:, middle]
            if not (sides <= 0.7 * contrast * _upper_quarter(inner)).any():
                continue
            lines = _line_medians(image, axis)
        limit = contrast * float(np.median(lines[middle]))
        for profile, side in ((lines, 1), (lines[::-1], -1)):
            width = int(np.argmin(profile <= limit)) if (profile <= limit).any() else 0
            # A blade is darkest outside; shading that only fades towards the border is part of the picture.
            if 0 < width <= widest * size and profile[0] <= 0.7 * limit:
                view = rim if axis == 0 else rim.T
                view[::side][:width] = True
    return rim


def _line_medians(image: np.ndarray, axis: int, known: np.ndarray | None = None) -> np.ndarray:
    """Median of each line across ``axis``, without the known pixels; 0 for a line that is all known."""
    lines = np.ascontiguousarray(image if axis == 0 else image.T)
    if known is None:
        return np.median(lines, axis=1)
    left_out = known if axis == 0 else known.T
    # As numpy.ma.median does it, which is many times slower.
    ordered = np.sort(np.where(left_out, np.float32(np.inf), lines), axis=1)
    count = (~left_out).sum(axis=1)
    place = np.arange(len(ordered))
    upper = ordered[place, np.minimum(count // 2, ordered.shape[1] - 1)]
    lower = ordered[place, np.maximum((count - 1) // 2, 0)]
    with np.errstate(invalid="ignore"):
        medians = (lower + upper) / 2
    return np.where(count > 0, medians, 0)


def _upper_quarter(image: np.ndarray) -> float:
    """A value that less than a quarter of the pixels of an image reach, within 1 / 256 of the least."""
    levels = cv2.convertScaleAbs(np.maximum(image, 0), alpha=255)  # rounded, and cut off at 255
    counts = cv2.calcHist([levels], [0], None, [256], [0, 256]).ravel()
    above = image.size - np.cumsum(counts)
    return (int(np.argmax(4 * above < image.size)) + 1) / 255


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _border(shape: tuple[int, ...]) -> np.ndarray:
    border = np.zeros(shape, dtype=bool)
    border[[0, -1], :] = True
    border[:, [0, -1]] = True
    return border
