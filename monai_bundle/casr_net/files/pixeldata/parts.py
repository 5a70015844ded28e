"""Parts of an open file, read by several threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

from ...errors import DataError

__all__ = ["FileParts"]


class FileParts:
    """A file of which parts are read.

    Args:
        path: named in errors.
        stream: the open file, which belongs to this object from now on.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self._lock = path, threading.Lock()
        self.stream = stream
        self.size = stream.seek(0, 2)
        self._temporary: Path | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file.

        Raises:
            DataError: when they are not all there, or the disk fails.
        """
        try:
            with self._lock:
                self.stream.seek(offset)
                found = self.stream.read(length)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read ({error.strerror or type(error).__name__}).") from error
        if len(found) != length:
            raise DataError(f"{self._path}: the file is cut off: {self.size} bytes, but its header states more.")
        return found

    def delete_on_close(self, temporary: Path) -> None:
        """The open file is a temporary one, which could not be deleted while it is open (Windows)."""
        self._temporary = temporary

    def close(self) -> None:
        self.stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None
