"""Reading of TIFF files by tifffile, and imagecodecs for the compressed ones.

Pillow keeps 8 of 16 bits in colour, cannot read 12 bits, signed or double values of many kinds, and gives wrong numbers
for compressed big-endian ones; it serves for CMYK and the like, and for CCITT, which imagecodecs knows since 2026. The
decoders of imagecodecs write no more than the header states, whatever a stream expands to.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .frames import Opened, PlainFrames, check_extent
from .geometry import LPS_TO_RAS
from .lzw import check_lzw
from .raster import damage_told, oriented, planes

__all__ = ["open_tiff"]

for library in ("tifffile", "PIL"):
    logging.getLogger(library).addHandler(logging.NullHandler())  # else their doubts go to the terminal

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6  # PhotometricInterpretation, TIFF 6.0
REDUCED, MASK = 1, 4  # bits of NewSubfileType
LZW, JPEG, FAX = 5, 7, (2, 3, 4)
COMPRESSIONS = {1, *FAX, LZW, JPEG, 8, 32773, 32946, 34925, 50000}
"""None, CCITT, LZW, JPEG, deflate, PackBits, LZMA, Zstandard. Not JPEG 2000: its big-endian values come out swapped."""


def open_tiff(path: Path) -> Opened:
    """Open a file, see :func:`casr_net.files.raster.open_raster`.

    Frames are the pages of one size, or the planes of a stack that ImageJ or tifffile wrote behind a single page. Left
    out are pages marked as previews or masks, and those of at most half the picture's width and height.

    Raises:
        DataError: when it is no picture, damaged, too large, or its pages differ.
    """
    import tifffile

    warnings: list[str] = []
    file: Any = tifffile.TiffFile(path, _multifile=False)
    try:
        with damage_told(path):
            pages = _kept(path, file, warnings)
            first = file.pages[pages[0]]
            inverted = first.photometric == WHITE_IS_ZERO
            source = (_stack(path, file, warnings) if len(file.pages) == 1 else None) or _TiffFrames(path, file, pages)
    except BaseException:
        file.close()
        raise
    if isinstance(source, PlainFrames):
        file.close()
    bits = 8 if source.dtype == np.uint8 else 0
    return Opened(source, "raster", LPS_TO_RAS.copy(), bits, inverted, warnings=warnings)


def _kept(path: Path, file: Any, warnings: list[str]) -> list[int]:
    """Numbers of the pages that are frames."""
    count = len(file.pages)
    if count == 0:
        raise DataError(f"{path}: cannot be read as an image: there is no page in it.")
    sizes, marked = [], []
    for page in _limited(path, file):
        sizes.append((int(page.imagewidth), int(page.imagelength)))
        marked.append(bool(int(page.subfiletype or 0) & (REDUCED | MASK)))
    candidates = [index for index in range(count) if not marked[index]] or [0]
    largest = max((sizes[index] for index in candidates), key=lambda size: size[0] * size[1])
    pages = [i for i in candidates if 2 * sizes[i][0] > largest[0] or 2 * sizes[i][1] > largest[1]]
    if len({sizes[index] for index in pages}) != 1:
        raise DataError(f"{path}: its {count} pages differ in size.")
    if len(pages) < count:
        warnings.append(f"{count - len(pages)} of its {count} pages are previews or masks and were left out")
    return pages


def _limited(path: Path, file: Any) -> Iterable[Any]:
    """All pages, their number checked before they are read."""
    first = file.pages[0]
    check_extent(path, (int(first.imagewidth), int(first.imagelength)), len(file.pages), 1, 1)
    return (page for page in file.pages)


def _stack(path: Path, file: Any, warnings: list[str]) -> PlainFrames | None:
    """Planes behind the only page, which its description counts (ImageJ, tifffile, MetaMorph)."""
    page = file.pages[0]
    series = file.series[0] if file.series else None
    if series is None or not page.is_contiguous or not _as_shown(page) or page.photometric == PALETTE:
        return None
    one = int(np.prod(page.shape))
    count = int(np.prod(series.shape)) // one if one else 0
    description = page.description.replace("\r", "")
    if counted := re.match(r"ImageJ=.*^images=(\d{1,6})$", description, re.DOTALL | re.MULTILINE):
        count = max(count, int(counted[1]))  # tifffile gives the stack up when the file is cut off
    samples, dtype = _type(path, page)
    if count <= 1 or _orientation(page) != 1 or dtype != page.dtype or page.bitspersample != 8 * dtype.itemsize:
        return None
    columns, rows = size = int(page.imagewidth), int(page.imagelength)
    check_extent(path, size, count, samples, dtype.itemsize)
    start = int(page.dataoffsets[0])
    there = (file.filehandle.size - start) // int(page.nbytes)
    if there < count:
        warnings.append(f"its description states {count} frames, {there} are there")
        count = max(there, 1)
    stored = np.dtype(file.byteorder + dtype.char)
    if samples == 1:
        return PlainFrames(path, start, stored, (count, rows, columns), (None, 2, 1, 0))
    if int(page.planarconfig) == 2:
        return PlainFrames(path, start, stored, (count, samples, rows, columns), (1, 3, 2, 0))
    return PlainFrames(path, start, stored, (count, rows, columns, samples), (3, 2, 1, 0))


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) and 1 <= tag.value <= 8 else 1


def _as_shown(page: Any) -> bool:
    """Whether the samples are grey, RGB or palette; JPEG's YCbCr is turned into RGB by its decoder."""
    kind = int(page.photometric)
    return kind in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE) or (kind == YCBCR and int(page.compression) == JPEG)


def _type(path: Path, page: Any) -> tuple[int, np.dtype]:
    """Samples and type of a frame.

    Raises:
        DataError: for what is no picture.
    """
    samples, dtype = int(page.samplesperpixel), page.dtype
    if int(page.compression) not in COMPRESSIONS:
        name = getattr(page.compression, "name", page.compression)
        raise DataError(f"{path}: TIFF compression {name} is not supported; save it without compression.")
    if page.photometric == PALETTE or not _as_shown(page):
        return 3, np.dtype(np.uint8)
    if dtype is None or dtype.kind not in "iufb" or samples > 4:
        raise DataError(f"{path}: {samples} samples a pixel of type {dtype}; a picture has 1 to 4 real numbers.")
    if dtype == np.float16:
        return samples, np.dtype(np.float32)
    return samples, np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


class _TiffFrames:
    """Pages of a TIFF file."""

    def __init__(self, path: Path, file: Any, pages: list[int]) -> None:
        self._path, self._file, self._pages = path, file, pages
        page = file.pages[pages[0]]
        self.samples, self.dtype = _type(path, page)
        columns, rows = self._stored = int(page.imagewidth), int(page.imagelength)
        self._orientation = _orientation(page)
        self.count, self.size = len(pages), (rows, columns) if self._orientation > 4 else (columns, rows)
        check_extent(path, (columns, rows), self.count, self.samples, self.dtype.itemsize)

    def frame(self, index: int) -> np.ndarray:
        with damage_told(self._path):
            page = self._file.pages[self._pages[index]]
            if (int(page.imagewidth), int(page.imagelength)) != self._stored or int(page.imagedepth) != 1:
                raise DataError(f"{self._path}: page {self._pages[index]} differs in size.")
            if _type(self._path, page) != (self.samples, self.dtype):
                raise DataError(f"{self._path}: page {self._pages[index]} differs in samples or type of values.")
            if int(page.compression) in FAX:
                array = self._by_pillow(self._pages[index], "L")
                array = 255 - array if page.photometric == WHITE_IS_ZERO else array  # Pillow turns it, we keep it
            elif not _as_shown(page):
                array = self._by_pillow(self._pages[index], "RGB")
            else:
                array = oriented(_values(page), self._orientation)
            return planes(array).astype(self.dtype, copy=False)

    def close(self) -> None:
        self._file.close()

    def _by_pillow(self, number: int, mode: str) -> np.ndarray:
        """One page in a mode of Pillow's, which orients it as the tag asks for when it loads it."""
        from PIL import TiffImagePlugin

        # The class itself, since PIL.Image.open has a limit of pixels for the whole process.
        with TiffImagePlugin.TiffImageFile(self._path) as image:
            image.seek(number)
            image.load()
            return np.asarray(image.convert(mode))


def _values(page: Any) -> np.ndarray:
    """(rows, columns, samples) of stored values; fewer than 8 bits brought to bytes, palettes to RGB."""
    if int(page.compression) == LZW:
        segments = page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts)
        for segment, _ in segments:
            check_lzw(segment or b"")
    array = page.asarray(maxworkers=1)
    if int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1:
        array = np.moveaxis(array.reshape(-1, int(page.imagelength), int(page.imagewidth)), 0, -1)
    array = array.reshape(int(page.imagelength), int(page.imagewidth), -1)
    if page.photometric == PALETTE:
        return _colours(array[..., 0], np.asarray(page.colormap))
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    bits = int(page.bitspersample)
    return array * np.uint8(255 // (2**bits - 1)) if array.dtype == np.uint8 and bits in (1, 2, 4) else array


def _colours(index: np.ndarray, table: np.ndarray) -> np.ndarray:
    """RGB of palette indices. Tables have 16 bits by the standard; some programs write bytes into them."""
    table = table.astype(np.uint8) if table.max() < 256 else (table >> 8).astype(np.uint8)
    return table[:, np.minimum(index, table.shape[1] - 1)].transpose(1, 2, 0)
