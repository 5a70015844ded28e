"""Pictures for people: the vessel contour drawn on the angiogram."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["draw_overlay"]

CONTOUR_COLOUR = (0, 255, 0)


def draw_overlay(grey: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = CONTOUR_COLOUR) -> np.ndarray:
    """Draw the outline of a mask on an angiogram.

    Args:
        grey: (rows, columns) in [0, 1].
        mask: (rows, columns), vessel where not 0.
        colour: of the outline, RGB.

    Returns:
        uint8 (rows, columns, 3), RGB. Lines are one pixel wide, two from 1024 pixels on.
    """
    canvas = np.repeat(np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    contours, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, 2 if max(grey.shape) >= 1024 else 1)
    return canvas
