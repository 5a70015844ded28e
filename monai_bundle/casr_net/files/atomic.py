"""The one way to write a file: whole, under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, DiskFullError
from .names import suffix

__all__ = ["FULL", "PART", "check_folder", "set_aside", "write_atomically", "write_error"]


PART = ".part-"
"""Begin of the names of files that are being written, followed by the process's number."""

LONGEST_ENDING = 16

FULL = {number for number in (errno.ENOSPC, getattr(errno, "EDQUOT", None)) if number is not None}
"""Errors of the operating system: no room on the disk, or more than the user may have."""


NO_LINKS = {
    getattr(errno, name) for name in ("EPERM", "EMLINK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP") if hasattr(errno, name)
}
"""Errors of file systems that have no hard links, such as FAT."""


def write_atomically(path: Path, write: Callable[[Path], object], sync: bool = False, replace: bool = True) -> Path:
    """Let ``write`` fill a temporary file in the folder of ``path``, then rename it; leaves nothing behind on failure.

    The temporary name is short and plain, whatever the name of the file: a legal name must not become too long by it.

    Args:
        path: the file; its folder is made.
        write: gets the temporary name, which has the ending of ``path``.
        sync: wait until the content is on the disk before the renaming, so that the file survives a power cut too.
        replace: a file that is there. Without it that file is kept, even if another process makes it meanwhile, unless
            it is empty, as a power cut leaves it.

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
            if replace:
                os.replace(temporary, path)
            elif not _placed(temporary, path):
                raise DataError(f"{path}: was made by another run meanwhile, and was kept; --overwrite replaces it.")
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    return path


def _placed(temporary: Path, path: Path) -> bool:
    """Give a file its name, unless another one that is not empty has it."""
    if not (os.path.lexists(path) and os.lstat(path).st_size == 0):
        try:
            os.link(temporary, path)
            return True
        except FileExistsError:
            return os.stat(temporary).st_nlink > 1  # NFS may say so of the very link that it has made
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
    os.replace(temporary, path)
    return True


def check_folder(folder: Path) -> None:
    """Make an output folder and try to write there, so that a run does not fail after its first image.

    Raises:
        DataError: when the folder cannot be made or written to.
    """
    probe = folder / ".probe"
    try:
        write_atomically(probe, lambda path: path.write_bytes(b""))
    except DataError as error:
        raise DataError(str(error).replace(str(probe), str(folder))) from error
    probe.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a file that is not ours to ``<stem>_old1<suffix>``, or the next free number; returns its new path.

    Raises:
        DataError: when it cannot be renamed.
    """
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.stem}_old{number}{path.suffix}")):
        number += 1
    try:
        os.replace(path, kept)
    except OSError as error:
        raise DataError(f"{path}: cannot be renamed: {error.strerror or error}.") from error
    return kept


def write_error(path: Path, error: OSError) -> DataError:
    """What is to be raised where a file cannot be written."""
    kind = DiskFullError if error.errno in FULL else DataError
    return kind(f"{path}: cannot be written: {error.strerror or error}.")
