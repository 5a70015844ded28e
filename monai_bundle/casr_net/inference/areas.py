"""The vessels' area in each frame as a table for a spreadsheet, from the record of the runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files.atomic import write_atomically

__all__ = ["AREAS", "COLUMNS", "area_rows", "write_areas"]

AREAS = "areas.csv"
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
    """Write ``areas.csv`` into an output folder.

    Raises:
        DataError: when it cannot be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(area_rows(runs))
    data = text.getvalue().encode("utf-8", "backslashreplace")
    return write_atomically(folder / AREAS, lambda path: path.write_bytes(data))
