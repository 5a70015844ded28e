"""Frames before, during and after the contrast, from the length of what looks like an artery."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from .curve import AFTER, BEFORE, DURING

__all__ = ["decide_phases", "smoothed"]

CHANGE = 0.35
"""Least length of an opacified tree, as a share of the longer side, where the length changes over the cine. Our
choice: real trees reach two to four sides, what is found falsely before the contrast stays below a third."""
CONSTANT = 0.8
"""The same where the length hardly changes: a catheter that was not told from the artery must not pass for a tree."""
RISE = 0.5
"""Least change, as a share of the longest, from which on it is one and not the network's unrest."""
HIGH, LOW, NOISE = 0.25, 0.03, 3.0
"""A frame has contrast from the length base + HIGH (top - base) on; the frames that lead to it, or follow, from
base + LOW (top - base), or NOISE standard deviations of the frames without contrast. Our choice, see docs/cine.md."""
RUN = 2
"""Least frames in a row above the high level: one frame alone is a false one."""


def smoothed(values: np.ndarray) -> np.ndarray:
    """Median of three, which drops the frame that the network missed, then weights 1 2 1.

    A frame at an end counts no more than the median of the three there: the first frame is often dim and noisy, and
    noise is found as vessels.

    Args:
        values: float (n,), finite.
    """
    if len(values) < 3:
        return values.astype(float)
    middle = median_filter(values.astype(float), size=3, mode="nearest")
    middle[0] = min(values[0], np.median(values[:3]))
    middle[-1] = min(values[-1], np.median(values[-3:]))
    padded = np.pad(middle, 1, mode="edge")
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def decide_phases(length: np.ndarray, side: float) -> tuple[tuple[str, ...], list[str]]:
    """Phases of the frames of a cine.

    The length goes up when the contrast arrives and down when it leaves; what is there all the time, such as a
    catheter, is its base. A cine without a change is with contrast throughout, or without, by the length itself.

    Args:
        length: float (n,), of what looks like an artery, pixels.
        side: longer side of the image, pixels.

    Returns:
        a phase a frame, and messages about what is odd.
    """
    count = len(length)
    if count == 0:
        return (), ["the cine has no frames."]
    # A frame that the network missed is filled; ends are kept, a cine may begin in the last frame before the contrast.
    level = median_filter(length.astype(float), size=3, mode="nearest") if count >= 3 else length.astype(float)
    base, top = float(level.min()), float(np.percentile(level, 95))
    if top < CHANGE * side:
        return (BEFORE,) * count, ["no contrast was found in any frame."]
    if top - base < RISE * top:
        if top < CONSTANT * side:
            return (BEFORE,) * count, ["no contrast was found in any frame: little that does not change over the cine."]
        return (DURING,) * count, ["the contrast is there in all frames."] if count > 1 else []
    high = level >= base + HIGH * (top - base)
    runs = _runs(high)
    kept = [run for run in runs if run[1] - run[0] >= min(RUN, count)] or runs
    first, last = kept[0][0], kept[-1][1] - 1
    outside = np.concatenate([level[:first], level[last + 1 :]])
    calm = outside[outside <= base + LOW * (top - base)]
    low = base + max(LOW * (top - base), NOISE * float(calm.std()) if len(calm) > 2 else 0.0)
    while first > 0 and length[first - 1] > low:
        first -= 1
    while last + 1 < count and length[last + 1] > low:
        last += 1
    phases = (BEFORE,) * first + (DURING,) * (last + 1 - first) + (AFTER,) * (count - 1 - last)
    return phases, ["the cine begins with contrast."] if first == 0 else []


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Begins and ends (exclusive) of the stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
