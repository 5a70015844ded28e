"""Writing of results: every file is written whole under a temporary name and then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from .atomic import write_atomically
from .images import read_angiogram
from .maps import write_map, write_png
from .names import FORMATS, result_name
from .overlay import draw_overlay

__all__ = ["ResultWriter"]

STACK_IN_MEMORY = 64 * 2**20
"""Bytes up to which the masks of a cine wait in memory until they are written as one stack; larger ones on the disk."""


class ResultWriter:
    """Writes masks, and on request probability maps and overlays, of the frames of a run.

    PNG files hold one frame each, 8 bit, 0 or 255; frames of a cine get a number from 0 (``<name>_f0007_mask.png``).
    NRRD, MetaImage and NIfTI files hold one file's frames together, labels 0 and 1, on the source's grid with its
    geometry. They are written once all frames are there: a stack that lacks some would look whole.

    Args:
        output_dir: where to write; made when the first result is.
        format: "png", "nrrd", "mha" or "nii.gz".
        overlay: also ``<name>_overlay.png``, the outline on the angiogram.
        probability: also ``<name>_probability.png``, 0 to 255 for 0 to 1.
        overwrite: replace existing files; without it they are kept.
        window: of the run, which the angiogram under an overlay is shown with.

    Raises:
        UsageError: for an unknown format.
    """

    def __init__(
        self,
        output_dir: str | Path,
        format: str = "png",
        overlay: bool = False,
        probability: bool = False,
        overwrite: bool = False,
        window: Sequence[float] | None = None,
    ) -> None:
        if format not in FORMATS:
            raise UsageError(f"format is {format!r}; known are {', '.join(FORMATS)}.")
        self.output_dir, self.format = Path(output_dir), format
        self.overlay, self.probability, self.overwrite = overlay, probability, overwrite
        self.window = None if window is None else (window[0], window[1])
        self._stack: _Stack | None = None

    @property
    def stacked(self) -> bool:
        """Whether one mask file holds all frames of its source."""
        return self.format != "png"

    def paths(self, item: dict[str, Any]) -> dict[str, Path]:
        """The files that one frame, as listed by :func:`casr_net.files.find_inputs`, leads to, by their kind."""
        frame = item["frame"] if item["frames"] > 1 else None
        found = {"mask": result_name(item["name"], None if self.stacked else frame, "mask", self.format)}
        for kind, wanted in (("probability", self.probability), ("overlay", self.overlay)):
            if wanted:
                found[kind] = result_name(item["name"], frame, kind, "png")
        return {kind: self.output_dir / name for kind, name in found.items()}

    def check_folder(self) -> None:
        """Make the output folder and try to write there, so that a run does not fail after its first image.

        Raises:
            DataError: when the folder cannot be made or written to.
        """
        probe = self.output_dir / ".probe"
        write_atomically(probe, lambda path: path.write_bytes(b""))
        probe.unlink()

    def existing(self, item: dict[str, Any]) -> dict[str, Path]:
        """Those of :meth:`paths` that are there.

        Raises:
            DataError: when a path cannot be one: its name is too long, its folder is a file or cannot be opened.
        """
        return {kind: path for kind, path in self.paths(item).items() if _is_there(path)}

    def write(
        self,
        item: dict[str, Any],
        mask: np.ndarray,
        probability: np.ndarray | None,
        note: Callable[[str, Path], object] = lambda kind, path: None,
    ) -> list[Path]:
        """Write one frame's results; without ``overwrite``, those that are not there yet.

        Args:
            item: the frame, as listed by :func:`casr_net.files.find_inputs`.
            mask: (X, Y), vessel where not 0, on the source's grid.
            probability: (X, Y) in [0, 1]; None when it was not kept.
            note: called with kind and path of each file as soon as it is written.

        Returns:
            the files written now; a stack is written with the last of its frames.

        Raises:
            DataError: when a file cannot be written.
        """
        paths = {kind: path for kind, path in self.paths(item).items() if self.overwrite or not _is_there(path)}
        binary = (mask > 0).astype(np.uint8)
        written: list[Path] = []

        def put(kind: str, write: Callable[[Path], object]) -> None:
            written.append(write_atomically(paths[kind], write))
            note(kind, paths[kind])

        if "mask" in paths and self.stacked:
            stack = self._gather(item, binary)
            if stack is not None:
                affine = read_angiogram(item["path"], self.window).affine
                put("mask", lambda path: write_map(path, stack, affine))
        elif "mask" in paths:
            put("mask", lambda path: write_png(path, binary.T * 255))
        if "probability" in paths and probability is not None:
            levels = np.round(np.clip(probability, 0, 1) * 255).astype(np.uint8)
            put("probability", lambda path: write_png(path, levels.T))
        if "overlay" in paths:
            grey = read_angiogram(item["path"], self.window).grey(item["frame"])
            picture = draw_overlay(grey.T, binary.T)
            put("overlay", lambda path: write_png(path, picture[..., ::-1]))
        return written

    def _gather(self, item: dict[str, Any], mask: np.ndarray) -> np.ndarray | None:
        """(X, Y, frames) of the item's file once all of its masks are there, else None."""
        if self._stack is None or self._stack.path != item["path"]:
            self._stack = _Stack(item["path"], (item["frames"], *mask.shape[::-1]))
        if not self._stack.put(item["frame"], mask):
            return None
        whole, self._stack = self._stack.masks, None
        return whole.transpose(2, 1, 0)


class _Stack:
    """Masks of one file that wait for the last of them, (frames, rows, columns)."""

    def __init__(self, path: str, shape: tuple[int, int, int]) -> None:
        self.path, self._waiting = path, set(range(shape[0]))
        if np.prod(shape) <= STACK_IN_MEMORY:
            self.masks = np.zeros(shape, np.uint8)
        else:
            with tempfile.TemporaryFile(prefix="casr-") as file:  # goes with the array
                self.masks = np.memmap(file, np.uint8, "w+", shape=shape)

    def put(self, frame: int, mask: np.ndarray) -> bool:
        """Keep the mask (X, Y) of a frame; whether it was the last one."""
        self.masks[frame] = mask.T
        self._waiting.discard(frame)
        return not self._waiting


def _is_there(path: Path) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error
    return True
