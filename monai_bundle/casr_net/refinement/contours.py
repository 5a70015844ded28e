"""Stage 3: contour refinement of the network's probability map, as pure functions.

The paper (arXiv 2510.27315) says that a "contour refinement module further suppresses false positives"; a third-party
summary adds "contour-based removal of false positives and patch-line generation to reconnect fragmented vessel
segments". No rule, order or threshold is published: all of them are our choice. Arrays are (X, Y);
vessels are 8-connected, background is 4-connected.
"""

from __future__ import annotations

import cv2
import numpy as np

from .parameters import RefinementParameters
from .parts import Parts
from .reconnection import BridgeLimits, draw_bridges, find_bridges, vessel_ends

__all__ = ["RefinementParameters", "fill_pinholes", "reconnect", "refine", "remove_components"]


DEFAULTS = RefinementParameters()


def refine(
    probability: np.ndarray, parameters: RefinementParameters = DEFAULTS, scale: float | None = None
) -> np.ndarray:
    """Turn a probability map into a refined vessel mask: threshold, reconnect, fill pinholes, remove components.

    Removal comes last, so that reconnected fragments count as parts of what they were joined to. The clean-up is
    idempotent: refining the result, taken as a probability map of 0 and 1, with the same parameters changes nothing
    (if ``reconnect`` is on, provided that ``remove_components`` is on too: specks that stay shorten gaps).

    Args:
        probability: (X, Y), float in [0, 1].
        parameters: switches and limits.
        scale: length in pixels that lengths are shares of, and whose square areas are shares of, for a part of a larger
            image. None: the longer side and the area of this image.

    Returns:
        bool (X, Y), True in vessels.

    Raises:
        ValueError: when the map is not (X, Y), or holds NaN.
    """
    probability = np.ascontiguousarray(probability, dtype=np.float32)
    if probability.ndim != 2 or not probability.size:
        raise ValueError(f"the probability map has shape {probability.shape}; it must be (X, Y) with pixels.")
    if np.isnan(probability.max()):
        missing = int(np.isnan(probability).sum())
        raise ValueError(f"the probability map holds {missing} NaN of {probability.size} pixels; it must hold none.")
    length = max(probability.shape) if scale is None else scale
    area = probability.size if scale is None else scale**2
    mask = probability >= parameters.threshold
    parts = Parts(mask)
    if parameters.reconnect:
        mask = _reconnected(parts, probability, parameters, length, area)
    if parameters.fill_pinholes:
        mask = fill_pinholes(mask, parameters.max_hole_area * area)
    if parameters.remove_components:
        mask = _remaining(parts.grown(mask), probability, parameters, length, area)
    return mask


def reconnect(
    mask: np.ndarray, probability: np.ndarray, parameters: RefinementParameters, length: float, area: float
) -> np.ndarray:
    """Join fragments by patch lines along the paths of least ``1 - probability``.

    Lines start at free ends of the skeleton. Components can be joined when they are not specks: when their area is at
    least ``min_area``, or when they have a free end with a direction.

    Args:
        mask: bool (X, Y).
        probability: (X, Y) in [0, 1].
        parameters: ``max_gap``, ``max_angle``, ``max_cost``, ``direction_length`` and ``min_area`` are used.
        length: pixels that lengths are shares of.
        area: pixels that areas are shares of.

    Returns:
        bool (X, Y), the mask and the lines.
    """
    return _reconnected(Parts(np.ascontiguousarray(mask, bool)), probability, parameters, length, area)


def _reconnected(
    parts: Parts, probability: np.ndarray, parameters: RefinementParameters, length: float, area: float
) -> np.ndarray:
    """:func:`reconnect`; the very mask of the parts where nothing can be joined."""
    stretch = parameters.direction_length * length
    large = parts.sizes >= parameters.min_area * area
    # A component that is neither large nor long enough for an end with a direction joins nothing.
    span = np.hypot(parts.boxes[:, 2] - 1, parts.boxes[:, 3] - 1)
    able = large | (span >= max(stretch / 2, 1) - 1e-3)
    able[0] = False
    if able.sum() < 2 or not _any_near(parts, able, parameters.max_gap * length):
        return parts.mask
    labels = parts.labels
    if not able[1:].all():
        labels = labels.copy()
        labels.reshape(-1)[parts.places[~able[parts.at]]] = 0
    ends = vessel_ends(labels, parts.depth, stretch)
    joinable = large
    joinable[ends.labels] = True
    joinable[0] = False
    limits = BridgeLimits(parameters.max_gap * length, parameters.max_angle, parameters.max_cost)
    bridges = find_bridges(probability, parts.labels, ends, joinable, limits, parts.boxes)
    return draw_bridges(parts.mask, bridges) if bridges else parts.mask


def _any_near(parts: Parts, able: np.ndarray, gap: float) -> bool:
    """Whether two of the able components are so near that a patch line could join them."""
    # A line starts up to half the width and 2 pixels inside its vessel.
    margin = int(gap + 2 * float(parts.deepest.max()) + 2) + 2
    order = np.flatnonzero(able)
    largest = order[np.argmax(parts.sizes[order])]
    for part in order[order != largest].tolist():
        near = parts.labels[parts.window(part, margin)]
        if (able[near] & (near != part)).any():
            return True
    return False


def fill_pinholes(mask: np.ndarray, max_area: float) -> np.ndarray:
    """Fill holes of at most ``max_area`` pixels. Background that touches the image border is no hole.

    bool (X, Y), in and out; no pixel of the mask is lost.
    """
    # A frame of background joins all that touches the border into one large region.
    background = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    hole = stats[:, cv2.CC_STAT_AREA] <= max_area
    hole[[0, labels[0, 0]]] = False
    return mask | hole[labels][1:-1, 1:-1]


def remove_components(
    mask: np.ndarray, probability: np.ndarray, parameters: RefinementParameters, length: float, area: float
) -> np.ndarray:
    """Drop components that are too small, too uncertain, too compact, or too far from the main tree.

    The main tree is the longest component (area over largest width) of those that are not too small. It stays whatever
    its shape and mean probability, so that a weak prediction is not wiped out.

    Args:
        mask: bool (X, Y).
        probability: (X, Y) in [0, 1]. Pixels below the threshold (patch lines, filled holes) do not count for the mean.
        parameters: ``threshold``, ``min_area``, ``min_mean_probability``, ``min_elongation``, ``max_distance`` and
            ``far_area`` are used.
        length: pixels that lengths are shares of.
        area: pixels that areas are shares of.

    Returns:
        bool (X, Y), a subset of the mask.
    """
    return _remaining(Parts(np.ascontiguousarray(mask, bool)), probability, parameters, length, area)


def _remaining(
    parts: Parts, probability: np.ndarray, parameters: RefinementParameters, length: float, area: float
) -> np.ndarray:
    """:func:`remove_components`."""
    mask, count, labels, size = parts.mask, parts.count, parts.labels, parts.sizes
    kept = size >= parameters.min_area * area
    kept &= size > 0
    if not kept.any():
        return np.zeros_like(mask)
    # The widest disc's diameter: the distance runs from pixel centre to pixel centre, half a pixel beyond the edge.
    width = np.maximum(1.0, (np.float32(2.0) * parts.deepest - np.float32(1)).astype(np.float64))
    # Components of equal length are all taken for the main tree: a choice by position would depend on the orientation.
    lengths = np.where(kept, size / width, -1)
    main = lengths == lengths.max()
    levels = probability.reshape(-1)[parts.places]
    certain = levels >= parameters.threshold
    inside = parts.at[certain]
    number = np.bincount(inside, minlength=count)
    mean = np.bincount(inside, weights=levels[certain], minlength=count) / np.maximum(number, 1)
    kept &= (mean >= parameters.min_mean_probability) & (size / width**2 >= parameters.min_elongation)
    # Only of what nothing else decides about, the distance from the main tree is needed.
    reach = parameters.max_distance * length
    for part in np.flatnonzero(kept & ~main & (size < parameters.far_area * area)).tolist():
        window = parts.window(part, int(min(reach, max(mask.shape))) + 2)
        near = labels[window]
        if not main[near].any():
            kept[part] = False
            continue
        apart = cv2.distanceTransform((~main[near]).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        kept[part] = float(apart[near == part].min()) <= reach
    kept[main] = True
    if kept[parts.at].all():
        return mask
    result = np.zeros_like(mask)
    result.reshape(-1)[parts.places] = kept[parts.at]
    return result
