"""How a DICOM header describes its pixels (Image Pixel module, PS3.3 C.7.6.3), checked and completed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian

from ...errors import DataError, shown
from .header import DOUBLE_FLOAT_PIXELS, FLOAT_PIXELS, PixelPlace, number, text

__all__ = ["ImagePixel", "describe_pixels"]

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


@dataclass(frozen=True)
class ImagePixel:
    """Attributes have the names of DICOM's, but for:

    Attributes:
        frames: NumberOfFrames; None where it is missing or no number.
        overlays: the file has overlays in unused bits of its pixels.
        real: pixels are floating-point numbers.
        big_endian: pixels without compression are.
        offset_table: the extended one (PS3.5 A.4); empty where there is none.
    """

    columns: int
    rows: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    photometric: str
    frames: int | None
    overlays: bool
    real: bool
    syntax: UID
    big_endian: bool
    offset_table: list[int]

    @property
    def halved(self) -> bool:
        """Whether pixels without compression share their colours in pairs (PS3.3 C.7.6.3.1.2)."""
        return self.samples == 3 and self.photometric == "YBR_FULL_422"

    @property
    def frame_bits(self) -> int:
        """Of one frame without compression."""
        samples = 2 if self.halved else self.samples
        return self.columns * self.rows * samples * self.allocated


def describe_pixels(path: Path, data: Dataset, place: PixelPlace) -> tuple[ImagePixel, list[str]]:
    """The description, and what was missing or contradictory in it.

    Raises:
        DataError: when size or type of the pixels are missing, damaged or not supported.
    """
    warnings: list[str] = []
    columns, rows = number(path, data, "Columns"), number(path, data, "Rows")
    photometric = text(data, "PhotometricInterpretation").upper()
    colour = photometric in _COLOURS
    samples = number(path, data, "SamplesPerPixel", 3 if colour else 1)
    real = place.tag in (FLOAT_PIXELS, DOUBLE_FLOAT_PIXELS)
    allocated = {FLOAT_PIXELS: 32, DOUBLE_FLOAT_PIXELS: 64}.get(place.tag) or number(path, data, "BitsAllocated")
    if samples not in (1, 3):
        raise DataError(f"{path}: SamplesPerPixel is {samples}; 1 (grey) and 3 (colour) are read.")
    if not real and allocated not in (1, 8, 16, 32):
        raise DataError(f"{path}: BitsAllocated is {allocated}; 1, 8, 16 and 32 are read.")
    stored = number(path, data, "BitsStored", allocated)
    frames: int | None = None
    try:
        frames = number(path, data, "NumberOfFrames", 0) or None
    except DataError as error:
        warnings.append(str(error).removeprefix(f"{path}: the DICOM attribute ").removesuffix("."))
    if frames is not None and frames < 1:
        warnings.append(f"NumberOfFrames is {frames}")
        frames = None
    syntax = UID(str(data.file_meta.get("TransferSyntaxUID", "") or ""))
    if not syntax.is_transfer_syntax:
        raise DataError(
            f"{path}: its transfer syntax {shown(syntax)} is none of the standard's; convert the file to an "
            "uncompressed one."
        )
    described = ImagePixel(
        columns,
        rows,
        samples,
        allocated,
        stored,
        number(path, data, "HighBit", stored - 1),
        number(path, data, "PixelRepresentation", 0) == 1,
        number(path, data, "PlanarConfiguration", 0) == 1,
        photometric,
        frames,
        _overlays(data),
        real,
        syntax,
        syntax == ExplicitVRBigEndian,
        _offset_table(data),
    )
    if samples == 3 and not colour and photometric:
        warnings.append(
            f"PhotometricInterpretation is {shown(photometric)} with 3 samples a pixel; they are read as RGB"
        )
    return described, warnings


def _overlays(data: Dataset) -> bool:
    """Whether overlays lie in bits of the pixels (until 2004, PS3.3 C.9.2.1.1): planes without data of their own."""
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0102) in data and (group, 0x3000) not in data:
            try:
                if int(data[group, 0x0102].value or 0) > 0:
                    return True
            except Exception:  # damaged: no overlay that could be told
                continue
    return False


def _offset_table(data: Dataset) -> list[int]:
    try:
        table = data.get("ExtendedOffsetTable")
        return [] if not table else list(struct.unpack(f"<{len(table) // 8}Q", table[: len(table) // 8 * 8]))
    except Exception:  # damaged: the items tell the frames
        return []
