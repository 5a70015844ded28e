"""Which of the files that are kept between runs are removed: those that nobody has used for long, and what is too much.

All of them may be removed at any time, since what is missing is made anew, and who uses one has read it whole. A file's
time of modification is that of its last use.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ...files.atomic import PART

__all__ = ["Kept", "clean", "clear", "kept_files", "mark_used", "remove_lock"]

UNUSED_DAYS = 30
"""Days after its last use that a file is kept: one of other weights, or of another version. Our choice."""

MOST_BYTES = 250_000_000
"""Size of all files of a folder above which those that were not used for the longest time go before that. Our choice:
ten converted networks."""

MOST_FILES = 200
"""Number of files above which they do, too. Our choice: 24 commands with different settings leave as many plans."""

IN_USE_HOURS = 1
"""Hours after its last use for which a file counts as in use, and stays in any case. Our choice."""

WRITING_HOURS = 24
"""Hours after which a temporary file is one that a killed process has left. Our choice."""

_NAME = re.compile(r"[a-z0-9]+-[0-9a-f]{20}\.(zip|lock)")


@dataclass(frozen=True)
class Kept:
    """A file that is kept.

    Attributes:
        path: of the file.
        size: bytes.
        age: seconds since its last use.
    """

    path: Path
    size: int
    age: float


def kept_files(folder: Path) -> list[Kept]:
    """The contents that a folder holds, the one that was not used for the longest time first; locks are left out."""
    return sorted(_files(folder, ".zip"), key=lambda file: -file.age)


def mark_used(path: Path) -> None:
    """Note that a file was used now, where it may be written to."""
    with contextlib.suppress(OSError):
        os.utime(path)


def clean(folder: Path) -> list[Path]:
    """Remove what was not used for :data:`UNUSED_DAYS`, what is beyond :data:`MOST_BYTES` or :data:`MOST_FILES`, and
    locks and temporary files that processes have left. Several processes may do so at once.

    Returns:
        the contents that were removed.
    """
    files = kept_files(folder)
    size, count, removed = sum(file.size for file in files), len(files), []
    for file in files:
        much = size > MOST_BYTES or count > MOST_FILES
        if file.age > UNUSED_DAYS * 86400 or (much and file.age > IN_USE_HOURS * 3600):
            size, count = size - file.size, count - 1
            if _removed(file.path):
                removed.append(file.path)
    _remove_remains(folder)
    return removed


def clear(folder: Path) -> list[Kept]:
    """Remove everything, and the folder when nothing else is in it.

    Returns:
        the contents that were removed.
    """
    removed = [file for file in kept_files(folder) if _removed(file.path)]
    _remove_remains(folder)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return removed


def remove_lock(lock: FileLock) -> None:
    """Remove the file of a lock that is held: who waits for it finds that, and takes a new one."""
    if os.name != "nt":  # there it is open, and goes with its release
        _removed(Path(lock.lock_file))


def _remove_remains(folder: Path) -> None:
    for file in _files(folder, ".lock"):
        # One that is held is of a process that makes something.
        with contextlib.suppress(OSError, Timeout), FileLock(file.path, timeout=0) as lock:
            remove_lock(lock)
    for file in _files(folder, PART):
        if file.age > WRITING_HOURS * 3600:
            _removed(file.path)


def _files(folder: Path, kind: str) -> list[Kept]:
    """Files of ours, by their ending, or the begin of their names."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = _NAME.fullmatch(entry.name) and entry.name.endswith(kind)
            if not ours and not (kind == PART and entry.name.startswith(PART)):
                continue
            with contextlib.suppress(OSError):  # another process has removed it
                status = entry.stat(follow_symlinks=False)
                # A clock that went wrong dates files into the future: these are as old as they are far away.
                found.append(Kept(Path(entry.path), status.st_size, abs(time.time() - status.st_mtime)))
    return found


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # somebody else has removed it, or holds it open on Windows, or the folder is read-only
        return False
    return True
