"""A look at LZW streams of TIFF files before they are decoded.

imagecodecs (2026.3.6 and before) does not check the first code behind a Clear code: where it is no literal, an entry of
the table is used that was never written, and the whole process may end with a segmentation fault. Every other code it
checks itself.
"""

from __future__ import annotations

import numpy as np

__all__ = ["check_lzw"]

CLEAR, FIRST_ENTRY = 256, 258  # TIFF 6.0, section 13; 257 is EndOfInformation
ENTRIES = 4098 - FIRST_ENTRY  # as many as imagecodecs allows before it wants a Clear code


def _positions(changes: tuple[int, int, int]) -> np.ndarray:
    """First bits of the codes behind a Clear code, the first at 0, and the end of the last. Codes have 9 bits; one more
    from each size of the table in ``changes`` on."""
    table = np.r_[0, FIRST_ENTRY + np.arange(ENTRIES)]  # size when the code is read; the first adds no entry
    widths = 9 + sum((table >= size).astype(np.int64) for size in changes)
    return np.r_[0, np.cumsum(widths)]


def check_lzw(stream: bytes) -> None:
    """Refuse what the decoder cannot be given.

    Raises:
        ValueError: when a code behind a Clear code is no literal.
    """
    # Writers before TIFF 6.0: lowest bit first, widths change one code later.
    old = len(stream) > 1 and stream[0] == 0 and stream[1] & 1
    starts = _positions((512, 1024, 2048) if old else (511, 1023, 2047))
    widths, bits = np.diff(starts), 8 * len(stream)
    padded = np.frombuffer(stream + bytes(4), np.uint8).astype(np.uint32)
    begin = 0
    while True:
        count = int(np.searchsorted(begin + starts[1:], bits, side="right"))  # codes that are wholly there
        at, width = begin + starts[:count], widths[:count].astype(np.uint32)
        first, shift = at >> 3, (at & 7).astype(np.uint32)
        four = [padded[first + index] for index in ((3, 2, 1, 0) if old else (0, 1, 2, 3))]
        word = four[0] << 24 | four[1] << 16 | four[2] << 8 | four[3]
        codes = word >> shift & (1 << width) - 1 if old else word << shift >> 32 - width
        if count and codes[0] >= FIRST_ENTRY:
            raise ValueError("LZW code outside its table")
        clears = np.flatnonzero(codes == CLEAR)
        if not len(clears):
            return
        begin += int(starts[clears[0] + 1])
