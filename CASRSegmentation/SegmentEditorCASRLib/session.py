"""The worker behind the effect: one process while the effect is active, and the probability maps that it has made."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import qt
from CASRSegmentationLib.grey_rules import rule_text
from CASRSegmentationLib.process import Worker, WorkerError
from CASRSegmentationLib.protocol import Job, read_mask, read_probability
from CASRSegmentationLib.signal import Signal
from slicer.i18n import tr as _

from .maps import FrameKey, ProbabilityMap

__all__ = ["Session"]

MAPS_KEPT = 16
"""Probability maps in memory; of 1024 x 1024 pixels that is 64 MiB."""
REFINE_DELAY_MS = 150
"""Time without a new wish after which a refinement starts, so that a slider on its way starts none."""


class _WorkerLike(Protocol):
    message: Signal
    ended: Signal

    @property
    def running(self) -> bool: ...
    def start(self, folder: Path | None = None) -> None: ...
    def send(self, command: dict[str, Any]) -> None: ...
    def cancel(self) -> None: ...
    def finish(self) -> None: ...


@dataclass(frozen=True)
class _Search:
    number: int
    key: FrameKey
    folder: Path
    from_display: Callable[[np.ndarray], np.ndarray]
    rules: list[str] = field(default_factory=list)


class Session:
    """Sends frames and refinements to a serving worker; nothing here waits.

    Args:
        make_worker: called with the bundle folder.

    Attributes:
        found: Signal(ProbabilityMap), the network has done a frame.
        refined: Signal(ProbabilityMap, threshold), a refined mask has been added to the map.
        failed: Signal(text, details), the search or refinement under way came to nothing; details are the end of the
            worker's log, or empty.
        warned: Signal(text), something that the user should know.
        progressed: Signal(text), what is being done now.
    """

    def __init__(self, make_worker: Callable[[Path], _WorkerLike] = Worker) -> None:
        self.found = Signal()
        self.refined = Signal()
        self.failed = Signal()
        self.warned = Signal()
        self.progressed = Signal()
        self.make_worker = make_worker
        self._worker: _WorkerLike | None = None
        self._bundle = ""
        self._leaving: list[_WorkerLike] = []
        self._numbers = itertools.count(1)
        self._search: _Search | None = None
        self._refinement: tuple[int, ProbabilityMap, float] | None = None
        self._wanted: tuple[ProbabilityMap, float] | None = None
        self._maps: OrderedDict[FrameKey, ProbabilityMap] = OrderedDict()
        self._folder: Path | None = None
        self._delay = qt.QTimer()
        self._delay.setSingleShot(True)
        self._delay.setInterval(REFINE_DELAY_MS)
        self._delay.timeout.connect(self._send_refinement)

    @property
    def searching(self) -> FrameKey | None:
        """The frame that the network works on."""
        return None if self._search is None else self._search.key

    @property
    def refining(self) -> bool:
        """Whether a refinement is under way or about to start."""
        return self._refinement is not None or self._wanted is not None

    def cached(self, key: FrameKey) -> ProbabilityMap | None:
        """The map of a frame, if the network has done it."""
        if key in self._maps:
            self._maps.move_to_end(key)
        return self._maps.get(key)

    def find(
        self, key: FrameKey, frame: np.ndarray, from_display: Callable[[np.ndarray], np.ndarray], job: Job
    ) -> None:
        """Run the network on a frame, (rows, columns) in display orientation, vessels dark, as the job says.

        Raises:
            RuntimeError: when a search is under way, or the worker cannot be started.
            OSError, ValueError: when the frame cannot be written for the worker.
        """
        if self._search is not None:
            raise RuntimeError("A search is under way already.")
        number = next(self._numbers)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="casr-effect-"))
        folder = self._folder / f"frame-{number:05d}"
        folder.mkdir()
        try:
            job.save(folder, frame[None])
            self._send(key.bundle, {"command": "segment", "folder": str(folder), "id": number})
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._search = _Search(number, key, folder, from_display)

    def refine(self, found: ProbabilityMap, threshold: float, at_once: bool = False) -> None:
        """Have a map refined; of wishes that come quickly one after another only the last is done."""
        self._wanted = (found, threshold)
        if self._refinement is None:
            if at_once:
                self._send_refinement()
            else:
                self._delay.start()

    def drop_refinement(self) -> None:
        """Forget the wish for a refinement; one that is under way still fills the cache."""
        self._wanted = None
        self._delay.stop()

    def cancel(self) -> None:
        """Kill the worker, whatever it does; the maps stay."""
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
        self._forget()

    def release(self) -> None:
        """Let the worker go: at once if it works, else by itself. The maps stay."""
        if self._search is not None or self._refinement is not None:
            self.cancel()
        elif self._worker is not None:
            self._dismiss()
        self.drop_refinement()

    def clear(self) -> None:
        """Forget all maps and remove their files; the worker is released."""
        self.release()
        self._maps.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _forget(self) -> None:
        if self._search is not None:
            shutil.rmtree(self._search.folder, ignore_errors=True)
        self._search = None
        self._refinement = None
        self.drop_refinement()

    def _send(self, bundle: str, command: dict[str, Any]) -> None:
        if self._worker is not None and (not self._worker.running or bundle != self._bundle):
            self._dismiss()
        if self._worker is None:
            worker = self.make_worker(Path(bundle))
            worker.message.connect(self._on_message)
            worker.ended.connect(self._on_ended)
            worker.start()
            self._worker, self._bundle = worker, bundle
            self.progressed.emit(_("Starting the worker process..."))
        self._worker.send(command)

    def _dismiss(self) -> None:
        # Kept until it has ended, since its files and its entry in the process table are cleared by the object.
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._leaving = [w for w in self._leaving if w.running]
        self._leaving.append(worker)
        worker.message.disconnect(self._on_message)
        worker.ended.disconnect(self._on_ended)
        worker.finish()

    def _send_refinement(self) -> None:
        if self._wanted is None or self._refinement is not None:
            return
        (found, threshold), self._wanted = self._wanted, None
        self._delay.stop()
        if threshold in found.refined:
            self.refined.emit(found, threshold)
            return
        number = next(self._numbers)
        command = {
            "command": "refine", "folder": str(found.folder), "index": found.key.index, "threshold": threshold,
            "refine": True, "id": number,
        }  # fmt: skip
        self._refinement = (number, found, threshold)
        try:
            self._send(found.key.bundle, command)
        except (WorkerError, OSError) as error:
            self._refinement = None
            self.failed.emit(str(error), "")

    def _on_message(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "hello" and self._search is not None:
            self.progressed.emit(_("Loading the network..."))
        elif event == "loaded":
            self.progressed.emit(_("Looking for vessels ({device})...").format(device=message.get("device", "?")))
        elif event == "warning":
            self.warned.emit(str(message.get("text", "")))
        elif event == "rule" and self._search is not None:
            self._search.rules.append(rule_text(message))
        elif event == "error" and message.get("id") is None:
            self._on_useless(str(message.get("text", "")))
        elif event in ("frame", "error", "refined"):
            if self._search is not None and message.get("id") == self._search.number:
                self._on_search(event, message)
            elif self._refinement is not None and message.get("id") == self._refinement[0]:
                self._on_refinement(event, message)

    def _on_search(self, event: str, message: dict[str, Any]) -> None:
        assert self._search is not None
        search, self._search = self._search, None
        text = str(message.get("error") or message.get("text") or "")
        try:
            if event == "error" or text:
                raise ValueError(text)
            probability = search.from_display(read_probability(search.folder, search.key.index))
        except (OSError, ValueError) as error:
            shutil.rmtree(search.folder, ignore_errors=True)
            self.failed.emit(str(error), str(message.get("details", "")))
            return
        found = ProbabilityMap(search.key, probability, search.folder, search.from_display, rules=tuple(search.rules))
        self._maps[search.key] = found
        while len(self._maps) > MAPS_KEPT:
            shutil.rmtree(self._maps.popitem(last=False)[1].folder, ignore_errors=True)
        self.found.emit(found)

    def _on_refinement(self, event: str, message: dict[str, Any]) -> None:
        assert self._refinement is not None
        _number, found, threshold = self._refinement
        self._refinement = None
        if event == "error":
            self.failed.emit(str(message.get("text", "")), str(message.get("details", "")))
        else:
            try:
                mask = found.from_display(read_mask(found.folder, found.key.index)) > 0
            except (OSError, ValueError) as error:
                self.failed.emit(str(error), "")
            else:
                found.refined[threshold] = mask
                self.refined.emit(found, threshold)
        self._send_refinement()

    def _on_useless(self, text: str) -> None:
        """The worker itself is of no use, whatever it is asked: it speaks another protocol."""
        working = self._search is not None or self._refinement is not None
        self.cancel()
        if working:
            self.failed.emit(text, "")

    def _on_ended(self, code: int, log: str) -> None:
        working = self._search is not None or self._refinement is not None
        self._worker = None
        self._forget()
        if working:  # one that dies while it has nothing to do is started anew when it is needed
            self.failed.emit(_("The worker process ended unexpectedly (exit code {code}).").format(code=code), log)
