"""Small images for tests of the extension: a dark curve on a bright ground; matrices that volumes may have."""

from __future__ import annotations

import numpy as np

__all__ = ["MATRICES", "RIGID", "draw_frames"]

# A linear transform, as of a parent node.
RIGID = np.array([[0.8, -0.6, 0, 12], [0.6, 0.8, 0, -5], [0, 0, 1, 3], [0, 0, 0, 1.0]])
ANGLE = np.deg2rad(25)
MATRICES = {
    "as loaded": np.diag([-0.3, -0.3, 1, 1]),
    "identity": np.eye(4),
    "rows up": np.diag([-1, 1, 1, 1.0]),
    "columns mirrored": np.diag([1, -1, 1, 1.0]),
    "not square": np.diag([-0.2, -0.7, 1, 1]),
    "oblique": np.array(
        [
            [-0.4 * np.cos(ANGLE), 0.3 * np.sin(ANGLE), 0, 7],
            [-0.4 * np.sin(ANGLE), -0.3 * np.cos(ANGLE), 0, -9],
            [0, 0, 2, 4],
            [0, 0, 0, 1],
        ]
    ),
    "permuted": np.array([[0, 0.5, 0, 1], [0.5, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]]),
}


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
