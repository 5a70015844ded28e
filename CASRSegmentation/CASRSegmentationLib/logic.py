"""A job from the frames to the segmentation, in steps of the event loop that never wait.

The worker process starts while the frames are read, one a step; its masks are written as they come, one a step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .frames import FrameError
from .job import JobError, Progress, Request, State, Summary
from .process import Worker, WorkerError
from .results import ResultError
from .running import RunningJob
from .signal import Signal
from .sources import still_valid
from .wording import counted

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
        self._job: RunningJob | None = None
        self._steps: Iterator[None] | None = None
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
        self._worker, self._job = worker, RunningJob(request, segmentation)
        self._steps = self._read(self._job)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_scene_close)
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node_removed)
        self._set_state(State.READING)
        self._timer.start()

    def cancel(self, reason: str = "") -> None:
        """Stop the job at once; frames that are written already stay, and late results are ignored."""
        if self.busy:
            written = 0 if self._job is None else len(self._job.summary.pixels)
            self._stop(kill=True)
            text = reason or _("Canceled.")
            if written:
                text += " " + counted(
                    written, _("1 frame was written before."), _("{count} frames were written before.")
                )
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
        job = self._job
        try:
            if self._steps is not None:
                if next(self._steps, self) is self:
                    self._steps = None
            elif job is not None and job.pending and job.prepared:
                job.write_next()
                self.progress_changed.emit(job.progress())
            elif job is not None and job.done:
                summary = job.complete()
                self._stop(kill=False)
                self.finished.emit(summary)
            else:
                self._timer.stop()
        except JobError as error:
            self._fail(error)
        except (FrameError, ResultError, WorkerError, OSError, ValueError, MemoryError) as error:
            self._fail(JobError(str(error) or type(error).__name__))

    def _read(self, job: RunningJob) -> Iterator[None]:
        """Frames into the job folder, then the worker gets its command, then nodes for the result."""
        for text in job.read():
            self._tell(text)
            yield
        self._worker.send({"command": "segment", "folder": str(job.folder)})
        self._set_state(State.STARTING)
        yield from job.prepare()

    # From the worker

    def _on_message(self, message: Mapping[str, Any]) -> None:
        job, event = self._job, message["event"]
        if job is None:
            return
        job.take(message)
        if event == "error":
            self._fail(JobError(str(message.get("text", "")), str(message.get("details", ""))))
            return
        if event == "hello":
            self._tell(_("Loading the network..."))
        elif event == "loaded":
            self._set_state(State.RUNNING)
        elif event == "warning":
            self.warned.emit(str(message.get("text", "")))
        if event == "loaded" or (event == "frame" and "error" in message):
            self.progress_changed.emit(job.progress())
        if self.busy and not self._timer.active:
            self._timer.start()

    def _on_ended(self, code: int, log: str) -> None:
        if self.busy and not (self._job is not None and self._job.done):
            text = _("The worker process ended unexpectedly (exit code {code}).").format(code=code)
            self._fail(JobError(text, log))

    # From the scene

    def _on_scene_close(self, _caller: Any, _event: Any) -> None:
        if self._job is not None:
            self._job.scene_closes = True
        self.cancel(_("The scene was closed; the job was canceled."))

    def _on_node_removed(self, _caller: Any, _event: Any) -> None:
        if self._job is not None and self._job.lacks_nodes():
            self.cancel(_("The angiogram or the segmentation was deleted; the job was canceled."))

    # Small things

    def _set_state(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    def _tell(self, text: str) -> None:
        assert self._job is not None
        self.progress_changed.emit(Progress(0, len(self._job.request.indices), None, text))

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
        if self._job is not None:
            self._job.close()
        self._steps = self._job = None
        self._set_state(State.IDLE)
