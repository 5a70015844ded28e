"""Temporal fusion: probability maps of neighbouring frames, moved onto a frame by dense optical flow, and averaged.

Whether it helps was measured, see docs/cine.md: it does not, so that no command uses it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np

from ..errors import UsageError, shown
from .motion import dense_flow, grey_levels, warp

__all__ = ["FLOW_GRID", "WEIGHTS", "checked_weights", "fused_maps", "join"]

WEIGHTS = (0.5,)
"""Weight of the neighbours at distance 1, 2, ... on either side, against 1 of the frame itself. See docs/cine.md."""
FLOW_GRID = 256
"""Longest side that the flow is computed on; it is smooth, and four times as fast as on 512. Our choice."""

Frame = tuple[np.ndarray, np.ndarray]


def checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights of the neighbours.

    Raises:
        UsageError: unless they are one to three numbers in (0, 1], none larger than the one before.
    """
    numbers = all(isinstance(weight, (int, float)) and not isinstance(weight, bool) for weight in weights)
    falling = numbers and all(later <= sooner for sooner, later in pairwise(weights))
    if not (1 <= len(weights) <= 3 and falling and min(weights) > 0 and max(weights) <= 1):
        raise UsageError(f"fusion weights are {shown(list(weights))}; expected 1 to 3 falling numbers in (0, 1].")
    return tuple(float(weight) for weight in weights)


def fused_maps(frames: Iterable[Frame], weights: Sequence[float] = WEIGHTS) -> Iterator[np.ndarray]:
    """Fuse the maps of a cine; of its frames only the window of neighbours is kept.

    Args:
        frames: shown grey (X, Y) in [0, 1] and probability (X, Y) of each frame, in the order of time.
        weights: of the neighbours, see :data:`WEIGHTS`.

    Yields:
        float32 (X, Y) in [0, 1] a frame, in order; those at the ends have neighbours on one side.

    Raises:
        UsageError: for wrong weights.
    """
    known = checked_weights(weights)
    reach = len(known)
    window: deque[Frame] = deque()
    first = turn = 0  # number of the window's first frame, and of the one whose neighbours are waited for
    for last, frame in enumerate(frames):
        window.append(frame)
        if last - reach >= turn:
            yield join(window, turn - first, known)
            turn += 1
        if turn - reach > first:
            window.popleft()
            first += 1
    for at in range(turn - first, len(window)):  # the last ones have fewer neighbours behind them
        yield join(window, at, known)


def join(window: Sequence[Frame], at: int, weights: Sequence[float]) -> np.ndarray:
    """The map of one frame with those of its neighbours.

    Args:
        window: consecutive frames.
        at: which of them.
        weights: of the neighbours at distance 1, 2, ...

    Returns:
        float32 (X, Y).
    """
    grey, own = window[at]
    total, weight = own.astype(np.float32), np.ones(own.shape, np.float32)
    low, high = (float(limit) for limit in np.percentile(grey, [0.5, 99.5]))
    here = _small(grey, (low, high))
    for distance, share in enumerate(weights, 1):
        for other in (at - distance, at + distance):
            if 0 <= other < len(window):
                flow = dense_flow(here, _small(window[other][0], (low, high)))
                flow = _enlarged(flow, own.shape)
                total += share * warp(window[other][1].astype(np.float32), flow)
                weight += share * warp(np.ones(own.shape, np.float32), flow)  # nothing comes from beyond the border
    return total / weight


def _small(grey: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    levels = grey_levels(grey, limits)
    scale = FLOW_GRID / max(levels.shape)
    if scale >= 1:
        return levels
    shape = [max(round(side * scale), 16) for side in levels.shape]
    return cv2.resize(levels, shape[::-1], interpolation=cv2.INTER_AREA)


def _enlarged(flow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if flow.shape[:2] == shape:
        return flow
    factor = np.array([shape[1] / flow.shape[1], shape[0] / flow.shape[0]], np.float32)
    return cv2.resize(flow, shape[::-1], interpolation=cv2.INTER_LINEAR) * factor
