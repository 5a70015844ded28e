"""From stored values to shown grey."""

from __future__ import annotations

import numpy as np

__all__ = ["intensity_range"]


def intensity_range(
    pixels: np.ndarray, window: tuple[float, float] | None = None, bits: int = 0
) -> tuple[float, float]:
    """Choose the values that become 0 and 1.

    Args:
        pixels: any shape, any real type.
        window: centre and width of a DICOM VOI LUT window (PS3.3 C.11.2.1.2, LINEAR), in pixel values.
        bits: bits stored; up to 8, the full range is kept as it is. 0 when unknown.

    Returns:
        (low, high) with low < high: the window, else (0, 255) for 8-bit pixels, else the 0.1 and 99.9 percentiles.
    """
    if window is not None:
        centre, width = window
        if width > 1:
            return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    if 0 < bits <= 8:
        return 0.0, float(2**bits - 1)
    step = max(1, pixels.size // 2_000_000)  # a sample of large cines is enough for percentiles
    low, high = np.percentile(pixels.reshape(-1)[::step], (0.1, 99.9))
    if high <= low:
        low, high = float(pixels.min()), float(pixels.max())
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)
