"""The contrast curve of a cine: one pass over its frames, of which the last one is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

from ..errors import DataError
from ..vessels.tree import vessel_tree
from .curve import DURING, ContrastCurve
from .motion import dense_flow, grey_levels, vessel_motion
from .phases import decide_phases, smoothed

__all__ = ["ContrastMeter", "contrast_curve"]

GRID = 512
"""Longest side that lengths and contrast are measured on; larger frames are reduced to it. Our choice."""
FLOW_GRID = 256
"""The same for the motion."""
AROUND = 8.0
"""Standard deviation, in pixels of the grid, of the surroundings that the contrast is measured against."""
GAP = 3
"""Pixels beside a vessel that belong to neither."""


class ContrastMeter:
    """Takes the frames of a cine one by one and keeps a few numbers of each.

    Args:
        count: frames of the file.
        threshold: probability from which on a pixel is vessel.
    """

    def __init__(self, count: int, threshold: float = 0.5) -> None:
        self.count, self.threshold = count, threshold
        self._size: tuple[int, int] | None = None
        self._rows: list[tuple[int, float, float, float, float, float]] = []
        self._limits = (0.0, 1.0)
        self._previous: tuple[int, np.ndarray] | None = None

    def add(self, frame: int, probability: np.ndarray, attenuation: np.ndarray) -> None:
        """Measure a frame; they come in the order of time.

        Args:
            frame: its number in the file, from 0.
            probability: (X, Y) in [0, 1], or a mask; it may be of a coarser grid than ``attenuation``.
            attenuation: (X, Y) on the file's grid, high where much was absorbed.

        Raises:
            DataError: when its size is not that of the frames before, or the number is not above theirs.
        """
        size = (int(attenuation.shape[0]), int(attenuation.shape[1]))
        if self._size is not None and size != self._size:
            raise DataError(f"frame {frame + 1} is of {size} pixels; those before of {self._size}.")
        if self._rows and frame <= self._rows[-1][0]:
            raise DataError(f"frame {frame + 1} comes after frame {self._rows[-1][0] + 1}; expected the order of time.")
        if not self._rows:
            low, high = np.percentile(attenuation, [0.5, 99.5])
            self._limits = (float(low), float(high))
        self._size = size
        scale = max(size) / GRID if max(size) > GRID else 1.0
        shape = (max(round(size[0] / scale), 1), max(round(size[1] / scale), 1))
        values = _resized(np.asarray(attenuation, np.float32), shape)
        mask = _resized(np.asarray(probability, np.float32), shape) >= self.threshold
        length, catheter = _lengths(mask)
        motion, growth = self._motion(frame, mask, values)
        contrast = _contrast(mask, values)
        self._rows.append((frame, length * scale, catheter * scale, contrast, motion * max(size) / FLOW_GRID, growth))

    def _motion(self, frame: int, mask: np.ndarray, values: np.ndarray) -> tuple[float, float]:
        scale = FLOW_GRID / max(mask.shape)
        shape = (max(round(mask.shape[0] * scale), 16), max(round(mask.shape[1] * scale), 16))
        grey = grey_levels(_resized(values, shape), self._limits)
        before, self._previous = self._previous, (frame, grey)
        if before is None:
            return math.nan, math.nan
        vessels = _resized(mask.astype(np.float32), shape) >= 0.5
        moved, growth = vessel_motion(dense_flow(grey, before[1]), vessels)
        step = frame - before[0]
        return moved / step, growth

    def curve(self, messages: tuple[str, ...] = ()) -> ContrastCurve:
        """What has been measured.

        Args:
            messages: further ones for the curve.

        Raises:
            DataError: when there was no frame.
        """
        if not self._rows or self._size is None:
            raise DataError("a contrast curve needs at least one frame.")
        columns = np.array(self._rows, float).T
        frames, (length, catheter, contrast, motion, growth) = columns[0].astype(int), columns[1:]
        phases, said = decide_phases(length, max(self._size))
        grown = np.cumsum(np.nan_to_num(growth))
        return ContrastCurve(
            frames=frames, count=self.count, size=self._size, length=length, catheter=catheter, contrast=contrast,
            opacity=_opacity(length, contrast, np.array([phase == DURING for phase in phases])), motion=motion,
            spread=np.where(np.isnan(growth) & (np.arange(len(frames)) > 0), np.nan, np.exp(grown)), phases=phases,
            messages=(*said, *messages),
        )  # fmt: skip


def contrast_curve(
    frames: Iterable[tuple[np.ndarray, np.ndarray]],
    count: int | None = None,
    numbers: Iterable[int] | None = None,
    threshold: float = 0.5,
) -> ContrastCurve:
    """The contrast curve of a cine, in one pass.

    Args:
        frames: probability map or mask, and attenuation of each frame, see :meth:`ContrastMeter.add`.
        count: frames of the file; None: as many as come.
        numbers: which frames of the file they are; None: all, from 0.
        threshold: probability from which on a pixel is vessel.

    Raises:
        DataError: when there is no frame, or they do not fit together.
    """
    meter = ContrastMeter(count or 0, threshold)
    known = iter(numbers) if numbers is not None else None
    for place, (probability, attenuation) in enumerate(frames):
        meter.add(place if known is None else next(known), probability, attenuation)
        meter.count = max(meter.count, place + 1)
    return meter.curve()


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if image.shape == shape:
        return image
    how = cv2.INTER_AREA if image.shape[0] > shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, shape[::-1], interpolation=how)


def _lengths(mask: np.ndarray) -> tuple[float, float]:
    """Length of the centre lines without the catheter, and of the catheter."""
    if not mask.any() or mask.all():
        return 0.0, 0.0
    artery = catheter = 0.0
    for *_, edge in vessel_tree(mask).graph.edges(data=True):
        part = float(np.hypot(*np.diff(edge["points"], axis=0).T).sum())
        if edge["catheter"]:
            catheter += part
        else:
            artery += part
    return artery, catheter


def _contrast(mask: np.ndarray, values: np.ndarray) -> float:
    """Mean along the ridges of the vessels of their attenuation less that of what lies around each pixel.

    The mean, since length times mean is the sum over the tree: a twig that fills adds to it, whatever its contrast.
    """
    around = cv2.dilate(mask.astype(np.uint8), np.ones((2 * GAP + 1,) * 2, np.uint8)) == 0
    if not mask.any() or not around.any():
        return math.nan
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ridge = mask & (depth >= 0.7 * cv2.dilate(depth, np.ones((5, 5), np.uint8)))
    weight = cv2.GaussianBlur(around.astype(np.float32), (0, 0), AROUND)
    ground = cv2.GaussianBlur(np.where(around, values, 0).astype(np.float32), (0, 0), AROUND)
    seen = ridge & (weight > 1e-3)
    if not seen.any():
        return math.nan
    inner = cv2.blur(values, (3, 3))
    return float(np.mean(inner[seen] - ground[seen] / weight[seen]))


def _opacity(length: np.ndarray, contrast: np.ndarray, during: np.ndarray) -> np.ndarray:
    product = smoothed(length)
    known = np.clip(np.nan_to_num(contrast), 0, None)
    if known.max() > 0:  # else the frames say nothing about it
        product = product * smoothed(known)
    best = float(product[during].max()) if during.any() else float(product.max())
    return np.clip(product / best, 0, 1) if best > 0 else np.zeros(len(length))
