"""Content trees of measurement reports: Quantitative Arterial Analysis where millimetres are known, else pixels.

Quantitative Arterial Analysis (PS3.16 TID 3213) demands for every segment (TID 3214) a calibration (TID 3205), both
contours and diameters in millimetres. Without a scale the same numbers stand in pixels, in a Measurement Report
(TID 1500) with a group a vessel and a group a lesion (TID 1501).

Tables that were followed: TID 3205 of the edition 2025a; TID 3213, 3214 (rows 1 to 16), 3218 and the code meanings as
published, with the codes of today (SCT and LN in place of SRT and DCM 121070). The segment values (TID 3219) are given
as length, mean and standard deviation of the diameter. All these templates are extensible: a lesion is a container
within its segment, with the positions of TID 3218.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ..vessels.measures import BORDER, GAP, Lesion
from . import sr_items as sr
from .measurements import Analysis, MeasuredPath, across, arc_mm

__all__ = ["arterial_analysis", "measurable", "pixel_report"]

SOFTWARE, MAKER = "CASR-Net", "CASR-Net project"

METHODS = {
    "catheter": sr.OBJECT_USED,
    "magnification": sr.ISOCENTER,
    "user": sr.local("USER", "Pixel size stated by the user"),
    "geometry": sr.local("GEOMETRY", "Pixel spacing of the image, calibrated by geometry"),
    "fiducial": sr.local("FIDUCIAL", "Pixel spacing of the image, calibrated by a fiducial"),
}
"""Kind of a scale to Calibration Method. CID 3452 has no terms for the last three, and is extensible."""


@dataclass(frozen=True)
class _Segment:
    """A path on samples with a width: contours (n, 2), positions and diameters in the unit, millimetres a pixel."""

    path: MeasuredPath
    left: np.ndarray
    right: np.ndarray
    along: np.ndarray
    diameter: np.ndarray
    factor: np.ndarray
    kept: np.ndarray

    def nearest(self, sample: int) -> int:
        """Of a sample of the whole path."""
        return int(np.argmin(np.abs(self.kept - sample)))


def measurable(analysis: Analysis) -> list[MeasuredPath]:
    """Paths with at least two widths."""
    return [path for path in analysis.paths if np.isfinite(path.widths.diameter).sum() > 1]


def arterial_analysis(analysis: Analysis, source: Dataset, version: str) -> Dataset:
    """The root item of TID 3213.

    Args:
        analysis: with a scale, and with a path that has widths.
        source: item that names the image and, of a cine, the frame.
        version: of this software.
    """
    segments = [_analyzed_segment(analysis, path, source) for path in measurable(analysis)]
    return sr.container(
        sr.REPORT,
        [*_head(version), sr.text(sr.ALGORITHM, SOFTWARE, sr.OBSERVED),
         sr.text(sr.ALGORITHM_VERSION, version, sr.OBSERVED),
         sr.text(sr.ALGORITHM_MANUFACTURER, MAKER, sr.OBSERVED), *segments],
        relation="", template="3213",
    )  # fmt: skip


def pixel_report(analysis: Analysis, source: Dataset, version: str) -> Dataset:
    """The root item of TID 1500, with lengths in pixels; arguments as above, no scale needed."""
    groups: list[Dataset] = []
    for path in measurable(analysis):
        segment = _segment(analysis, path)
        points = path.widths.points[segment.kept]
        line = sr.polyline(sr.SOURCE, points, analysis.mask.shape, source, "INFERRED FROM")
        values = list(_segment_values(segment, "px", [line]))
        groups.append(_group(f"Path {path.number}", sr.CORONARY, values))
        for lesion in path.lesions:
            values = list(_lesion_values(segment, lesion, "px"))
            groups.append(_group(f"Path {path.number}, narrowing {lesion.rank}", sr.LESION, values))
    return sr.container(
        sr.IMAGING_REPORT,
        [*_head(version), sr.coded(sr.PROCEDURE, sr.ANGIOGRAPHY, sr.MODIFIES),
         sr.container(sr.MEASUREMENTS, groups)],
        relation="", template="1500",
    )  # fmt: skip


def _head(version: str) -> list[Dataset]:
    """Language (TID 1204), and the device that observed (TID 1002, 1004)."""
    return [
        sr.coded(sr.LANGUAGE, sr.ENGLISH, sr.MODIFIES),
        sr.coded(sr.OBSERVER_TYPE, sr.DEVICE, sr.OBSERVED),
        sr.uid(sr.DEVICE_UID, generate_uid(entropy_srcs=[SOFTWARE, version]), sr.OBSERVED),
        sr.text(sr.DEVICE_NAME, SOFTWARE, sr.OBSERVED),
        sr.text(sr.DEVICE_MANUFACTURER, MAKER, sr.OBSERVED),
        sr.text(sr.DEVICE_MODEL, f"{SOFTWARE} {version}", sr.OBSERVED),
    ]


def _segment(analysis: Analysis, path: MeasuredPath) -> _Segment:
    widths = path.widths
    known = np.isfinite(widths.diameter) & np.isfinite(widths.left).all(1) & np.isfinite(widths.right).all(1)
    kept = np.flatnonzero(known)
    factor, along = across(widths, analysis.scale), arc_mm(widths, analysis.scale)
    scale = np.ones(len(widths.diameter)) if factor is None else factor
    position = widths.along if along is None else along
    return _Segment(
        path, widths.left[kept], widths.right[kept], position[kept] - position[kept[0]],
        (widths.diameter * scale)[kept], scale[kept], kept,
    )  # fmt: skip


def _analyzed_segment(analysis: Analysis, path: MeasuredPath, source: Dataset) -> Dataset:
    """TID 3214."""
    segment = _segment(analysis, path)
    size = analysis.mask.shape
    return sr.container(
        sr.FINDINGS,
        [
            sr.coded(sr.SITE, sr.CORONARY, sr.MODIFIES),
            sr.image(sr.SOURCE, source),
            _calibration(analysis),
            sr.polyline(sr.LEFT, segment.left, size, source),
            sr.polyline(sr.RIGHT, segment.right, size, source),
            *_segment_values(segment, "mm"),
            *(_lesion(segment, lesion) for lesion in path.lesions),
        ],
        template="3214",
    )


def _calibration(analysis: Analysis) -> Dataset:
    """TID 3205."""
    scale = analysis.scale
    assert scale.row_mm is not None and scale.column_mm is not None
    items = [sr.coded(sr.METHOD, METHODS[scale.kind])]
    if METHODS[scale.kind] is sr.OBJECT_USED:
        items.append(sr.coded(sr.OBJECT, sr.CATHETER))
        items.append(sr.number(sr.OBJECT_SIZE, float(analysis.settings["french"]), "french"))
    items.append(sr.number(sr.HORIZONTAL, scale.column_mm, "mm/px"))
    items.append(sr.number(sr.VERTICAL, scale.row_mm, "mm/px"))
    return sr.container(sr.CALIBRATION, items, template="3205")


def _segment_values(segment: _Segment, unit: str, inferred: list[Dataset] | None = None) -> Iterator[Dataset]:
    """Of the whole segment: length, and diameters by their derivation; without those that are no vessel's alone, at the
    border and over gaps, as long as others are left."""
    yield sr.number(sr.SEGMENT_LENGTH, float(segment.along[-1]), unit, inferred or ())
    sure = (segment.path.widths.unsure[segment.kept] & (BORDER | GAP)) == 0
    values = segment.diameter[sure] if sure.sum() > 1 else segment.diameter
    for how, value in (
        (sr.MEAN, values.mean()), (sr.DEVIATION, values.std(ddof=1)), (sr.MINIMUM, values.min()),
        (sr.MAXIMUM, values.max()),
    ):  # fmt: skip
        yield sr.number(sr.DIAMETER, float(value), unit, [sr.derived(how)])


def _lesion(segment: _Segment, lesion: Lesion) -> Dataset:
    return sr.container(sr.LESION, [sr.text(sr.LESION_ID, str(lesion.rank)), *_lesion_values(segment, lesion, "mm")])


def _lesion_values(segment: _Segment, lesion: Lesion, unit: str) -> Iterator[Dataset]:
    begin, at, end = (segment.nearest(sample) for sample in (lesion.begin, lesion.index, lesion.end))
    user = sr.local("USER_REFERENCE", "Reference diameter stated by the user")
    yield sr.coded(sr.REFERENCE_METHOD, sr.INTERPOLATED if lesion.reference_method == "interpolated" else user)
    widest = begin + int(np.argmax(segment.diameter[begin : end + 1]))
    for name, sample in (
        (sr.PROXIMAL_BORDER, begin), (sr.DISTAL_BORDER, end), (sr.SITE_OF_MINIMUM, at), (sr.SITE_OF_MAXIMUM, widest),
    ):  # fmt: skip
        yield sr.number(name, float(segment.along[sample]), unit)
    factor = float(segment.factor[at])
    mld = lesion.mld * factor
    yield sr.number(
        sr.DIAMETER, mld, unit, [sr.derived(sr.MINIMUM), *sr.uncertain(mld, lesion.mld_interval, factor, unit)]
    )
    yield sr.number(sr.REFERENCE_DIAMETER, lesion.reference * factor, unit)
    percent = lesion.percent_diameter
    yield sr.number(sr.DIAMETER_STENOSIS, percent, "%", sr.uncertain(percent, lesion.percent_interval, 1.0, "%"))
    for value, how in ((lesion.percent_area, sr.CIRCULAR), (lesion.percent_area_densitometric, sr.DENSITOMETRIC)):
        if value is not None and np.isfinite(value):
            yield sr.number(sr.AREA_STENOSIS, value, "%", [sr.coded(sr.MEASURED_BY, how, sr.MODIFIES)])
    yield sr.number(sr.LESION_LENGTH, float(segment.along[end] - segment.along[begin]), unit)
    if lesion.unsure:
        yield sr.text(sr.COMMENT, f"Unsure: {', '.join(lesion.unsure)}")


def _group(name: str, finding: sr.Code, values: list[Dataset]) -> Dataset:
    """TID 1501."""
    return sr.container(
        sr.GROUP,
        [
            sr.text(sr.TRACKING, name, sr.OBSERVED), sr.uid(sr.TRACKING_UID, generate_uid(), sr.OBSERVED),
            sr.coded(sr.FINDING, finding), sr.coded(sr.SITE, sr.CORONARY, sr.MODIFIES), *values,
        ],
        template="1501",
    )  # fmt: skip
