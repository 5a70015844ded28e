"""The vessels' area in each frame as a table for a spreadsheet, from the record of the runs."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files.atomic import set_aside, write_atomically

__all__ = ["AREAS", "COLUMNS", "area_rows", "write_areas"]

logger = logging.getLogger("casr_net")

AREAS = "areas.csv"
LINE = 1000  # characters of a file's first line that are looked at
COLUMNS = ("input", "name", "frame", "rows", "columns", "area_pixels", "area_share", "promised_dice", "run")
"""Frames count from 0; the area is in pixels of the mask, since few files state what a pixel measures in the patient;
the share is that of the image; the promised Dice is ``quality`` of ``run.json``."""


def area_rows(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a frame that any of the runs of a folder has segmented, the last run counts; by name and frame.

    Args:
        runs: of ``run.json``, oldest first.
    """
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for run in runs:
        for file in run.get("files", ()):
            pixels = file.get("rows", 0) * file.get("columns", 0)
            for frame, area in file.get("area", {}).items():
                values = (
                    file["path"], file["name"], int(frame), file.get("rows"), file.get("columns"), area,
                    round(area / pixels, 6) if pixels else None, file.get("quality", {}).get(frame), run.get("number"),
                )  # fmt: skip
                rows[file["name"], int(frame)] = dict(zip(COLUMNS, values, strict=True))
    return [rows[key] for key in sorted(rows)]


def write_areas(folder: Path, runs: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``areas.csv`` into an output folder. A file of that name that is no such table is kept as
    ``areas_old1.csv``, and a line says so.

    Raises:
        DataError: when it cannot be written.
    """
    path = folder / AREAS
    if not _is_ours(path):
        logger.warning("%s: is no table of this program; it is kept as %s.", path, set_aside(path).name)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(area_rows(runs))
    data = text.getvalue().encode("utf-8", "backslashreplace")
    return write_atomically(path, lambda temporary: temporary.write_bytes(data))


def _is_ours(path: Path) -> bool:
    """Whether there is nothing to lose: no file, an empty one, or a table that begins with these columns. Spreadsheets
    may have written it anew, with a byte order mark and semicolons."""
    try:
        with open(path, "rb") as file:
            begin = file.readline(LINE).decode("utf-8-sig", "replace").replace(";", ",")
    except FileNotFoundError:
        return True
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}.") from error
    return not begin or begin.startswith(",".join(COLUMNS[:3]))
