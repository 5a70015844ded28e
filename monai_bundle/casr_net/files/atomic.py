"""The one way to write a file: whole, under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, DiskFullError
from .names import suffix

__all__ = ["FULL", "PART", "write_atomically", "write_error"]


PART = ".part-"
"""Begin of the names of files that are being written, followed by the process's number."""

LONGEST_ENDING = 16

FULL = {number for number in (errno.ENOSPC, getattr(errno, "EDQUOT", None)) if number is not None}
"""Errors of the operating system: no room on the disk, or more than the user may have."""


def write_atomically(path: Path, write: Callable[[Path], object], sync: bool = False) -> Path:
    """Let ``write`` fill a temporary file in the folder of ``path``, then rename it; leaves nothing behind on failure.

    The temporary name is short and plain, whatever the name of the file: a legal name must not become too long by it.

    Args:
        path: the file; its folder is made.
        write: gets the temporary name, which has the ending of ``path``.
        sync: wait until the content is on the disk before the renaming, so that the file survives a power cut too.

    Raises:
        DataError: when the file cannot be written; DiskFullError among them.
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
        raise write_error(path, error) from error
    return path


def write_error(path: Path, error: OSError) -> DataError:
    """What is to be raised where a file cannot be written."""
    kind = DiskFullError if error.errno in FULL else DataError
    return kind(f"{path}: cannot be written: {error.strerror or error}.")
