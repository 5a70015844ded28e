"""Work that is done by one thread, in the order in which it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["OneByOne"]

Result = TypeVar("Result")


class OneByOne:
    """Calls of any number of threads, done by a thread of their own: first come, first served.

    With a lock, a request of many frames would take it again before anybody else wakes up; and torch keeps working
    memory for every thread in which a network has run.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="one-by-one", initializer=self._begin)
        self._ident: int | None = None

    def _begin(self) -> None:
        self._ident = threading.get_ident()

    def __call__(self, work: Callable[[], Result]) -> Result:
        """What ``work`` gives, or the error that it raises. Inside of such work, further work is done at once."""
        if threading.get_ident() == self._ident:
            return work()
        return self._thread.submit(work).result()
