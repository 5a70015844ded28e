"""Comparison of masks with references: files are paired by name, measured one by one and summed up."""

from __future__ import annotations

import functools
import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, UsageError
from ..files.kinds import is_image
from ..files.masks import read_mask
from ..files.names import is_hidden, plain_stem, suffix
from .metrics import Counts, count_pixels, image_metrics, pooled_metrics

__all__ = ["evaluate_folders", "format_report"]

PROTOCOL = (
    "All pixels of the files as they are. Mean and median: of per-image values; pooled: from the pixels of all images. "
    "HD95 in pixels. Both masks empty: ratios 1, HD95 0; one empty: ratios 0, HD95 the image's diagonal."
)
SINGLE = (".png", ".jpg", ".jpeg", ".bmp")  # formats of one frame, known without reading
WORST = 5

Key = tuple[str, int | None]


class _Frame(NamedTuple):
    path: Path
    position: int  # in the file, from 0


def evaluate_folders(predictions: str | Path, references: str | Path) -> dict[str, Any]:
    """Compare predicted masks with references.

    Files of two folders pair by their path below the folder, without ending and without ``_mask``. A number as in
    ``x_f0007_mask.png``, which ``casr segment`` gives the frames of a cine, pairs with the same number, or with that
    frame (from 0) of a stack ``x.nrrd``. Every file must find its pair. A single prediction is looked up in a folder of
    references, whose other files are then left alone; two files with one frame each pair whatever their names.

    Args:
        predictions: mask or folder of masks; ``*_overlay.*`` and ``*_probability.*`` of a folder are passed over.
        references: mask or folder of masks.

    Returns:
        a dictionary that JSON can hold: images (a dictionary an image: name and the values of
        :func:`casr_net.evaluation.image_metrics`), mean, median (by metric), worst (the five of lowest Dice: name,
        dice), pooled (of :func:`casr_net.evaluation.pooled_metrics`), count and protocol.

    Raises:
        UsageError: when a path does not exist or a folder holds no masks.
        DataError: when a file cannot be read as a mask, has no pair, or differs in size from its pair.
    """
    predictions, references = Path(predictions), Path(references)
    # Frames of a file follow each other: keeping the last file of either side saves reading stacks again.
    read = functools.lru_cache(maxsize=2)(read_mask)
    rows: list[dict[str, Any]] = []
    counts: list[Counts] = []
    for key, prediction, reference in _pairs(predictions, references):
        mask, truth = (read(frame.path)[..., frame.position] for frame in (prediction, reference))
        if mask.shape != truth.shape:
            (a, b), (c, d) = mask.shape, truth.shape
            raise DataError(
                f"{prediction.path}: {a} x {b} pixels, but its reference {reference.path} has {c} x {d}; "
                "sizes must be the same."
            )
        counts.append(count_pixels(mask, truth))
        rows.append({"name": _label(key), **image_metrics(mask, truth, counts[-1])})
    names = [name for name in rows[0] if name != "name"]
    worst = sorted(rows, key=lambda row: (row["dice"], row["name"]))[:WORST]
    return {
        "count": len(rows),
        "mean": {name: statistics.fmean(row[name] for row in rows) for name in names},
        "median": {name: statistics.median(row[name] for row in rows) for name in names},
        "pooled": pooled_metrics(counts),
        "worst": [{"name": row["name"], "dice": row["dice"]} for row in worst],
        "images": rows,
        "protocol": PROTOCOL,
    }


def format_report(report: dict[str, Any]) -> str:
    """Readable text of :func:`evaluate_folders`'s report: a table of metrics, the worst images and the protocol."""
    lines = [f"{report['count']} images", "", f"{'':<26}{'mean':>10}{'median':>10}{'pooled':>10}"]
    for name, mean in report["mean"].items():
        pooled = report["pooled"].get(name)
        digits = 2 if name == "hd95" or "components" in name or "betti" in name else 4
        last = "-" if pooled is None else f"{pooled:.{digits}f}"
        lines.append(f"{name:<26}{mean:>10.{digits}f}{report['median'][name]:>10.{digits}f}{last:>10}")
    lines += ["", "worst by Dice:", *(f"  {row['dice']:.4f}  {row['name']}" for row in report["worst"])]
    return "\n".join([*lines, "", report["protocol"]])


def _pairs(predictions: Path, references: Path) -> list[tuple[Key, _Frame, _Frame]]:
    found, expected = _frames(predictions, is_prediction=True), _frames(references)
    if not predictions.is_dir() and not references.is_dir() and len(found) == len(expected) == 1:
        (key, frame), truth = next(iter(found.items())), next(iter(expected.values()))
        return [(key, frame, truth)]
    if not predictions.is_dir():
        name, stack = next(iter(found))[0], len(found) > 1
        if not references.is_dir():  # names given by hand need not agree, frames must
            expected = {(name, number): frame for (_, number), frame in expected.items()}
        expected = {key: frame for key, frame in expected.items() if key in found or (stack and key[0] == name)}
    for kind, here, there, folder in (
        ("reference", found, expected, references), ("prediction", expected, found, predictions)
    ):  # fmt: skip
        for key, frame in here.items():
            if key not in there:
                raise DataError(f"{frame.path}: no {kind} named {_label(key)} or {_label(key)}_mask in {folder}.")
    return [(key, frame, expected[key]) for key, frame in found.items()]


def _frames(source: Path, is_prediction: bool = False) -> dict[Key, _Frame]:
    """Frames of a file, or of all masks of a folder, by name and number; the number is None for plain single images."""
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.is_file())
        paths = [path for path in files if not is_hidden(path, source) and is_image(path)]
        if is_prediction:
            paths = [path for path in paths if not plain_stem(path).endswith(("_overlay", "_probability"))]
    elif source.exists():
        paths = [source]
    else:
        raise UsageError(f"{source}: no such file or folder.")
    if not paths:
        raise UsageError(f"{source}: the folder holds no masks.")
    frames: dict[Key, _Frame] = {}
    for path in paths:
        stem = plain_stem(path).removesuffix("_mask")
        name = (path.relative_to(source).parent / stem).as_posix() if source.is_dir() else stem
        count = 1 if suffix(path) in SINGLE else read_mask(path).shape[-1]
        numbered = re.fullmatch(r"(.+)_f(\d{4,})", name)
        for index in range(count):
            if count > 1:
                key: Key = (name, index)
            else:
                key = (numbered[1], int(numbered[2])) if numbered else (name, None)
            if key in frames:
                raise DataError(f"{path}: has the same name {_label(key)} as {frames[key].path}.")
            frames[key] = _Frame(path, index)
    return frames


def _label(key: Key) -> str:
    name, number = key
    return name if number is None else f"{name}_f{number:04d}"
