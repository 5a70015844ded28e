"""Which frame of the source volume the user looks at now."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from CASRSegmentationLib import bundles, settings
from CASRSegmentationLib.frames import FrameError, Orientation, invert, inverted_range
from CASRSegmentationLib.origins import file_frame, file_of, unchanged
from CASRSegmentationLib.protocol import Job
from CASRSegmentationLib.sources import (
    FrameSource,
    current_index,
    describe,
    image_time,
    orientation,
    read_frame,
    shown_range,
)  # fmt: skip

from .maps import FrameKey

__all__ = ["Target", "current_target"]


@dataclass(frozen=True)
class Target:
    """One frame or slice of the source volume.

    Attributes:
        source: where it comes from.
        key: what identifies it and its pixels.
        slice_index: slice of the volume's array that it stands on: 0 unless the volume is a stack.
        orientation: how the array stands on the screen.
    """

    source: FrameSource
    key: FrameKey
    slice_index: int
    orientation: Orientation

    @property
    def label(self) -> str:
        """What the user calls it, counted from 1."""
        return self.source.label(self.key.index)

    def read(self) -> np.ndarray:
        """The frame's pixels, (rows, columns) in display orientation, vessels dark.

        Raises:
            FrameError: when it cannot be used.
        """
        frame = read_frame(self.source, self.key.index)
        return invert(frame) if self.key.inverted else frame

    def job(self, device: str, dtype: np.dtype) -> Job:
        """What the worker is told about a frame of this type; the mask without refinement comes first."""
        limits, source = self.key.limits, ""
        if limits is None:
            source = file_of(self.source)
        elif self.key.inverted:
            limits = inverted_range(limits, dtype)
        return Job(
            indices=(self.key.index,),
            intensity_range=limits,
            source=source or None,
            source_frames=(file_frame(self.source, self.key.index),) if source else (),
            unchanged=bool(source) and unchanged(self.source),
            inverted=self.key.inverted,
            device=device,
            refine=False,
        )

    def from_display(self, mask: np.ndarray) -> np.ndarray:
        """An array in display orientation, as the volume's array lies."""
        return self.orientation.from_display(mask)


def current_target(volume: Any, inverted: bool, window: bool) -> Target:
    """The frame of a volume node that is shown now, for the bundle that the user has chosen.

    Args:
        volume: the node.
        inverted: it shows bright vessels.
        window: take the range of grey values that it is displayed with.

    Raises:
        FrameError: when the volume is no angiogram, none of its slices is shown, or the bundle cannot be used.
    """
    try:
        bundle = _folder(settings.bundle_folder())
    except bundles.BundleError as error:
        raise FrameError(str(error)) from error
    source = describe(volume)
    index = current_index(source)
    limits = shown_range(source) if window else None
    key = FrameKey(source.volume_id, image_time(source, index), index, inverted, bundle, limits)
    return Target(source, key, index if source.kind == "slices" else 0, orientation(source, index))


@functools.lru_cache(maxsize=1)
def _folder(setting: str) -> str:
    """Looked at once for each setting, since it is asked for with every movement of a view."""
    return str(bundles.choose(setting).folder)
