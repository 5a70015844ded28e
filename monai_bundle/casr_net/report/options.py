"""What the caller of an analysis chooses, checked."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError, shown
from ..vessels.catheter_scale import FRENCH
from ..vessels.scale import MM_PER_PIXEL

__all__ = ["Options"]

Point = tuple[float, float]


@dataclass(frozen=True)
class Options:
    """What the caller chooses.

    Attributes:
        frame: number from 0; None: the best opacified one of a cine.
        ends: two points (x, y) in pixels to measure between; None: the ways of the tree.
        french: outer diameter of the catheter in the image, in French (a third of a millimetre).
        mm_per_pixel: size of a pixel in the patient, for square pixels.
        reference: reference diameter, a number and "px" or "mm"; None: interpolated (PS3.17 T.4.2).
        window: centre and width of the VOI window that the network sees the frame through.
        doubt: give intervals, which take most of the time.
        mask: bool (X, Y), vessels to measure in place of the network's.
        keep_identity: name the file and its DICOM UIDs in the result.
    """

    frame: int | None = None
    ends: tuple[Point, Point] | None = None
    french: float | None = None
    mm_per_pixel: float | None = None
    reference: tuple[float, str] | None = None
    window: tuple[float, float] | None = None
    doubt: bool = True
    mask: np.ndarray | None = None
    keep_identity: bool = False

    def __post_init__(self) -> None:
        for name, value, (low, high), unit in (
            ("catheter", self.french, FRENCH, " French"),
            ("pixel size", self.mm_per_pixel, MM_PER_PIXEL, " mm"),
        ):
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"The {name} is {shown(value)}{unit}; it must be {low:g} to {high:g}.")
        if self.reference is not None and not (math.isfinite(self.reference[0]) and self.reference[0] > 0):
            raise UsageError(f"The reference diameter is {shown(self.reference[0])}; it must be above 0.")
        if self.reference is not None and self.reference[1] not in ("px", "mm"):
            raise UsageError(f"The unit of the reference diameter is {shown(self.reference[1])}; it must be px or mm.")
        if self.reference is not None and self.ends is None:
            raise UsageError("A reference diameter belongs to a vessel; two ends (--path) say which one.")
        if self.frame is not None and self.frame < 0:
            raise UsageError(f"The frame is {self.frame}; frames count from 0 here, as in names of files.")

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; of the mask, whether there is one, and a digest of its pixels."""
        own = {} if self.mask is None else {"mask_sha256": _digest(self.mask)}
        return {
            "frame": self.frame,
            "ends": None if self.ends is None else [list(map(float, end)) for end in self.ends],
            "french": self.french,
            "mm_per_pixel": self.mm_per_pixel,
            "reference": None if self.reference is None else [float(self.reference[0]), self.reference[1]],
            "window": None if self.window is None else list(map(float, self.window)),
            "doubt": self.doubt,
            "own_mask": self.mask is not None,
            **own,
        }


def _digest(mask: np.ndarray) -> str:
    """SHA-256 of size and pixels, whatever the file that they came from."""
    pixels = np.ascontiguousarray(mask, bool)
    return hashlib.sha256(f"{pixels.shape}".encode() + np.packbits(pixels).tobytes()).hexdigest()
