"""The mean over a frame and its mirror images (test-time augmentation): for which frames, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UsageError, shown
from ..refinement.probability import probability

__all__ = ["AUTO", "FLIPS", "FRAMES", "checked_tta", "is_mirrored", "mirrored_logits"]

AUTO = "auto"
"""As shipped: files of one frame are segmented with their mirror images, cines, which are long, without. Our choice, by
``experiments/results/tta_continued.json``."""

FRAMES = "frames"
"""Of the metadata of an image: frames of its file."""

FLIPS: tuple[tuple[int, ...], ...] = ((), (-2,), (-1,), (-2, -1))
"""Axes of an image (C, X, Y) along which it is turned over."""

EDGE = 1e-6  # mean probabilities are kept this far from 0 and 1, whose logits are infinite


def checked_tta(value: Any) -> bool | str:
    """The value, if it may be one of ``tta``.

    Raises:
        UsageError: for another one, such as the text "false", which ``python -m monai.bundle run`` makes of ``--tta
            false``.
    """
    if isinstance(value, bool) or value == AUTO:
        return value if isinstance(value, bool) else AUTO
    raise UsageError(
        f"configuration: tta is {shown(value)}; expected true, false or auto, the first two of which the command line "
        "of monai.bundle takes as True and False."
    )


def is_mirrored(tta: bool | str, frames: int | None) -> bool:
    """Whether a frame is segmented with its mirror images.

    Args:
        tta: True, False or :data:`AUTO`.
        frames: of its file; None where that is not known.
    """
    return frames == 1 if tta == AUTO else bool(tta)


def mirrored_logits(images: np.ndarray, network: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The logits of the mean probability of frames and their mirror images, turned back.

    Args:
        images: (N, C, X, Y), input of the network.
        network: gives logits (N, 1, X, Y).

    Returns:
        float32 (N, 1, X, Y), within the logits of 1e-6 and 1 - 1e-6.
    """
    mean: np.ndarray | float = 0.0
    for axes in FLIPS:
        logits = network(np.ascontiguousarray(np.flip(images, axes)))
        mean = mean + probability(np.flip(logits, axes)) * np.float32(1 / len(FLIPS))
    inside = np.clip(mean, np.float32(EDGE), np.float32(1 - EDGE))
    return np.ascontiguousarray(np.log(inside / (1 - inside)), np.float32)
