"""The contrast curve of a file: the network over its frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from ..files.images import Angiogram
from .contrast import ContrastMeter
from .curve import ContrastCurve

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

__all__ = ["STRIDE_FROM", "survey", "survey_frames"]

STRIDE_FROM = 60
"""Frames up to which each one is looked at; of longer cines every second, third, ... Our choice: about four seconds,
longer ones are slow or still."""


def survey_frames(count: int, stride: int | None = None) -> list[int]:
    """Which frames of a cine are looked at: every one of a short cine, the last one always.

    Args:
        count: frames of the cine.
        stride: each which; None chooses by the count.

    Raises:
        UsageError: for a stride below 1.
    """
    step = max(1, -(-count // STRIDE_FROM)) if stride is None else stride
    if step < 1:
        raise UsageError(f"stride is {step}; at least 1 is needed.")
    return sorted({*range(0, count, step), count - 1}) if count else []


def survey(
    angiogram: Angiogram,
    segmenter: Segmenter,
    stride: int | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> ContrastCurve:
    """Run the network over the frames of a cine, without refinement, and measure the contrast curve.

    A frame that cannot be decoded is left out, and said in the curve's messages.

    Args:
        angiogram: the open file.
        segmenter: the network.
        stride: see :func:`survey_frames`.
        progress: called after each frame with the number of frames done, and of all.

    Raises:
        DataError: when no frame can be used.
    """
    from ..inference.segmenter import segment_each  # torch and MONAI take seconds to import

    frames = survey_frames(angiogram.frames, stride)
    meter = ContrastMeter(angiogram.frames)
    failures: list[tuple[int, DataError]] = []

    def load(frame: int) -> tuple[np.ndarray, np.ndarray]:
        return angiogram.grey(frame), angiogram.attenuation(frame).values

    for done, way in enumerate(segment_each(segmenter, frames, load), 1):
        if isinstance(way.error, DataError) and way.stage == "decoding":
            failures.append((way.item, way.error))
        elif way.error is not None:
            raise way.error
        else:
            found, attenuation = way.value
            meter.add(way.item, np.asarray(found.probability).T, attenuation)
        progress(done, len(frames))
    if len(failures) == len(frames):
        raise failures[0][1]
    left_out = tuple(f"frame {frame + 1} was left out: {error}" for frame, error in failures)
    return meter.curve(left_out)
