"""Processes for trainings, scores and batches, which MONAI Label starts: they end with their server, in any case."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

__all__ = ["METHODS", "end_children", "end_with_server", "mark_server"]

logger = logging.getLogger(__name__)

METHODS = ("train", "scoring", "batch_infer")
"""For which MONAI Label starts processes."""
_SERVER = "CASR_LABEL_SERVER"
"""Environment variable: number of the server's process."""
SECONDS = 0.5
"""Between two looks whether the server is there. Our choice."""


def mark_server() -> None:
    """Let the processes that this one will start know whose they are."""
    os.environ[_SERVER] = str(os.getpid())


def end_with_server(end: Callable[[], None] | None = None) -> None:
    """In a process that a server has started: end it as soon as the server is gone, killed with -9 too; elsewhere
    nothing happens. What it has stored until then is whole: files are renamed into their places.

    Args:
        end: how; by default it and its own children are killed.
    """
    server = os.environ.get(_SERVER, "")
    if not server.isdigit() or int(server) == os.getpid():
        return

    def watch() -> None:
        while _is_child_of(int(server)):
            time.sleep(SECONDS)
        logger.warning("the server has ended; this process ends too")
        (end or _kill_all)()

    threading.Thread(target=watch, name="end-with-server", daemon=True).start()


def _is_child_of(number: int) -> bool:
    import psutil

    # Whose parent has ended gets another one; not so on Windows.
    return os.getppid() == number and psutil.pid_exists(number)


def _kill_all() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def end_children() -> None:
    """In the server, before it ends: end what it has started, and begin nothing that waits for its turn."""
    import psutil
    from monailabel.utils.async_tasks.utils import background_executors, stop_background_task

    for executor in background_executors.values():
        executor.shutdown(wait=False, cancel_futures=True)
    for method in METHODS:
        with contextlib.suppress(psutil.Error):  # it has ended at this moment
            if stop_background_task(method) is not None:
                logger.info("%s: ended with the server; a training goes on where its last epoch ended", method)
