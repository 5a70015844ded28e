"""Large buffers of torch that are used again, in place of new pages of the system for each layer of each frame.

glibc gives a buffer above 32 MB a mapping of its own, and returns it as soon as it is freed: the next one is zeroed
page by page again. Of 580 ms of processor time of a frame of 512 x 512, that took 225 (154,000 page faults).
"""

from __future__ import annotations

import ctypes
import functools
import platform

__all__ = ["keep_buffers", "return_memory", "share_memory"]

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h

KEPT = 2**29
"""Bytes of free memory that a process keeps. Our choice: what the widest configuration uses for a frame of 512."""


@functools.cache
def keep_buffers() -> bool:
    """Let the process keep its large buffers; once, and for all that it does. Whether the C library can do that."""
    return _set(M_MMAP_MAX, 0) and _set(M_TRIM_THRESHOLD, KEPT)


@functools.cache
def share_memory() -> bool:
    """Let threads that are started from now on take memory from one place; whether the C library can do that.

    Each would keep what its largest frame needed otherwise: with two of them, 20 frames of 1024 x 1024 took 1.15 GB
    with torch, and 0.96 with one place (measured by ``MALLOC_ARENA_MAX=1``, which does the same). Places that threads
    of libraries have taken before stay in use, so that a program calls it before it imports them.
    """
    return _set(M_ARENA_MAX, 1)


def return_memory() -> bool:
    """Give free memory back to the system, after work that needed much of it and does not come again; whether the C
    library can do that. Slow where it is needed again soon."""
    return _called("malloc_trim", 0)


def _set(option: int, value: int) -> bool:
    return _called("mallopt", option, value)


def _called(name: str, *values: int) -> bool:
    """Call a function of glibc, which returns 1 when it has done something."""
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        return bool(getattr(ctypes.CDLL(None), name)(*values))
    except (OSError, AttributeError):
        return False
