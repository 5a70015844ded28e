"""Reading of angiograms: PNG, JPEG, TIFF, BMP, NIfTI, NRRD and DICOM, single frames and cines."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CASRError, DataError
from .frames import MAX_SIDE, MIN_SIDE
from .intensity import intensity_range
from .names import DICOM, RASTER, VOLUME, suffix
from .nrrd_images import LPS_TO_RAS

__all__ = ["Angiogram", "decode", "is_image", "read_angiogram"]


@dataclass(frozen=True)
class Angiogram:
    """One file's pixels and what is needed to read them right.

    Attributes:
        path: the file.
        pixels: (samples, X, Y, frames), the stored values; samples are 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
        affine: (4, 4), from index (x, y, z) to millimetres, RAS. A file that states no geometry gets unit axes of LPS,
            as in ITK and 3D Slicer, so that masks lie on their image there.
        format: "raster", "nifti", "nrrd" or "dicom".
        intensity_range: pixel values that mean 0 and 1.
        photometric_interpretation: DICOM's term, "MONOCHROME2" for other files.
        header: what a writer may want to carry over, by the field's own names.
    """

    path: Path
    pixels: np.ndarray
    affine: np.ndarray
    format: str
    intensity_range: tuple[float, float]
    photometric_interpretation: str = "MONOCHROME2"
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return self.pixels.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.pixels.shape[1], self.pixels.shape[2]


def is_image(path: str | Path) -> bool:
    """Whether a file looks like a supported image: by its ending, or, without one, by the DICOM preamble."""
    path = Path(path)
    if suffix(path) in RASTER + VOLUME + DICOM:
        return True
    if suffix(path) and not suffix(path)[1:].isdigit():  # files of DICOM series end in a UID's digits
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_angiogram(path: str | Path) -> Angiogram:
    """Read and check one file. The file read last is kept, so that the frames of a cine cost one decoding.

    Raises:
        DataError: when the file is missing, damaged, not an angiogram, of an impossible size, constant or not finite.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: no such file.") from error
    if status.st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes).")
    return _read_cached(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _read_cached(name: str, mtime: int, size: int) -> Angiogram:
    angiogram = decode(Path(name))
    _check(angiogram)
    return angiogram


def decode(path: Path) -> Angiogram:
    """Read any supported file without asking whether its size and content make an angiogram; masks are read so too.

    Raises:
        DataError: when the file is missing, damaged or of an unknown format.
    """
    try:
        found = _READERS[_kind(path)](path)
        # Torch and OpenCV know the machine's byte order only.
        native = found.pixels.dtype.newbyteorder("=")
        return dataclasses.replace(found, pixels=found.pixels.astype(native, copy=False))
    except CASRError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory.") from error
    except Exception as error:  # decoders raise whatever they like on damaged files; all of it means the same
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as an image: {reason[:200]}") from error


def _kind(path: Path) -> str:
    if suffix(path) in RASTER:
        return "raster"
    if suffix(path) in (".nii", ".nii.gz"):
        return "nifti"
    if suffix(path) == ".nrrd":
        return "nrrd"
    if is_image(path):
        return "dicom"
    raise DataError(f"{path}: not a supported image; known are {', '.join(RASTER + VOLUME + DICOM)}.")


def _check(angiogram: Angiogram) -> None:
    path, pixels = angiogram.path, angiogram.pixels
    columns, rows = angiogram.size
    if min(columns, rows) < MIN_SIDE or max(columns, rows) > MAX_SIDE:
        raise DataError(f"{path}: {columns} x {rows} pixels; an angiogram has {MIN_SIDE} to {MAX_SIDE} on each side.")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int(pixels.size - np.isfinite(pixels).sum())
        raise DataError(f"{path}: {count} of {pixels.size} pixel values are not finite (NaN or infinite).")
    grey = pixels[:1] if pixels.shape[0] < 3 else pixels[:3]
    if grey.min() == grey.max():
        raise DataError(f"{path}: constant image, every pixel is {grey.min()}.")


def _read_raster(path: Path) -> Angiogram:
    from PIL import Image, ImageOps

    # Pillow's own limit guards against decompression bombs; ours is on the sides, and known before decoding.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as opened:
            if max(opened.size) > MAX_SIDE:
                columns, rows = opened.size
                raise DataError(
                    f"{path}: {columns} x {rows} pixels; an angiogram has {MIN_SIDE} to {MAX_SIDE} on each side."
                )
            frames = getattr(opened, "n_frames", 1)
            stack = []
            for index in range(frames):
                opened.seek(index)
                image = ImageOps.exif_transpose(opened)
                if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
                    image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
                elif image.mode == "1":
                    image = image.convert("L")
                stack.append(np.asarray(image))
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if len({array.shape for array in stack}) != 1:
        raise DataError(f"{path}: its {frames} pages differ in size.")
    array = np.stack(stack, axis=-1)  # (rows, columns[, samples], frames)
    array = array[None] if array.ndim == 3 else np.moveaxis(array, 2, 0)
    pixels = np.ascontiguousarray(array.swapaxes(1, 2))
    bits = 8 if pixels.dtype == np.uint8 else 0
    values = pixels[:1] if pixels.shape[0] < 3 else pixels[:3]
    return Angiogram(path, pixels, LPS_TO_RAS.copy(), "raster", intensity_range(values, bits=bits))


def _read_nifti(path: Path) -> Angiogram:
    import nibabel

    image: Any = nibabel.load(path)
    array = np.asanyarray(image.dataobj)
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[2] == 1:  # (x, y, 1, t): NIfTI's way to store a cine
        array = array[:, :, 0]
    elif array.ndim > 2:
        raise DataError(
            f"{path}: a volume of {' x '.join(map(str, array.shape))}; expected one slice, or (x, y, 1, time)."
        )
    pixels = array.reshape(1, *array.shape[:2], -1)
    bits = 8 if pixels.dtype == np.uint8 else 0
    return Angiogram(path, pixels, np.asarray(image.affine, float), "nifti", intensity_range(pixels, bits=bits))


def _read_nrrd(path: Path) -> Angiogram:
    from .nrrd_images import read_nrrd

    pixels, affine = read_nrrd(path)
    bits = 8 if pixels.dtype == np.uint8 else 0
    return Angiogram(path, pixels, affine, "nrrd", intensity_range(pixels, bits=bits))


def _read_dicom(path: Path) -> Angiogram:
    from .dicom import read_dicom  # pydicom is slow to import and not needed for other files

    found = read_dicom(path)
    return Angiogram(path, format="dicom", **found)


_READERS = {"raster": _read_raster, "nifti": _read_nifti, "nrrd": _read_nrrd, "dicom": _read_dicom}
