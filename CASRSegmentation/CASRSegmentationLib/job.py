"""What a job is told, and what it tells: plain values, and nodes by their ids."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slicer.i18n import tr as _

from .frames import FrameError, invert, inverted_range
from .origins import file_frame, file_of, unchanged
from .protocol import Job, create_frames
from .sources import FrameSource, image_time, read_frame, shown_range
from .wording import counted

__all__ = ["JobError", "Progress", "Request", "State", "Summary", "store_frames"]


class JobError(RuntimeError):
    """A job came to nothing.

    Attributes:
        details: the end of the worker's log, or "".
    """

    def __init__(self, text: str, details: str = "") -> None:
        super().__init__(text)
        self.details = details


class State(enum.Enum):
    """What the logic is doing."""

    IDLE = "idle"
    READING = "reading"
    STARTING = "starting"
    RUNNING = "running"


@dataclass(frozen=True)
class Request:
    """A job.

    Attributes:
        source: frames, see :func:`sources.describe`.
        indices: which of them, counted from 0.
        bundle: bundle folder.
        segmentation_id: segmentation node to be updated; "" makes a new one.
        segment_id: segment to be updated; "" is the one named "Coronary artery".
        threshold: probability from which a pixel is vessel.
        refine: with contour refinement.
        invert: the frames show bright vessels.
        window: take the range of grey values that the volume's window shows, rather than the file's or the frames' own.
        probability: make a probability volume.
        statistics: make a table of areas.
        device: "auto", "cpu", "cuda" or "cuda:<number>".
    """

    source: FrameSource
    indices: tuple[int, ...]
    bundle: Path
    segmentation_id: str = ""
    segment_id: str = ""
    threshold: float = 0.5
    refine: bool = True
    invert: bool = False
    window: bool = False
    probability: bool = False
    statistics: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Attributes:
        number, count: frames that are done, and all of them.
        seconds_left: estimate from the frames done so far; None before the first.
        text: what is being done now.
    """

    number: int
    count: int
    seconds_left: float | None
    text: str


@dataclass
class Summary:
    """What a job has made.

    Attributes:
        pixels: pixels of the mask by frame, counted from 0; frames that failed are not among them.
        failed: reason by frame.
        warnings: what the user should know.
        rules: how grey values were made, a sentence for each way that was used.
        device: on which the network ran, or "".
        seconds: from the start to the end.
        segmentation_id, segment_id, probability_id, table_id: nodes; "" for what was not made.
    """

    pixels: dict[int, int] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    device: str = ""
    seconds: float = 0.0
    segmentation_id: str = ""
    segment_id: str = ""
    probability_id: str = ""
    table_id: str = ""

    def text(self) -> str:
        """One line for the user."""
        line = counted(
            len(self.pixels),
            _("1 frame segmented in {seconds:.1f} s on {device}."),
            _("{count} frames segmented in {seconds:.1f} s on {device}."),
            seconds=self.seconds, device=self.device or "?",
        )  # fmt: skip
        if self.failed:
            first = min(self.failed)
            line += " " + counted(
                len(self.failed),
                _("1 failed, frame {number}: {reason}"),
                _("{count} failed; the first, frame {number}: {reason}"),
                number=first + 1, reason=self.failed[first],
            )  # fmt: skip
        empty = sorted(index + 1 for index, pixels in self.pixels.items() if not pixels)
        if empty:
            line += " " + counted(
                len(empty),
                _("No vessel was found in frame {frames}."),
                _("No vessel was found in frames {frames}."),
                frames=", ".join(str(number) for number in empty),
            )  # fmt: skip
        return line


def store_frames(request: Request, folder: Path) -> Iterator[tuple[int, int]]:
    """Write the job folder that the worker reads, one frame a step; the last step completes it.

    Yields:
        each frame's index, and when its pixels changed last.

    Raises:
        FrameError: when a frame is gone or does not fit to the others; OSError: when it cannot be written.
    """
    frames, limits = None, shown_range(request.source) if request.window else None
    for number, index in enumerate(request.indices):
        changed = image_time(request.source, index)
        frame = read_frame(request.source, index)
        if request.invert:
            frame = invert(frame)
        if frames is None:
            frames = create_frames(folder, (len(request.indices), *frame.shape), frame.dtype)
            limits = inverted_range(limits, frame.dtype) if request.invert and limits else limits
        elif frame.dtype != frames.dtype:
            raise FrameError(
                _("{label} has pixels of type {type}, the frames before have {other}.").format(
                    label=request.source.label(index), type=frame.dtype, other=frames.dtype
                )
            )
        frames[number] = frame
        yield index, changed
    del frames  # closed before another process reads it
    source = "" if request.window else file_of(request.source)
    Job(
        indices=request.indices,
        intensity_range=limits,
        source=source or None,
        source_frames=tuple(file_frame(request.source, index) for index in request.indices) if source else (),
        unchanged=bool(source) and unchanged(request.source),
        inverted=request.invert,
        device=request.device,
        refine=request.refine,
        threshold=request.threshold,
    ).save(folder)
