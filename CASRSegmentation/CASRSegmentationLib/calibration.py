"""Size of a pixel in the patient, only where something states it: never from the spacing of a volume node.

That spacing is at the detector for XA (magnified), comes from the DPI entry for pictures, or is 1 for lack of any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from .sources import FrameSource

__all__ = ["ATTRIBUTE", "Calibration", "calibration", "set_pixel_size"]

ATTRIBUTE = "CASR.PixelSpacingMm"
"""Attribute of a volume node: millimetres between rows and between columns, as the user has stated them, "0.2 0.2"."""

_PIXEL_SPACING, _CALIBRATION_TYPE = "0028,0030", "0028,0A02"
_DETECTOR_SPACING, _MAGNIFICATION = "0018,1164", "0018,1114"


@dataclass(frozen=True)
class Calibration:
    """What is known of the scale.

    Attributes:
        row_mm, column_mm: distance between rows and between columns in the patient; None without a calibration.
        estimated: from the magnification that the device estimates, rather than measured in the image.
        note: where it is from, or why there is none; one sentence.
    """

    row_mm: float | None
    column_mm: float | None
    estimated: bool
    note: str

    @property
    def pixel_area_mm2(self) -> float | None:
        """Area of a pixel, or None without a calibration."""
        return None if self.row_mm is None or self.column_mm is None else self.row_mm * self.column_mm


def set_pixel_size(volume: Any, millimetres: float) -> None:
    """State the side of a (square) pixel in the patient; 0 takes the statement back.

    Raises:
        ValueError: for a negative value, or one that is not finite.
    """
    if not math.isfinite(millimetres) or millimetres < 0:
        raise ValueError(_("pixel size is {value} mm; expected a positive number.").format(value=millimetres))
    value = f"{millimetres:g} {millimetres:g}" if millimetres else None
    if volume.GetAttribute(ATTRIBUTE) != value:
        volume.SetAttribute(ATTRIBUTE, value)


def calibration(source: FrameSource) -> Calibration:
    """The scale of a source: what the user has stated, else what the DICOM file states.

    Of DICOM, PixelSpacing counts if PixelSpacingCalibrationType says that it was calibrated (PS3.3 10.7.1.3), and
    ImagerPixelSpacing divided by EstimatedRadiographicMagnificationFactor as an estimate (PS3.3 C.8.7.5).
    """
    volume = slicer.mrmlScene.GetNodeByID(source.volume_id)
    stated = None if volume is None else _numbers(volume.GetAttribute(ATTRIBUTE) or "")
    if stated is not None:
        return Calibration(*stated, False, _("Pixel size as stated by the user."))
    uid = _instance(source)
    if uid is not None:
        kind = _value(uid, _CALIBRATION_TYPE).strip()
        spacing = _numbers(_value(uid, _PIXEL_SPACING))
        if kind in ("GEOMETRY", "FIDUCIAL") and spacing is not None:
            return Calibration(
                *spacing, False, _("Pixel size calibrated in the DICOM file ({kind}).").format(kind=kind)
            )
        detector = _numbers(_value(uid, _DETECTOR_SPACING))
        factor = _numbers(_value(uid, _MAGNIFICATION))
        if detector is not None and factor is not None:
            row, column = (value / factor[0] for value in detector)
            note = _("Pixel size estimated from the detector's spacing and the estimated magnification {factor:g}.")
            return Calibration(row, column, True, note.format(factor=factor[0]))
    return Calibration(
        None,
        None,
        False,
        _("No calibration is stated, so that no millimetres are given: the spacing is the detector's."),
    )


def _instance(source: FrameSource) -> str | None:
    """SOP instance UID, if the image came through Slicer's DICOM module."""
    if getattr(slicer, "dicomDatabase", None) is None:
        return None
    for node_id in (source.volume_id, source.sequence_id):
        node = slicer.mrmlScene.GetNodeByID(node_id or "")
        uids = "" if node is None else node.GetAttribute("DICOM.instanceUIDs") or ""
        if uids.split():
            return uids.split()[0]
    return None


def _value(uid: str, tag: str) -> str:
    return str(slicer.dicomDatabase.instanceValue(uid, tag) or "")


def _numbers(text: str) -> tuple[float, float] | None:
    """Two positive numbers of a text, or one for both; None for anything else."""
    try:
        values = [float(part) for part in text.replace("\\", " ").split()]
    except ValueError:
        return None
    if len(values) not in (1, 2) or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    return values[0], values[-1]
