"""How pixel values lie in their words: BitsStored, HighBit, PixelRepresentation (PS3.3 C.7.6.3.1, PS3.5 8.1.1).

Values lie in the low bits of a word today; until 2014 a file could put them elsewhere, such as left-justified, and
could keep overlays in the bits that were left. Many files state a HighBit or BitsStored that is merely wrong. A shift
by a wrong HighBit, or a mask by wrong BitsStored, would destroy good pixels; so the values themselves are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["StoredBits", "stored_bits"]


@dataclass(frozen=True)
class StoredBits:
    """What turns the words of a file into values.

    Attributes:
        bits: that the values use.
        signed: whether values are signed.
        shift: bits below the values.
        mask: whether bits above the values hold something else, an overlay.
        extend: whether the sign has to be carried into the bits above the values.
    """

    bits: int
    signed: bool
    shift: int = 0
    mask: bool = False
    extend: bool = False

    def values(self, words: np.ndarray) -> np.ndarray:
        """Values of words, which are unsigned integers; of the same size, signed where the values are."""
        container = 8 * words.dtype.itemsize
        signed = np.dtype(f"i{words.dtype.itemsize}")
        if self.signed and self.extend:
            return (words << (container - self.bits - self.shift)).view(signed) >> (container - self.bits)
        if self.signed:
            return words.view(signed) >> self.shift
        if self.shift:
            words = words >> self.shift
        return words & ((1 << self.bits) - 1) if self.mask else words


def stored_bits(
    stored: int, high: int, signed: bool, overlays: bool, samples: Sequence[np.ndarray], container: int
) -> tuple[StoredBits, list[str]]:
    """Decide how the values of a file lie in their words.

    - HighBit above BitsStored - 1: shifted down where the bits below are empty in all samples, or where the values do
      not fit into BitsStored. Otherwise the values are right-justified and HighBit is wrong.
    - Bits above the values: left out where the file has overlays there; else BitsStored is wrong, the values stay.
    - Signed: the sign is carried up from BitsStored, unless the values show that they need more bits.

    Args:
        stored: BitsStored.
        high: HighBit.
        signed: PixelRepresentation is 1.
        overlays: the file has overlays in unused bits of the pixels.
        samples: words, unsigned, of some frames; none leaves it to the header.
        container: bits of a word that can be in use.

    Returns:
        The decision, and what contradicted, one line each.
    """
    warnings: list[str] = []
    if not 1 <= stored <= container:
        warnings.append(f"BitsStored is {stored} in words of {container} bits; {container} is taken")
        stored, high = container, container - 1
    used = int(np.bitwise_or.reduce([np.bitwise_or.reduce(words, axis=None) for words in samples])) if samples else 0
    shift = high + 1 - stored
    if not 0 <= high < container:
        warnings.append(f"HighBit is {high} in words of {container} bits; {stored - 1} is taken")
        shift = 0
    elif shift < 0:
        warnings.append(f"HighBit {high} contradicts BitsStored {stored}; the values are taken as they are")
        shift = 0
    elif shift and used and used < 1 << stored and used & ((1 << shift) - 1):
        warnings.append(
            f"HighBit {high} contradicts BitsStored {stored} and the values, which lie in the low {stored} bits; "
            "they are taken as they are"
        )
        shift = 0
    elif shift:
        warnings.append(f"HighBit {high} with BitsStored {stored}: the values are shifted down by {shift} bits")
    above = used >> (shift + stored)
    if signed:
        return _signed(stored, shift, samples, overlays, container, warnings)
    if above and not overlays:
        needed = (used >> shift).bit_length()
        warnings.append(f"BitsStored is {stored}, but the values use {needed} bits; they are taken as they are")
        stored = needed
    return StoredBits(stored, False, shift, mask=overlays and shift + stored < container), warnings


def _signed(
    stored: int, shift: int, samples: Sequence[np.ndarray], overlays: bool, container: int, warnings: list[str]
) -> tuple[StoredBits, list[str]]:
    if shift + stored >= container or overlays or not samples:
        return StoredBits(stored, True, shift, extend=True), warnings
    values = [StoredBits(stored, True, shift).values(words) for words in samples]
    least, most = min(int(part.min()) for part in values), max(int(part.max()) for part in values)
    half = 1 << (stored - 1)
    if -half <= least and (most < half or (least >= 0 and most < 2 * half)):
        return StoredBits(stored, True, shift, extend=True), warnings
    needed = max(least.bit_length(), most.bit_length()) + 1
    warnings.append(f"BitsStored is {stored}, but the values use {needed} bits; they are taken as they are")
    return StoredBits(min(needed, container), True, shift), warnings
