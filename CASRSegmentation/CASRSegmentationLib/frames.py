"""Arrays of volume nodes as the network wants them, and back: grey, in display orientation, vessels dark.

Numpy alone; nothing here knows a node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

__all__ = [
    "MAX_SIDE", "MIN_SIDE", "FrameError", "Orientation", "checked_size", "invert", "inverted_range", "luminance",
    "network_dtype",
]  # fmt: skip

MIN_SIDE, MAX_SIDE = 32, 4096
"""Pixels on a side of an angiogram, as the bundle's reader has it."""

ALIGNED = 0.999
"""Cosine between an axis of the array and one of the view, from which they count as parallel (2.5 degrees)."""
_NEAREST = 0.5**0.5
_WEIGHTS = (0.299, 0.587, 0.114)


class FrameError(ValueError):
    """A volume or a frame cannot be used; the text says why, in one line."""


def checked_size(rows: int, columns: int, name: str) -> None:
    """Refuse images that are no angiograms.

    Raises:
        FrameError: below :data:`MIN_SIDE` or above :data:`MAX_SIDE` pixels on a side.
    """
    if min(rows, columns) < MIN_SIDE or max(rows, columns) > MAX_SIDE:
        raise FrameError(
            _("{name}: {columns} x {rows} pixels; an angiogram has {low} to {high} on each side.").format(
                name=name, columns=columns, rows=rows, low=MIN_SIDE, high=MAX_SIDE
            )
        )


def luminance(array: np.ndarray) -> np.ndarray:
    """Grey values of a color image (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B), as in the bundle's reader.

    Args:
        array: (..., 3) or (..., 4); alpha is ignored.

    Returns:
        (...), of the same type; integers are rounded.

    Raises:
        FrameError: for any other number of components.
    """
    if array.shape[-1] not in (3, 4):
        raise FrameError(_("{count} components a pixel; expected 1, 3 or 4.").format(count=array.shape[-1]))
    grey = array[..., :3].astype(np.float32) @ np.array(_WEIGHTS, np.float32)
    return np.rint(grey).astype(array.dtype) if array.dtype.kind in "ui" else grey.astype(array.dtype)


def network_dtype(frame: np.ndarray) -> np.ndarray:
    """The frame as one of the types that the worker takes; which one depends on the frame's type alone.

    Returns:
        uint8, uint16 and int16 as they are, int8 as int16, everything else as float32 (exact up to 2**24).

    Raises:
        FrameError: for values that are not finite, or no numbers.
    """
    if frame.dtype in (np.uint8, np.uint16, np.int16):
        return frame
    if frame.dtype == np.int8:
        return frame.astype(np.int16)
    if frame.dtype.kind not in "uif":
        raise FrameError(_("pixels of type {type}; expected real numbers.").format(type=frame.dtype))
    with np.errstate(over="ignore"):
        result = frame.astype(np.float32)
    if not np.isfinite(result).all():
        raise FrameError(_("pixels that are not finite (NaN or infinite)."))
    return result


def invert(frame: np.ndarray) -> np.ndarray:
    """Grey values the other way round, without loss and in the same way for all frames of a cine.

    Unsigned v becomes the type's maximum - v, signed v becomes -1 - v, float v becomes -v. The worker scales what it
    gets from low to high, so that only the order counts.
    """
    return np.invert(frame) if frame.dtype.kind in "ui" else -frame


def inverted_range(limits: tuple[float, float], dtype: np.dtype) -> tuple[float, float]:
    """The range of grey values, the lower one first, that :func:`invert` takes a range to, for frames of a type."""
    kind = np.dtype(dtype)
    total = 0.0 if kind.kind == "f" else float(np.iinfo(kind).max) + float(np.iinfo(kind).min)
    return total - limits[1], total - limits[0]


@dataclass(frozen=True)
class Orientation:
    """How an array (rows, columns) of a volume node stands on the screen, in the axial view.

    Attributes:
        flip_rows: the last row is at the top.
        flip_columns: the last column is at the left.
        note: "", or what the user should know about the volume's axes.
    """

    flip_rows: bool = False
    flip_columns: bool = False
    note: str = ""

    @classmethod
    def from_matrix(cls, ijk_to_ras: np.ndarray) -> Orientation:
        """Orientation of a volume with this matrix, (4, 4).

        The axial view has left (-R) at its right and anterior (+A) at the top. Axes turned by less than 45 degrees
        count as the nearest of these, which is our choice; of others (permuted axes) the array is used as it is.
        """
        axes = np.asarray(ijk_to_ras, float)[:3, :2]
        column, row = (axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-12)).T
        if abs(column[0]) < _NEAREST or abs(row[1]) < _NEAREST:
            return cls(
                note=_("The image does not stand in the axial plane; its rows and columns are used as they are.")
            )
        aligned = min(abs(column[0]), abs(row[1])) >= ALIGNED
        note = "" if aligned else _("The image is oblique; it is turned to the nearest position on the screen.")
        return cls(flip_rows=bool(row[1] > 0), flip_columns=bool(column[0] > 0), note=note)

    def to_display(self, frame: np.ndarray) -> np.ndarray:
        """The array as it stands on the screen: a contiguous copy, (rows, columns)."""
        return np.array(frame[self._slices()], order="C")

    def from_display(self, mask: np.ndarray) -> np.ndarray:
        """An array in display orientation, as it lies in the volume: a contiguous copy, (rows, columns)."""
        return np.array(mask[self._slices()], order="C")

    def _slices(self) -> tuple[slice, slice]:
        return (slice(None, None, -1 if self.flip_rows else 1), slice(None, None, -1 if self.flip_columns else 1))
