"""Where the frames of a file come from: the header tells size and count, a frame is decoded when it is asked for."""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ..errors import DataError
from .intensity import Display

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_FRAMES",
    "MAX_FRAME_BYTES",
    "MAX_SIDE",
    "MIN_SIDE",
    "ArrayFrames",
    "FrameSource",
    "MirroredFrames",
    "Opened",
    "PlainFrames",
    "array_frames",
    "check_extent",
    "spool",
]

MIN_SIDE = 32
MAX_SIDE = 4096  # detectors have at most about 2048 x 2048 pixels; far larger files are no angiograms
MAX_FRAMES = 20_000  # more than twenty minutes at 15 frames a second
MAX_FRAME_BYTES = 256 * 2**20
MAX_FILE_BYTES = 16 * 2**30
"""Of all frames of a file, decoded: what a stream that can only be read from its start may take on the disk."""


class FrameSource(Protocol):
    """The frames of one open file.

    Attributes:
        count: number of frames.
        size: columns and rows.
        samples: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
        dtype: of the stored values, in the machine's byte order.
    """

    @property
    def count(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def samples(self) -> int: ...

    @property
    def dtype(self) -> np.dtype: ...

    def frame(self, index: int) -> np.ndarray:
        """(samples, X, Y) of the stored values of one frame, from 0; decoded now and not kept.

        Raises:
            DataError: when the frame is damaged.
        """

    def close(self) -> None:
        """Let go of the file. Nothing can be asked afterwards; a second call does nothing."""


@dataclass
class Opened:
    """What a reader of one format gives: the frames, and what is needed to show them right and to write on their grid.

    Attributes:
        source: the frames.
        format: "raster", "nifti", "nrrd", "metaimage", "dicom" or "array".
        affine: (4, 4), from index (x, y, z) to millimetres, RAS; never singular. A file that states no geometry gets
            unit axes of LPS, as in ITK and 3D Slicer, so that masks lie on their image there.
        bits: that the values can use, where the full range is meant to be seen, such as 8; 0 where it is not known.
        inverted: high values are dark.
        display: of DICOM, which states more than bits and polarity: gives a frame's :class:`intensity.Display`.
        header: what later steps may ask for, by the field's own names (DICOM keywords).
        warnings: what was ignored, completed or replaced, one line each, without the path.
        placed: whether the file itself states where its pixels lie (directions or origin; of NIfTI a qform or sform
            code above 0), so that masks can be compared by place; not where only a spacing is known.
    """

    source: FrameSource
    format: str
    affine: np.ndarray
    bits: int = 0
    inverted: bool = False
    display: Callable[[int], Display] | None = None
    header: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    placed: bool = False


class ArrayFrames:
    """Frames of an array in memory, (samples, X, Y, frames)."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        self.samples, columns, rows, self.count = pixels.shape
        self.size, self.dtype = (columns, rows), self._pixels.dtype

    def frame(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self._pixels[..., index])

    def close(self) -> None:
        self._pixels = self._pixels[..., :0]


class MirroredFrames:
    """Frames of another source, mirrored.

    Args:
        source: the frames.
        along, across: mirrored along X, along Y.
    """

    def __init__(self, source: FrameSource, along: bool, across: bool) -> None:
        self._source, self._along, self._across = source, along, across
        self.count, self.samples, self.size, self.dtype = source.count, source.samples, source.size, source.dtype

    def frame(self, index: int) -> np.ndarray:
        return self._source.frame(index)[:, :: -1 if self._along else 1, :: -1 if self._across else 1]

    def close(self) -> None:
        self._source.close()


class PlainFrames:
    """Frames that lie as plain values in a file: they are read from the disk one by one.

    Args:
        path: the file; it may be deleted once it is open here (see :func:`spool`).
        offset: of the first value, in bytes.
        dtype: of the values, byte order included.
        shape: of the array in the file, the slowest axis first.
        axes: for each of samples, X, Y and frames the axis of ``shape``; None for one that is not there.

    Raises:
        DataError: when the file is shorter than that.
    """

    def __init__(
        self,
        path: Path,
        offset: int,
        dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int | None, int, int, int | None],
    ) -> None:
        needed = offset + math.prod(shape) * dtype.itemsize
        there = path.stat().st_size
        if there < needed:
            raise DataError(f"{path}: the file is cut off: {there} bytes, but its header states {needed}.")
        self._stream = open(path, "rb")  # noqa: SIM115 - open as long as this object
        self._offset, self._stored, self._shape, self._axes = offset, dtype, shape, axes
        self.samples, columns, rows, self.count = (1 if axis is None else shape[axis] for axis in axes)
        self.size, self.dtype = (columns, rows), dtype.newbyteorder("=")

    def frame(self, index: int) -> np.ndarray:
        *others, frames = self._axes
        kept = [axis for axis in others if axis is not None]
        if frames is None or frames == 0:
            shape = self._shape if frames is None else self._shape[1:]
            self._stream.seek(self._offset + index * math.prod(shape) * self._stored.itemsize)
            plane = np.fromfile(self._stream, self._stored, math.prod(shape)).reshape(shape)
            kept = kept if frames is None else [axis - 1 for axis in kept]
        else:
            # Mapped anew for each frame: pages of a mapped file that were looked at pile up in the process.
            whole = np.memmap(self._stream, self._stored, "r", self._offset, self._shape)
            plane = np.array(whole.take(index, frames))
            kept = [axis - (axis > frames) for axis in kept]
        ordered = plane.transpose(kept)
        return np.array(ordered if self._axes[0] is not None else ordered[None], self.dtype, order="C")

    def close(self) -> None:
        self._stream.close()


def array_frames(frames: np.ndarray) -> FrameSource:
    """The source for an array (frames, rows, columns). One that is mapped from a file (``np.memmap``) is read from it
    frame by frame, since the pages that were looked at would pile up in the process.

    Raises:
        DataError: when the file has become shorter.
    """
    base: object = frames.base  # of a part of one another array: it does not tell its place
    mapped = isinstance(base, mmap.mmap) and frames.size > 0
    if not mapped or not isinstance(frames, np.memmap) or not isinstance(frames.filename, (str, Path)):
        return ArrayFrames(frames.transpose(2, 1, 0)[None])
    ordered = frames.flags.c_contiguous
    shape = frames.shape if ordered else frames.shape[::-1]
    axes = (None, 2, 1, 0) if ordered else (None, 0, 1, 2)
    return PlainFrames(Path(frames.filename), frames.offset, frames.dtype, shape, axes)


def check_extent(path: Path, size: tuple[int, int], frames: int, samples: int, itemsize: int) -> None:
    """Refuse, by the header alone, what no angiogram can be, before memory is taken for it.

    Args:
        path: named in the error.
        size: columns and rows.
        frames, samples, itemsize: numbers of frames, of samples a pixel and of bytes a sample.

    Raises:
        DataError: naming the value and the limit.
    """
    columns, rows = size
    if min(size) < 1 or max(size) > MAX_SIDE:
        raise DataError(f"{path}: {columns} x {rows} pixels; an angiogram has {MIN_SIDE} to {MAX_SIDE} on each side.")
    if not 1 <= frames <= MAX_FRAMES:
        raise DataError(f"{path}: {frames} frames; a cine has 1 to {MAX_FRAMES}.")
    frame = columns * rows * samples * itemsize
    if frame > MAX_FRAME_BYTES:
        raise DataError(f"{path}: one frame takes {frame >> 20} MiB; the limit is {MAX_FRAME_BYTES >> 20} MiB.")
    if frame * frames > MAX_FILE_BYTES:
        raise DataError(f"{path}: the frames take {frame * frames >> 30} GiB; the limit is {MAX_FILE_BYTES >> 30} GiB.")


def spool(write: Callable[[BinaryIO], object], path: Path) -> Path:
    """A temporary file that ``write`` fills, for streams that can only be read from their start.

    The caller opens it and then deletes it (``PlainFrames`` keeps a deleted file readable; on Windows the deletion
    waits until the source is closed).

    Raises:
        DataError: when the disk is full; naming ``path``, the file that is read.
    """
    with tempfile.NamedTemporaryFile(prefix="casr-", suffix=".frames", delete=False) as stream:
        try:
            write(stream)  # type: ignore[arg-type]
        except BaseException as error:
            stream.close()
            Path(stream.name).unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno == 28:
                raise DataError(f"{path}: no room for its decoded frames in {tempfile.gettempdir()}.") from error
            raise
    return Path(stream.name)
