"""Comparison of masks with references: files are paired by name, measured one by one and summed up."""

from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path
from typing import Any

from ..files.masks import MaskFile, open_mask
from .metrics import Counts, count_pixels, image_metrics, pooled_metrics
from .pairing import label, pair_frames
from .space import Alignment, align

__all__ = ["evaluate_folders", "format_report", "image_table"]

PROTOCOL = (
    "All pixels of the files as they are, on the reference's grid where both files state their place. Mean and median: "
    "of per-image values; pooled: from the pixels of all images. HD95 in pixels. Both masks empty: ratios 1, HD95 0; "
    "one empty: ratios 0, HD95 the image's diagonal."
)
WORST = 5
NOTES = 20


def evaluate_folders(predictions: str | Path, references: str | Path, subset: bool = False) -> dict[str, Any]:
    """Compare predicted masks with references.

    Files of two folders pair by their path below the folder, without ending and without ``_mask``. A number as in
    ``x_f0007_mask.png``, which ``casr segment`` gives the frames of a cine, pairs with the same number, or with that
    frame (from 0) of a stack ``x.nrrd``. A DICOM Segmentation says itself which frames of its image it holds; frames of
    the other side that it does not hold are left out and counted. Else every frame must find its pair. A single
    prediction is looked up in a folder of references, whose other files are then left alone; two files with one frame
    each pair whatever their names. Where both files of a pair state their place, they are compared in space, see
    :func:`casr_net.evaluation.align`.

    Args:
        predictions: mask or folder of masks; ``*_overlay.*`` and ``*_probability.*`` of a folder are passed over.
        references: mask or folder of masks.
        subset: score what has a partner, and count what has none.

    Returns:
        a dictionary that JSON can hold: images (a dictionary an image: name and the values of
        :func:`casr_net.evaluation.image_metrics`), mean, median (by metric), worst (the five of lowest Dice: name,
        dice), pooled (of :func:`casr_net.evaluation.pooled_metrics`), count, unpaired (predictions and references: the
        names of frames without partner), warnings (a line each) and protocol.

    Raises:
        DataError: when a path does not exist, a folder holds no masks, a file cannot be read as a mask, has no pair,
            lies in another place than its pair, or, where one of them states no place, differs in size.
    """
    matched = pair_frames(Path(predictions), Path(references), subset)
    rows: list[dict[str, Any]] = []
    counts: list[Counts] = []
    warnings: dict[str, None] = {}
    files = _Open()
    try:
        for key, prediction, reference in matched.pairs:
            alignment = files.pair(prediction.path, reference.path, warnings)
            mask = alignment.bring(files.files[0].frame(prediction.position), alignment.prediction)
            truth = alignment.bring(files.files[1].frame(reference.position), alignment.reference)
            counts.append(count_pixels(mask, truth))
            rows.append({"name": label(key), **image_metrics(mask, truth, counts[-1])})
    finally:
        files.close()
    names = [name for name in rows[0] if name != "name"]
    worst = sorted(rows, key=lambda row: (row["dice"], row["name"]))[:WORST]
    return {
        "count": len(rows),
        "mean": {name: statistics.fmean(row[name] for row in rows) for name in names},
        "median": {name: statistics.median(row[name] for row in rows) for name in names},
        "pooled": pooled_metrics(counts),
        "worst": [{"name": row["name"], "dice": row["dice"]} for row in worst],
        "images": rows,
        "unpaired": {
            "predictions": [label(key) for key in matched.predictions],
            "references": [label(key) for key in matched.references],
        },
        "warnings": list(warnings),
        "protocol": PROTOCOL,
    }


class _Open:
    """The two files whose frames are compared now; frames of a file follow each other."""

    def __init__(self) -> None:
        self.files: list[MaskFile] = []
        self._alignment: Alignment | None = None

    def pair(self, prediction: Path, reference: Path, warnings: dict[str, None]) -> Alignment:
        """Open two files, unless they are open, and bring them together; what is to be said goes to ``warnings``."""
        if self._alignment is None or [file.path for file in self.files] != [prediction, reference]:
            # One file on both sides is opened twice.
            kept = {file.path: file for file in self.files if self.files[0].path != self.files[1].path}
            if not kept:
                self.close()
            opened = [kept.pop(path) if path in kept else open_mask(path) for path in (prediction, reference)]
            for file in kept.values():
                file.close()
            self.files = opened
            self._alignment = align(*opened)
            for file in opened:
                warnings.update(dict.fromkeys(f"{file.path}: {line}" for line in file.warnings))
            warnings.update(dict.fromkeys([*self._alignment.warnings, *_other_image(*opened)]))
        return self._alignment

    def close(self) -> None:
        for file in self.files:
            file.close()


def _other_image(prediction: MaskFile, reference: MaskFile) -> list[str]:
    if prediction.sources and reference.sources and not set(prediction.sources) & set(reference.sources):
        return [f"{prediction.path}: a segmentation of another image than its reference {reference.path}"]
    return []


def format_report(report: dict[str, Any]) -> str:
    """Readable text of :func:`evaluate_folders`'s report: a table of metrics, the worst images and the protocol."""
    lines = [f"{report['count']} images", "", f"{'':<26}{'mean':>10}{'median':>10}{'pooled':>10}"]
    for name, mean in report["mean"].items():
        pooled = report["pooled"].get(name)
        digits = 2 if name == "hd95" or "components" in name or "betti" in name else 4
        last = "-" if pooled is None else f"{pooled:.{digits}f}"
        lines.append(f"{name:<26}{mean:>10.{digits}f}{report['median'][name]:>10.{digits}f}{last:>10}")
    lines += ["", "worst by Dice:", *(f"  {row['dice']:.4f}  {row['name']}" for row in report["worst"])]
    alone = report["unpaired"]
    if alone["predictions"] or alone["references"]:
        lines += ["", f"left out: {_frames(len(alone['predictions']), 'prediction')} without a reference, "
                  f"{_frames(len(alone['references']), 'reference')} without a prediction"]  # fmt: skip
    if report["warnings"]:
        lines += ["", *(f"note: {line}" for line in report["warnings"][:NOTES])]
        more = len(report["warnings"]) - NOTES
        lines += [f"note: and {more} more"] if more > 0 else []
    return "\n".join([*lines, "", report["protocol"]])


def image_table(report: dict[str, Any]) -> str:
    """CSV of :func:`evaluate_folders`'s report: a line of names, then one an image."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(report["images"][0]), lineterminator="\n")
    table.writeheader()
    table.writerows(report["images"])
    return text.getvalue()


def _frames(count: int, kind: str) -> str:
    return f"{count} {kind}" if count == 1 else f"{count} {kind}s"
