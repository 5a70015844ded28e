"""Analyses for tests, made by hand of a synthetic angiogram: their widths are the mask's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from casr_net.report.measurements import Analysis, FrameChoice, MeasuredPath, Source
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.vessels.measures import BRANCH, METHODS, Interval, Lesion, Widths
from casr_net.vessels.scale import Scale
from casr_net.vessels.tree import vessel_tree

CURVE = {
    "format": "casr-net contrast curve", "version": 1, "count": 8, "columns": 192, "rows": 192,
    "frames": list(range(8)), "length": [0, 20, 300, 700, 800, 780, 600, 200],
    "contrast": [None, 0.05, 0.2, 0.32, 0.35, 0.34, 0.3, 0.2], "phases": ["before"] * 2 + ["during"] * 5 + ["after"],
}  # fmt: skip


def scale_of(millimetres: float | None, kind: str = "user") -> Scale:
    known = millimetres is not None
    return Scale(
        millimetres, millimetres, False, "Pixel size as stated by the user." if known else "No calibration is stated.",
        kind=kind if known else "none",
    )  # fmt: skip


def widths_of(path: Any) -> Widths:
    """The widths that a path's radii give."""
    step = np.gradient(path.points, axis=0)
    normals = np.stack([step[:, 1], -step[:, 0]], axis=1) / np.maximum(np.hypot(*step.T), 1e-9)[:, None]
    half = path.radii[:, None]
    count = len(path.points)
    unsure = np.zeros(count, np.uint8)
    unsure[-12:] = BRANCH
    return Widths(
        path.points, path.along, normals, 2 * path.radii, path.points + half * normals, path.points - half * normals,
        np.where(np.arange(count) < count - 20, METHODS.index("edges"), METHODS.index("mask")).astype(np.uint8),
        np.pi * path.radii**2, unsure,
    )  # fmt: skip


def lesion_of(widths: Widths, at: float, rank: int, **more: Any) -> Lesion:
    """A lesion at a share of the length."""
    index = int(at * (len(widths.diameter) - 1))
    begin, end = max(index - 12, 0), min(index + 14, len(widths.diameter) - 1)
    mld = 0.5 * float(widths.diameter[index])
    reference = float(widths.diameter[index])
    x, y = widths.points[index]
    return Lesion(
        index, begin, end, (float(x), float(y)), mld, reference, "interpolated", 50.0, 75.0, 70.0,
        float(widths.along[end] - widths.along[begin]), rank=rank, mld_interval=Interval(0.8 * mld, 1.3 * mld),
        percent_interval=Interval(38.0, 58.0), **more,
    )  # fmt: skip


def make_analysis(
    millimetres: float | None = 0.25, curve: bool = True, seed: int = 3, size: int = 192, **more: Any
) -> Analysis:
    """A frame of a cine with two paths and two lesions, one of them unsure."""
    made = make_angiogram(seed, size)
    mask = np.ascontiguousarray(made.mask.T)
    tree = vessel_tree(mask)
    paths = []
    for number, path in enumerate(tree.paths()[:2], 1):
        widths = widths_of(path)
        lesion = lesion_of(widths, 0.4 if number == 1 else 0.7, number, unsure=() if number == 1 else ("crossing",))
        paths.append(MeasuredPath(number, "longest" if number == 1 else "tree", widths, (lesion,)))
    analysis = Analysis(
        source=Source("input-0001", "dicom", size, size, 8 if curve else 1, "0" * 64),
        frame=FrameChoice(4 if curve else 0, "best opacified" if curve else "the only frame", CURVE if curve else None),
        grey=np.ascontiguousarray(made.image.T / 255, np.float32), mask=mask, tree=tree, scale=scale_of(millimetres),
        paths=tuple(paths), methods={"Width": "by hand"}, settings={"frame": None},
        versions={"casr-net": "0", "python": "3"}, warnings=("A warning <with> markup & more.",),
    )  # fmt: skip
    return replace(analysis, **more)
