"""What the page shows of an image: frames as PNG, their values for another window, thumbnails."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from casr_net.errors import DataError
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.files.intensity import luminance

__all__ = ["SPAN", "OpenImages", "grey_png", "level_png", "mask_png", "thumbnail", "values"]

SPAN = 3
"""Values go over this many times the shown window, the window in their middle."""
SIDE = 120
"""Longest side of a thumbnail."""


class OpenImages:
    """The images that were asked for last, open, so that two windows do not open theirs again at each frame.

    Args:
        count: of them.
    """

    def __init__(self, count: int = 3) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, int, int], Angiogram] = OrderedDict()

    def __call__(self, path: str | Path) -> Angiogram:
        """The open file.

        Raises:
            DataError: see :func:`casr_net.files.read_angiogram`.
        """
        try:
            status = Path(path).stat()
        except OSError as error:
            raise DataError(f"{path}: no such file.") from error
        key = (str(path), status.st_mtime_ns, status.st_size)
        with self._lock:
            if key not in self._open:
                self._open[key] = read_angiogram(path)
            self._open.move_to_end(key)
            while len(self._open) > self._count:
                self._open.popitem(last=False)
            return self._open[key]


def grey_png(source: Angiogram, frame: int) -> bytes:
    """PNG, 8 bit, of a frame as it is shown everywhere, see :meth:`Angiogram.grey`."""
    grey = np.rint(source.grey(frame).T * 255).astype(np.uint8)
    return _png(grey, 1)


def mask_png(mask: np.ndarray) -> bytes:
    """PNG, 0 and 255, of a mask (X, Y)."""
    return _png(np.where(mask.T, np.uint8(255), np.uint8(0)), 3)


def level_png(levels: np.ndarray) -> bytes:
    """PNG, 8 bit, of any levels (X, Y)."""
    return _png(levels.T, 1)


def values(source: Angiogram, frame: int) -> bytes:
    """Values of a frame for a window of the user's own: uint16, little endian, the columns running fastest. A third of
    the range becomes black and a third white in the shown window; inverted as it is."""
    rule = source.rule_of(frame)
    said = rule.describe()
    low, high = float(said["low"]), float(said["high"])
    plain = rule.display.modality(luminance(source.stored(frame))).astype(np.float64)
    share = (plain - low) / max(high - low, 1e-12)
    share = 1 - share if rule.display.inverted else share
    scaled = np.clip((share + (SPAN - 1) / 2) / SPAN, 0, 1)
    return np.rint(scaled.T * 65535).astype("<u2").tobytes()


def thumbnail(source: Angiogram) -> bytes:
    """Small PNG of the middle frame."""
    grey = np.rint(source.grey((source.frames - 1) // 2).T * 255).astype(np.uint8)
    factor = SIDE / max(grey.shape)
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return _png(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR), 6)


def _png(image: np.ndarray, compression: int) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(image), [cv2.IMWRITE_PNG_COMPRESSION, compression])[1].tobytes()
