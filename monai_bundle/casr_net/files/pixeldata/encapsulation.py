"""Compressed frames of a DICOM file: the items of encapsulated pixel data, and which of them make which frame.

PS3.5 A.4: a sequence of items, the first of which is the basic offset table (often empty), then fragments. A frame has
one fragment or several; a fragment belongs to one frame. Many files break a rule: their tables point nowhere, their
number of frames is wrong. So the fragments' own beginnings are looked at as well. The fragments are not read here, but
for a single one, which may hold several frames.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import DataError
from ..frames import MAX_FRAMES
from .codestreams import begins_stream, split_streams

__all__ = ["Fragment", "Segments", "find_frames", "read_items"]

Segments = list[tuple[int, int]]
"""One frame: offset in the file and length of its parts."""

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_HEAD = 12
_MAX_FRAGMENTS = 10 * MAX_FRAMES


@dataclass(frozen=True)
class Fragment:
    """Attributes: item is the offset of the item's tag from the first fragment's; offset, length: of the content in
    the file; starts: whether a picture begins here."""

    item: int
    offset: int
    length: int
    starts: bool


def read_items(path: Path, stream: BinaryIO, offset: int, rle: bool) -> tuple[list[int], list[Fragment], bool]:
    """Walk over the items of encapsulated pixel data.

    Args:
        path: named in errors.
        stream: the open file.
        offset: of the first item.
        rle: whether the fragments are RLE, whose start looks other than that of a picture stream.

    Returns:
        Basic offset table, fragments, and whether the end of the sequence is marked.

    Raises:
        DataError: when the file is cut off, or something else stands where an item should.
    """
    size = stream.seek(0, 2)
    table: list[int] | None = None
    fragments: list[Fragment] = []
    first = offset
    while True:
        stream.seek(offset)
        head = stream.read(8 + _HEAD)
        if head[:4] == _END:
            return table or [], fragments, True
        if len(head) < 8 or head[:4] != _ITEM:
            if offset >= size or size - offset < 8:  # the end of the sequence is not marked; the caller counts
                return table or [], fragments, False
            raise DataError(f"{path}: its compressed pixel data are damaged at byte {offset}: no item begins there.")
        length = struct.unpack_from("<L", head, 4)[0]
        if length == _UNDEFINED:
            raise DataError(f"{path}: its compressed pixel data are damaged at byte {offset}: an item without length.")
        if offset + 8 + length > size:
            raise DataError(
                f"{path}: the file is cut off: {size} bytes, but its pixel data go on to {offset + 8 + length}."
            )
        if table is None:
            content = head[8 : 8 + length] + (stream.read(length - _HEAD) if length > _HEAD else b"")
            table = list(struct.unpack(f"<{length // 4}L", content[: length // 4 * 4]))
            first = offset + 8 + length
        else:
            begin = head[8 : 8 + min(length, _HEAD)]
            starts = _begins_rle(begin) if rle else begins_stream(begin)
            fragments.append(Fragment(offset - first, offset + 8, length, starts))
            if len(fragments) > _MAX_FRAGMENTS:
                raise DataError(f"{path}: more than {_MAX_FRAGMENTS} fragments of compressed pixel data.")
        offset += 8 + length


def find_frames(
    path: Path, stream: BinaryIO, fragments: list[Fragment], tables: list[list[int]], stated: int | None, ended: bool
) -> tuple[list[Segments], list[str]]:
    """Put fragments together to frames.

    A table is believed where it fits: its offsets rise from 0, each is an item's, and no second picture begins within
    a frame. Of the ways to count (tables, beginnings of pictures, one fragment a frame) the first that agrees with
    the stated number is taken; where none does, the first that can be told, and the numbers are said.

    Args:
        path: named in errors.
        stream: the open file.
        fragments: of :func:`read_items`.
        tables: offset tables, the better first; empty ones are passed over.
        stated: NumberOfFrames; None where the file has none.
        ended: whether the end of the sequence is marked.

    Returns:
        The frames, and what was not as stated.

    Raises:
        DataError: when there is no frame, the file is cut off, or the frames cannot be told.
    """
    if not fragments:
        raise DataError(f"{path}: its pixel data hold no frame.")
    warnings: list[str] = []
    ways: list[list[Segments]] = []
    for table in filter(None, tables):
        by_table = _by_table(fragments, table)
        if by_table is None:
            warnings.append("its offset table does not fit its pixel data and is not used")
        else:
            ways.append(by_table)
    starts = [index for index, part in enumerate(fragments) if part.starts]
    ways.append(_grouped(fragments, sorted({0, *starts})))
    single = _grouped(fragments, list(range(len(fragments))))
    if starts and len(single) == 1:  # a frame, or all frames of a system that knows no fragments
        single = _split(stream, single)
        ways = [single]
    if stated is None:
        if len(ways[0]) > 1:
            warnings.append(f"NumberOfFrames is missing; the pixel data hold {len(ways[0])} frames, all are read")
        return ways[0], warnings
    # Where pictures begin in half of the fragments or fewer, a frame has several of them; a few may be damaged.
    alone = not starts or 2 * len(starts) > len(fragments)
    exact = next((way for way in [*ways, *([single] if alone else [])] if len(way) == stated), None)
    if exact is not None:
        return exact, warnings
    frames = ways[0]
    if len(frames) < stated:
        if starts and alone and len(apart := _split(stream, single)) > len(frames):
            frames = apart
        elif not ended:
            raise DataError(f"{path}: the file is cut off: {len(frames)} of {stated} frames are there.")
    if not starts and len(ways) == 1:
        raise DataError(
            f"{path}: NumberOfFrames is {stated}, but its pixel data have {len(fragments)} parts, none of which "
            "begins like a frame."
        )
    if len(frames) != stated:
        warnings.append(f"NumberOfFrames is {stated}, but the pixel data hold {len(frames)} frames, which are read")
    return frames, warnings


def _by_table(fragments: list[Fragment], table: list[int]) -> list[Segments] | None:
    places = {part.item: index for index, part in enumerate(fragments)}
    if table[0] != 0 or any(later <= offset for offset, later in itertools.pairwise(table)):
        return None
    if any(offset not in places for offset in table):
        return None
    starts = [places[offset] for offset in table]
    if any(part.starts and index not in starts for index, part in enumerate(fragments)):
        return None
    return _grouped(fragments, starts)


def _grouped(fragments: list[Fragment], starts: list[int]) -> list[Segments]:
    ends = [*starts[1:], len(fragments)]
    return [
        [(part.offset, part.length) for part in fragments[start:end]] for start, end in zip(starts, ends, strict=True)
    ]


def _split(stream: BinaryIO, single: list[Segments]) -> list[Segments]:
    """Frames that share a fragment; only asked of a single one, or where frames are missing: it reads the fragments."""
    frames: list[Segments] = []
    for (offset, length), *_ in single:
        stream.seek(offset)
        starts = split_streams(stream.read(length))
        ends = [*starts[1:], length]
        frames.extend([(offset + start, end - start)] for start, end in zip(starts, ends, strict=True))
    return frames


def _begins_rle(head: bytes) -> bool:
    """The RLE header (PS3.5 G.5): 1 to 15 segments, of which the first begins right behind it."""
    if len(head) < 8:
        return False
    count, first = struct.unpack_from("<LL", head)
    return 1 <= count <= 15 and first == 64
