"""Images as worse or other acquisitions give them, with their masks: for how much a network bears."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..errors import UsageError, shown

__all__ = ["PERTURBATIONS", "perturbed"]

PERTURBATIONS: dict[str, tuple[float, ...]] = {
    "noise": (5, 10, 20),
    "blur": (1, 2, 3),
    "contrast": (0.7, 0.4, 0.2),
    "rotation": (5, 15, 45),
    "scale": (0.5, 0.75, 1.5),
    "jpeg": (50, 20, 10),
    "collimator": (0.1, 0.2),
}
"""Kinds and their levels. noise: standard deviation in grey values of 255; blur: sigma in pixels; contrast: factor of
the distance to the image's mean; rotation: degrees about the centre; scale: factor of both sides; jpeg: quality;
collimator: share of each side that turns black. Our choice."""


def perturbed(
    kind: str, level: float, image: np.ndarray, mask: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """One changed image with the mask that belongs to it.

    Args:
        kind: of :data:`PERTURBATIONS`.
        level: in the kind's own unit.
        image: uint8 (rows, columns).
        mask: bool of the same shape.
        seed: of the noise.

    Returns:
        image, uint8, and mask, bool, of equal shape: another one than before for "scale". A rotated image is filled up
        by reflection, and so is its mask.

    Raises:
        UsageError: for an unknown kind.
    """
    if kind not in PERTURBATIONS:
        raise UsageError(f"kind of perturbation is {shown(kind)}; known are {', '.join(PERTURBATIONS)}.")
    rows, columns = image.shape
    values: Any = image.astype(np.float32)
    if kind == "noise":
        values = values + np.random.default_rng(seed).normal(0, level, image.shape)
    elif kind == "blur":
        values = cv2.GaussianBlur(values, (0, 0), level)
    elif kind == "contrast":
        values = values.mean() + level * (values - values.mean())
    elif kind == "rotation":
        turn = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), level, 1.0)
        values, mask = _both(values, mask, lambda x: cv2.warpAffine(x, turn, (columns, rows), borderMode=_REFLECT))
    elif kind == "scale":
        size = (max(1, round(level * columns)), max(1, round(level * rows)))
        method = cv2.INTER_AREA if level < 1 else cv2.INTER_LINEAR
        values, mask = _both(values, mask, lambda x: cv2.resize(x, size, interpolation=method))
    elif kind == "jpeg":
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(level)])
        decoded: Any = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if done else None
        values = decoded.astype(np.float32)
    else:
        top, left = round(level * rows), round(level * columns)
        seen = np.zeros(image.shape, bool)
        seen[top : rows - top, left : columns - left] = True
        values, mask = np.where(seen, values, 0), mask & seen
    return np.clip(np.round(values), 0, 255).astype(np.uint8), mask


_REFLECT = cv2.BORDER_REFLECT_101


def _both(values: np.ndarray, mask: np.ndarray, move: Any) -> tuple[np.ndarray, np.ndarray]:
    return move(values), move(mask.astype(np.float32)) >= 0.5
