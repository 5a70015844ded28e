"""Values that cannot be read in place: compressed, written as text, in several files, or with the frames interleaved.

They are decoded once, block by block, into a temporary file from which single frames are read.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..errors import DataError, shown
from .frames import PlainFrames, spool

__all__ = ["ENCODINGS", "Part", "StreamFrames", "open_values"]

BLOCK = 2**20
TRANSPOSED = 32 * 2**20
"""Bytes that are held while frames are brought into order."""


@dataclass(frozen=True)
class Part:
    """One file that holds values, or some of them.

    Attributes:
        path: the file.
        offset: bytes before the values, or before the compressed stream; -1: the values are the last ones of the file.
        skip: bytes to pass over once the stream is decompressed.
    """

    path: Path
    offset: int = 0
    skip: int = 0


def _raw(stream: BinaryIO, dtype: np.dtype) -> Iterator[bytes]:
    return iter(lambda: stream.read(BLOCK), b"")


def _gzip(stream: BinaryIO, dtype: np.dtype) -> Iterator[bytes]:
    return _raw(gzip.GzipFile(fileobj=stream), dtype)  # type: ignore[arg-type]


def _bzip2(stream: BinaryIO, dtype: np.dtype) -> Iterator[bytes]:
    return _raw(bz2.BZ2File(stream), dtype)  # type: ignore[arg-type]


def _zlib(stream: BinaryIO, dtype: np.dtype) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    while not inflate.eof and (data := inflate.unconsumed_tail or stream.read(BLOCK)):
        yield inflate.decompress(data, BLOCK)
    while not inflate.eof and (data := inflate.decompress(inflate.unconsumed_tail, BLOCK)):
        yield data


def _text(stream: BinaryIO, dtype: np.dtype) -> Iterator[bytes]:
    rest = b""
    for block in _raw(stream, dtype):
        cut = max((rest + block).rfind(separator) for separator in b" \n\t\r,") + 1
        words, rest = (rest + block)[:cut], (rest + block)[cut:]
        if len(rest) > BLOCK:
            raise ValueError("no numbers")
        yield _numbers(words, dtype)
    yield _numbers(rest, dtype)


def _numbers(words: bytes, dtype: np.dtype) -> bytes:
    values = np.array(words.replace(b",", b" ").split(), "S")
    return values.astype(float).astype(dtype).tobytes() if values.size else b""


def _hex(stream: BinaryIO, dtype: np.dtype) -> Iterator[bytes]:
    rest = b""
    for block in _raw(stream, dtype):
        digits = rest + b"".join(block.split())
        even = len(digits) // 2 * 2
        yield bytes.fromhex(digits[:even].decode("ascii"))
        rest = digits[even:]


ENCODINGS: dict[str, Callable[[BinaryIO, np.dtype], Iterator[bytes]]] = {
    "raw": _raw, "gzip": _gzip, "bzip2": _bzip2, "zlib": _zlib, "text": _text, "hex": _hex,
}  # fmt: skip


class _Reader(io.RawIOBase):
    """What a generator yields, as a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def open_values(
    path: Path,
    parts: list[Part],
    encoding: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    axes: tuple[int | None, int, int, int | None],
) -> PlainFrames | StreamFrames:
    """The frames of values that a header describes, read in place where that is possible.

    Args:
        path: the file with the header, named in errors.
        parts: where the values lie, the first ones first; all parts hold as many.
        encoding: one of :data:`ENCODINGS`.
        dtype, shape, axes: as :class:`PlainFrames` takes them.

    Raises:
        DataError: when values are missing, or there are frames that the header does not know of.
    """
    frames = axes[3]
    if len(parts) == 1 and encoding == "raw" and (frames is None or frames == 0):
        (part,) = parts
        needed = math.prod(shape) * dtype.itemsize
        if not part.path.is_file():
            raise DataError(f"{path}: its data file {shown(part.path.name)} does not exist.")
        there = part.path.stat().st_size
        offset = part.offset + part.skip if part.offset >= 0 else max(there - needed, 0)
        _check_end(path, there - offset - needed, needed, 1 if frames is None else shape[0])
        return PlainFrames(part.path, offset, dtype, shape, axes)
    return StreamFrames(path, parts, encoding, dtype, shape, axes)


def _check_end(path: Path, left: int, needed: int, frames: int) -> None:
    """Some bytes at the end are padding; a whole frame is one that the header does not count."""
    if left >= needed // frames:
        more = left // (needed // frames)
        raise DataError(f"{path}: the header states {frames} frame(s), but the data hold {frames + more}.")


class StreamFrames:
    """Frames that must be decoded together, which happens when the first is asked for. See :func:`open_values`."""

    def __init__(
        self,
        path: Path,
        parts: list[Part],
        encoding: str,
        dtype: np.dtype,
        shape: tuple[int, ...],
        axes: tuple[int | None, int, int, int | None],
    ) -> None:
        self._path, self._parts, self._encoding = path, parts, encoding
        self._stored, self._shape, self._axes = dtype, shape, axes
        self.samples, columns, rows, self.count = (1 if axis is None else shape[axis] for axis in axes)
        self.size, self.dtype = (columns, rows), dtype.newbyteorder("=")
        self._plain: PlainFrames | None = None
        self._failure: DataError | None = None

    def frame(self, index: int) -> np.ndarray:
        """(samples, X, Y).

        Raises:
            DataError: when the stream is damaged or too short, or the disk is full.
        """
        if self._failure is not None:  # not decoded anew for each frame
            raise self._failure
        if self._plain is None:
            try:
                self._plain = self._decode()
            except DataError as error:
                self._failure = error
                raise
        return self._plain.frame(index)

    def close(self) -> None:
        if self._plain is not None:
            self._plain.close()

    def _decode(self) -> PlainFrames:
        *others, frames = self._axes
        shape, axes = self._shape, self._axes
        if frames:  # brought to the front; the other axes keep their order
            shape = (shape[frames], *shape[:frames], *shape[frames + 1 :])
            moved = [axis if axis is None or axis > frames else axis + 1 for axis in others]
            axes = (moved[0], moved[1], moved[2], 0)  # type: ignore[assignment]
        file = spool(self._fill, self._path)
        try:
            return PlainFrames(file, 0, self._stored, shape, axes)
        finally:
            _forget(file)

    def _fill(self, target: BinaryIO) -> None:
        needed = math.prod(self._shape) * self._stored.itemsize
        with contextlib.closing(cast(BinaryIO, io.BufferedReader(_Reader(self._blocks(needed)), BLOCK))) as stream:
            if self._axes[3]:
                self._transpose(stream, target)
            else:
                while needed and (block := stream.read(min(needed, BLOCK))):
                    target.write(block)
                    needed -= len(block)
                if needed:
                    raise self._cut_off()
            stream.read(1)  # nothing comes, but the checksum at the end of the stream is looked at

    def _transpose(self, stream: BinaryIO, target: BinaryIO) -> None:
        frames = self._axes[3]
        assert frames is not None
        outer, count = math.prod(self._shape[:frames]), self._shape[frames]
        inner = math.prod(self._shape[frames + 1 :]) * self._stored.itemsize
        step = max(1, TRANSPOSED // (count * inner))
        for first in range(0, outer, step):
            size = min(step, outer - first)
            data = stream.read(size * count * inner)
            if len(data) < size * count * inner:
                raise self._cut_off()
            block = np.frombuffer(data, np.uint8).reshape(size, count, inner)
            for index in range(count):
                target.seek((index * outer + first) * inner)
                target.write(block[:, index].tobytes())

    def _cut_off(self) -> DataError:
        return DataError(f"{self._path}: the file is cut off: it holds fewer values than its header states.")

    def _blocks(self, needed: int) -> Iterator[bytes]:
        """All values of all parts, and not more than are needed."""
        share = needed // len(self._parts)
        for part in self._parts:
            try:
                with open(part.path, "rb") as stream:
                    yield from self._part(stream, part, share)
            except FileNotFoundError as error:
                raise DataError(f"{self._path}: its data file {shown(part.path.name)} does not exist.") from error
            except (zlib.error, EOFError, OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                reason = shown(" ".join(str(error).split()), 100).strip("'\"")
                raise DataError(
                    f"{self._path}: the {self._encoding} data are damaged or cut off ({reason})."
                ) from error

    def _part(self, stream: BinaryIO, part: Part, share: int) -> Iterator[bytes]:
        stream.seek(max(part.path.stat().st_size - share, 0) if part.offset < 0 else part.offset)
        skip, left = part.skip, share
        for block in ENCODINGS[self._encoding](stream, self._stored):
            data = block[skip:]
            skip -= min(skip, len(block))
            if left > 0:
                yield data[:left]
            left -= len(data)
            # Read to the end, since a checksum is there; but not for ever.
            _check_end(self._path, -left, share, max(self.count // len(self._parts), 1))


def _forget(file: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows keeps an open file; the system clears its temporary folder
        file.unlink()
