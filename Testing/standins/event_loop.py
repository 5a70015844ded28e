"""Qt's event loop for tests: waiting without blocking it, and measuring how long anything else blocked it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from PySide6 import QtCore

__all__ = ["GuiWatchdog", "collect_errors", "gui_watchdog", "process_events", "wait_until"]


def process_events(seconds: float = 0.0) -> None:
    """Let the event loop run for a time; 0: what is due now, deferred deletions too."""
    end = time.monotonic() + seconds
    while True:
        QtCore.QCoreApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 10)
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
        if time.monotonic() >= end:
            return
        time.sleep(0.001)


def wait_until(condition: Callable[[], Any], timeout: float = 60.0, what: str = "") -> None:
    """Run the event loop until the condition holds.

    Raises:
        AssertionError: after ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain{' for ' + what if what else ''}.")
        process_events()
        time.sleep(0.001)


class GuiWatchdog:
    """Heart beat of the GUI thread: a timer that should fire every few milliseconds.

    Attributes:
        busy_ms: the longest that the thread computed at a stretch: its own processor time, so that other processes on
            the machine do not matter.
        longest_ms: the longest time on the clock between two beats, less the interval: waiting counts here as well.
        beats: how often it fired; few beats mean that the event loop did not run and nothing was measured.
    """

    INTERVAL_MS = 2

    def __init__(self) -> None:
        self.busy_ms = 0.0
        self.longest_ms = 0.0
        self.beats = 0
        self._last = self._last_busy = 0.0
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.setInterval(self.INTERVAL_MS)
        self._timer.timeout.connect(self._beat)

    def _beat(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        self.longest_ms = max(self.longest_ms, 1000 * (now - self._last) - self.INTERVAL_MS)
        self.busy_ms = max(self.busy_ms, 1000 * (busy - self._last_busy))
        self._last, self._last_busy = now, busy
        self.beats += 1

    def __enter__(self) -> GuiWatchdog:
        self._last, self._last_busy = time.perf_counter(), time.thread_time()
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What ran since the last beat counts as well.
        self._beat()
        self._timer.stop()


def gui_watchdog() -> GuiWatchdog:
    """``with gui_watchdog() as watch: ...; assert watch.busy_ms < 50``."""
    return GuiWatchdog()


@contextmanager
def collect_errors() -> Iterator[list[BaseException]]:
    """Exceptions that Qt slots and VTK observers raise; both libraries only print them."""
    errors: list[BaseException] = []
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.append(error)
        sys.__excepthook__(kind, error, trace)  # not the hook before: the innermost collector has it

    sys.excepthook = hook
    try:
        yield errors
    finally:
        sys.excepthook = before
