"""Whether results that are there are those that a run would make: same settings, same weights, same input."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files.addresses import is_address, place_of
from ..files.digest import sha256
from ..files.names import as_text
from .provenance import changed_settings
from .runfile import RunFile

__all__ = ["difference", "fingerprint", "unlisted"]

SOURCE = ("format", "columns", "rows", "bytes", "modified", "sha256", "grey", "instance")
"""What a record keeps of an input, that holds for later runs as well."""

NAMED = 3  # settings that a line names


def difference(record: RunFile, results: Iterable[Path], path: str, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What tells results that are there from those of a run.

    Args:
        record: of the output folder.
        results: files in it.
        path: the input that they would be made from.
        run: with ``config_sha256`` and ``weights_sha256``, as far as they are known; what is not known is alike. With
            the settings themselves as ``config``, the line says which of them differ.

    Returns:
        a line about the first that was made otherwise, or of which nobody knows how; empty if all are alike; and what
        the record keeps of the input.

    Raises:
        DataError: when the input cannot be read.
    """
    source: dict[str, Any] = {}
    looked_at: set[tuple[Any, Any]] = set()
    for result in results:
        entry = record.outputs.get(record.key(result)) or unlisted(record, result, path)
        if entry is None:
            return f"{result}: exists already and was kept, no record tells how it was made", source
        damage = _damage(result, entry)
        if damage:
            return f"{result}: exists already and was kept, {damage}", source
        maker, origin = entry.get("run"), entry.get("input")
        if (maker, origin) in looked_at:
            continue
        looked_at.add((maker, origin))
        other, source = _compare(record, maker, origin, path, run)
        if other:
            return f"{result}: exists already and was kept, it was made {other}", source
    return "", source


def _damage(result: Path, entry: dict[str, Any]) -> str:
    """What has happened to a result since it was written, if it cannot be used any more. One that has become another
    file is kept if it can be: a user may have corrected the mask."""
    try:
        here, written = os.stat(result).st_size, entry.get("bytes")
    except OSError as error:
        return f"it cannot be opened: {error.strerror or error}"
    if written is None or here == written:
        return ""
    if entry.get("kind") == "mask":
        from ..files.masks import read_mask

        try:
            read_mask(result)
        except DataError as error:
            reason = str(error).removeprefix(f"{result}: ").rstrip(".")
            return f"it is not as it was written ({here} bytes, then {written}): {reason}"
    elif here < written:
        return f"it is not as it was written: {here} of {written} bytes"
    return ""


def _compare(record: RunFile, maker: Any, origin: Any, path: str, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    past = next((known for known in record.runs if known["number"] == maker), {})
    names = {"config_sha256": "settings", "weights_sha256": "weights"}
    others = [name for key, name in names.items() if key in run and past.get(key) != run[key]]
    if others:
        when = str(past.get("started", ""))[:16].replace("T", " ")
        return f"with other {' and '.join(others)} (run {maker}, {when}{_which(record, past, run)})", {}
    known = _file(past, origin)
    if is_address(path):
        # An instance never changes: another content has another UID (PS3.3 C.12.1.1.1). It is not fetched to look.
        same = known.get("instance") == place_of(path).instance
        return ("", {key: known[key] for key in SOURCE if key in known}) if same else (f"from {origin}", {})
    place = os.path.normpath(os.path.join(str(past.get("working_directory", "")), str(origin)))
    same_place = as_text(os.path.abspath(path)) == place
    # Size and time tell that a file is unchanged, not that another one is the same.
    here = fingerprint(path, known if same_place else None)
    told_by = ("sha256",) if "sha256" in known else ("bytes", "modified")
    if (not same_place and "sha256" not in known) or any(here[name] != known.get(name) for name in told_by):
        return f"from {'an earlier content of that file' if same_place else origin}", {}
    return "", {key: known[key] for key in SOURCE if key in known} | here


def _which(record: RunFile, past: dict[str, Any], run: dict[str, Any]) -> str:
    """The first settings that differ, where those of both runs are known."""
    before, now = record.configs.get(str(past.get("config_sha256"))), run.get("config")
    changes = [] if before is None or now is None else changed_settings(before, now)
    return f": {'; '.join(changes[:NAMED])}{'; ...' if len(changes) > NAMED else ''}" if changes else ""


def _file(run: dict[str, Any], path: Any) -> dict[str, Any]:
    """What a run has kept of one of its files."""
    files = (known for known in run.get("files", ()) if isinstance(known, dict))
    return next((known for known in files if known.get("path") == path), {})


def unlisted(record: RunFile, result: Path, path: str) -> dict[str, Any] | None:
    """An output of a run that was killed between the writing of a result and that of the record: number of the run, and
    input; None for others."""
    for run in reversed(record.runs):
        if run.get("state") == "running" and _file(run, as_text(path)).get("state") == "waiting":
            try:
                begun = datetime.fromisoformat(str(run.get("started"))).timestamp()
                if os.stat(result).st_mtime >= begun:
                    return {"run": run["number"], "input": as_text(path)}
            except (ValueError, OSError):
                continue
    return None


def fingerprint(path: str | Path, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """What an input is told by: ``bytes``, ``modified`` (nanoseconds) and ``sha256`` of its content.

    Args:
        path: the file.
        known: an earlier fingerprint; if size and time are the same, the content is taken to be.

    Raises:
        DataError: when the file cannot be read.
    """
    try:
        status = os.stat(path)
        found: dict[str, Any] = {"bytes": status.st_size, "modified": status.st_mtime_ns}
        if known and "sha256" in known and all(known.get(name) == value for name, value in found.items()):
            return {**found, "sha256": known["sha256"]}
        return {**found, "sha256": sha256(path)}
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}.") from error
