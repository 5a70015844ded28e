"""What the user has chosen in the module's panel, stored with the scene."""

from __future__ import annotations

import enum
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Default, Minimum, WithinRange, parameterNodeWrapper

from .frames import FrameError
from .sources import FrameSource, current_index

__all__ = ["MAX_THRESHOLD", "MIN_THRESHOLD", "CASRSegmentationParameterNode", "Frames", "chosen_frames"]

MIN_THRESHOLD, MAX_THRESHOLD = 0.02, 0.98


class Frames(enum.Enum):
    """Which frames of a cine or slices of a stack are segmented."""

    ALL = "all"
    CURRENT = "current"
    RANGE = "range"

    def label(self) -> str:
        """What the user reads."""
        return {
            Frames.ALL: _("All frames"),
            Frames.CURRENT: _("Current frame"),
            Frames.RANGE: _("Range of frames"),
        }[self]


@parameterNodeWrapper
class CASRSegmentationParameterNode:
    """Parameters of the module.

    Attributes:
        inputVolume: angiogram: single frame, proxy of a cine, or stack.
        segmentation: segmentation to be updated; None makes a new one.
        frames: which frames.
        firstFrame, lastFrame: of a range, counted from 1, both included.
        threshold: probability from which a pixel is vessel.
        refine: with contour refinement, stage 3.
        brightVessels: the image shows bright vessels on dark ground.
        displayedWindow: grey values from black to white as the volume is displayed, rather than by the file's own rule.
        probability, statistics: make a probability volume, a table of areas.
    """

    inputVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
    segmentation: slicer.vtkMRMLSegmentationNode
    frames: Frames
    firstFrame: Annotated[int, Minimum(1), Default(1)]  # noqa: N815
    lastFrame: Annotated[int, Minimum(1), Default(1)]  # noqa: N815
    threshold: Annotated[float, WithinRange(MIN_THRESHOLD, MAX_THRESHOLD), Default(0.5)]
    refine: Annotated[bool, Default(True)]
    brightVessels: Annotated[bool, Default(False)]  # noqa: N815
    displayedWindow: Annotated[bool, Default(False)]  # noqa: N815
    probability: Annotated[bool, Default(False)]
    statistics: Annotated[bool, Default(True)]


def chosen_frames(source: FrameSource, frames: Frames, first: int, last: int) -> tuple[int, ...]:
    """Frames to be segmented, counted from 0.

    Args:
        source: where they come from; of a single frame the other arguments do not matter.
        frames: which.
        first, last: of a range, counted from 1, both included.

    Raises:
        FrameError: for a range that the source does not have, or when no slice of a stack is shown.
    """
    if source.count == 1:
        return (0,)
    if frames is Frames.ALL:
        return tuple(range(source.count))
    if frames is Frames.CURRENT:
        return (current_index(source),)
    if not 1 <= first <= last <= source.count:
        raise FrameError(
            _("Frames {first} to {last}: {name} has frames 1 to {count}.").format(
                first=first, last=last, name=source.name, count=source.count
            )
        )
    return tuple(range(first - 1, last))
