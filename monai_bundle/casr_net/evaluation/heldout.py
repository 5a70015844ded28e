"""Evaluation on images that a network has not seen, by the bundle's own inference and at their native size."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage.morphology import skeletonize

from ..files import read_mask
from ..synthetic import make_negative
from .metrics import Counts, count_pixels, image_metrics, pooled_metrics
from .stenoses import crosses, load_stenoses
from .usage import append_line, read_lines

__all__ = ["evaluate_cases", "evaluate_negatives", "evaluate_stenoses", "recall_by_width", "summarise"]

MASKS = ("refined", "threshold")  # after stage 3, and the probability's threshold alone
NEGATIVE_SEED = 2**31  # from here on: those of trainings (casr_net.training.load_negatives) are below
WIDTHS = (4.0, 7.0, 10.0)  # pixels
Segment = Callable[[Any], Any]


def evaluate_cases(
    cases: Sequence[Mapping[str, Any]], segment: Segment, path: Path, pace: Callable[[], None]
) -> list[dict[str, Any]]:
    """Segment cases and compare them with their masks; each result is kept, so that a stopped evaluation goes on.

    Args:
        cases: as from :func:`casr_net.training.load_cases`.
        segment: gives ``mask`` and ``probability``, (rows, columns), of a path (a ``casr_net.Segmenter``).
        path: JSON lines, one a case.
        pace: called before each case.

    Returns:
        one dictionary a case: name, dataset, "refined" and "threshold" (:func:`image_metrics`, and the pixel counts in
        the order of :class:`Counts`), and recall by width.
    """
    rows = {row["name"]: row for row in read_lines(path)}
    for case in cases:
        if case["name"] in rows:
            continue
        pace()
        found, truth = segment(case["image"]), read_mask(case["label"])[..., 0].T
        row: dict[str, Any] = {"name": case["name"], "dataset": case["dataset"]}
        for kind, mask in zip(MASKS, (found.mask, found.probability >= 0.5), strict=True):
            counts = count_pixels(mask, truth)
            values = image_metrics(mask, truth, counts)
            row[kind] = {key: round(value, 5) for key, value in values.items()} | {"counts": list(astuple(counts))}
        row["recall_by_width"] = recall_by_width(found.mask, truth)
        append_line(path, row)
        rows[row["name"]] = row
    return [rows[case["name"]] for case in cases]


def evaluate_negatives(count: int, segment: Segment, path: Path, pace: Callable[[], None]) -> dict[str, Any]:
    """False vessels on synthetic angiograms with catheters, wires and bones, and without contrast.

    Args:
        count: number of images, 512 x 512; always the same ones.
        segment: of an array (rows, columns), else as of :func:`evaluate_cases`.
        path, pace: as of :func:`evaluate_cases`.

    Returns:
        count; for "refined" and "threshold" the mean number of false pixels an image and the share of images with any;
        and the images: seed, objects in the field, pixels.
    """
    rows = {row["seed"]: row for row in read_lines(path)}
    seeds = range(NEGATIVE_SEED, NEGATIVE_SEED + count)
    for seed in seeds:
        if seed in rows:
            continue
        pace()
        made = make_negative(seed)
        found = segment(made.image)
        masks = zip(MASKS, (found.mask, found.probability >= 0.5), strict=True)
        row = {"seed": seed, "objects": made.truth["objects"]} | {kind: int(mask.sum()) for kind, mask in masks}
        append_line(path, row)
        rows[seed] = row
    images = [rows[seed] for seed in seeds]
    return {
        "count": count,
        "false_pixels": {kind: round(statistics.fmean(row[kind] for row in images), 2) for kind in MASKS},
        "images_with_vessel": {kind: round(statistics.fmean(row[kind] > 0 for row in images), 5) for kind in MASKS},
        "images": images,
    }


def evaluate_stenoses(folder: Path, segment: Segment, path: Path, pace: Callable[[], None]) -> list[dict[str, Any]]:
    """Crossing of every stenosis of the validation split of a set such as ARCADE.

    Args:
        folder: of the set, with ``stenoses.csv`` and ``images``.
        segment, path, pace: as of :func:`evaluate_cases`.

    Returns:
        one dictionary an image: name, and for "refined" and "threshold" 1 or 0 a stenosis.
    """
    rows = {row["name"]: row for row in read_lines(path)}
    stenoses = {name: found for name, found in load_stenoses(folder).items() if "_val_" in name}
    for name, polygons in stenoses.items():
        if name in rows:
            continue
        pace()
        found = segment(str(folder / "images" / name))
        masks = zip(MASKS, (found.mask, found.probability >= 0.5), strict=True)
        row = {"name": name} | {kind: [int(crosses(mask, polygon)) for polygon in polygons] for kind, mask in masks}
        append_line(path, row)
        rows[name] = row
    return [rows[name] for name in stenoses]


def recall_by_width(mask: np.ndarray, truth: np.ndarray, limits: Sequence[float] = WIDTHS) -> dict[str, list[int]]:
    """How much of the reference's centre line a mask covers, by the vessel's width there.

    Args:
        mask, truth: (rows, columns), vessel where not 0.
        limits: of the classes of width, in pixels. The width is twice the distance of the centre line to the nearest
            pixel outside the vessel, less one.

    Returns:
        by class ("0-4", "4-7", ..., "10-"): pixels of the centre line covered, and all of them.
    """
    truth = np.asarray(truth) != 0
    line = skeletonize(truth)
    # A border of background: a vessel that leaves the image is not wider for it.
    distance = cv2.distanceTransform(np.pad(truth.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    widths, covered = 2 * distance[line] - 1, (np.asarray(mask) != 0)[line]
    edges = [0.0, *limits, float("inf")]
    table = {}
    for low, high in itertools.pairwise(edges):
        own = (widths >= low) & (widths < high)
        name = f"{low:g}-" if high == float("inf") else f"{low:g}-{high:g}"
        table[name] = [int(covered[own].sum()), int(own.sum())]
    return table


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the images and figures pooled over all pixels, of each data set and of all together.

    Args:
        rows: of :func:`evaluate_cases`; at least one.

    Returns:
        by data set, and "together": images, "refined" and "threshold" (each with mean and pooled), recall by width.
    """
    tables: dict[str, Any] = {}
    for dataset in (*dict.fromkeys(row["dataset"] for row in rows), "together"):
        own = [row for row in rows if dataset in (row["dataset"], "together")]
        table: dict[str, Any] = {"images": len(own)}
        for kind in MASKS:
            names = [name for name in own[0][kind] if name != "counts"]
            pooled = pooled_metrics([Counts(*row[kind]["counts"]) for row in own])
            table[kind] = {
                "mean": {name: round(statistics.fmean(row[kind][name] for row in own), 5) for name in names},
                "pooled": {name: round(value, 5) for name, value in pooled.items()},
            }
        table["recall_by_width"] = {}
        for name in own[0]["recall_by_width"]:
            covered, total = (sum(row["recall_by_width"][name][i] for row in own) for i in (0, 1))
            table["recall_by_width"][name] = {"pixels": total, "recall": round(covered / total, 5) if total else None}
        tables[dataset] = table
    return tables
