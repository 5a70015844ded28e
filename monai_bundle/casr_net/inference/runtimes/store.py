"""Files that are kept between runs: converted networks, masks to compare with, the choice that was measured.

Each is one ZIP archive with a checksum of its content and a description of what it was made from. It is written under a
temporary name and renamed, so that another process never sees a part of it. One that is damaged, or describes something
else, is made anew. Whatever is added makes place for itself, see :mod:`casr_net.inference.runtimes.cleaning`.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from ...errors import DataError
from ...files.atomic import write_atomically
from .cleaning import clean, mark_used, remove_lock

__all__ = ["Store", "store_folder"]

logger = logging.getLogger("casr_net")

FOLDER = ".runtimes"
FORM = 1
"""Number of the form of the archives; another form is made anew."""
LOCK_SECONDS = 300
"""Longest time to wait for another process that converts the same network. Our choice."""


def store_folder(weights: str | Path | None) -> Path:
    """The folder ``.runtimes`` beside a weights file; the user's cache where that cannot be written to."""
    if weights is not None and Path(weights).is_file():
        folder = Path(weights).resolve().parent / FOLDER
        if os.access(folder if folder.exists() else folder.parent, os.W_OK):
            return folder
    return platformdirs.user_cache_path("casr-net") / "runtimes"


class Store:
    """Content by kind and description.

    Args:
        folder: where the files are; made when the first is written. They may be deleted at any time.

    Attributes:
        given: what :meth:`get` gave last of each kind, as its description.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: dict[str, dict[str, Any]] = {}

    def path(self, kind: str, about: dict[str, Any]) -> Path:
        """The file of a content, named by a hash of its description."""
        text = json.dumps([FORM, kind, about], sort_keys=True)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:20]}.zip"

    def get(self, kind: str, about: dict[str, Any], make: Callable[[], bytes]) -> bytes:
        """The content that is kept, or what ``make`` gives, which is kept from then on.

        Several processes that ask at once make it once. Where it cannot be kept, that is said, and the work goes on.
        """
        content = self._got(kind, about, make)
        self.given[kind] = about
        return content

    def kept(self, kind: str, about: dict[str, Any]) -> bytes | None:
        """The content that is kept; None where there is none, or it is damaged, or of something else."""
        return _read(self.path(kind, about), about)

    def put(self, kind: str, about: dict[str, Any], content: bytes) -> None:
        """Keep a content in place of one that may be there. Where it cannot be kept, that is said."""
        if self.kept(kind, about) == content:
            return
        self._keep(self.path(kind, about), about, content)
        clean(self.folder)

    def _got(self, kind: str, about: dict[str, Any], make: Callable[[], bytes]) -> bytes:
        path = self.path(kind, about)
        kept = _read(path, about)
        if kept is not None:
            return kept
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS)
            lock.acquire()
        except (OSError, Timeout) as error:
            logger.warning("%s: cannot be kept for the next run (%s).", path, str(error) or type(error).__name__)
            return make()
        try:
            kept = _read(path, about)  # another process may have made it meanwhile
            if kept is not None:
                return kept
            if path.exists():
                logger.warning("%s: damaged, or of something else; made anew.", path)
            content = make()
            self._keep(path, about, content)
        finally:
            remove_lock(lock)
            lock.release()
        clean(self.folder)
        return content

    def _keep(self, path: Path, about: dict[str, Any], content: bytes) -> None:
        try:
            write_atomically(path, lambda temporary: _write(temporary, about, content))
        except DataError as error:
            logger.warning("%s It is made anew in the next run.", error)


def _write(path: Path, about: dict[str, Any], content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("about.json", json.dumps(about, sort_keys=True))
        archive.writestr("content", content)


def _read(path: Path, about: dict[str, Any]) -> bytes | None:
    """The content, whose checksum fits; None for a file that is missing, damaged, or describes something else."""
    try:
        # Read at once, so that what was checked is what is used.
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            if json.loads(archive.read("about.json")) != about:
                return None
            content = archive.read("content")
    except Exception:  # zipfile raises a dozen classes on damaged archives
        return None
    mark_used(path)
    return content
