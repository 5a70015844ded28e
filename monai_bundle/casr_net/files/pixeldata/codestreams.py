"""Compressed pictures inside DICOM files: what the head of a JPEG, JPEG-LS or JPEG 2000 stream says of the picture."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Codestream", "UndecodableError", "begins_stream", "describe", "split_streams"]

_JPEG, _JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_KINDS = {0xC0: "JPEG", 0xC1: "JPEG", 0xC2: "JPEG", 0xC3: "JPEG Lossless", 0xF7: "JPEG-LS"}
_FRAMES = {*range(0xC0, 0xD0), *_KINDS} - {0xC4, 0xC8, 0xCC}  # all "start of frame" markers
_JP2_HEADER = 64 * 1024


class UndecodableError(Exception):
    """Why a compressed frame gives no pixels; the caller adds file and frame."""


@dataclass(frozen=True)
class Codestream:
    """The picture in a stream, by its own head.

    Attributes:
        kind: "JPEG", "JPEG Lossless", "JPEG-LS" or "JPEG 2000".
        columns, rows, samples: its size; 1 or 3 samples a pixel.
        precision: bits a sample, 1 to 16.
        signed: whether samples are signed in the stream (JPEG 2000 only).
        marked: whether the stream says itself how its colours are coded (JFIF or Adobe marker, component names RGB).
        start: byte at which it begins: JPEG 2000 may come in a JP2 box.
    """

    kind: str
    columns: int
    rows: int
    samples: int
    precision: int
    signed: bool = False
    marked: bool = False
    start: int = 0

    @property
    def itemsize(self) -> int:
        """Bytes a decoded sample."""
        return 1 if self.precision <= 8 else 2


def begins_stream(head: bytes) -> bool:
    """Whether these first bytes of a fragment (12 are enough) start a picture: it is a new frame then."""
    return head.startswith((_JPEG, _JPEG_2000, b"\0\0\0\x0cjP  "))


def split_streams(fragment: bytes) -> list[int]:
    """Where in a fragment JPEG streams begin; some systems put all frames into one fragment.

    An end of image must come before the start of the next, so that a preview inside a picture is none.
    """
    starts, at = [0], fragment.find(b"\xff\xd9")
    while at >= 0:
        following = at + 2
        while fragment[following : following + 1] == b"\0":
            following += 1
        if fragment.startswith(_JPEG, following):
            starts.append(following)
        at = fragment.find(b"\xff\xd9", following)
    return starts


def describe(data: bytes) -> Codestream:
    """Read the head of a stream (ITU-T T.81 B.2, T.87 C.2, T.800 A.5); its pixels are not decoded.

    Args:
        data: the stream, or its first part up to the start of frame.

    Raises:
        UndecodableError: when this is no stream, or one that is not supported.
    """
    if data.startswith(b"\xff\xd8"):
        found = _jpeg(data)
    else:
        start = data.find(_JPEG_2000, 0, _JP2_HEADER)
        if start != 0 and not (start > 0 and data[4:8] == b"jP  "):
            raise UndecodableError("no JPEG or JPEG 2000 stream begins where it should")
        found = _jpeg_2000(data, start)
    if min(found.columns, found.rows) < 1:
        raise UndecodableError(f"its {found.kind} stream states {found.columns} x {found.rows} pixels")
    if found.samples not in (1, 3):
        raise UndecodableError(
            f"its {found.kind} stream has {found.samples} components; grey (1) and colour (3) are read"
        )
    return found


def _jpeg(data: bytes) -> Codestream:
    at, marked = 2, False
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise UndecodableError("its JPEG stream is damaged before the picture begins")
        marker = data[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in _FRAMES:
            return _frame(marker, data[at + 4 : at + 2 + length], marked)
        if length < 2 or marker in (0xD9, 0xDA):  # the end, or a scan, before the picture was described
            break
        marked |= marker == 0xE0 and data.startswith(b"JFIF\0", at + 4)
        marked |= marker == 0xEE and data.startswith(b"Adobe", at + 4)
        at += 2 + length
    raise UndecodableError("its JPEG stream is damaged before the picture begins")


def _frame(marker: int, segment: bytes, marked: bool) -> Codestream:
    if len(segment) < 6:
        raise UndecodableError("its JPEG stream is damaged before the picture begins")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    names = segment[6::3][:samples]
    kind = _KINDS.get(marker)
    if kind is None:
        how = "hierarchical" if marker in (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF) else "arithmetic"
        raise UndecodableError(f"{how} JPEG is not supported; convert the file to another transfer syntax")
    if precision not in ((8, 12, 16) if kind == "JPEG" else range(2, 17)):
        raise UndecodableError(f"its {kind} stream states {precision} bits a sample")
    if kind == "JPEG" and precision == 16:
        precision = 12  # no such JPEG exists (T.81 table B.2): gdcm writes it into its own pictures of 12 bits
    if kind == "JPEG" and precision == 12 and samples > 1:
        raise UndecodableError("colour JPEG of 12 bits is not supported")
    return Codestream(kind, columns, rows, samples, precision, marked=marked or names == b"RGB")


def _jpeg_2000(data: bytes, start: int) -> Codestream:
    head = data[start : start + 42]
    if len(head) < 42:
        raise UndecodableError("its JPEG 2000 stream is damaged before the picture begins")
    _, profile, right, bottom, left, top = struct.unpack_from(">HHIIII", head, 4)
    samples = struct.unpack_from(">H", head, 40)[0]
    components = data[start + 42 : start + 42 + 3 * samples]
    if profile & 0x4000:
        raise UndecodableError(
            "High-Throughput JPEG 2000 is not supported; convert the file to another transfer syntax"
        )
    if not 0 < len(components) == 3 * samples or {components[i : i + 3] for i in range(0, len(components), 3)} != {
        components[:1] + b"\1\1"
    }:
        raise UndecodableError("the components of its JPEG 2000 stream differ, or have less pixels than the picture")
    precision, signed = (components[0] & 0x7F) + 1, bool(components[0] & 0x80)
    if precision > 16:
        raise UndecodableError(f"its JPEG 2000 stream states {precision} bits a sample; up to 16 are read")
    return Codestream("JPEG 2000", right - left, bottom - top, samples, precision, signed, True, start)
