"""Proposals of the network for the page: probability maps, kept until image or weights change, and masks from them."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import cv2
import numpy as np

from casr_net.errors import DataError
from casr_net.files.atomic import write_atomically
from casr_net.files.images import Angiogram
from casr_net.refinement.contours import refine
from casr_net.uncertainty.entropy import entropy_score

from .inference import CASRInferTask
from .requests import NotFoundError, checked_request
from .state import Calibrations

__all__ = ["LEVELS", "Proposals"]

LEVELS = 65536
"""Steps of a stored probability: level k means k / LEVELS up to the next step, so that a threshold of n / 256 gives the
same mask from the upper 8 bits, which the page gets, as from all 16."""

_NAME = re.compile(r"f(\d{5})-p\d+\.png")


class Proposals:
    """One 16 bit PNG a frame, whose name tells by which weights, of which file, and whether with mirror images.

    Args:
        task: inference.
    """

    def __init__(self, task: CASRInferTask) -> None:
        self.task = task
        self._lock = threading.Lock()

    def make(self, folder: Path, source: Angiogram, frame: int) -> tuple[np.ndarray, bool]:
        """The map of a frame, uint16 (X, Y), computed if it is not there; and whether it was.

        Args:
            folder: of the image's proposals.
            source: the image.
            frame: from 0.

        Raises:
            DataError: when the frame cannot be used.
        """
        target = self._file(folder, source, frame)
        found = _read(target)
        if found is not None:
            return found, True
        options = checked_request({"refine": False})
        probability = self.task.segment_frame(source, frame, options).probability
        levels = np.clip(np.floor(probability * LEVELS), 0, LEVELS - 1).astype(np.uint16)
        content = cv2.imencode(".png", levels.T, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        with self._lock:
            try:
                write_atomically(target, lambda path: path.write_bytes(content))
            except DataError as error:
                reason = str(error).removeprefix(f"{target}: ")
                raise DataError(f"{source.path}: the proposal of frame {frame + 1} {reason}") from error
            for other in folder.glob(f"f{frame:05d}-p*.png"):
                if other != target:
                    other.unlink(missing_ok=True)
        return levels, False

    def of(self, folder: Path, source: Angiogram, frame: int) -> np.ndarray:
        """The map of a frame, uint16 (X, Y).

        Raises:
            NotFoundError: when it was not computed yet, or for another image or by other weights.
        """
        found = _read(self._file(folder, source, frame))
        if found is None:
            raise NotFoundError(f"frame {frame + 1}: not segmented yet by the weights in use.")
        return found

    def frames(self, folder: Path, source: Angiogram) -> list[int]:
        """Frames that have one by the weights in use, from 0."""
        stamp = self._stamp(source)
        return sorted(int(file.name[1:6]) for file in folder.glob(f"f*-p{stamp}.png") if _NAME.fullmatch(file.name))

    def mask(self, levels: np.ndarray, threshold: float, refined: bool) -> np.ndarray:
        """Bool (X, Y) of a map, by the bundle's own refinement, or by the threshold alone."""
        parameters = self.task.refinement({"threshold": threshold, "refine": refined})
        return refine((levels.astype(np.float32) + 0.5) / LEVELS, parameters) > 0

    def score(self, levels: np.ndarray, source: Angiogram, calibrations: Calibrations) -> float:
        """Uncertainty of a frame's map in [0, 1], calibrated."""
        calibration = calibrations.of(self.task.is_mirrored(source.frames))
        return round(entropy_score(calibration((levels.astype(np.float32) + 0.5) / LEVELS)), 6)

    def _file(self, folder: Path, source: Angiogram, frame: int) -> Path:
        if not 0 <= frame < source.frames:
            raise NotFoundError(f"there is no frame {frame + 1}; the image has {source.frames}.")
        return folder / f"f{frame:05d}-p{self._stamp(source)}.png"

    def _stamp(self, source: Angiogram) -> str:
        try:
            status, weights = source.path.stat(), self.task.weights.stat()
        except OSError as error:
            raise DataError(f"{source.path}: no such file.") from error
        way = "1" if self.task.is_mirrored(source.frames) else ""  # versions before 0.12 knew one way
        return f"{way}{weights.st_mtime_ns}{weights.st_size}{status.st_mtime_ns}{status.st_size}"


def _read(path: Path) -> np.ndarray | None:
    try:
        found = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (FileNotFoundError, cv2.error):
        return None
    return found.T if found is not None and found.dtype == np.uint16 and found.ndim == 2 else None
