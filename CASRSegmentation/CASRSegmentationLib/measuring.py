"""Measuring the shown frame by the worker, without ever waiting for it."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from .job import JobError, Request, store_frames
from .process import Worker, WorkerError
from .signal import Signal

__all__ = ["MeasureRequest", "Measuring"]


@dataclass(frozen=True)
class MeasureRequest:
    """What is to be measured.

    Attributes:
        request: the frame (one index) and how the network would segment it.
        mask: bool (rows, columns) in display orientation; None: the network finds the vessels.
        ends: two points (x, y), pixels in display orientation; None: the ways of the tree.
        french: size of the catheter in the image; None where it is not to be used.
        mm_per_pixel: as the user has stated it, or None.
    """

    request: Request
    mask: np.ndarray | None = None
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None
    french: float | None = None
    mm_per_pixel: float | None = None


class Measuring:
    """Runs one measurement at a time.

    Args:
        make_worker: called with the bundle folder; for tests.

    Attributes:
        told: Signal(text), what is being done.
        finished: Signal(MeasureRequest, dict): the request and its analysis, see ``docs/measurements.schema.json`` of
            the bundle.
        failed: Signal(JobError).
    """

    def __init__(self, make_worker: Callable[[Path], Any] = Worker) -> None:
        self.told, self.finished, self.failed = Signal(), Signal(), Signal()
        self.make_worker = make_worker
        self._worker: Any = None
        self._leaving: list[Any] = []
        self._folder: Path | None = None
        self._asked: MeasureRequest | None = None

    @property
    def busy(self) -> bool:
        """Whether a measurement is under way."""
        return self._asked is not None

    def start(self, asked: MeasureRequest) -> None:
        """Begin; what comes of it is told by the signals.

        Raises:
            JobError: when one is under way, or the worker cannot be started.
            FrameError: when the frame is gone.
        """
        if self.busy:
            raise JobError(_("A measurement is under way."))
        folder = Path(tempfile.mkdtemp(prefix="casr-measure-"))
        worker = self.make_worker(asked.request.bundle)
        worker.message.connect(self._on_message)
        worker.ended.connect(self._on_ended)
        try:
            for _step in store_frames(asked.request, folder):
                pass
            _store(asked, folder)
            worker.start()
            worker.send({"command": "measure", "folder": str(folder)})
        except (WorkerError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            worker.cancel()
            raise JobError(str(error)) from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._worker, self._folder, self._asked = worker, folder, asked
        self.told.emit(_("Measuring..."))

    def cancel(self) -> None:
        """Stop at once; nothing comes of it."""
        if self.busy:
            self._stop(kill=True)

    def _on_message(self, message: Mapping[str, Any]) -> None:
        event, asked = message["event"], self._asked
        if asked is None:
            return
        if event == "loaded":
            self.told.emit(_("Finding the vessels..."))
        elif event == "measured":
            self._stop(kill=False)
            self.finished.emit(asked, message["analysis"])
        elif event == "error":
            self._fail(JobError(str(message.get("text", "")), str(message.get("details", ""))))

    def _on_ended(self, code: int, log: str) -> None:
        if self.busy:
            text = _("The worker process ended unexpectedly (exit code {code}).").format(code=code)
            self._fail(JobError(text, log))

    def _fail(self, error: JobError) -> None:
        logging.error("CASR Segmentation: %s\n%s", error, error.details)
        self._stop(kill=True)
        self.failed.emit(error)

    def _stop(self, kill: bool) -> None:
        worker, self._worker = self._worker, None
        worker.message.disconnect()
        worker.ended.disconnect()
        if kill:
            worker.cancel()
        else:
            worker.finish()
        # Kept until it has ended, since its object clears up after it.
        self._leaving = [item for item in self._leaving if item.running] + [worker]
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._asked = None


def _store(asked: MeasureRequest, folder: Path) -> None:
    if asked.mask is not None:
        np.save(folder / "mask.npy", asked.mask.astype(np.uint8))
    entries = {
        "ends": None if asked.ends is None else [list(end) for end in asked.ends],
        "french": asked.french,
        "mm_per_pixel": asked.mm_per_pixel,
    }
    (folder / "measure.json").write_text(json.dumps(entries), encoding="utf-8")
