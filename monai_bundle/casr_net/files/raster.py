"""Reading of PNG, JPEG, TIFF and BMP files: size and type from the header, a frame decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CASRError, DataError, shown
from .frames import Opened, check_extent
from .geometry import LPS_TO_RAS

__all__ = ["open_raster"]

ORIENTATION = 0x0112  # EXIF and TIFF: where the first row and column are to be shown
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CONVERTED = ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
"""Pillow's modes that are turned into grey, RGB or RGBA."""


def open_raster(path: str | Path) -> Opened:
    """Open a file; its format is told by its content. Only the header is read.

    Grey, palettes and colours of up to 8 bits become bytes, black and white 0 and 255, CMYK and the like RGB, palettes
    RGB or RGBA. The orientation that a camera noted is applied. Of several pages, those of one size are frames;
    previews beside the picture (thumbnails, the second picture of an MPO file) are left out.

    Returns:
        the frames. ``inverted`` is said of TIFF files with PhotometricInterpretation 0 (WhiteIsZero), at every depth,
        and their values stay as stored. ``bits`` is 8 for bytes.

    Raises:
        DataError: when the file is missing, no image, damaged, too large, or its pages differ.
    """
    path = Path(path)
    with damage_told(path):
        with open(path, "rb") as stream:
            start = stream.read(32)
        if start[:4] in TIFF:
            from .tiff import open_tiff

            return open_tiff(path)
        picture: _Picture | _DeepPng = _Picture(path)
        if start[:8] == b"\x89PNG\r\n\x1a\n" and start[24] == 16 and start[25] in (2, 4, 6):
            picture = _DeepPng(path, start[25])
        bits = 8 if picture.dtype == np.uint8 else 0
        return Opened(picture, "raster", LPS_TO_RAS.copy(), bits, warnings=picture.warnings)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what decoders raise on damaged files into one line.

    Raises:
        DataError: naming the file; the decoder's own words are only an addition.
    """
    try:
        yield
    except CASRError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory.") from error
    except Exception as error:  # decoders raise whatever they like
        words = " ".join(str(error).split()).rstrip(".")
        reason = shown(words, 120).strip("'\"") if words else type(error).__name__
        raise DataError(f"{path}: the file is damaged or cut off ({reason}).") from error


def open_picture(path: Path) -> Any:
    """Pillow's image object, nothing decoded; close it.

    The formats' own classes are called instead of ``PIL.Image.open``, whose limit of pixels warns or refuses for the
    whole process, and which would also run programs for formats such as EPS.

    Raises:
        DataError: when it is no PNG, JPEG or BMP file.
    """
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin

    with open(path, "rb") as stream:
        start = stream.read(8)
    if start == b"\x89PNG\r\n\x1a\n":
        return PngImagePlugin.PngImageFile(path)
    if start[:3] == b"\xff\xd8\xff":
        try:
            return JpegImagePlugin.jpeg_factory(path)  # type: ignore[arg-type]
        except SyntaxError as error:
            if "-bit" in str(error):
                raise DataError(
                    f"{path}: a JPEG of more than 8 bits cannot be read; save it as PNG or TIFF."
                ) from error
            raise
    if start[:2] == b"BM":
        return BmpImagePlugin.BmpImageFile(path)
    raise DataError(f"{path}: cannot be read as an image: it is no PNG, JPEG, TIFF or BMP file.")


def converted(image: Any) -> np.ndarray:
    """Pixels of a loaded Pillow image, (rows, columns[, samples])."""
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in CONVERTED:
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    array = np.asarray(image)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror (rows, columns[, samples]) as EXIF and TIFF's tag 274 ask for."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def planes(array: np.ndarray) -> np.ndarray:
    """(samples, X, Y) of (rows, columns[, samples])."""
    array = array[..., None] if array.ndim == 2 else array
    return np.ascontiguousarray(array.transpose(2, 1, 0))


def _orientation(path: Path, image: Any) -> int:
    """1 to 8, without decoding: Pillow would do that to look for the note behind the pixels of a PNG."""
    from PIL import Image

    behind = image.format == "PNG" and b"eXIf" in path.read_bytes()
    exif = image.getexif() if behind else Image.Image.getexif(image)
    try:
        return int(exif.get(ORIENTATION, 1))
    except (TypeError, ValueError):  # a text or a list: no orientation, and no reason to refuse the pixels
        return 1


def _samples(image: Any) -> int:
    """That :func:`converted` will give, by the header alone."""
    if image.mode in CONVERTED and image.mode != "1":
        return 4 if "transparency" in image.info or image.mode == "PA" else 3
    return len(image.getbands())


class _Picture:
    """Frames of a file that Pillow decodes."""

    def __init__(self, path: Path) -> None:
        self._path, self.warnings = path, list[str]()
        with open_picture(path) as image:
            columns, rows = image.size
            self.count, self.samples = getattr(image, "n_frames", 1), _samples(image)
            if image.format == "MPO":
                self.warnings.append(f"{self.count} pictures in it; the first one was read")
                self.count = 1
            depth = {"I": 4, "F": 4}.get(image.mode, 2 if image.mode.startswith("I;16") else 1)
            check_extent(path, (columns, rows), self.count, self.samples, depth)
            self.dtype = np.dtype({1: "u1", 2: "u2"}.get(depth, "f4" if image.mode == "F" else "i4"))
            self._orientation = _orientation(path, image)
        self.size = (rows, columns) if self._orientation in (5, 6, 7, 8) else (columns, rows)

    def frame(self, index: int) -> np.ndarray:
        with damage_told(self._path), open_picture(self._path) as image:
            if index:
                image.seek(index)
            image.load()
            return planes(oriented(converted(image), self._orientation))

    def close(self) -> None:
        """Nothing is kept open between frames."""


class _DeepPng:
    """A PNG of 16 bits with colours or alpha: Pillow would keep the upper 8 bits of it, of 12-bit content 4."""

    count, dtype = 1, np.dtype(np.uint16)

    def __init__(self, path: Path, colour_type: int) -> None:
        self._path, self.warnings = path, list[str]()
        self.samples = {2: 3, 4: 2, 6: 4}[colour_type]
        with open_picture(path) as image:
            self.size = image.size
            check_extent(path, self.size, 1, self.samples, 2)
            self._orientation = _orientation(path, image)
        if self._orientation in (5, 6, 7, 8):
            self.size = self.size[::-1]

    def frame(self, index: int) -> np.ndarray:
        import imagecodecs

        with damage_told(self._path):
            array = imagecodecs.png_decode(self._path.read_bytes())
            return planes(oriented(array, self._orientation))[: self.samples]

    def close(self) -> None:
        """Nothing is kept open between frames."""
