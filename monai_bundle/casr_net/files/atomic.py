"""The one way to write a file: whole, under a temporary name, then renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from .names import suffix

__all__ = ["PART", "write_atomically"]


PART = ".part-"
"""Begin of the names of files that are being written, followed by the process's number."""

LONGEST_ENDING = 16


def write_atomically(path: Path, write: Callable[[Path], object], sync: bool = False) -> Path:
    """Let ``write`` fill a temporary file in the folder of ``path``, then rename it; leaves nothing behind on failure.

    The temporary name is short and plain, whatever the name of the file: a legal name must not become too long by it.

    Args:
        path: the file; its folder is made.
        write: gets the temporary name, which has the ending of ``path``.
        sync: wait until the content is on the disk before the renaming, so that the file survives a power cut too.

    Raises:
        DataError: when the file cannot be written.
    """
    # Writers choose the format by the ending. Threads may write the same file at the same time.
    ending = suffix(path)
    ending = ending if len(ending) <= LONGEST_ENDING and ending.isascii() else ""
    temporary = path.with_name(f"{PART}{os.getpid()}-{threading.get_ident()}{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            if sync:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error
    return path
