"""The frames of a run on their way: through decoding, preprocessing, the network and refinement, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import UsageError
from .pipeline import Pipeline, Stage, Way
from .record import RunReport
from .threads import Shares

__all__ = ["FrameLoop", "HasFrameLoop", "frame_stages"]

Step = Callable[[Any], Any]


def frame_stages(decode: Step, prepare: Step | None, network: Step, refine: Step | None, shares: Shares) -> list[Stage]:
    """The stages of a pipeline, from an item to the data with mask and probability.

    Args:
        decode: from an item to the data with ``image``; one thread calls it, in order.
        prepare, refine: from data to data; None changes nothing.
        network: of one frame's data, or of a list of them where frames go together.
        shares: numbers of threads, and of frames that go together.
    """
    return [
        Stage("decoding", lambda: decode),
        Stage("preprocessing", lambda: prepare or _as_it_is, shares.helpers),
        Stage("network", lambda: network, shares.requests, shares.batch),
        Stage("refinement", lambda: refine or _as_it_is, shares.helpers),
    ]


class FrameLoop:
    """Gives the frames that are done, and notes those that failed. After an error of whoever takes them, :meth:`done`
    goes on with the next frame.

    Args:
        pipeline: the frames' way.
        report: takes the failures.

    Attributes:
        current: the frame, as listed, that was given last.
        finished: whether all frames were tried.
    """

    def __init__(self, pipeline: Pipeline, report: RunReport) -> None:
        self.pipeline, self.report = pipeline, report
        self.current: dict[str, Any] | None = None
        self.finished = False

    def done(self) -> Iterator[Way]:
        """The frames, in order, without an error.

        Raises:
            UsageError: what is wrong with the network or refinement, and would be for every frame.
        """
        for way in self.pipeline:
            self.current = way.item
            if way.error is None:
                yield way
                continue
            if isinstance(way.error, UsageError) and way.stage in ("network", "refinement"):
                raise way.error
            assert isinstance(way.error, Exception)
            self.report.frame_failed(way.item, way.error)
        self.finished = True


class HasFrameLoop:
    """Base of what goes through frames: its loop is there once it has begun."""

    _loop: FrameLoop | None = None

    @property
    def finished(self) -> bool:
        """Whether all frames were tried."""
        return self._loop is not None and self._loop.finished

    @property
    def current(self) -> dict[str, Any] | None:
        """The frame, as listed, that was given last."""
        return None if self._loop is None else self._loop.current

    def close(self) -> None:
        """End the threads, also when frames are left."""
        if self._loop is not None:
            self._loop.pipeline.close()


def _as_it_is(data: Any) -> Any:
    return data
