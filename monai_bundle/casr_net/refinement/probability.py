"""From logits to a probability map of the exposed field, as functions of arrays."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["masked_outside", "probability"]


def probability(logits: np.ndarray) -> np.ndarray:
    """The logistic function of each logit; float32 of the same shape."""
    result = np.negative(logits, dtype=np.float32)
    with np.errstate(over="ignore"):  # the exponential of what is below -88 is infinite, and its probability 0
        np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def masked_outside(maps: np.ndarray, field: np.ndarray, margin: int = 4) -> np.ndarray:
    """Set maps to 0 outside the exposed field, where the network saw a mirror image only.

    Args:
        maps: (C, X, Y).
        field: (1, X, Y) of 0 and 1.
        margin: pixels that the field is widened by, since its detection takes a safe distance from the rim.

    Returns:
        (C, X, Y); the maps themselves where the field is everywhere.
    """
    if field.all():
        return maps
    side = 2 * margin + 1
    return maps * cv2.dilate(np.asarray(field[0], np.float32), np.ones((side, side), np.uint8))
