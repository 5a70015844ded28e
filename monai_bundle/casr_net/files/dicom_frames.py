"""Frames of a DICOM file: stored values, read and decoded when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

try:
    from pydicom.pixels import convert_color_space
except ImportError:  # pydicom 2.4, which MONAI Label 0.8.5 needs
    from pydicom.pixel_data_handlers.util import convert_color_space  # type: ignore[no-redef]

from ..errors import DataError, shown
from .frames import MAX_FILE_BYTES, check_extent, spool
from .pixeldata.coded import RLEPixels, StreamPixels
from .pixeldata.codestreams import UndecodableError
from .pixeldata.encapsulation import find_frames, read_items
from .pixeldata.header import PixelPlace, inflated, read_header
from .pixeldata.image_pixel import ImagePixel, describe_pixels
from .pixeldata.native import NativePixels, count_frames
from .pixeldata.parts import FileParts
from .pixeldata.stored_bits import StoredBits, stored_bits

__all__ = ["DicomFrames", "PixelPlace", "read_header"]

_ITEM = b"\xfe\xff\x00\xe0"
_PICTURES = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)}


class DicomFrames:
    """The frames of a DICOM file, a :class:`casr_net.files.frames.FrameSource`.

    Opening reads the header, of compressed files also the heads of their items, and of files whose HighBit or unused
    bits leave a doubt one to three frames. Values leave as PS3.3 C.7.6.3 means them: shifted and sign extended by
    HighBit, BitsStored and PixelRepresentation, colours as RGB, indices of a palette as they are. No LUT is applied.

    Args:
        path: the file.
        header: its data set, and
        place: the place of its pixel data, of :func:`casr_net.files.pixeldata.header.read_header`.

    Attributes:
        count, size, samples, dtype: as the protocol has them.
        bits: that the values use, such as 12; 0 for floating-point pixels.
        pixels: words of the frames, as the file has them.
        photometric: of the values: "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR" or "RGB".
        warnings: what was not as the header states, one line each. Frames that decoders complain of come later.

    Raises:
        DataError: when the file is cut off, its pixels cannot be told or are of a kind that is not supported, or the
            limits of :func:`casr_net.files.frames.check_extent` are exceeded.
    """

    def __init__(self, path: Path, header: Dataset, place: PixelPlace) -> None:
        self._path = path
        self._pixel, self.warnings = describe_pixels(path, header, place)
        self.size = self._pixel.columns, self._pixel.rows
        check_extent(path, self.size, 1, self._pixel.samples, max(self._pixel.allocated // 8, 1))
        self._parts = _open(path, place)
        self._probed: dict[int, np.ndarray] = {}
        try:
            self._open_pixels(place)
            check_extent(path, self.size, self.count, self.samples, self.pixels.words_dtype.itemsize)
            self._bits = self._decide_bits()
        except UndecodableError as error:
            self.close()
            raise DataError(f"{path}: its pixel data cannot be read: {error}.") from error
        except BaseException:
            self.close()
            raise
        self.bits = 0 if self._pixel.real else self._bits.bits
        self.photometric = self._photometric()

    @property
    def count(self) -> int:
        return self.pixels.count

    @property
    def samples(self) -> int:
        return self.pixels.samples

    @property
    def dtype(self) -> np.dtype:
        words = self.pixels.words_dtype
        return np.dtype(f"i{words.itemsize}") if self._bits.signed and words.kind == "u" else words

    def frame(self, index: int) -> np.ndarray:
        words = self._words(index)
        values = words if self._pixel.real else self._bits.values(words)
        if self.samples == 3 and self._is_ybr():
            values = convert_color_space(values, "YBR_FULL", "RGB")
        return np.ascontiguousarray(values.transpose(2, 1, 0))

    def close(self) -> None:
        self._parts.close()

    def _open_pixels(self, place: PixelPlace) -> None:
        pixel, parts = self._pixel, self._parts
        self.pixels: NativePixels | RLEPixels | StreamPixels
        if place.length is not None and place.offset + place.length > parts.size:
            raise DataError(
                f"{self._path}: the file is cut off: {parts.size} bytes, but its header states "
                f"{place.offset + place.length}."
            )
        if place.length is not None and not self._is_encapsulated(place.offset, place.length):
            self._open_native(place, place.length)
            return
        rle = pixel.syntax == RLELossless
        table, fragments, ended = read_items(self._path, parts.stream, place.offset, rle)
        if not rle and pixel.syntax.is_compressed and str(pixel.syntax) not in _PICTURES:
            raise DataError(
                f"{self._path}: its transfer syntax {shown(pixel.syntax.name)} is not supported; convert the file to "
                "an uncompressed one."
            )
        tables = [pixel.offset_table, table]
        frames, warnings = find_frames(self._path, parts.stream, fragments, tables, pixel.frames, ended)
        self.warnings += warnings
        if rle:
            self.pixels = RLEPixels(parts, frames, pixel)
            self._compare_samples("RLE")
            return
        self.pixels = StreamPixels(parts, frames, pixel)
        self.pixels.complaints = self.warnings
        self._compare(self.pixels)

    def _open_native(self, place: PixelPlace, length: int) -> None:
        pixel = self._pixel = self._as_long_as(length)
        if pixel.samples == 3 and pixel.photometric.startswith("YBR") and not self._is_ybr():
            raise DataError(
                f"{self._path}: PhotometricInterpretation {shown(pixel.photometric)} is not supported without "
                "compression."
            )
        if pixel.halved and pixel.columns % 2:
            raise DataError(f"{self._path}: YBR_FULL_422 with {pixel.columns} columns; their number has to be even.")
        count, warnings = count_frames(self._path, pixel, length)
        self.warnings += warnings
        swapped = pixel.big_endian and place.vr == "OW" and pixel.allocated <= 8
        self.pixels = NativePixels(self._parts, place.offset, pixel, count, swapped)

    def _as_long_as(self, length: int) -> ImagePixel:
        """The description, mended where the length of the pixel data contradicts it: software that has decompressed a
        file may leave YBR_FULL_422 in its header, or BitsAllocated 8 beside BitsStored 12."""
        pixel, pixels = self._pixel, (self._pixel.frames or 1) * self._pixel.rows * self._pixel.columns
        if pixel.halved and length in (3 * pixels, 3 * pixels + 1):
            self.warnings.append("YBR_FULL_422 is stated, but the pixels have three bytes each; read as YBR_FULL")
            return replace(pixel, photometric="YBR_FULL")
        if pixel.allocated == 8 < pixel.stored and pixel.samples == 1 and length == 2 * pixels:
            self.warnings.append(
                f"BitsAllocated is 8 with BitsStored {pixel.stored}, and the pixel data hold two bytes a pixel; read so"
            )
            return replace(pixel, allocated=16)
        return pixel

    def _compare(self, pixels: StreamPixels) -> None:
        """Say where the pictures are not what the header calls them; they are right."""
        picture, pixel = pixels.picture, self._pixel
        self._compare_samples(picture.kind)
        if not pixel.syntax.is_compressed:
            self.warnings.append(
                f"the transfer syntax is {shown(pixel.syntax.name)}, but the pixels are {picture.kind}"
            )

    def _compare_samples(self, kind: str) -> None:
        pixel, found = self._pixel, "grey" if self.samples == 1 else "colours"
        if self.samples != pixel.samples:
            stated = f"SamplesPerPixel {pixel.samples}, {pixel.photometric or 'no PhotometricInterpretation'}"
            self.warnings.append(f"the header states {shown(stated)}, but the {kind} pictures are {found}")

    def _decide_bits(self) -> StoredBits:
        pixel, pixels = self._pixel, self.pixels
        if pixel.real:
            return StoredBits(pixel.allocated, True)
        container, signed = pixel.allocated, pixel.signed
        probes: tuple[int, ...] = (0,)
        if isinstance(pixels, StreamPixels):
            container, signed = pixels.picture.precision, signed or pixels.picture.signed
        elif isinstance(pixels, NativePixels):
            probes = (0, pixels.count // 2, pixels.count - 1)
        doubt = pixel.stored < container or pixel.high != pixel.stored - 1
        for index in dict.fromkeys(probes) if doubt and container > 1 else ():
            try:
                self._probed[index] = pixels.words(index)
            except (UndecodableError, DataError):  # said when that frame is asked for; the header decides
                continue
        words = list(self._probed.values())
        bits, warnings = stored_bits(pixel.stored, pixel.high, signed, pixel.overlays, words, container)
        self.warnings += warnings
        if isinstance(pixels, NativePixels):
            self._probed.clear()  # read again faster than kept
        return bits

    def _words(self, index: int) -> np.ndarray:
        if not 0 <= index < self.count:
            raise IndexError(f"frame {index} of {self.count}")
        probed = self._probed.pop(index, None)
        if probed is not None:
            return probed
        try:
            return self.pixels.words(index)
        except UndecodableError as error:
            raise DataError(f"{self._path}: frame {index + 1} of {self.count} cannot be decoded: {error}.") from error

    def _is_ybr(self) -> bool:
        """Whether the words are YCbCr: libjpeg has made RGB of it, and JPEG 2000 says itself what it transformed."""
        if isinstance(getattr(self, "pixels", None), StreamPixels):
            picture = self.pixels.picture  # type: ignore[union-attr]
            if picture.kind == "JPEG" and picture.precision == 8:
                return False
        return self._pixel.photometric in ("YBR_FULL", "YBR_FULL_422") and self._pixel.allocated == 8

    def _photometric(self) -> str:
        if self.samples == 3:
            return "RGB"
        stated = self._pixel.photometric
        return stated if stated in ("MONOCHROME1", "PALETTE COLOR") else "MONOCHROME2"

    def _is_encapsulated(self, offset: int, length: int) -> bool:
        """Pixel data of a stated length in a compressed syntax: items all the same, or plain pixels."""
        if not self._pixel.syntax.is_compressed:
            return False
        if length >= 8 and self._parts.read(offset, 4) == _ITEM:
            return True
        if length == -(-self._pixel.frame_bits * (self._pixel.frames or 1) // 8):
            name = shown(self._pixel.syntax.name)
            self.warnings.append(f"the transfer syntax is {name}, but the pixels are not compressed")
            return False
        raise DataError(
            f"{self._path}: its transfer syntax is {shown(self._pixel.syntax.name)}, but its {length} bytes of pixel "
            "data are neither compressed frames nor plain pixels."
        )


def _open(path: Path, place: PixelPlace) -> FileParts:
    try:
        if place.deflated_at is None:
            return FileParts(path, open(path, "rb"))  # noqa: SIM115 - FileParts closes it
        start = place.deflated_at
        plain = spool(lambda stream: inflated(path, start, MAX_FILE_BYTES, stream), path)
        parts = FileParts(path, open(plain, "rb"))  # noqa: SIM115 - FileParts closes it
        try:
            plain.unlink()
        except PermissionError:  # Windows keeps open files
            parts.delete_on_close(plain)
        return parts
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or type(error).__name__}).") from error
