"""The files of a report, each written whole; ``measurements.json`` last, so that it stands for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import CASRError, DataError
from ..files.atomic import write_atomically
from ..files.names import as_text
from .measurements import FORM, VERSION, Analysis
from .page import index_page, report_page
from .sr import write_sr
from .tables import centrelines_csv

__all__ = ["FILES", "read_measurements", "write_index", "write_report"]

FILES = ("centrelines.csv", "tree.graphml", "measurements.dcm", "report.html", "measurements.json")


def write_report(folder: Path, analysis: Analysis, source: Path | None = None) -> list[Path]:
    """Write all files of one input.

    Args:
        folder: of this input; made.
        analysis: what was measured.
        source: the file that was measured, whose study the DICOM object belongs to.

    Returns:
        the files, ``measurements.dcm`` among them only where there is one.

    Raises:
        DataError: when one cannot be written.
    """
    written = [
        _text(folder / "centrelines.csv", centrelines_csv(analysis)),
        _text(folder / "tree.graphml", analysis.tree.to_graphml()),
    ]
    place = folder / "measurements.dcm"
    words = _object(place, analysis, source)
    if place.exists():
        written.append(place)
    written.append(_text(folder / "report.html", report_page(analysis, words, now())))
    content = json.dumps(analysis.as_dict(), ensure_ascii=False, allow_nan=False)
    written.append(_text(folder / "measurements.json", content))
    return written


def _object(place: Path, analysis: Analysis, source: Path | None) -> str:
    """Write the DICOM object if there can be one, and say what became of it."""
    if source is None or analysis.source.format != "dicom":
        place.unlink(missing_ok=True)  # of a run before this one
        return "Not written: the input is no DICOM file, so that there is no study for it, and none is made up."
    template = (
        "Quantitative Arterial Analysis (TID 3213), in millimetres"
        if analysis.calibrated
        else "Measurement Report (TID 1500), in pixels for lack of a scale"
    )
    failure: list[CASRError] = []

    def write(path: Path) -> None:
        try:
            write_sr(path, analysis, source)
        except CASRError as error:
            failure.append(error)
            raise

    try:
        write_atomically(place, write)
    except DataError as error:
        if not failure:
            raise
        place.unlink(missing_ok=True)
        return f"Not written: {_without(error, source)}"
    return f"measurements.dcm: {template}. It holds patient and study of the source, as the standard demands."


def _without(error: Exception, path: Path) -> str:
    """The message without the path in front."""
    return str(error).replace(f"{path}: ", "")


def read_measurements(folder: Path) -> dict[str, Any] | None:
    """What an earlier run has measured; None where there is nothing, or nothing whole.

    Raises:
        DataError: when it cannot be opened, or is none of ours.
    """
    path = folder / "measurements.json"
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: exists already and is damaged; --overwrite replaces it.") from error
    if not isinstance(content, dict) or content.get("format") != FORM or content.get("version") != VERSION:
        raise DataError(f"{path}: exists already and is not of this version; --overwrite replaces it.")
    return content


def write_index(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write ``index.html``.

    Raises:
        DataError: when it cannot be written.
    """
    return _text(folder / "index.html", index_page(rows, now()))


def now() -> str:
    """For the foot of a page."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _text(path: Path, content: str) -> Path:
    data = as_text(content).encode("utf-8")
    write: Callable[[Path], object] = lambda place: place.write_bytes(data)  # noqa: E731
    return write_atomically(path, write)
