"""Large buffers of torch that are used again, in place of new pages of the system for each layer of each frame.

glibc gives a buffer above 32 MB a mapping of its own, and returns it as soon as it is freed: the next one is zeroed
page by page again. Of 580 ms of processor time of a frame of 512 x 512, that took 225 (154,000 page faults).
"""

from __future__ import annotations

import ctypes
import functools
import platform

__all__ = ["keep_buffers"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h

KEPT = 2**29
"""Bytes of free memory that a process keeps. Our choice: what the widest configuration uses for a frame of 512."""


@functools.cache
def keep_buffers() -> bool:
    """Let the process keep its large buffers; once, and for all that it does. Whether the C library can do that."""
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        library = ctypes.CDLL(None)
        return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, KEPT))
    except (OSError, AttributeError):
        return False
