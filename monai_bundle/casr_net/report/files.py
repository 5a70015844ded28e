"""The files of a report, each written whole; ``measurements.json`` last, so that it stands for all of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files.atomic import set_aside, write_atomically
from ..files.dicom import save_dicom
from ..files.dicom_derived import quiet
from ..files.names import as_text
from .measurements import FORM, VERSION, Analysis
from .page import index_page, index_row, report_page
from .sr import make_sr
from .tables import centrelines_csv

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["FILES", "INDEX", "earlier_rows", "is_whole", "read_measurements", "write_index", "write_report"]

logger = logging.getLogger("casr_net")

INDEX = "index.html"
TITLE = b"<title>Vessel measurements"
BEGIN = 2**14  # bytes of a page that are looked at for its title

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
    # All is made before anything is written: what cannot be made leaves no half of a report behind.
    made, words = _object(analysis, source)
    texts = {
        "centrelines.csv": centrelines_csv(analysis),
        "tree.graphml": analysis.tree.to_graphml(),
        "report.html": report_page(analysis, words, now()),
        "measurements.json": json.dumps(analysis.as_dict(), ensure_ascii=False, allow_nan=False),
    }
    written: list[Path] = []
    place = folder / "measurements.dcm"
    if made is None:
        place.unlink(missing_ok=True)  # of a run before this one
    else:
        with quiet():  # pydicom's warnings hold values of the source, such as names
            written.append(write_atomically(place, lambda path: save_dicom(path, made)))
    return [*written, *(_text(folder / name, content) for name, content in texts.items())]


def _object(analysis: Analysis, source: Path | None) -> tuple[Dataset | None, str]:
    """The DICOM object if there can be one, and what became of it."""
    if source is None or analysis.source.format != "dicom":
        return None, "Not written: the input is no DICOM file, so that there is no study for it, and none is made up."
    try:
        made = make_sr(analysis, source)
    except DataError as error:
        return None, f"Not written: {_without(error, source)}"
    template = (
        "Quantitative Arterial Analysis (TID 3213), in millimetres"
        if analysis.calibrated
        else "Measurement Report (TID 1500), in pixels for lack of a scale"
    )
    return made, f"measurements.dcm: {template}. It holds patient and study of the source, as the standard demands."


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


def is_whole(folder: Path) -> bool:
    """Whether all files of a report are there, and none is empty; ``measurements.dcm`` is not in all reports."""
    places = [folder / name for name in FILES if name != "measurements.dcm"]
    return all(place.is_file() and place.stat().st_size for place in places)


def earlier_rows(output: Path, names: Collection[str], keep_identity: bool) -> list[dict[str, Any]]:
    """Rows of the index for reports of earlier runs in the same folder, by their names.

    Args:
        output: the folder.
        names: of the reports of this run.
        keep_identity: list those too that were made so: their names may be those of patients.
    """
    rows = []
    for place in sorted(output.rglob("measurements.json")):
        name = place.parent.relative_to(output).as_posix()
        if name in names or place.parent == output:
            continue
        try:
            content = read_measurements(place.parent)
            if content is not None and (keep_identity or not content["input"]["identity"]):
                rows.append(index_row(content, f"{name}/report.html"))
        except (DataError, KeyError, TypeError, IndexError):  # not of this version, or no report at all
            continue
    return rows


def write_index(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write ``index.html``. A page of that name that is not ours is kept as ``index_old1.html``, and a line says so.

    Raises:
        DataError: when it cannot be written.
    """
    path = folder / INDEX
    try:
        with open(path, "rb") as file:
            ours = TITLE in file.read(BEGIN)
    except FileNotFoundError:
        ours = True
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}.") from error
    if not ours:
        logger.warning("%s is no index of this program; it is kept as %s.", INDEX, set_aside(path).name)
    return _text(path, index_page(rows, now()))


def now() -> str:
    """For the foot of a page."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _text(path: Path, content: str) -> Path:
    data = as_text(content).encode("utf-8")
    write: Callable[[Path], object] = lambda place: place.write_bytes(data)  # noqa: E731
    return write_atomically(path, write)
