"""RLE of DICOM (PS3.5 annex G): byte planes of a frame, each packed by PackBits."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from .codestreams import UndecodableError

__all__ = ["decode_rle"]


def decode_rle(data: bytes, size: tuple[int, int], samples: int, itemsize: int) -> np.ndarray:
    """Decode one frame; Pillow unpacks the runs, never to more than the frame's size.

    Args:
        data: the frame: header of 64 bytes and segments.
        size: columns and rows.
        samples: samples a pixel.
        itemsize: bytes a sample; the highest byte's plane comes first.

    Returns:
        (rows, columns, samples) unsigned words.

    Raises:
        UndecodableError: when the segments are not those of such a frame, or end early.
    """
    columns, rows = size
    if len(data) < 64:
        raise UndecodableError(f"its RLE header has {len(data)} of 64 bytes")
    count, *offsets = struct.unpack("<16L", data[:64])
    if count != samples * itemsize:
        raise UndecodableError(f"it has {count} RLE segments instead of {samples * itemsize}")
    ends = [*offsets[1:count], len(data)]
    words = np.zeros((rows, columns, samples), f"u{itemsize}")
    for plane, (start, end) in enumerate(zip(offsets[:count], ends, strict=True)):
        if not 64 <= start < end <= len(data):
            raise UndecodableError(f"its RLE segment {plane + 1} of {count} lies outside of the frame")
        try:
            # As one line: runs may go on across rows, although they should not.
            line = Image.frombytes("L", (columns * rows, 1), data[start:end], "packbits", "L")
        except (ValueError, OSError) as error:
            raise UndecodableError(f"its RLE segment {plane + 1} of {count} ends early") from error
        sample, byte = divmod(plane, itemsize)
        values = np.asarray(line).reshape(rows, columns).astype(words.dtype)
        words[..., sample] |= values << (8 * (itemsize - 1 - byte))
    return words
