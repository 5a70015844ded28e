"""What tells the content of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["sha256"]


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        OSError: when it cannot be read.
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
