"""Header of a DICOM file, read up to its pixel data, and where those lie."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ...errors import DataError, shown

__all__ = ["DOUBLE_FLOAT_PIXELS", "FLOAT_PIXELS", "PIXELS", "PixelPlace", "inflated", "number", "read_header", "text"]

FLOAT_PIXELS, DOUBLE_FLOAT_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_quiet = threading.Lock()
"""Filters of warnings are the process's: two threads that change and restore them would leave them changed."""
_INFLATED_HEADER = 64 * 2**20
"""Bytes of a deflated data set that are inflated to find its pixel data; headers have some kilobytes."""


@dataclass(frozen=True)
class PixelPlace:
    """Where the pixel data of a file lie.

    Attributes:
        offset: of the first byte of the value, in the file; of a deflated file, in its inflated data set.
        length: in bytes, as the header states it; None where it is undefined, as of encapsulated (compressed) pixels.
        vr: value representation; "" in an implicit encoding.
        tag: ``PIXELS``, ``FLOAT_PIXELS`` or ``DOUBLE_FLOAT_PIXELS``.
        deflated_at: byte of the file where its deflated data set begins; None in other transfer syntaxes.
    """

    offset: int
    length: int | None
    vr: str
    tag: int
    deflated_at: int | None = None


def read_header(path: Path) -> tuple[Dataset, PixelPlace | None]:
    """Parse a DICOM file up to its pixel data, which are not read (PS3.10; deflated data sets: PS3.5 A.5).

    Old archives hold objects without preamble, without file meta information or without a stated transfer syntax:
    without the marker "DICM" a file must have Rows and pixel data, and the transfer syntax is filled in as found.

    Returns:
        The data set with its file meta information, and the place of its pixel data: None for an object without.

    Raises:
        DataError: for a file that is missing, cut off in its header, damaged or no DICOM file.
    """
    try:
        # pydicom warns, on the user's terminal, of each value that breaks a rule; what matters is checked where used.
        with open(path, "rb") as file, _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data, place = _parse(path, _Bounded(file))  # type: ignore[arg-type]
            _convert(data)
            return data, place
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or type(error).__name__}).") from error
    except MemoryError as error:
        raise DataError(f"{path}: the DICOM header does not fit into memory.") from error
    except Exception as error:  # pydicom raises whatever it meets in a damaged header
        raise DataError(f"{path}: the DICOM header is damaged ({type(error).__name__} while it was read).") from error


def number(path: Path, data: Dataset, keyword: str, default: int | None = None) -> int:
    """An integer attribute; ``default`` stands for one that is absent or empty.

    Raises:
        DataError: when it is no integer, or absent without a default.
    """
    try:
        value = data.get(keyword)
        if value is None or value == "":
            if default is None:
                raise DataError(f"{path}: the DICOM attribute {keyword} is missing.")
            return default
        return int(value)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: the DICOM attribute {keyword} is {_raw(data, keyword)}, no number.") from error


def text(data: Dataset, keyword: str) -> str:
    """A text attribute; empty where it is absent or damaged."""
    try:
        value = data.get(keyword)
        return "" if value is None else str(value).strip()
    except Exception:
        return ""


def inflated(path: Path, start: int, limit: int, stream: BinaryIO) -> None:
    """Write the deflated data set that begins at byte ``start`` to ``stream``, at most ``limit`` bytes of it.

    Raises:
        DataError: for a damaged stream, or one that holds more.
    """
    engine, written = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with open(path, "rb") as source:
        source.seek(start)
        while not engine.eof:
            part = engine.unconsumed_tail or source.read(2**20)
            if not part:
                raise DataError(f"{path}: the file is cut off: its deflated data set has no end.")
            try:
                plain = engine.decompress(part, 2**20)
            except zlib.error as error:
                raise DataError(f"{path}: its deflated data set is damaged.") from error
            written += len(plain)
            if written > limit:
                raise DataError(f"{path}: its deflated data set holds more than {limit >> 30} GiB.")
            stream.write(plain)


class _Bounded:
    """A file in which a read of a damaged length takes no more memory than the file has bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.name = file, file.name
        self._size = file.seek(0, io.SEEK_END)
        self.seek, self.tell = file.seek, file.tell
        file.seek(0)

    def read(self, count: int = -1) -> bytes:
        there = max(self._size - self._file.tell(), 0)
        return self._file.read(there if count < 0 else min(count, there))


def _parse(path: Path, stream: BinaryIO) -> tuple[Dataset, PixelPlace | None]:
    try:
        read_preamble(stream, force=False)
        marked = True
    except InvalidDicomError:
        marked = False
        stream.seek(0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    start = stream.tell()
    place: list[PixelPlace] = []
    if marked and str(meta.get("TransferSyntaxUID", "")) == DeflatedExplicitVRLittleEndian:
        content = _inflated_header(path, stream, start)
        data = read_partial(content, _stop(content, place, start), force=True)
        data.file_meta.update(meta)
    else:
        content = stream
        content.seek(0)
        data = read_partial(content, _stop(content, place, None), force=True)
    if not marked and not ("Rows" in data and place):
        raise DataError(f"{path}: not a DICOM file (no DICM marker, no image).")
    if not data.file_meta.get("TransferSyntaxUID"):
        implicit, little = _encoding(data)
        if not little:
            data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        else:
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    if not place and _ends_early(data, content.seek(0, io.SEEK_END)):
        raise DataError(f"{path}: the file is cut off within its DICOM header.")
    return data, place[-1] if place else None


def _convert(data: Dataset) -> None:
    """Convert the values now, while warnings are off; pydicom does it when a value is first asked for."""
    for tag in list(data.keys()):
        if getattr(data.get_item(tag), "VR", None) != "SQ":
            with contextlib.suppress(Exception):  # stays as it was, and fails again where it is used
                data[tag]


def _stop(stream: BinaryIO, place: list[PixelPlace], deflated_at: int | None) -> Any:
    """Callback for pydicom: stop at the pixel data, which begin where the stream stands then."""

    def stop(tag: int, vr: str | None, length: int) -> bool:
        if tag not in (PIXELS, FLOAT_PIXELS, DOUBLE_FLOAT_PIXELS):
            return False
        length_or_none = None if length == _UNDEFINED else length
        place.append(PixelPlace(stream.tell(), length_or_none, str(vr or ""), int(tag), deflated_at))
        return True

    return stop


def _inflated_header(path: Path, stream: BinaryIO, start: int) -> BinaryIO:
    stream.seek(start)
    engine, content = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    part = stream.read(2**20)
    try:
        while part and content.tell() < _INFLATED_HEADER and not engine.eof:
            content.write(engine.decompress(part, _INFLATED_HEADER - content.tell()))
            part = stream.read(2**20)
    except zlib.error as error:
        raise DataError(f"{path}: its deflated data set is damaged.") from error
    content.seek(0)
    return content


def _ends_early(data: Dataset, size: int) -> bool:
    """Whether the last element does not end with the stream; pydicom takes what is there for its value."""
    if not len(data):
        return True
    last = data.get_item(max(data.keys()))
    place, length = getattr(last, "value_tell", None), getattr(last, "length", _UNDEFINED)
    return place is not None and length != _UNDEFINED and place + length != size


def _encoding(data: Dataset) -> tuple[bool | None, bool | None]:
    """Whether the file was read as implicit VR, and as little endian; pydicom 2.4 has other names for it."""
    if hasattr(data, "original_encoding"):
        return data.original_encoding
    return data.read_implicit_vr, data.read_little_endian


def _raw(data: Dataset, keyword: str) -> str:
    try:
        return shown(data.get_item(keyword).value)
    except Exception:
        return "damaged"
