"""Files that somebody tries without storing them: a few at a time, in the server's own folder of temporary files."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from casr_net.errors import DataError
from casr_net.files.images import read_angiogram

from .requests import NotFoundError

__all__ = ["Trials"]

COUNT = 4
SECONDS = 3600.0
"""How many are kept, and for how long after they were last used. Our choice."""

_ID = re.compile(r"[0-9a-f]{32}")


class Trials:
    """Each in a folder of its own, which also takes what is computed of it.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[str, tuple[float, Path]] = {}
        self._folder: Path | None = None

    def add(self, name: str, content: BinaryIO) -> str:
        """Keep a file.

        Args:
            name: of the client's file; its ending may tell the format.
            content: of it.

        Returns:
            its id.

        Raises:
            DataError: when it is no angiogram, or cannot be kept.
        """
        base = re.split(r"[/\\]", name)[-1] or "image"
        trial = uuid.uuid4().hex
        with self._lock:
            self._folder = self._folder or Path(tempfile.mkdtemp(prefix="trials-"))
            folder = self._folder / trial
        ending = "".join(Path(base).suffixes[-2:])[-16:]
        file = folder / f"image{ending if re.fullmatch(r'[.A-Za-z0-9]*', ending) else ''}"
        try:
            folder.mkdir()
            with open(file, "wb") as target:
                shutil.copyfileobj(content, target)
            source = read_angiogram(file)
            source.grey(0)  # what cannot be shown is refused at once
        except (DataError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise DataError(
                f"{base[:100]}: {reason.removeprefix(f'{file}: ').replace(str(file), 'the file')}"
            ) from error
        with self._lock:
            self._used[trial] = (self._clock(), file)
            self._tidy()
        return trial

    def file(self, trial: str) -> Path:
        """Where a file is.

        Raises:
            NotFoundError: when it is not kept any more.
        """
        with self._lock:
            self._tidy()
            if not _ID.fullmatch(trial) or trial not in self._used:
                raise NotFoundError("the file to be tried is not kept any more; drop it once more.")
            _, file = self._used[trial]
            self._used[trial] = (self._clock(), file)
            return file

    def remove(self, trial: str) -> None:
        """Forget a file; one that is gone already is no error."""
        with self._lock:
            self._drop(trial)

    def _tidy(self) -> None:
        old = [trial for trial, (used, _) in self._used.items() if self._clock() - used > SECONDS]
        by_age = sorted(self._used, key=lambda trial: self._used[trial][0])
        for trial in {*old, *by_age[: max(0, len(by_age) - COUNT)]}:
            self._drop(trial)

    def _drop(self, trial: str) -> None:
        if trial in self._used:
            _, file = self._used.pop(trial)
            shutil.rmtree(file.parent, ignore_errors=True)
