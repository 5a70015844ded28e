"""Small images for tests of the extension: a dark curve on a bright ground."""

from __future__ import annotations

import numpy as np

__all__ = ["draw_frames"]


def draw_frames(count: int, rows: int = 96, columns: int = 128) -> np.ndarray:
    """Frames, uint8 (count, rows, columns), whose dark curve moves down a little from one to the next."""
    row, column = np.mgrid[0:rows, 0:columns]
    frames = []
    for index in range(count):
        noise = np.random.default_rng(index).normal(0, 3, (rows, columns))
        center = rows * (0.4 + 0.2 * index / max(count, 1)) + 0.12 * rows * np.sin(column / columns * 6)
        vessel = np.abs(row - center) < rows * 0.03
        frames.append(np.clip(170 - 40 * column / columns - 70 * vessel + noise, 0, 255).astype(np.uint8))
    return np.stack(frames)
