"""Pixel data of a DICOM file that are compressed: each frame is put together from its fragments and decoded."""

from __future__ import annotations

import numpy as np

from .codestreams import Codestream, UndecodableError, describe
from .decoding import decode_stream
from .encapsulation import Segments
from .image_pixel import ImagePixel
from .parts import FileParts
from .rle import decode_rle

__all__ = ["RLEPixels", "StreamPixels"]

_HEAD = 2**16
_COMPLAINTS = 5


class RLEPixels:
    """Frames of RLE pixel data, decoded in this process. Colours that the header calls grey are colours: their first
    frame has three times as many segments.

    Args:
        parts: the open file.
        frames: where each frame lies.
        pixel: the header's description.
    """

    def __init__(self, parts: FileParts, frames: list[Segments], pixel: ImagePixel) -> None:
        self._parts, self._frames, self._pixel = parts, frames, pixel
        self.count, self.samples = len(frames), pixel.samples
        self.words_dtype = np.dtype(f"u{max(pixel.allocated // 8, 1)}")
        offset, length = frames[0][0]
        if parts.read(offset, min(length, 4)) == bytes([3 * self.words_dtype.itemsize, 0, 0, 0]):
            self.samples = 3

    def words(self, index: int) -> np.ndarray:
        """(rows, columns, samples) words of one frame; colours as they are coded.

        Raises:
            UndecodableError: when the frame is damaged.
        """
        pixel = self._pixel
        data = b"".join(self._parts.read(*part) for part in self._frames[index])
        return decode_rle(data, (pixel.columns, pixel.rows), self.samples, self.words_dtype.itemsize)


class StreamPixels:
    """Frames of JPEG, JPEG Lossless, JPEG-LS or JPEG 2000 pixel data, decoded in a process of their own.

    The pictures themselves say how many samples and bits they have; a header that says otherwise is not believed. A
    picture of another size than the header's is refused before it is decoded.

    Args:
        parts: the open file.
        frames: where each frame lies.
        pixel: the header's description.

    Attributes:
        picture: description of the first frame whose head can be read.
        complaints: what decoders said of frames that they decoded all the same, at most a handful.

    Raises:
        UndecodableError: when the head of no frame can be read, or its size is not the header's.
    """

    def __init__(self, parts: FileParts, frames: list[Segments], pixel: ImagePixel) -> None:
        self._parts, self._frames, self._pixel = parts, frames, pixel
        self.count = len(frames)
        self.complaints: list[str] = []
        self.picture = self._first_picture()
        self._check_size(self.picture)
        self.samples = self.picture.samples
        self.words_dtype = np.dtype(f"u{self.picture.itemsize}")

    def words(self, index: int) -> np.ndarray:
        """(rows, columns, samples) words of one frame; colours of 8-bit JPEG are RGB, others as they are coded.

        Raises:
            UndecodableError: when the frame is damaged, or of another kind than the others.
        """
        data = self.stream(index)
        picture = describe(data)
        self._check_size(picture)
        if (picture.samples, picture.itemsize) != (self.samples, self.picture.itemsize):
            raise UndecodableError(
                f"it has {picture.samples} x {picture.precision} bits a pixel, other frames have {self.samples} x "
                f"{self.picture.precision}"
            )
        words, complaint = decode_stream(data, picture, raw_colours=self._pixel.photometric == "RGB")
        if complaint and len(self.complaints) < _COMPLAINTS:
            self.complaints.append(f"frame {index + 1} of {self.count} may be damaged: {complaint}")
        return words

    def stream(self, index: int) -> bytes:
        """The compressed picture of one frame, put together from its fragments."""
        return b"".join(self._parts.read(*part) for part in self._frames[index])

    def _first_picture(self) -> Codestream:
        problem: UndecodableError | None = None
        for index in dict.fromkeys((0, self.count // 2, self.count - 1)):
            offset, length = self._frames[index][0]
            try:
                return describe(self._parts.read(offset, min(length, _HEAD)))
            except UndecodableError as error:
                problem = problem or error
            try:  # long comments may come before the picture's description
                return describe(self.stream(index))
            except UndecodableError:
                continue
        raise problem or UndecodableError("no frame is there")

    def _check_size(self, picture: Codestream) -> None:
        pixel = self._pixel
        if (picture.columns, picture.rows) != (pixel.columns, pixel.rows):
            raise UndecodableError(
                f"its {picture.kind} stream has {picture.columns} x {picture.rows} pixels, but Columns and Rows are "
                f"{pixel.columns} x {pixel.rows}"
            )
