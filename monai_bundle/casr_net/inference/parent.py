"""A process that must not outlive the program that has started it notices when that has gone."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["PARENT", "watch_parent"]

PARENT = "CASR_PARENT_PID"
"""Environment variable with the number of the process to be watched, where another one stands between: Slicer starts
its Python through a launcher, which lives on when Slicer has crashed."""

_SYNCHRONIZE, _WAIT_OBJECT_0, _INVALID_PARAMETER = 0x0010_0000, 0, 87


def watch_parent(end: Callable[[], Any], seconds: float = 1.0) -> None:
    """Watch the parent, and the process that :data:`PARENT` names, in a thread.

    Args:
        end: called in that thread, once, when one of them is gone. It has to end the process at once
            (``os._exit``): nobody is there to take a result.
        seconds: between two looks; Windows needs none.
    """
    named = os.environ.get(PARENT, "")
    watched = int(named) if named.isascii() and named.isdigit() else None
    wait = _wait_windows if sys.platform == "win32" else _wait_posix
    thread = threading.Thread(target=lambda: wait(os.getppid(), watched, seconds) and end(), name="parent", daemon=True)
    thread.start()


def _wait_posix(parent: int, watched: int | None, seconds: float) -> bool:
    """Return True when the parent has changed, or the watched process is gone."""
    while os.getppid() == parent and (watched is None or _exists(watched)):
        time.sleep(seconds)
    return True


def _exists(pid: int) -> bool:
    with contextlib.suppress(PermissionError):  # of another user, but there
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _wait_windows(parent: int, watched: int | None, seconds: float, kernel: Any = None) -> bool:
    """As above. Windows tells it by handles, and keeps the number of a parent that is gone.

    Returns False when neither process may be watched.
    """
    if kernel is None:
        import ctypes

        kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - not known to type checkers elsewhere
    handles = []
    for pid in {parent, watched} - {None}:
        handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
        if not handle and kernel.GetLastError() == _INVALID_PARAMETER:
            return True  # gone already
        if handle:
            handles.append(handle)
    while handles:
        for handle in handles:
            if kernel.WaitForSingleObject(handle, int(1000 * seconds)) == _WAIT_OBJECT_0:
                return True
    return False
