"""Size of a pixel in the patient, only where something states it.

The spacing of an image's grid (the affine of this package, the spacing of a volume in 3D Slicer) is a matter of the
grid, and never taken for that size: for X-ray angiograms it is the detector's, where the vessels appear magnified, for
pictures it comes from the DPI entry, and otherwise it is 1 for lack of any.

3D Slicer's extension must not import this package, so it keeps a copy of this file (``CASRSegmentationLib/scale.py``),
which a test holds equal byte for byte. Hence it imports nothing of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ATTRIBUTES", "CALIBRATED", "Scale", "pixel_size"]

ATTRIBUTES = {
    "PixelSpacing": "0028,0030",
    "PixelSpacingCalibrationType": "0028,0A02",
    "ImagerPixelSpacing": "0018,1164",
    "EstimatedRadiographicMagnificationFactor": "0018,1114",
    "DistanceSourceToDetector": "0018,1110",
    "DistanceSourceToPatient": "0018,1111",
}
"""DICOM attributes that the rule asks for: keyword and tag."""

CALIBRATED = ("GEOMETRY", "FIDUCIAL")
"""PixelSpacingCalibrationType of a PixelSpacing that holds in the patient (PS3.3 10.7.1.2)."""

MAX_MAGNIFICATION = 5.0
"""Our choice: a detector 0.9 to 1.2 m and a heart 0.6 to 0.8 m from the source magnify 1.1 to 2 times."""


@dataclass(frozen=True)
class Scale:
    """What is known of the size of a pixel in the patient.

    Attributes:
        row_mm, column_mm: distance between adjacent rows and between adjacent columns, in millimetres, above 0; both
            None where nothing states them.
        estimated: from the detector's spacing and a magnification, rather than calibrated or stated.
        note: where it is from, or why there is none; one sentence.
    """

    row_mm: float | None
    column_mm: float | None
    estimated: bool
    note: str

    @property
    def pixel_area_mm2(self) -> float | None:
        """Area of a pixel, or None where the scale is not known."""
        return None if self.row_mm is None or self.column_mm is None else self.row_mm * self.column_mm


def pixel_size(header: Mapping[str, Any], stated: Any = None) -> Scale:
    """The scale of an image, from the attributes of its DICOM file and from what the user states.

    The first of these that is usable:

    1. what the user states;
    2. PixelSpacing, if PixelSpacingCalibrationType is GEOMETRY or FIDUCIAL. Without that type it may as well be the
       detector's (PS3.3 10.7.1.1), so it does not count;
    3. as an estimate, ImagerPixelSpacing divided by EstimatedRadiographicMagnificationFactor (PS3.3 C.8.7.5);
    4. as an estimate, ImagerPixelSpacing divided by DistanceSourceToDetector / DistanceSourceToPatient, which is how
       the standard defines that factor. That systems which leave the factor out fill in both distances is our
       experience, to use them our choice: the second is the isocentre's, so that it holds for what lies there.

    A value is usable if it is as many finite numbers above 0 as the attribute has (a magnification: from 1 to 5). One
    that is not is named in the note.

    Args:
        header: values by DICOM keyword: numbers, lists of numbers, or text as DICOM writes it ("0.2\\\\0.25"); a
            dictionary, or a data set of pydicom.
        stated: millimetres between rows and between columns, (row, column), in one of the same forms; None or "" where
            the user states nothing.
    """
    refused: list[str] = []

    def numbers(name: str, count: int, value: Any) -> list[float] | None:
        found = _numbers(value)
        if value is None or found == []:
            return None
        if found is None or len(found) != count or not all(math.isfinite(part) and part > 0 for part in found):
            refused.append(f"{name} is {_shown(value)}, which is not usable")
            return None
        return found

    def usable(name: str, count: int) -> list[float] | None:
        return numbers(name, count, _value(header, name))

    def scale(spacing: Sequence[float], estimated: bool, note: str) -> Scale:
        return Scale(spacing[0], spacing[1], estimated, f"{note}{''.join(f'; {text}' for text in refused)}.")

    by_user = numbers("The pixel size that was stated", 2, stated)
    if by_user is not None:
        return scale(by_user, False, "Pixel size as stated by the user")
    kind = str(_value(header, "PixelSpacingCalibrationType") or "").strip().upper()
    if kind in CALIBRATED:
        spacing = usable("PixelSpacing", 2)
        if spacing is not None:
            return scale(spacing, False, f"Pixel size calibrated in the DICOM file ({kind})")
    detector = usable("ImagerPixelSpacing", 2)
    if detector is not None:
        factor, origin = _magnification(usable, refused)
        if factor is not None:
            note = f"Pixel size estimated from the detector's spacing and {origin} {factor:.4g}"
            return scale([part / factor for part in detector], True, note)
    reason = "No calibration is stated, so that no millimetres are given"
    if refused:
        return Scale(None, None, False, f"{reason}: {'; '.join(refused)}.")
    if detector is not None or _numbers(_value(header, "PixelSpacing")):
        return Scale(None, None, False, f"{reason}: the spacing is the detector's.")
    return Scale(None, None, False, f"{reason}.")


def _magnification(usable: Any, refused: list[str]) -> tuple[float | None, str]:
    """Magnification and what it is called; (None, "") without a usable one."""
    factor = usable("EstimatedRadiographicMagnificationFactor", 1)
    if factor is not None:
        if 1 <= factor[0] <= MAX_MAGNIFICATION:
            return factor[0], "the estimated magnification"
        refused.append(f"EstimatedRadiographicMagnificationFactor is {factor[0]:g}, which is not usable")
    distances = [usable(name, 1) for name in ("DistanceSourceToDetector", "DistanceSourceToPatient")]
    if distances[0] is not None and distances[1] is not None:
        ratio = distances[0][0] / distances[1][0]
        if 1 <= ratio <= MAX_MAGNIFICATION:
            return ratio, "the magnification that the distances of detector and patient give,"
        refused.append(f"DistanceSourceToDetector / DistanceSourceToPatient is {ratio:.4g}, which is not usable")
    return None, ""


def _value(header: Mapping[str, Any], name: str) -> Any:
    """The attribute's value; its text where pydicom cannot make numbers of it, None where it is absent."""
    try:
        return header.get(name)
    except (TypeError, ValueError, ArithmeticError) as error:
        return str(error) or type(error).__name__


def _numbers(value: Any) -> list[float] | None:
    """The numbers of a value, none for an empty one; None if it holds anything else."""
    if value is None:
        return []
    if isinstance(value, str):
        value = value.replace("\\", " ").split()
    elif not isinstance(value, Iterable):
        value = [value]
    try:
        return [float(part) for part in value]
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    """The value as it may stand in a message: printable, on one line, not too long."""
    text = ascii(value if isinstance(value, str) else str(value))
    text = text if isinstance(value, str) else text[1:-1]
    return text if len(text) <= 40 else text[:37] + "..."
