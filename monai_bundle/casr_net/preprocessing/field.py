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
    rim = np.zeros(image.shape, dtype=bool)
    outermost = _border(image)
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
        if not _border(candidate).any():
            continue
        count, labels = cv2.connectedComponents(candidate.view(np.uint8), connectivity=4)
        contact = np.bincount(_border(labels), minlength=count)
        kept = contact >= min_border * outermost.size
        kept[0] = False
        if kept.any():
            found = kept[labels]
            rim |= found
            rim |= _dilate(found, 4 + edge) & fairly(image)
    rim |= _blades(image, rim, blade_contrast, max_blade)
    if not rim.any():
        return everything
    rim = _dilate(rim, edge)
    # What the rim encloses without touching the field (text, blade corners) is rim as well.
    field = _largest(~rim)
    if field is None:
        return everything
    # Holes: all around the field is one region, by a border of its own.
    around = cv2.copyMakeBorder((~field).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(around, None, (0, 0), 2, flags=4)
    field = around[1:-1, 1:-1] != 2
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


def _largest(mask: np.ndarray) -> np.ndarray | None:
    """The largest part of a mask (4-connected), the first of several; None of an empty one."""
    # The one that holds the middle, where it is more than half of all: filling takes a third of the time of labels.
    middle = mask.shape[1] // 2, mask.shape[0] // 2
    if mask[middle[1], middle[0]]:
        filled = mask.astype(np.uint8)
        if 2 * cv2.floodFill(filled, None, middle, 2, flags=4)[0] > np.count_nonzero(mask):
            return filled == 2
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    if count < 2:
        return None
    return mask if count == 2 else labels == 1 + int(np.argmax(np.bincount(labels.ravel(), minlength=count)[1:]))


Places = tuple[np.ndarray, ...]


def _nearest_inside(field: np.ndarray) -> tuple[Places, Places]:
    """The pixels outside the field, and for each the nearest one inside; of several, as
    ``scipy.ndimage.distance_transform_edt`` has it: the first column, and in that the first row ("column": along the
    second axis).

    That computes it for all pixels, which takes many times as long. Here a pixel whose nearest place in the rectangle
    around the field is in the field has found it; what is left, at round corners, is looked for piece by piece.
    """
    inside = [np.flatnonzero(field.any(axis=axis)) for axis in (1, 0)]
    position = np.nonzero(~field)
    nearest = tuple(np.clip(here, own[0], own[-1]) for here, own in zip(position, inside, strict=True))
    left = np.flatnonzero(~field[nearest])
    # Quarter by quarter: round corners are far from each other.
    centre = [(own[0] + own[-1]) // 2 for own in inside]
    quarter = 2 * (position[0][left] > centre[0]) + (position[1][left] > centre[1])
    for number in range(4):
        some = left[quarter == number]
        if not len(some):
            continue
        places = position[0][some], position[1][some]
        window = _around(field, places)
        there = _nearest_anywhere(field[window])
        for axis, start in enumerate((window[0].start, window[1].start)):
            nearest[axis][some] = start + there[axis][places[0] - window[0].start, places[1] - window[1].start]
    return position, nearest


def _around(field: np.ndarray, places: Places) -> tuple[slice, slice]:
    """A window with some pixels, and the nearest pixels of the field to each of them."""
    margin = 1 + max(int(np.ptp(here)) for here in places)
    while True:
        window = (
            slice(max(int(places[0].min()) - margin, 0), int(places[0].max()) + margin + 1),
            slice(max(int(places[1].min()) - margin, 0), int(places[1].max()) + margin + 1),
        )
        part = field[window]
        if part.shape == field.shape:
            return window
        away = cv2.distanceTransform((~part).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # What lies outside the window is farther away than the margin.
        if part.any() and away[places[0] - window[0].start, places[1] - window[1].start].max() <= margin:
            return window
        margin *= 2


def _nearest_anywhere(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (X, Y) of the nearest pixels of a field to those outside it; others have any."""
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
    result = np.zeros((2, rows, columns), np.intp)
    result[:, some[place[0]], place[1]] = nearest[place[0], column], column
    return result[0], result[1]


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
        lines = _line_medians(image, axis, known if some else None)
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
    lines = image if axis == 0 else cv2.transpose(image)
    if known is None:
        # As numpy.median, whose partition takes fifteen times as long as sorting with wide instructions.
        ordered, size = np.sort(lines, axis=1), lines.shape[1]
        return (ordered[:, (size - 1) // 2] + ordered[:, size // 2]) / 2
    left_out = known if axis == 0 else cv2.transpose(known.view(np.uint8)).view(bool)
    # As numpy.ma.median does it, which is many times slower.
    ordered = np.sort(np.where(left_out, np.float32(np.inf), lines), axis=1)
    count = lines.shape[1] - np.count_nonzero(left_out, axis=1)
    place = np.arange(len(ordered))
    upper = ordered[place, np.minimum(count // 2, ordered.shape[1] - 1)]
    lower = ordered[place, np.maximum((count - 1) // 2, 0)]
    with np.errstate(invalid="ignore"):
        medians = (lower + upper) / 2
    return np.where(count > 0, medians, 0)


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _border(image: np.ndarray) -> np.ndarray:
    """Values of the outermost pixels."""
    return np.concatenate((image[0], image[-1], image[1:-1, 0], image[1:-1, -1]))
