"""Motion between frames by dense optical flow (Kroeger et al., ECCV 2016, DIS; OpenCV's implementation)."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["dense_flow", "grey_levels", "vessel_motion", "warp"]

LEAST = 60
"""Vessel pixels from which on their motion says something. Our choice."""
MOST_GROWTH = 0.15
"""Largest change of a tree's size between frames; a heart changes by a few per cent, more is a wrong flow."""


def grey_levels(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """uint8 of values between limits, as the flow takes it."""
    low, high = limits
    scaled = (np.asarray(values, np.float32) - low) * (255 / max(high - low, 1e-12))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def dense_flow(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where each pixel of ``source`` is found in ``target``.

    Args:
        source, target: uint8, of one shape, 16 or more on each side.

    Returns:
        float32 (*shape, 2): displacement along the last axis, then along the first, in pixels.
    """
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return engine.calc(np.ascontiguousarray(source), np.ascontiguousarray(target), None)  # type: ignore[call-overload]


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """An image at the places that the flow leads to, by linear interpolation; 0 beyond its border.

    Args:
        image: float32 or uint8, of the target of the flow.
        flow: of :func:`dense_flow`.

    Returns:
        of the shape of ``image``: on the grid of the flow's source.
    """
    rows, columns = image.shape
    x = flow[..., 0] + np.arange(columns, dtype=np.float32)
    y = flow[..., 1] + np.arange(rows, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def vessel_motion(flow: np.ndarray, vessels: np.ndarray) -> tuple[float, float]:
    """How vessels move against what lies around them, and how much larger the tree becomes.

    Args:
        flow: float (*shape, 2), from a frame to the one before.
        vessels: bool, of that frame.

    Returns:
        the mean displacement in pixels, the median of the rest taken off (a table or a breath that moves all is none);
        and the logarithm of the growth since the frame before, by a least squares fit. NaN where few vessels are seen,
        and for a growth beyond belief.
    """
    if vessels.sum() < LEAST or vessels.all():
        return float("nan"), float("nan")
    moved = flow[vessels]
    rest = np.median(flow[~vessels], axis=0)
    place = np.argwhere(vessels)[:, ::-1].astype(float)  # along the last axis first, as the flow
    place -= place.mean(axis=0)
    growth = -float((place * (moved - moved.mean(axis=0))).sum() / max((place**2).sum(), 1e-12))
    return float(np.hypot(*(moved - rest).T).mean()), growth if abs(growth) <= MOST_GROWTH else float("nan")
