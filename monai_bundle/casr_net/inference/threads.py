"""How the processors are shared: the one place that sets numbers of threads: of torch, OpenCV, BLAS, the runtimes."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
from threadpoolctl import ThreadpoolController

from .runtimes.buffers import share_memory

if TYPE_CHECKING:
    import torch

__all__ = ["Shares", "current_shares", "planned", "sharing", "without_torch"]

REQUESTS = 4
"""Most frames in the network at once on a CPU; beyond that, each gets more threads. Our choice: a frame of 512 x 512
needs about 150 MB in torch."""

HELPERS = 4
"""Most threads of preprocessing, and of refinement. Our choice: a GPU waits for them."""

BATCH = 8
"""Frames that a GPU gets at once. Our choice."""


@dataclass(frozen=True)
class Shares:
    """Who gets how many threads.

    Attributes:
        total: threads that this process may use.
        requests: frames in the network at the same time.
        helpers: threads of preprocessing, and as many of refinement.
        batch: most frames that the network gets at once.
    """

    total: int
    requests: int = 1
    helpers: int = 1
    batch: int = 1

    @property
    def each(self) -> int:
        """Threads of one frame in the network."""
        return max(1, self.total // self.requests)

    @property
    def room(self) -> int:
        """Frames on the way at the same time: those in work, and one that waits before each stage."""
        return 2 * self.requests * self.batch + 2 * self.helpers + 1


def planned(device: torch.device | str = "cpu", frames: int | None = None) -> Shares:
    """The shares for a number of frames; None: many.

    One frame alone gets all threads. Of several, each gets a thread as far as they go: that wastes least.
    """
    total = current_shares().total
    helpers = min(HELPERS, max(1, total // 4))
    if str(device).partition(":")[0] != "cpu":
        return Shares(total, 1, helpers, BATCH)
    return Shares(total, max(1, min(total, REQUESTS, frames if frames is not None else REQUESTS)), helpers)


_lock = threading.Lock()
_active: Shares | None = None
_users = 0


def current_shares() -> Shares:
    """Those in use; without any, one frame has all threads that torch may use."""
    active = _active
    return Shares(_torch_threads()) if active is None else active


_told = 0


@contextlib.contextmanager
def without_torch(threads: int) -> Iterator[None]:
    """Meanwhile this is the number of threads that torch may use: it is neither asked, nor imported for that."""
    global _told
    before, _told = _told, threads
    try:
        yield
    finally:
        _told = before


def _torch_threads() -> int:
    if _told:
        return _told
    import torch

    return torch.get_num_threads()


def _set_torch_threads(threads: int) -> None:
    if not _told or "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def sharing(shares: Shares) -> Iterator[Shares]:
    """Use these shares meanwhile; whoever comes while others are in use takes those.

    BLAS, which multiplies small matrices in preprocessing, has one thread: those of OpenBLAS wait for the next product
    without rest, on processors that the other stages need. Its last bits do not hang on the number of threads then.

    Yields:
        the shares in use.
    """
    global _active, _users
    with _lock:
        if _users == 0:
            _before[:] = [_torch_threads(), cv2.getNumThreads()]
            _active = shares
            _set_torch_threads(shares.each)
            if shares.requests > 1:
                cv2.setNumThreads(1)
            # What is not selected would get its number of now again in the end, which is not torch's own.
            _limits[:] = [ThreadpoolController().select(user_api="blas").limit(limits=1)]
            share_memory()  # with one frame in the network, too, each stage has a thread
        _users += 1
        used = _active or shares
    try:
        yield used
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _active = None
                _set_torch_threads(_before[0])
                cv2.setNumThreads(_before[1])
                _limits.pop().restore_original_limits()


_before: list[int] = []
_limits: list[Any] = []
