"""A lock that is given to threads in the order in which they asked for it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Self

__all__ = ["FairLock"]


class FairLock:
    """Re-entrant and first come, first served: a thread that releases it and wants it again queues behind those that
    wait already. With a plain lock, a request of many frames would take it again before anybody else wakes up."""

    def __init__(self) -> None:
        self._state = threading.Lock()
        self._waiting: deque[tuple[int, threading.Event]] = deque()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> Self:
        me = threading.get_ident()
        with self._state:
            if self._owner in (None, me):
                self._owner = me
                self._depth += 1
                return self
            turn = threading.Event()
            self._waiting.append((me, turn))
        turn.wait()  # whoever releases the lock hands it over, so that nobody can come between
        return self

    def __exit__(self, *_: Any) -> None:
        with self._state:
            self._depth -= 1
            if self._depth:
                return
            if not self._waiting:
                self._owner = None
                return
            self._owner, turn = self._waiting.popleft()
            self._depth = 1
            turn.set()
