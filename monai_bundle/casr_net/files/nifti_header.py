"""Headers of NIfTI files (.nii, .nii.gz), by nibabel.

nibabel and not SimpleITK: it keeps axes that are not at right angles, which ITK refuses, and a rotation that is only
nearly one; it reads the header without the values, so that a frame can be taken from the disk; it goes by the content
where ITK goes by the ending (``E02.Nii``); and ITK prints what it dislikes to the terminal. The format:
https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, shown
from .geometry import LPS_TO_RAS
from .stored import Stored, count_of
from .streams import Part

__all__ = ["is_nifti", "read_nifti_header"]

LARGEST_HEADER = 540
CINE = "(x, y, 1, time) in a NIfTI file"


def is_nifti(start: bytes) -> bool:
    """Whether a file that starts so (at least 4 bytes, decompressed) is NIfTI-1 or NIfTI-2, of either byte order."""
    return start[:4] in {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}


def read_nifti_header(path: Path) -> Stored:
    """Read the header alone.

    Raises:
        DataError: when there is none, or it describes no picture.
    """
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else open(path, "rb") as stream:
            start = stream.read(LARGEST_HEADER)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cannot be read as an image: its gzip data are damaged or cut off.") from error
    if not is_nifti(start) or len(start) < (348 if b"\x5c" in start[:4] else LARGEST_HEADER):
        raise DataError(f"{path}: cannot be read as an image: no NIfTI header in it.")
    header = _header(start)
    if header["magic"].item()[:3] in (b"ni1", b"ni2"):
        raise DataError(f"{path}: its values are in another file (.hdr, .img); save it as one .nii file.")
    raw = header["dim"].tolist()
    if not 1 <= raw[0] <= 7:
        raise DataError(f"{path}: {raw[0]} axes in its NIfTI header.")
    shape = count_of(path, [str(value) for value in raw[1 : raw[0] + 1]])
    kinds = ["domain", "domain", "domain", "frames", "vector", "domain", "domain"][: len(shape)]
    dtype = _dtype(path, header)
    if dtype.fields:  # RGB24 and RGBA32
        shape, kinds = (len(dtype.fields), *shape), ["colour", *kinds]
        dtype = np.dtype("u1")
    first = len(shape) - raw[0]
    offset = int(np.clip(np.nan_to_num(header["vox_offset"]), 0, 2**31))
    smallest = len(header.binaryblock) + 4
    part = Part(path, 0, max(offset, smallest)) if packed else Part(path, max(offset, smallest))
    stored = Stored("nifti", shape, kinds, dtype, [part], "gzip" if packed else "raw", LPS_TO_RAS.copy(), [], CINE)
    stored.lengths = list(range(first, min(len(shape), first + 3)))
    if stored.dtype.itemsize and kinds[0] != "colour":
        stored.slope, stored.intercept = _scaling(stored, header)
    _geometry(stored, header)
    return stored


def _header(start: bytes) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    small = int.from_bytes(start[:4], "little") == 348 or int.from_bytes(start[:4], "big") == 348
    kind = Nifti1Header if small else Nifti2Header
    # Unchecked: nibabel's checks print to the terminal and mend without telling.
    return kind(start[: 348 if small else 540], check=False)


def _dtype(path: Path, header: Any) -> np.dtype:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel has its own for codes that it does not know
        raise DataError(
            f"{path}: values of type {shown(header['datatype'])} in its header are not supported."
        ) from error
    if not dtype.fields and (dtype.kind not in "iuf" or dtype.itemsize > 8):
        raise DataError(f"{path}: values of type {dtype} in its header are not supported.")
    return dtype


def _scaling(stored: Stored, header: Any) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):  # NIfTI's way to say: none
        return 1.0, 0.0
    if not np.isfinite(intercept):
        stored.warnings.append("scl_inter in its header is not finite and was taken for 0")
        intercept = 0.0
    return slope, intercept


def _geometry(stored: Stored, header: Any) -> None:
    """The sform, else the qform. With neither, the spacing alone, on the axes of LPS: so ITK and 3D Slicer show such a
    file, while nibabel would mirror and centre it."""
    if header["sform_code"] > 0:
        stored.affine, stored.placed = np.asarray(header.get_sform(), float), True
        return
    spacing = np.abs(header["pixdim"][1:4].astype(float))
    if header["qform_code"] > 0:
        try:
            stored.affine, stored.placed = np.asarray(header.get_qform(), float), True
            return
        except Exception:  # quaternions of no length, spacings that are none: nibabel has an error for each
            stored.warnings.append("the rotation (qform) in its header cannot be used; plain axes were taken")
    stored.affine = LPS_TO_RAS @ np.diag([*spacing, 1.0])
