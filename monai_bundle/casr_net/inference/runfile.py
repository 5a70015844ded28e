"""The file ``run.json`` of an output folder: all runs that wrote there, and which of them made which output.

It is written whole each time, under a lock, and what other runs have put there meanwhile is kept. Its form is published
in ``docs/run.schema.json``.
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import DataError
from ..files.atomic import set_aside, write_atomically
from ..files.names import as_text

__all__ = ["FORM", "VERSION", "RunFile", "now"]

FORM, VERSION = "casr-net run record", 2
LOCK_SECONDS = 60


class RunFile:
    """The records of one output folder.

    Attributes:
        path: of the file.
        runs: a dictionary a run, oldest first.
        outputs: path below the folder, to the number of the run that made the file, its input, kind and frame.
        configs: hash of the settings of a run, to the settings.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "run.json"
        self.runs: list[dict[str, Any]] = []
        self.outputs: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, Any] = {}
        self._read: tuple[int, int, int] | None = None

    def load(self) -> str:
        """Read what is there, unless it is as it was read or written last.

        Returns:
            why a file that is there cannot be used, in words; empty where all is well. Nothing is kept of it then.

        Raises:
            DataError: when the file cannot be opened.
        """
        try:
            status = os.stat(self.path)
            signature = (status.st_mtime_ns, status.st_ino, status.st_size)
            if signature == self._read:
                return ""
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DataError(f"{self.path}: cannot be opened: {error.strerror or error}.") from error
        except (ValueError, RecursionError):
            return "is damaged"
        if not isinstance(content, dict) or content.get("format") != FORM:
            known = isinstance(content, dict) and "config_sha256" in content
            return "was written by version 0.3.0 or older" if known else "is no record of this program"
        if content.get("version") != VERSION:
            return "was written by another version"
        runs, outputs, configs = (content.get(name) for name in ("runs", "outputs", "configs"))
        sound = (
            isinstance(runs, list)
            and all(isinstance(run, dict) and isinstance(run.get("number"), int) for run in runs)
            and isinstance(outputs, dict)
            and all(isinstance(entry, dict) for entry in outputs.values())
            and isinstance(configs, dict)
        )
        if not sound:
            return "is damaged"
        assert isinstance(runs, list) and isinstance(outputs, dict) and isinstance(configs, dict)
        self.runs, self.outputs, self.configs, self._read = runs, outputs, configs, signature
        return ""

    def begin(self, run: dict[str, Any], config: Any) -> str:
        """Add a run, under the next free number, which becomes ``run["number"]``.

        Args:
            run: what is known of it, with ``config_sha256``.
            config: its settings.

        Returns:
            a line for the user where a file was there that cannot be used: it is kept under another name.

        Raises:
            DataError: when the file can be neither read nor written.
        """
        with self._lock():
            reason = self.load()
            said = ""
            if reason:
                kept = set_aside(self.path)
                said = f"{self.path}: {reason}; it is kept as {kept.name}, and a new one is begun."
            run["number"] = 1 + max((known["number"] for known in self.runs), default=0)
            self.configs[run["config_sha256"]] = config
            self._write(run, {})
        return said

    def update(self, run: dict[str, Any], outputs: dict[str, dict[str, Any]]) -> None:
        """Write anew what is known of a run, and add outputs.

        Raises:
            DataError: when the file cannot be written.
        """
        with self._lock():
            config = self.configs.get(run["config_sha256"])
            self.load()
            self.configs.setdefault(run["config_sha256"], config)
            self._write(run, outputs)

    def key(self, result: Path) -> str:
        """What an output is called in :attr:`outputs`."""
        return as_text(result.relative_to(self.path.parent).as_posix())

    def _write(self, run: dict[str, Any], outputs: dict[str, dict[str, Any]]) -> None:
        others = [known for known in self.runs if known["number"] != run["number"]]
        self.runs = sorted([*others, run], key=lambda known: known["number"])
        self.outputs |= outputs
        content = {
            "format": FORM, "version": VERSION, "runs": self.runs, "outputs": self.outputs, "configs": self.configs
        }  # fmt: skip
        text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
        data = text.encode("utf-8", "backslashreplace")
        write_atomically(self.path, lambda path: path.write_bytes(data))
        status = os.stat(self.path)
        self._read = (status.st_mtime_ns, status.st_ino, status.st_size)

    def _lock(self) -> Any:
        # Not in the output folder, where it would stay behind; one for all folders of a user, held for milliseconds.
        user = getattr(os, "getuid", lambda: "")()
        lock = FileLock(os.path.join(tempfile.gettempdir(), f"casr-{user}.lock"))
        try:
            return lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise DataError(f"{self.path}: another run has been writing it for {LOCK_SECONDS} s.") from error


def now() -> str:
    """The time, for people and programs."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
