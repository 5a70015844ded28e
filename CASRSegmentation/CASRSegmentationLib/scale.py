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
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["ATTRIBUTES", "CALIBRATED", "KINDS", "Scale", "pixel_aspect", "pixel_size"]

KINDS = ("user", "catheter", "geometry", "fiducial", "magnification", "none")
"""Where a scale is from. The first five are in the order in which they are preferred; geometry and fiducial are one
source, a PixelSpacing that is calibrated."""

ATTRIBUTES = {
    "PixelSpacing": "0028,0030",
    "PixelAspectRatio": "0028,0034",
    "PixelSpacingCalibrationType": "0028,0A02",
    "ImagerPixelSpacing": "0018,1164",
    "EstimatedRadiographicMagnificationFactor": "0018,1114",
    "DistanceSourceToDetector": "0018,1110",
    "DistanceSourceToPatient": "0018,1111",
}
"""DICOM attributes that the rule asks for: keyword and tag."""

CALIBRATED = ("GEOMETRY", "FIDUCIAL")
"""PixelSpacingCalibrationType of a PixelSpacing that holds in the patient (PS3.3 10.7.1.2)."""

MM_PER_PIXEL = (0.02, 2.0)
"""Sizes of a pixel that a heart on a detector can have, with room. Our choice."""

MAX_MAGNIFICATION = 5.0
"""Our choice: a detector 0.9 to 1.2 m and a heart 0.6 to 0.8 m from the source magnify 1.1 to 2 times."""

CONTRADICTION = 1.2
"""Ratio of two sizes of a pixel from which on they contradict each other. Our choice: the estimate for the isocentre is
off by about a tenth for a heart that lies 7 cm above or below it, and so may a catheter's size be."""

ASPECT = (0.2, 5.0)
"""Ratios of a pixel's height to its width that are taken for real. Our choice."""


@dataclass(frozen=True)
class Scale:
    """What is known of the size of a pixel in the patient.

    Attributes:
        row_mm, column_mm: distance between adjacent rows and between adjacent columns, in millimetres, above 0; both
            None where nothing states them.
        estimated: from the detector's spacing and a magnification, rather than calibrated or stated: it holds at the
            isocentre.
        note: where it is from, or why there is none; one sentence, and one more for each contradiction.
        kind: one of :data:`KINDS`.
        spread: of a catheter: relative standard deviation of its width along the shaft, by the median of the absolute
            deviations; None for other kinds. What is wrong with the catheter's size, or with its edges everywhere, is
            not in it.
        contradictions: what speaks against it, one sentence each.
    """

    row_mm: float | None
    column_mm: float | None
    estimated: bool
    note: str
    kind: str = "none"
    spread: float | None = None
    contradictions: tuple[str, ...] = ()

    @property
    def pixel_area_mm2(self) -> float | None:
        """Area of a pixel, or None where the scale is not known."""
        return None if self.row_mm is None or self.column_mm is None else self.row_mm * self.column_mm


def pixel_size(header: Mapping[str, Any], stated: Any = None, catheter: Scale | None = None) -> Scale:
    """The scale of an image, from the attributes of its DICOM file, what the user states, and a measured catheter.

    The first of these that is usable:

    1. what the user states;
    2. the catheter, measured in this very image;
    3. PixelSpacing, if PixelSpacingCalibrationType is GEOMETRY or FIDUCIAL. Without that type it may as well be the
       detector's (PS3.3 10.7.1.1), so it does not count;
    4. as an estimate, ImagerPixelSpacing divided by EstimatedRadiographicMagnificationFactor (PS3.3 C.8.7.5);
    5. as an estimate, ImagerPixelSpacing divided by DistanceSourceToDetector / DistanceSourceToPatient, which is how
       the standard defines that factor. That systems which leave the factor out fill in both distances is our
       experience, to use them our choice: the second is the isocentre's, so that it holds for what lies there.

    A value is usable if it is as many finite numbers above 0 as the attribute has (a magnification: from 1 to 5). One
    that is not is named in the note. Usable ones that come later are compared with the one that is used; those that
    differ by more than a fifth are stated, with the reason of the choice. So is a size that cannot be with the
    detector's spacing, as the magnification would be below 1 or above 5.

    Args:
        header: values by DICOM keyword: numbers, lists of numbers, or text as DICOM writes it ("0.2\\\\0.25"); a
            dictionary, or a data set of pydicom.
        stated: millimetres between rows and between columns, (row, column), in one of the same forms; None or "" where
            the user states nothing.
        catheter: what :func:`casr_net.vessels.catheter_scale` has found; its note is taken over where it has found
            nothing. None where no catheter's size is known.
    """
    asked = _Asked(header)
    refused: list[str] = []
    chosen: Scale | None = None
    said: list[str] = []
    others = (lambda: catheter, lambda: _calibrated(asked), lambda: _estimate(asked))
    for find in (lambda: _by_user(asked, stated), *others):
        found = find()
        if chosen is None:
            refused += asked.take_refused()
            if found is not None and found.row_mm is None:
                refused.append(found.note.rstrip("."))
            elif found is not None:
                chosen = found
        elif found is not None and found.row_mm is not None:
            said += _contradiction(chosen, found)
    asked.take_refused()
    detector = asked.usable("ImagerPixelSpacing", 2)
    reasons = "".join(f"; {text}" for text in refused)
    if chosen is not None:
        said += _impossible(chosen, detector, _stated_aspect(header))
        note = " ".join([f"{chosen.note.rstrip('.')}{reasons}.", *said])
        return replace(chosen, note=note, contradictions=tuple(said))
    reason = "No calibration is stated, so that no millimetres are given"
    of_detector = detector is not None or _numbers(_value(header, "PixelSpacing"))
    why = "; ".join(refused) or ("the spacing is the detector's" if of_detector else "")
    return Scale(None, None, False, f"{reason}: {why}." if why else f"{reason}.")


def pixel_aspect(header: Mapping[str, Any]) -> float:
    """Height of a pixel over its width, by ImagerPixelSpacing, PixelSpacing, calibrated or not, or PixelAspectRatio
    (PS3.3 C.7.6.3.1.7), whichever is usable first; 1 where none is, or where the ratio is below 0.2 or above 5."""
    return _stated_aspect(header) or 1.0


def _stated_aspect(header: Mapping[str, Any]) -> float | None:
    asked = _Asked(header)
    for name in ("ImagerPixelSpacing", "PixelSpacing", "PixelAspectRatio"):
        pair = asked.numbers(name, 2, _value(header, name))
        if pair is not None and ASPECT[0] <= pair[0] / pair[1] <= ASPECT[1]:
            return pair[0] / pair[1]
    return None


class _Asked:
    """Asks a header for numbers, and keeps what is said of those that are not usable."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.header = header
        self.refused: list[str] = []

    def take_refused(self) -> list[str]:
        taken, self.refused = self.refused, []
        return taken

    def numbers(self, name: str, count: int, value: Any) -> list[float] | None:
        found = _numbers(value)
        if value is None or found == []:
            return None
        if found is None or len(found) != count or not all(math.isfinite(part) and part > 0 for part in found):
            self.refused.append(f"{name} is {_shown(value)}, which is not usable")
            return None
        return found

    def usable(self, name: str, count: int) -> list[float] | None:
        found, (low, high) = self.numbers(name, count, _value(self.header, name)), MM_PER_PIXEL
        if not found or not name.endswith("Spacing") or low <= min(found) <= max(found) <= high:
            return found
        self.refused.append(f"{name} is {_shown(found)}; {low:g} to {high:g} mm are possible")
        return None


def _by_user(asked: _Asked, stated: Any) -> Scale | None:
    spacing = asked.numbers("The pixel size that was stated", 2, stated)
    note = "Pixel size as stated by the user."
    return None if spacing is None else Scale(spacing[0], spacing[1], False, note, "user")


def _calibrated(asked: _Asked) -> Scale | None:
    kind = str(_value(asked.header, "PixelSpacingCalibrationType") or "").strip().upper()
    spacing = asked.usable("PixelSpacing", 2) if kind in CALIBRATED else None
    if spacing is None:
        return None
    return Scale(spacing[0], spacing[1], False, f"Pixel size calibrated in the DICOM file ({kind}).", kind.lower())


def _estimate(asked: _Asked) -> Scale | None:
    detector = asked.usable("ImagerPixelSpacing", 2)
    factor, origin = (None, "") if detector is None else _magnification(asked.usable, asked.refused)
    if detector is None or factor is None:
        return None
    note = f"Pixel size estimated at the isocentre from the detector's spacing and {origin} {factor:.4g}."
    return Scale(detector[0] / factor, detector[1] / factor, True, note, "magnification")


_NAMES = {
    "user": "the user's value",
    "catheter": "the catheter",
    "geometry": "the DICOM file's calibration (GEOMETRY)",
    "fiducial": "the DICOM file's calibration (FIDUCIAL)",
    "magnification": "the estimate at the isocentre",
}
_REASONS = {
    "user": "the user's word counts first",
    "catheter": "it is measured in this image, beside the vessels",
    "geometry": "a calibration counts before an estimate",
    "fiducial": "a calibration counts before an estimate",
}


def _side(scale: Scale) -> float:
    """Side of a square pixel of the same area, in millimetres."""
    return math.sqrt(scale.pixel_area_mm2 or 0.0)


def _contradiction(used: Scale, other: Scale) -> list[str]:
    one, two = _side(used), _side(other)
    if max(one, two) <= CONTRADICTION * min(one, two):
        return []
    name, percent = _NAMES[used.kind], 100 * (max(one, two) / min(one, two) - 1)
    return [
        f"{name[0].upper()}{name[1:]} gives {one:.3g} mm a pixel, {_NAMES[other.kind]} {two:.3g} mm: they contradict "
        f"each other by {percent:.0f} %. The first is used, since {_REASONS[used.kind]}."
    ]


def _impossible(used: Scale, detector: Sequence[float] | None, aspect: float | None) -> list[str]:
    """What speaks against a size, by the detector's spacing, which is that of the pixels magnified, and their shape."""
    if used.kind == "magnification" or used.row_mm is None or used.column_mm is None:
        return []
    said = []
    factor = 1.0 if detector is None else math.sqrt(detector[0] * detector[1]) / _side(used)
    if detector is not None and not 1 / 1.02 <= factor <= MAX_MAGNIFICATION:  # rounded values may differ a little
        said.append(
            f"The detector's spacing of {detector[0]:.3g} mm and a pixel of {_side(used):.3g} mm in the patient would "
            f"be a magnification of {factor:.2g}; 1 to {MAX_MAGNIFICATION:g} is possible."
        )
    shape = used.row_mm / used.column_mm
    if aspect is not None and max(shape, aspect) > 1.02 * min(shape, aspect):
        said.append(
            f"A pixel's height over its width is {shape:.3g} here and {aspect:.3g} by the file; lengths in one "
            "direction are wrong."
        )
    return said


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
