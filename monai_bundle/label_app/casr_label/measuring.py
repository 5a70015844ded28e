"""What an inference may tell beside masks: key frames, the contrast curve and measurements, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from casr_net.cine.curve import ContrastCurve
from casr_net.cine.keyframes import KeyFrame, key_frames
from casr_net.cine.survey import survey
from casr_net.errors import DataError, UsageError, shown
from casr_net.files.images import Angiogram
from casr_net.inference.segmenter import Segmentation, Segmenter
from casr_net.report.analyse import analyse, plain_lines
from casr_net.report.frame_job import ENTRIES, checked_options
from casr_net.report.options import Options

from .turns import OneByOne

__all__ = ["BULKY", "KEY", "Extras", "Findings", "SharedSegmenter", "checked_extras"]

KEY = "key"
"""Value of ``frame``: the key frames."""

BULKY = ("contrast", "measurements")
"""Parts of an answer that are not stored with a label: the index of the datastore is read whole at every change."""


@dataclass(frozen=True)
class Extras:
    """What a request asks for beside masks.

    Attributes:
        key_frames: how many; 0 for none.
        contrast: the curve of a cine.
        measure: arguments of :class:`casr_net.report.Options`; None for no measurements.
        frame: that the request states, from 0; None: the best one.
        only_key_frames: the masks are those of the key frames.
    """

    key_frames: int = 0
    contrast: bool = False
    measure: dict[str, Any] | None = None
    frame: int | None = None
    only_key_frames: bool = False

    def needs_curve(self, frames: int) -> bool:
        """Whether the network has to look at every frame of an image with so many."""
        best = self.measure is not None and self.frame is None
        return frames > 1 and (self.key_frames > 0 or self.contrast or self.only_key_frames or best)


def checked_extras(request: Mapping[str, Any]) -> Extras:
    """Of an inference request: ``key_frames``, ``contrast``, ``measure`` with ``ends``, ``french``, ``mm_per_pixel``,
    ``reference`` and ``doubt``, and ``frame``, which was checked.

    Raises:
        UsageError: for a value that makes no sense.
    """
    only = request.get("frame") == KEY
    count = request.get("key_frames")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        raise UsageError(f"key_frames is {shown(count)}; expected a whole number from 0.")
    for name in ("contrast", "measure"):
        if not isinstance(request.get(name, False), bool):
            raise UsageError(f"{name} is {shown(request[name])}; expected true or false.")
    stated = {name: request[name] for name in ENTRIES if request.get(name) is not None}
    if stated and not request.get("measure"):
        raise UsageError(f'{next(iter(stated))} belongs to measurements; "measure": true asks for them.')
    frame = None if only or request.get("frame") in (None, "", "all") else int(request["frame"])
    measure = checked_options(stated) if request.get("measure") else None
    if measure is not None:
        Options(**measure, frame=frame)  # its limits, before the network looks at a whole cine
    return Extras(count or int(only), bool(request.get("contrast")), measure, frame, only)


class Findings:
    """What is found of one image.

    Args:
        source: the open image.
        extras: what is wanted.
        segmenter: makes a network, with ("refine") or without refinement.

    Attributes:
        key_frames: the best first.

    Raises:
        DataError: when the key frames are to be segmented and no frame has contrast, or no frame can be used.
    """

    def __init__(self, source: Angiogram, extras: Extras, segmenter: Callable[[bool], Segmenter]) -> None:
        self.source, self.extras, self._segmenter = source, extras, segmenter
        self.curve: ContrastCurve | None = None
        self.key_frames: list[KeyFrame] = []
        if extras.needs_curve(source.frames):
            self.curve = survey(source, segmenter(False))
            self.key_frames = key_frames(self.curve, source.header, max(extras.key_frames, 1))
        if extras.only_key_frames and source.frames > 1 and not self.key_frames:
            raise DataError(
                f"{source.path}: no contrast was found in any of its {source.frames} frames; 'frame' may be a number, "
                "or 'all'."
            )

    def frames(self) -> list[int]:
        """Numbers of the key frames in the order of time; the only frame of a single image."""
        return sorted(key.frame for key in self.key_frames) if self.source.frames > 1 else [0]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: ``key_frames``, ``contrast`` and ``measurements``, each if it was asked for. A single frame
        has neither key frames (an empty list) nor a curve (null).

        Raises:
            DataError: when nothing can be measured; UsageError: when an option does not fit the image.
        """
        found: dict[str, Any] = {}
        if self.extras.key_frames:
            found["key_frames"] = [key.as_dict() for key in self.key_frames]
        if self.extras.contrast:
            found["contrast"] = None if self.curve is None else self.curve.as_dict()
            if self.curve is not None:
                found["contrast"]["messages"] = list(plain_lines(self.curve.messages, self.source))
        if self.extras.measure is not None:
            options = Options(**self.extras.measure, frame=self.extras.frame)
            made = analyse(self.source, self._segmenter(True), options, curve=self.curve)
            found["measurements"] = made.as_dict()
        return found


class SharedSegmenter(Segmenter):
    """A network that others use too: each frame waits for its turn.

    Args:
        alone: gives turns.
        parts: ``device``, ``network``, ``inferer``, ``channels``, ``weights`` and ``postprocessing``, see
            :class:`casr_net.Segmenter`.
    """

    at_once = False

    def __init__(self, alone: OneByOne, **parts: Any) -> None:
        self._alone = alone
        self.window = None
        vars(self).update(parts)

    def grey(self, image: np.ndarray, affine: np.ndarray | None = None, frames: int | None = None) -> Segmentation:
        return self._alone(lambda: super(SharedSegmenter, self).grey(image, affine, frames))
