"""Everything that is known of one analysed frame, as records, and as JSON (``docs/measurements.schema.json``).

Lengths are measured in pixels and stay so; where a scale is stated, millimetres stand beside them. X-ray pixels may be
higher than wide, so that a length's millimetres depend on its direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..vessels.measures import METHODS, Lesion, Widths
from ..vessels.scale import Scale
from ..vessels.tree import VesselTree
from .values import both, flags, interval, median, number, numbers, pairs, percent, times

__all__ = ["FORM", "RESEARCH", "VERSION", "Analysis", "FrameChoice", "MeasuredPath", "Source", "across", "arc_mm"]

FORM, VERSION = "casr-net measurements", 1
RESEARCH = "For research use only. Not a medical device; not for diagnosis or treatment."


@dataclass(frozen=True)
class Source:
    """The input, without anything that names a patient.

    Attributes:
        name: of its results; made up unless the identity is kept.
        format: "dicom", "raster" and the like.
        columns, rows, frames: its size.
        sha256: of the file, which tells it from others without naming anybody; empty for pixels in memory.
        identity: path and DICOM UIDs, only where the user wants them kept.
    """

    name: str
    format: str
    columns: int
    rows: int
    frames: int
    sha256: str = ""
    identity: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameChoice:
    """The frame that was measured.

    Attributes:
        number: from 0.
        reason: why this one, in words.
        curve: :meth:`casr_net.cine.ContrastCurve.as_dict` of a cine, None of a single frame or where the user chose.
    """

    number: int
    reason: str
    curve: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class MeasuredPath:
    """A way along vessels and what was measured on it.

    Attributes:
        number: from 1, within the analysis.
        origin: "ends" (between two points that the user gave), "longest" of the tree, or "tree", another of its ways.
        widths, lesions: along it.
        messages: what was done to find it: points that were moved, turns at crossings.
    """

    number: int
    origin: str
    widths: Widths
    lesions: tuple[Lesion, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def length(self) -> float:
        """In pixels."""
        return float(self.widths.along[-1]) if len(self.widths.along) else 0.0

    def median_diameter(self) -> float:
        """In pixels, NaN where there is no width at all."""
        known = self.widths.diameter[np.isfinite(self.widths.diameter)]
        return float(np.median(known)) if len(known) else math.nan


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that is known of one frame.

    Attributes:
        source, frame: what was measured.
        grey: float32 (X, Y) in [0, 1], the frame as it is shown.
        mask: bool (X, Y), vessel.
        tree: of the mask.
        scale: size of a pixel in the patient.
        paths: ways that were measured, those between given ends first.
        methods: step to how it was done, one sentence each.
        settings: what the user chose, ready for JSON.
        versions: package to version.
        warnings: what is doubtful or was done in place of something else, one line each.
    """

    source: Source
    frame: FrameChoice
    grey: np.ndarray
    mask: np.ndarray
    tree: VesselTree
    scale: Scale
    paths: tuple[MeasuredPath, ...] = ()
    methods: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def lesions(self) -> list[tuple[MeasuredPath, Lesion]]:
        """Of all paths, by their rank."""
        found = [(path, lesion) for path in self.paths for lesion in path.lesions]
        return sorted(found, key=lambda pair: (pair[1].rank or math.inf, -pair[1].percent_diameter))

    @property
    def calibrated(self) -> bool:
        """Whether millimetres can be given."""
        return self.scale.row_mm is not None and self.scale.column_mm is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; a value that is not known is None."""
        return {
            "format": FORM,
            "version": VERSION,
            "use": RESEARCH,
            "input": {
                "name": self.source.name, "format": self.source.format, "columns": self.source.columns,
                "rows": self.source.rows, "frames": self.source.frames, "sha256": self.source.sha256 or None,
                "identity": dict(self.source.identity) or None,
            },
            "frame": {"number": self.frame.number, "reason": self.frame.reason},
            "contrast": self.frame.curve,
            "scale": scale_dict(self.scale),
            "tree": self.tree_summary(),
            "paths": [self._path(path) for path in self.paths],
            "lesions": [
                {"path": path.number, "lesion": path.lesions.index(lesion) + 1} for path, lesion in self.lesions
            ],
            "methods": dict(self.methods),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "warnings": list(self.warnings),
        }  # fmt: skip

    def tree_summary(self) -> dict[str, Any]:
        """Counts, and lengths in pixels."""
        edges = [data for *_, data in self.tree.graph.edges(data=True)]
        summary: dict[str, Any] = {
            "parts": len(self.tree.roots),
            "branch_points": len(self.tree.nodes("branch")),
            "ends": len(self.tree.nodes("end")),
            "crossings": len(self.tree.nodes("crossing")),
            "doubtful_crossings": len(self.tree.nodes("crossing")) - len(self.tree.nodes("crossing", sure=True)),
            "gaps": sum(bool(data["gap"]) for data in edges),
        }
        for name, catheter in (("vessel_length_px", False), ("catheter_length_px", True)):
            summary[name] = number(sum(data["length"] for data in edges if bool(data["catheter"]) == catheter), 1)
        summary["mask_fraction"] = number(float(self.mask.mean()) if self.mask.size else 0.0, 4)
        return summary

    def _path(self, path: MeasuredPath) -> dict[str, Any]:
        widths, scale = path.widths, self.scale
        factor = across(widths, scale)
        along = arc_mm(widths, scale)
        known = None if factor is None else widths.diameter * factor
        return {
            "number": path.number,
            "origin": path.origin,
            "length": both(path.length, None if along is None or not len(along) else float(along[-1])),
            "median_diameter": both(path.median_diameter(), None if known is None else median(known)),
            "messages": list(path.messages),
            "points": pairs(widths.points),
            "along_px": numbers(widths.along),
            "along_mm": None if along is None else numbers(along),
            "diameter_px": numbers(widths.diameter),
            "diameter_mm": None if known is None else numbers(known, 3),
            "left": pairs(widths.left),
            "right": pairs(widths.right),
            "area_px2": numbers(widths.area),
            "method": [METHODS[int(index)] for index in widths.method],
            "unsure": [flags(value) for value in widths.unsure],
            "lesions": [self.lesion_dict(path, lesion) for lesion in path.lesions],
        }

    def lesion_dict(self, path: MeasuredPath, lesion: Lesion) -> dict[str, Any]:
        """One lesion: each length in pixels and, where they are known, millimetres."""
        factor, along = across(path.widths, self.scale), arc_mm(path.widths, self.scale)
        here = None if factor is None else float(factor[lesion.index])
        length = None if along is None else float(along[lesion.end] - along[lesion.begin])
        return {
            "rank": lesion.rank,
            "index": lesion.index,
            "begin": lesion.begin,
            "end": lesion.end,
            "position": [number(lesion.position[0]), number(lesion.position[1])],
            "mld": both(lesion.mld, times(lesion.mld, here)),
            "mld_interval": interval(lesion.mld_interval, here),
            "reference": both(lesion.reference, times(lesion.reference, here)),
            "reference_method": lesion.reference_method,
            "percent_diameter": number(lesion.percent_diameter, 1),
            "percent_interval": percent(lesion.percent_interval),
            "percent_area": number(lesion.percent_area, 1),
            "percent_area_densitometric": number(lesion.percent_area_densitometric, 1),
            "length": both(lesion.length, length),
            "unsure": list(lesion.unsure),
        }


def across(widths: Widths, scale: Scale) -> np.ndarray | None:
    """Millimetres a pixel across the vessel: float (n,); None without a scale.

    The line across a vessel at a right angle in pixels is not at a right angle in the patient where pixels are not
    square. The distance of the two contours there is the width in pixels over the length of the scaled normal.
    """
    if scale.row_mm is None or scale.column_mm is None:
        return None
    return 1 / np.hypot(widths.normals[:, 0] / scale.column_mm, widths.normals[:, 1] / scale.row_mm)


def arc_mm(widths: Widths, scale: Scale) -> np.ndarray | None:
    """Length from the start in millimetres: float (n,); None without a scale."""
    if scale.row_mm is None or scale.column_mm is None:
        return None
    steps = np.diff(widths.points, axis=0) * [scale.column_mm, scale.row_mm]
    return np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])[: len(widths.points)]


def scale_dict(scale: Scale) -> dict[str, Any]:
    """A scale, ready for JSON."""
    return {
        "kind": scale.kind,
        "row_mm": number(scale.row_mm, 6),
        "column_mm": number(scale.column_mm, 6),
        "estimated": scale.estimated,
        "note": scale.note,
        "spread": number(scale.spread, 4),
        "contradictions": list(scale.contradictions),
    }
