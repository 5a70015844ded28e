"""A long run beside other work: number of threads from a file, a lock that pauses it, and a time to stop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import torch
from filelock import FileLock, Timeout
from ignite.engine import Engine, Events

from ..errors import CASRError, DataError

__all__ = ["Pace", "StoppedError"]

LOCK_SECONDS = 1.0


class StoppedError(CASRError):
    """The run was asked to stop; what it has done is kept."""


class Pace:
    """To be called between two steps of a long run; waits, changes the number of threads, or stops the run.

    Args:
        threads_file: holds the number of threads, and is read again whenever it has changed.
        pause_lock: a file lock (``flock FILE COMMAND``, or :mod:`filelock`). While another process holds it, a call
            waits. The system frees it when that process ends, however it ends.
        threads: number of threads; written to the file, or None to leave what is there (1 where there is no file).
        minutes: time to stop after, counted from now; None never stops.
    """

    def __init__(
        self, threads_file: str | Path, pause_lock: str | Path, threads: int | None = None, minutes: float | None = None
    ) -> None:
        self.threads_file, self.pause_lock = Path(threads_file), Path(pause_lock)
        self.threads_file.parent.mkdir(parents=True, exist_ok=True)
        if threads is not None or not self.threads_file.is_file():
            self.threads_file.write_text(f"{threads or 1}\n", encoding="utf-8")
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.terminated = False
        self._stamp = -1
        self._checked = -LOCK_SECONDS
        self._epoch_started = 0.0
        self._set_threads()

    def catch_signals(self) -> None:
        """Let SIGTERM and SIGINT end the run at its next step."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._terminate)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_STARTED, lambda: self())

    def __call__(self) -> None:
        """Raises:
        StoppedError: when it is time to, or when a signal came.
        """
        while True:
            # The lock is tried about once a second: several processes may work beside each other.
            waited = time.monotonic() - self._checked
            if self.terminated or (self.deadline is not None and time.monotonic() >= self.deadline):
                raise StoppedError
            if waited < LOCK_SECONDS:
                break
            try:
                with FileLock(self.pause_lock, timeout=0.5):
                    self._checked = time.monotonic()
                    break
            except Timeout:
                continue
        self._set_threads()

    def _start_epoch(self, engine: Engine) -> None:
        # An epoch that cannot end in time would be lost: the one before it was the last.
        now = time.monotonic()
        needed = now - self._epoch_started if self._epoch_started else 0.0
        self._epoch_started = now
        if self.deadline is not None and now + needed > self.deadline:
            raise StoppedError

    def _set_threads(self) -> None:
        try:
            stamp = os.stat(self.threads_file).st_mtime_ns
            if stamp == self._stamp:
                return
            text = self.threads_file.read_text(encoding="utf-8").strip()
        except OSError:
            return  # an editor replaces the file at this moment
        self._stamp = stamp
        if not text:
            return
        if not text.isdigit() or not 1 <= int(text) <= 4096:
            raise DataError(f"{self.threads_file}: number of threads is {text!r}; 1 or more is needed.")
        torch.set_num_threads(int(text))
        cv2.setNumThreads(int(text))

    def _terminate(self, *_: Any) -> None:
        self.terminated = True
