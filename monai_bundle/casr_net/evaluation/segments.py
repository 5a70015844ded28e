"""How much of the centre lines of labelled segments a mask covers, where labels are incomplete (ARCADE)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.morphology import skeletonize

from ..errors import DataError
from ..training import split_rows
from .heldout import MASKS, Segment, recall_by_width
from .usage import append_line, read_lines

__all__ = ["evaluate_segments", "segment_recall", "summarise_segments"]


def segment_recall(mask: np.ndarray, segments: np.ndarray) -> dict[str, list[int]]:
    """Centre-line pixels covered, and all of them, of the union of the segments ("all") and of each segment.

    Args:
        mask: (rows, columns), vessel where not 0.
        segments: of the same shape, number of the segment, 0 for none. The centre line is the skeleton of their union,
            so that a segment does not end in a spur where its neighbour goes on.
    """
    line = skeletonize(segments != 0)
    covered = line & (np.asarray(mask) != 0)
    table = {"all": [int(covered.sum()), int(line.sum())]}
    for number in np.unique(segments[line]):
        own = segments == number
        table[str(int(number))] = [int((covered & own).sum()), int((line & own).sum())]
    return table


def evaluate_segments(
    folder: Path, segment: Segment, path: Path, pace: Callable[[], None], split: str = "val", limit: int | None = None
) -> list[dict[str, Any]]:
    """Recall of the labelled segments' centre lines in one published split; goes on where it was stopped.

    Precision has no meaning there: what is outside the labels may be vessel too.

    Args:
        folder: of the set: ``cases.csv``, ``images``, ``segments`` (PNG of segment numbers).
        segment, path, pace: as of :func:`casr_net.evaluation.evaluate_cases`.
        split: its name.
        limit: only so many images, evenly spread.

    Returns:
        one dictionary an image: name, "refined" and "threshold" (:func:`segment_recall`), recall by width (refined).

    Raises:
        DataError: when the list or a file cannot be read.
    """
    rows = {row["name"]: row for row in read_lines(path)}
    names = [row["file"] for row in split_rows(folder, split) if row["labelled"] != "no"]
    if limit is not None and limit < len(names):
        names = [names[i * len(names) // limit] for i in range(limit)]
    for name in names:
        if name in rows:
            continue
        pace()
        labels = folder / "segments" / f"{Path(name).stem}.png"
        segments: Any = cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
        if segments is None or segments.ndim != 2:
            raise DataError(f"{labels}: cannot be read as an image of one channel; segments of {name}.")
        found = segment(str(folder / "images" / name))
        if found.mask.shape != segments.shape:
            raise DataError(f"{labels}: is {segments.shape}, the image is {found.mask.shape}; both must be the same.")
        masks = zip(MASKS, (found.mask, found.probability >= 0.5), strict=True)
        row = {"name": name} | {kind: segment_recall(mask, segments) for kind, mask in masks}
        row["recall_by_width"] = recall_by_width(found.mask, segments != 0)
        append_line(path, row)
        rows[name] = row
    return [rows[name] for name in names]


def summarise_segments(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Recall of the centre line, of each kind of mask: mean of the images and pooled; of the refined masks also by
    segment and by width, pooled.

    Args:
        rows: of :func:`evaluate_segments`; at least one with a centre line.
    """
    result: dict[str, Any] = {"images": len(rows)}
    for kind in MASKS:
        shares = [covered / total for covered, total in (row[kind]["all"] for row in rows) if total]
        result[kind] = {"mean": round(statistics.fmean(shares), 5), "pooled": _pooled(rows, kind, "all")["recall"]}
    numbers = sorted({name for row in rows for name in row["refined"] if name != "all"}, key=int)
    result["by_segment"] = {name: _pooled(rows, "refined", name) for name in numbers}
    widths = list(rows[0]["recall_by_width"])
    result["by_width"] = {name: _pooled(rows, "recall_by_width", name) for name in widths}
    return result


def _pooled(rows: Sequence[Mapping[str, Any]], kind: str, name: str) -> dict[str, Any]:
    covered, total = (sum(row[kind].get(name, (0, 0))[i] for row in rows) for i in (0, 1))
    return {"pixels": total, "recall": round(covered / total, 5) if total else None}
