"""Whether a mask stays whole where a vessel is narrow: the crossing rate at marked stenoses."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import DataError

__all__ = ["crosses", "load_stenoses"]

MARGIN = 8


def load_stenoses(folder: str | Path) -> dict[str, list[np.ndarray]]:
    """Polygons of a set such as ARCADE by file name, from its ``stenoses.csv`` (file, polygon as "x,y x,y ...").

    Returns:
        float (points, 2) arrays of x (column) and y (row), in pixels.

    Raises:
        DataError: when the list cannot be read.
    """
    table = Path(folder) / "stenoses.csv"
    found: dict[str, list[np.ndarray]] = {}
    try:
        with open(table, newline="", encoding="utf-8") as stream:
            for line, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    points = np.array([[float(v) for v in pair.split(",")] for pair in row["polygon"].split()])
                    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
                        raise ValueError(f"{len(points)} points; at least 3 are needed")
                except (KeyError, ValueError) as error:
                    raise DataError(f"{table}, line {line}: not a polygon ({error}).") from error
                found.setdefault(row["file"], []).append(points)
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror}).") from error
    return found


def crosses(mask: np.ndarray, polygon: np.ndarray, margin: int = MARGIN) -> bool:
    """Whether one 8-connected component of a mask joins both ends of a marked stenosis.

    Only the mask inside the polygon, dilated by a margin, counts. Its ends are the outer quarters along the long axis,
    the first principal component of the dilated polygon's pixels.

    Args:
        mask: (rows, columns), vessel where not 0.
        polygon: (points, 2) of x (column) and y (row), in pixels.
        margin: of the dilation by a disc, in pixels; outlines of stenoses are drawn tight.
    """
    region: Any = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(region, [np.round(polygon).astype(np.int32)], 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    region = cv2.dilate(region, disc)
    rows, columns = np.nonzero(region)
    places = np.stack([columns, rows], axis=1).astype(float)
    centred = places - places.mean(axis=0)
    along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
    share = (along - along.min()) / (along.max() - along.min())
    _, labels = cv2.connectedComponents(((mask != 0) & (region > 0)).astype(np.uint8), connectivity=8)
    here = labels[rows, columns]
    both = set(here[share < 0.25]) & set(here[share > 0.75]) - {0}
    return bool(both)
