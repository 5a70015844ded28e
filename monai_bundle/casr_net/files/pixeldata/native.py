"""Pixel data of a DICOM file that are not compressed: each frame is read from its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from .image_pixel import ImagePixel
from .parts import FileParts

__all__ = ["NativePixels", "count_frames"]


class NativePixels:
    """Frames of native pixel data (PS3.5 8.1, 8.2, annex A.1 to A.3).

    Args:
        parts: the open file.
        offset: of the pixel data in it.
        pixel: the header's description.
        count: of the frames, see :func:`count_frames`.
        swapped: bytes of 8-bit pixels are in words of the other byte order (VR OW in Explicit VR Big Endian).
    """

    def __init__(self, parts: FileParts, offset: int, pixel: ImagePixel, count: int, swapped: bool) -> None:
        self._parts, self._offset, self._pixel, self._swapped = parts, offset, pixel, swapped
        self.count, self.samples = count, pixel.samples
        kind = "f" if pixel.real else "u"
        self.words_dtype = np.dtype(f"{kind}{max(pixel.allocated // 8, 1)}")

    def words(self, index: int) -> np.ndarray:
        """(rows, columns, samples): words of one frame in the machine's byte order; colours as they are coded."""
        pixel = self._pixel
        if pixel.allocated == 1:
            return self._bits(index)
        length = pixel.frame_bits // 8
        raw = self._bytes(index * length, length)
        stored = self.words_dtype.newbyteorder(">" if pixel.big_endian else "<")
        values = np.frombuffer(raw, stored).astype(self.words_dtype)
        if pixel.halved:
            pairs = values.reshape(pixel.rows, pixel.columns // 2, 4)  # Y Y Cb Cr
            colours = pairs[..., 2:].repeat(2, axis=1)
            return np.dstack([pairs[..., :2].reshape(pixel.rows, pixel.columns), colours])
        if pixel.planar and pixel.samples == 3:
            return values.reshape(pixel.samples, pixel.rows, pixel.columns).transpose(1, 2, 0)
        return values.reshape(pixel.rows, pixel.columns, pixel.samples)

    def _bits(self, index: int) -> np.ndarray:
        """Frames of single bits follow each other without a gap, the first pixel in the lowest bit (PS3.5 8.1.1)."""
        pixel = self._pixel
        start = index * pixel.frame_bits
        first, last = start // 8, -(-(start + pixel.frame_bits) // 8)
        bits = np.unpackbits(np.frombuffer(self._bytes(first, last - first), np.uint8), bitorder="little")
        return bits[start - 8 * first :][: pixel.frame_bits].reshape(pixel.rows, pixel.columns, pixel.samples)

    def _bytes(self, start: int, length: int) -> bytes:
        if not self._swapped:
            return self._parts.read(self._offset + start, length)
        before = start % 2
        whole = before + length + (before + length) % 2
        raw = self._parts.read(self._offset + start - before, whole)
        return np.frombuffer(raw, "<u2").byteswap().tobytes()[before : before + length]


def count_frames(path: Path, pixel: ImagePixel, length: int) -> tuple[int, list[str]]:
    """How many frames pixel data of ``length`` bytes hold, and what was not as stated.

    Raises:
        DataError: when they hold no whole number of frames that could be told; naming both numbers.
    """
    stated = pixel.frames or 1
    if length == _padded(stated, pixel):
        return stated, []
    whole = 8 * length // pixel.frame_bits
    rest = length - -(-whole * pixel.frame_bits // 8)
    held = f"the pixel data hold {whole} frames"
    said = f"NumberOfFrames is {stated}" if pixel.frames else "NumberOfFrames is missing"
    if whole >= 1 and rest <= 1:
        same = whole == stated
        return whole, [] if same else [f"{said}, but {held}, which are read"]
    if whole == stated:
        return stated, [f"{rest} bytes follow the last frame in the pixel data; they are not read"]
    raise DataError(
        f"{path}: {said}, but the pixel data hold {length} bytes, which are {8 * length / pixel.frame_bits:.2f} frames "
        f"of {pixel.columns} x {pixel.rows} pixels with {pixel.samples} x {pixel.allocated} bits."
    )


def _padded(frames: int, pixel: ImagePixel) -> int:
    length = -(-frames * pixel.frame_bits // 8)
    return length + length % 2
