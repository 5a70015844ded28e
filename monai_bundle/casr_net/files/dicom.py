"""DICOM X-ray images: which objects are read, what their headers state, and how data sets are written."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

try:
    from pydicom.pixels import apply_color_lut
except ImportError:  # pydicom 2.4, which MONAI Label 0.8.5 needs
    from pydicom.pixel_data_handlers.util import apply_color_lut  # type: ignore[no-redef]

from ..errors import DataError, shown
from .dicom_display import display_of, has_own_displays, is_monochrome1, numbers
from .dicom_ecg import electrocardiogram
from .dicom_frames import DicomFrames, read_header
from .frames import FrameSource, Opened
from .geometry import LPS_TO_RAS
from .intensity import Display
from .pixeldata.header import text

__all__ = ["open_xray", "patient_id", "save_dicom", "set_encoding"]

_PYDICOM_2 = int(pydicom.__version__.split(".")[0]) < 3  # which MONAI Label 0.8.5 needs
PROJECTION_MODALITIES = {"XA", "RF", "DX", "CR", "XC", "OT", "SC", ""}


def open_xray(path: Path) -> Opened:
    """Open a single- or multi-frame projection image by its header.

    ImagerPixelSpacing is the spacing at the detector, not in the patient, so it is never put into the affine: the
    header carries it by its name, and the affine has unit spacing unless the file has a PixelSpacing of its own.

    Args:
        path: DICOM file with pixel data.

    Raises:
        DataError: for a damaged file, one without pixels, or a modality that is no X-ray projection.
    """
    data, place = read_header(path)
    modality = text(data, "Modality")
    if modality not in PROJECTION_MODALITIES:
        raise DataError(
            f"{path}: modality is {shown(modality)}; expected X-ray angiography (XA) or another projection."
        )
    if place is None:
        name = UID(text(data, "SOPClassUID") or text(data.file_meta, "MediaStorageSOPClassUID")).name
        raise DataError(f"{path}: the DICOM object has no pixel data{f' ({shown(name)})' if name else ''}.")
    frames = DicomFrames(path, data, place)
    affine, warnings = _affine(data)
    # The frames' own list: decoders complain of a frame when its turn comes.
    frames.warnings += warnings
    source: FrameSource = frames
    inverted = False
    if frames.photometric == "PALETTE COLOR" and frames.samples == 1:
        source = PaletteFrames(path, frames, data)
        bits, display = source.bits, None
    elif frames.samples > 1:
        bits, display = 8 * frames.dtype.itemsize, None
        inverted = is_monochrome1(data)  # grey by its header, colours by its pictures
    else:
        first, said = display_of(data, 0, frames.bits)
        frames.warnings += said
        bits, display = 0, _displays(data, first, frames.bits, frames.count)
    return Opened(source, "dicom", affine, bits, inverted, display, _header(data), frames.warnings)


def _displays(data: Dataset, first: Display, bits: int, count: int) -> Callable[[int], Display]:
    if not has_own_displays(data):
        return lambda frame: first
    # The full range of the stored values is that of frames without a rescale only; where others have one, all frames
    # share one range after it, or the same picture would be shown in two ways.
    if bits and any(display_of(data, frame, bits)[0].bits == 0 for frame in range(count)):
        bits = 0
    return functools.cache(lambda frame: display_of(data, frame, bits)[0])


class PaletteFrames:
    """Colours of frames of indices (PALETTE COLOR, PS3.3 C.7.6.3.1.5): three samples a pixel.

    Attributes:
        bits: that the colours use: those of the tables, or fewer where no entry is that large.
    """

    def __init__(self, path: Path, indices: FrameSource, data: Dataset) -> None:
        self._path, self._indices, self._data = path, indices, data
        self.count, self.size, self.samples = indices.count, indices.size, 3
        stored = [int(value) for value in numbers(data, "RedPaletteColorLookupTableDescriptor") if math.isfinite(value)]
        if len(stored) != 3:
            raise DataError(f"{path}: PALETTE COLOR without a usable RedPaletteColorLookupTableDescriptor.")
        for colour in ("Red", "Green", "Blue"):  # pydicom takes tables of 8 and of 16 bits only
            keyword = f"{colour}PaletteColorLookupTableDescriptor"
            told = [int(value) for value in numbers(data, keyword) if math.isfinite(value)]
            if len(told) == 3 and told[2] not in (8, 16):
                setattr(data, keyword, [*told[:2], 8 if told[2] < 8 else 16])
        first = stored[1] - 65536 if stored[1] > 32767 else stored[1]
        ramp = np.arange(first, first + (stored[0] or 65536)).reshape(1, -1)
        entries = apply_color_lut(ramp, data)
        self.dtype = entries.dtype
        self.bits = 8 if int(entries.max()) <= 255 else 8 * entries.dtype.itemsize

    def frame(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(apply_color_lut(self._indices.frame(index)[0], self._data), -1, 0))

    def close(self) -> None:
        self._indices.close()


def patient_id(path: str | Path) -> str:
    """PatientID of a DICOM file; empty where it has none, or where the file is of another kind."""
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
    except (InvalidDicomError, OSError):
        return ""
    return str(data.get("PatientID", "") or "").strip()


def save_dicom(path: Path, data: Dataset) -> None:
    """Write a data set with its file meta information as a DICOM file (PS3.10), Explicit VR Little Endian."""
    set_encoding(data)
    if _PYDICOM_2:
        data.save_as(path, write_like_original=False)
    else:
        data.save_as(path, enforce_file_format=True)


def set_encoding(data: Dataset) -> None:
    """Say of a new data set that it is to be encoded as Explicit VR Little Endian, with a preamble. pydicom 3 takes it
    from the file meta information."""
    data.preamble = b"\0" * 128
    if _PYDICOM_2:
        data.is_little_endian, data.is_implicit_VR = True, False


def _affine(data: Dataset) -> tuple[np.ndarray, list[str]]:
    affine = LPS_TO_RAS.copy()
    spacing = numbers(data, "PixelSpacing")
    if not spacing:
        return affine, []
    if len(spacing) != 2 or not all(math.isfinite(value) and 0 < value < 1e6 for value in spacing):
        return affine, [f"PixelSpacing is {shown(spacing)} and was ignored."]
    # DICOM lists the row spacing (along Y) first. A projection has no patient orientation to put here.
    affine[0, 0], affine[1, 1] = -spacing[1], -spacing[0]
    return affine, []


def _header(data: Dataset) -> dict[str, Any]:
    """What later steps ask for, by DICOM keyword, and "Electrocardiogram"; what is absent or damaged is left out."""
    header: dict[str, Any] = {}
    for name in _TEXTS:
        if text(data, name):
            header[name] = text(data, name)
    for name in _NUMBERS:
        values = numbers(data, name)
        if values and all(math.isfinite(value) for value in values):
            header[name] = values if name.endswith("Spacing") or name in _LISTS else values[0]
    lead = electrocardiogram(data)
    if lead is not None:
        header["Electrocardiogram"] = lead
    return header


_TEXTS = ("SOPClassUID", "SOPInstanceUID", "Modality", "PixelSpacingCalibrationType", "PixelIntensityRelationship")
_NUMBERS = (
    "PixelSpacing", "ImagerPixelSpacing", "DistanceSourceToDetector", "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor", "FrameTime", "CineRate", "RecommendedDisplayFrameRate",
    "PositionerPrimaryAngle",
    "PositionerSecondaryAngle", "BitsStored", "FrameDelay", "FrameTimeVector", "RWavePointer", "RWaveTimeVector",
)  # fmt: skip
_LISTS = ("FrameTimeVector", "RWavePointer", "RWaveTimeVector")
