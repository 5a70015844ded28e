"""Masks or maps of one file that wait until all of them are there, and then go into one file."""

from __future__ import annotations

import mmap
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["STACK_IN_MEMORY", "Stack", "drop_pages"]

STACK_IN_MEMORY = 64 * 2**20
"""Bytes up to which the masks of a cine wait in memory until they are written as one stack; larger ones on the disk."""


class Stack(Mapping[int, np.ndarray]):
    """Masks by frame of the source, uint8 (X, Y), of 0 and 1, or maps; they are views, so that a long cine costs no
    memory.

    Args:
        path: of the source; only named here.
        frames: of the source, from 0, that are to come, in the order of the stack.
        size: columns and rows.
        dtype: of masks, uint8, or of maps.

    Attributes:
        masks: (frames, rows, columns), in memory or on the disk.
    """

    def __init__(self, path: str, frames: Sequence[int], size: tuple[int, int], dtype: type = np.uint8) -> None:
        self.path, self._places = path, {frame: place for place, frame in enumerate(frames)}
        self._waiting = set(self._places)
        shape = (len(self._places), size[1], size[0])
        if np.prod(shape) * np.dtype(dtype).itemsize <= STACK_IN_MEMORY:
            self.masks: np.ndarray = np.zeros(shape, dtype)
        else:
            with tempfile.TemporaryFile(prefix="casr-") as file:  # goes with the array
                self.masks = np.memmap(file, dtype, "w+", shape=shape)

    def put(self, frame: int, mask: np.ndarray) -> bool:
        """Keep the mask (X, Y) of a frame; whether it was the last one."""
        self.masks[self._places[frame]] = mask.T
        drop_pages(self.masks)
        self._waiting.discard(frame)
        return not self._waiting

    @property
    def whole(self) -> np.ndarray:
        """(X, Y, frames)."""
        return self.masks.transpose(2, 1, 0)

    def __getitem__(self, frame: int) -> np.ndarray:
        return self.masks[self._places[frame]].T

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def drop_pages(array: np.ndarray) -> None:
    """Let the process forget the pages of an array that lies in a file: what was written or read would pile up in its
    memory. The values stay, in the file. Nothing for other arrays, and where the system has no such call."""
    base: Any = array
    mapped = False
    while isinstance(base, np.ndarray):
        mapped = isinstance(base, np.memmap) and base.mode != "c"  # whose changes are in the memory alone
        base = base.base
    if mapped and isinstance(base, mmap.mmap) and sys.platform == "linux":
        base.madvise(mmap.MADV_DONTNEED)
