"""DICOM X-ray angiography input: pixels, VOI window, photometric interpretation, geometry that the file states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

try:
    from pydicom.pixels import apply_color_lut, apply_modality_lut
except ImportError:  # pydicom 2.4, which MONAI Label 0.8.5 needs
    from pydicom.pixel_data_handlers.util import apply_color_lut, apply_modality_lut  # type: ignore[no-redef]

from ..errors import DataError
from .intensity import intensity_range
from .nrrd_images import LPS_TO_RAS

__all__ = ["open_dicom", "patient_id", "read_dicom", "save_dicom", "set_encoding"]

_PYDICOM_2 = int(pydicom.__version__.split(".")[0]) < 3  # which MONAI Label 0.8.5 needs
PROJECTION_MODALITIES = {"XA", "RF", "DX", "CR", "XC", "OT", "SC", ""}


def read_dicom(path: Path) -> dict[str, Any]:
    """Read a single- or multi-frame projection image.

    The modality LUT is applied; the first VOI window becomes the intensity range (DICOM PS3.3 C.11.2).
    ImagerPixelSpacing is the spacing at the detector, not in the patient, so it is never put into the affine: the
    header carries it by its name, and the affine has unit spacing unless the file has a PixelSpacing of its own.

    Args:
        path: DICOM file with pixel data.

    Returns:
        pixels (samples, X, Y, frames), affine (4, 4), intensity_range, photometric_interpretation and header, as
        :class:`casr_net.files.Angiogram` wants them.

    Raises:
        DataError: for a damaged file, one without pixels, or a modality that is no X-ray projection.
    """
    data = open_dicom(path)
    modality = str(data.get("Modality", "") or "")
    if modality not in PROJECTION_MODALITIES:
        raise DataError(f"{path}: modality is {modality}; expected X-ray angiography (XA) or another projection.")
    if "PixelData" not in data:
        raise DataError(f"{path}: the DICOM file has no pixel data.")
    samples, frames = int(data.get("SamplesPerPixel", 1)), int(data.get("NumberOfFrames", 1) or 1)
    try:
        stored = data.pixel_array  # frames, if more than one, come first; samples, if more than one, last
        if str(data.PhotometricInterpretation) == "PALETTE COLOR":
            stored, samples = apply_color_lut(stored, data), 3
    except Exception as error:  # every decoder plugin has errors of its own
        syntax = data.file_meta.TransferSyntaxUID.name
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: pixel data cannot be decoded ({syntax}): {reason}") from error
    array = stored.reshape(frames, int(data.Rows), int(data.Columns), samples)
    if samples == 1 and _has_modality_lut(data):
        array = apply_modality_lut(array, data).astype(np.float32)
    pixels = np.ascontiguousarray(array.transpose(3, 2, 1, 0))
    return {
        "pixels": pixels,
        "affine": _affine(data),
        "intensity_range": intensity_range(pixels, _window(data) if samples == 1 else None, _bits(data, pixels)),
        "photometric_interpretation": "MONOCHROME1" if _inverted(data) else "MONOCHROME2",
        "header": _header(data),
    }


def _window(data: Dataset) -> tuple[float, float] | None:
    """Centre and width of the first VOI window; None when absent or when a VOI LUT or a sigmoid is meant instead."""
    if str(data.get("VOILUTFunction", "LINEAR") or "LINEAR") != "LINEAR":
        return None
    values = [data.get(name) for name in ("WindowCenter", "WindowWidth")]
    if any(value is None or value == "" for value in values):
        return None
    centre, width = (
        float(value[0]) if isinstance(value, (list, pydicom.multival.MultiValue)) else float(value) for value in values
    )
    return (centre, width) if width > 1 else None


def open_dicom(path: Path) -> Dataset:
    """Parse a file; old archives hold objects without preamble, or without a stated transfer syntax.

    Raises:
        DataError: when the file is no DICOM file.
    """
    try:
        data = pydicom.dcmread(path)
    except InvalidDicomError as error:
        data = pydicom.dcmread(path, force=True)
        if "Rows" not in data or "PixelData" not in data:
            raise DataError(f"{path}: not a DICOM file (no DICM marker, no image).") from error
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = _encoding(data)
        if not little:
            data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        else:
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return data


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


def _encoding(data: Dataset) -> tuple[bool | None, bool | None]:
    """Whether the file was read as implicit VR, and as little endian; pydicom 2.4 has other names for it."""
    if hasattr(data, "original_encoding"):
        return data.original_encoding
    return data.read_implicit_vr, data.read_little_endian


def _has_modality_lut(data: Dataset) -> bool:
    """Whether the modality LUT changes anything; an identity rescale keeps 8-bit pixels what they are."""
    if "ModalityLUTSequence" in data:
        return True
    return float(data.get("RescaleSlope", 1) or 1) != 1 or float(data.get("RescaleIntercept", 0) or 0) != 0


def _bits(data: Dataset, pixels: np.ndarray) -> int:
    """Bits that the values can use, where the full range is meant to be seen; 0 where it is not known."""
    if int(data.get("PixelRepresentation", 0)) == 1 or _has_modality_lut(data):
        return 0
    return min(int(data.BitsStored), 8 * pixels.dtype.itemsize)


def _inverted(data: Dataset) -> bool:
    """MONOCHROME1, or an inverse presentation LUT shape (PS3.3 C.11.6), shows high values dark."""
    if str(data.get("PresentationLUTShape", "") or "") == "INVERSE":
        return True
    return str(data.PhotometricInterpretation) == "MONOCHROME1"


def _affine(data: Dataset) -> np.ndarray:
    affine = LPS_TO_RAS.copy()
    spacing = data.get("PixelSpacing")
    if spacing and len(spacing) == 2:
        # DICOM lists the row spacing (along Y) first. A projection has no patient orientation to put here.
        affine[0, 0], affine[1, 1] = -float(spacing[1]), -float(spacing[0])
    return affine


def _header(data: Dataset) -> dict[str, Any]:
    """What later steps ask for, by DICOM keyword; absent attributes are left out."""
    names = (
        "SOPClassUID", "SOPInstanceUID", "Modality", "PixelSpacing", "ImagerPixelSpacing", "DistanceSourceToDetector",
        "DistanceSourceToPatient", "EstimatedRadiographicMagnificationFactor", "FrameTime", "CineRate",
        "PositionerPrimaryAngle", "PositionerSecondaryAngle",
    )  # fmt: skip
    header: dict[str, Any] = {}
    for name in names:
        value = data.get(name)
        if value is None or value == "":
            continue
        try:
            if isinstance(value, pydicom.multival.MultiValue):
                header[name] = [float(part) for part in value]
            else:
                header[name] = str(value) if isinstance(value, str) else float(value)
        except (TypeError, ValueError):  # a broken attribute of no use to the pixels must not cost the image
            continue
    return header
