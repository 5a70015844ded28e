"""Measurements as a table of numbers: one row a sample of a centre line."""

from __future__ import annotations

import csv
import io

from .measurements import Analysis

__all__ = ["COLUMNS", "centrelines_csv"]

COLUMNS = (
    "path", "sample", "x_px", "y_px", "along_px", "along_mm", "diameter_px", "diameter_mm", "left_x_px", "left_y_px",
    "right_x_px", "right_y_px", "area_px2", "method", "unsure", "narrowing",
)  # fmt: skip


def centrelines_csv(analysis: Analysis) -> str:
    """RFC 4180, with a head; empty cells where a value is not known. ``narrowing`` is the rank of the lesion that the
    sample lies in."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for path in analysis.as_dict()["paths"]:
        for at, point in enumerate(path["points"]):
            within = [str(lesion["rank"]) for lesion in path["lesions"] if lesion["begin"] <= at <= lesion["end"]]
            writer.writerow(
                [
                    path["number"], at, *point, path["along_px"][at], _of(path["along_mm"], at),
                    path["diameter_px"][at], _of(path["diameter_mm"], at), *path["left"][at], *path["right"][at],
                    path["area_px2"][at], path["method"][at], " ".join(path["unsure"][at]), " ".join(within),
                ]
            )  # fmt: skip
    return stream.getvalue()


def _of(values: list[float | None] | None, at: int) -> float | None:
    return None if values is None else values[at]
