"""A job from the frames to the segmentation, in steps of the event loop that never wait.

The worker process starts while the frames are read, one a step; its masks are written as they come, one a step.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .frames import FrameError
from .job import JobError, Progress, Request, State, Summary, store_frames
from .node_scale import node_scale
from .process import Worker, WorkerError
from .protocol import read_mask, read_probability
from .results import ResultError, ResultWriter
from .signal import Signal
from .sources import image_time, still_valid
from .statistics import statistics_table

__all__ = ["CASRSegmentationLogic"]


class CASRSegmentationLogic(ScriptedLoadableModuleLogic, slicer.util.VTKObservationMixin):
    """Runs one job at a time.

    Args:
        make_worker: called with the bundle folder; for tests.

    Attributes:
        state_changed: Signal(State).
        progress_changed: Signal(Progress).
        warned: Signal(text).
        failed: Signal(JobError); frames that were written before stay.
        finished: Signal(Summary).
        cancelled: Signal(text), by the user, or since nodes have gone.
    """

    def __init__(self, make_worker: Callable[[Path], Any] = Worker) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        slicer.util.VTKObservationMixin.__init__(self)
        self.state_changed = Signal()
        self.progress_changed = Signal()
        self.warned = Signal()
        self.failed = Signal()
        self.finished = Signal()
        self.cancelled = Signal()
        self.make_worker = make_worker
        self.state = State.IDLE
        self._worker: Any = None
        self._leaving: list[Any] = []
        self._request: Request | None = None
        self._writer: ResultWriter | None = None
        self._folder: Path | None = None
        self._steps: Iterator[None] | None = None
        self._pending: deque[int] = deque()
        self._times: dict[int, int] = {}
        self._summary = Summary()
        self._done = self._prepared = False
        self._started = self._loaded = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._step)

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self.state is not State.IDLE

    def start(self, request: Request) -> None:
        """Begin a job; what comes of it is told by the signals.

        Raises:
            JobError: when one is under way, or the worker cannot be started.
            FrameError: when the frames are not there (any more).
        """
        if self.busy:
            raise JobError(_("A job is under way already."))
        if not request.indices or not still_valid(request.source):
            raise FrameError(_("{name} was changed or deleted.").format(name=request.source.name))
        segmentation = slicer.mrmlScene.GetNodeByID(request.segmentation_id) if request.segmentation_id else None
        if request.segmentation_id and segmentation is None:
            raise JobError(_("The segmentation is not in the scene any more."))
        worker = self.make_worker(request.bundle)
        worker.message.connect(self._on_message)
        worker.ended.connect(self._on_ended)
        try:
            worker.start()
        except WorkerError as error:
            raise JobError(str(error)) from error
        self._worker, self._request = worker, request
        self._writer = ResultWriter(request.source, segmentation, request.segment_id, request.probability)
        self._folder = Path(tempfile.mkdtemp(prefix="casr-job-"))
        self._pending.clear()
        self._times = {}
        self._summary = Summary()
        self._done = self._prepared = False
        self._started, self._loaded = time.perf_counter(), 0.0
        self._steps = self._read()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_scene_close)
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node_removed)
        self._set_state(State.READING)
        self._timer.start()

    def cancel(self, reason: str = "") -> None:
        """Stop the job at once; frames that are written already stay, and late results are ignored."""
        if self.busy:
            self._stop(kill=True)
            text = reason or _("Canceled.")
            if self._summary.pixels:
                text += " " + _("{count} frame(s) were written before.").format(count=len(self._summary.pixels))
            self.cancelled.emit(text)

    def process(self, request: Request) -> Summary:
        """Do a job and wait for it, with the event loop running; for scripts and the self test.

        Raises:
            JobError, FrameError: when it comes to nothing.
        """
        results: list[Any] = []
        loop = qt.QEventLoop()

        def end(result: Any) -> None:
            results.append(result)
            loop.quit()

        signals = (self.finished, self.failed, self.cancelled)
        for signal in signals:
            signal.connect(end)
        try:
            self.start(request)
            loop.exec_()
        finally:
            for signal in signals:
                signal.disconnect(end)
        (result,) = results
        if isinstance(result, Summary):
            return result
        raise result if isinstance(result, JobError) else JobError(str(result))

    # Steps

    def _step(self) -> None:
        try:
            if self._steps is not None:
                if next(self._steps, self) is self:
                    self._steps = None
            elif self._pending and self._prepared:
                self._write(self._pending.popleft())
            elif self._done:
                self._finish()
            else:
                self._timer.stop()
        except (FrameError, ResultError, WorkerError, OSError, ValueError, MemoryError) as error:
            self._fail(JobError(str(error) or type(error).__name__))

    def _read(self) -> Iterator[None]:
        """Frames into the job folder, then the worker gets its command, then nodes for the result."""
        request, folder, writer = self._request, self._folder, self._writer
        assert request is not None and folder is not None and writer is not None
        for number, (index, changed) in enumerate(store_frames(request, folder), start=1):
            self._times[index] = changed
            self._tell(_("Reading frame {number} of {count}...").format(number=number, count=len(request.indices)))
            yield
        self._worker.send({"command": "segment", "folder": str(folder)})
        self._set_state(State.STARTING)
        yield from writer.prepare()
        self._prepared = True
        self._summary.segmentation_id = writer.segmentation.GetID()
        self._summary.segment_id = writer.segment_id

    def _write(self, index: int) -> None:
        request, writer, folder = self._request, self._writer, self._folder
        assert request is not None and writer is not None and folder is not None
        if image_time(request.source, index) != self._times[index]:
            self._summary.failed[index] = _("the image has changed since it was read.")
        else:
            probability = read_probability(folder, index) if request.probability else None
            writer.write(index, read_mask(folder, index), probability)
            self._summary.pixels[index] = writer.written[index]
        for name in ("mask", "probability"):
            (folder / f"{name}_{index:05d}.npy").unlink(missing_ok=True)
        self._tell_frames()

    def _finish(self) -> None:
        request, writer, summary = self._request, self._writer, self._summary
        assert request is not None and writer is not None
        if not summary.pixels:
            reason = next(iter(summary.failed.values()), _("the worker gave no result"))
            self._fail(JobError(_("No frame could be segmented: {reason}").format(reason=reason)))
            return
        if request.statistics:
            table = statistics_table(request.source, summary.pixels, node_scale(request.source))
            summary.table_id = table.GetID()
        if writer.probability is not None:
            summary.probability_id = writer.probability.node_id
        summary.seconds = time.perf_counter() - self._started
        self._stop(kill=False)
        self.finished.emit(summary)

    # From the worker

    def _on_message(self, message: Mapping[str, Any]) -> None:
        event = message["event"]
        if event == "hello":
            self._tell(_("Loading the network..."))
        elif event == "loaded":
            self._summary.device = str(message.get("device", ""))
            self._loaded = time.perf_counter()
            self._set_state(State.RUNNING)
            self._tell_frames()
        elif event == "warning":
            self._summary.warnings.append(str(message.get("text", "")))
            self.warned.emit(str(message.get("text", "")))
        elif event == "frame":
            index = int(message["index"])
            if "error" in message:
                self._summary.failed[index] = str(message["error"])
                self._tell_frames()
            else:
                self._summary.device = str(message.get("device", self._summary.device))
                self._pending.append(index)
        elif event == "done":
            self._done = True
        elif event == "error":
            self._fail(JobError(str(message.get("text", ""))))
            return
        if self.busy and not self._timer.active:
            self._timer.start()

    def _on_ended(self, code: int, log: str) -> None:
        if self.busy and not self._done:
            text = _("The worker process ended unexpectedly (exit code {code}).").format(code=code)
            self._fail(JobError(text, log))

    # From the scene

    def _on_scene_close(self, _caller: Any, _event: Any) -> None:
        self._writer = None  # its nodes go with the scene
        self.cancel(_("The scene was closed; the job was canceled."))

    def _on_node_removed(self, _caller: Any, _event: Any) -> None:
        assert self._request is not None and self._writer is not None
        source = self._request.source
        needed = {source.volume_id, source.browser_id, source.sequence_id} | self._writer.node_ids
        if any(node_id and slicer.mrmlScene.GetNodeByID(node_id) is None for node_id in needed):
            self.cancel(_("The angiogram or the segmentation was deleted; the job was canceled."))

    # Small things

    def _set_state(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    def _tell(self, text: str) -> None:
        assert self._request is not None
        self.progress_changed.emit(Progress(0, len(self._request.indices), None, text))

    def _tell_frames(self) -> None:
        assert self._request is not None
        count = len(self._request.indices)
        number = len(self._summary.pixels) + len(self._summary.failed)
        left = None
        if number:
            left = (time.perf_counter() - self._loaded) / number * (count - number)
        text = _("Frame {number} of {count}").format(number=min(number + 1, count), count=count)
        self.progress_changed.emit(Progress(number, count, left, text))

    def _fail(self, error: JobError) -> None:
        logging.error("CASR Segmentation: %s\n%s", error, error.details)
        self._stop(kill=True)
        self.failed.emit(error)

    def _stop(self, kill: bool) -> None:
        """Back to idle: the worker goes, temporary files too; nodes that were made in vain are removed."""
        self._timer.stop()
        self.removeObservers()
        worker, self._worker = self._worker, None
        worker.message.disconnect()
        worker.ended.disconnect()
        if kill:
            worker.cancel()
        else:
            worker.finish()
        # Kept until it has ended, since its object clears up after it.
        self._leaving = [item for item in self._leaving if item.running] + [worker]
        if self._writer is not None:
            self._writer.discard()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._steps = self._writer = self._request = self._folder = None
        self._pending.clear()
        self._set_state(State.IDLE)
