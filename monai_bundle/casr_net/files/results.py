"""Writing of results: every file is written whole under a temporary name and then renamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from .atomic import write_atomically
from .images import read_angiogram
from .maps import FORMATS, write_map, write_png
from .overlay import draw_overlay

__all__ = ["ResultWriter"]


class ResultWriter:
    """Writes masks, and on request probability maps and overlays, of the frames of a run.

    PNG files hold one frame each, 8 bit, 0 or 255; frames of a cine get a number from 0 (``<name>_f0007_mask.png``).
    NRRD, MetaImage and NIfTI files hold one file's frames together, labels 0 and 1, on the source's grid with its
    geometry.

    Args:
        output_dir: where to write; made when the first result is.
        format: "png", "nrrd", "mha" or "nii.gz".
        overlay: also ``<name>_overlay.png``, the outline on the angiogram.
        probability: also ``<name>_probability.png``, 0 to 255 for 0 to 1.
        overwrite: replace existing files; without it they are kept, and naming them is an error.

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
    ) -> None:
        if format not in FORMATS:
            raise UsageError(f"format is {format!r}; known are {', '.join(FORMATS)}.")
        self.output_dir, self.format = Path(output_dir), format
        self.overlay, self.probability, self.overwrite = overlay, probability, overwrite
        self._stack: list[np.ndarray] = []

    def paths(self, item: dict[str, Any]) -> dict[str, Path]:
        """The files that one frame, as listed by :func:`casr_net.files.find_inputs`, leads to."""
        frame = f"_f{item['frame']:04d}" if item["frames"] > 1 else ""
        base = self.output_dir / item["name"]
        stacked = self.format != "png"
        found = {"mask": base.with_name(f"{base.name}{'' if stacked else frame}_mask.{self.format}")}
        for kind, wanted in (("probability", self.probability), ("overlay", self.overlay)):
            if wanted:
                found[kind] = base.with_name(f"{base.name}{frame}_{kind}.png")
        return found

    def check_folder(self) -> None:
        """Make the output folder and try to write there, so that a run does not fail after its first image.

        Raises:
            DataError: when the folder cannot be made or written to.
        """
        probe = self.output_dir / ".probe"
        write_atomically(probe, lambda path: path.write_bytes(b""))
        probe.unlink()

    def check(self, item: dict[str, Any]) -> None:
        """Refuse, before any work is done, to replace a file.

        Raises:
            DataError: naming the existing file.
        """
        for path in self.paths(item).values():
            if path.exists() and not self.overwrite:
                raise DataError(f"{path}: exists already and was kept; --overwrite replaces it.")

    def write(self, item: dict[str, Any], mask: np.ndarray, probability: np.ndarray | None) -> list[Path]:
        """Write one frame's results.

        Args:
            item: the frame, as listed by :func:`casr_net.files.find_inputs`.
            mask: (X, Y), vessel where not 0, on the source's grid.
            probability: (X, Y) in [0, 1]; None when it was not kept.

        Returns:
            the files written now; a stack is written with its last frame.

        Raises:
            DataError: when a file cannot be written.
        """
        paths = self.paths(item)
        binary = (mask > 0).astype(np.uint8)
        written = []
        if self.format == "png":
            written.append(write_atomically(paths["mask"], lambda path: write_png(path, binary.T * 255)))
        else:
            self._stack = [*self._stack, binary] if item["frame"] > 0 else [binary]
            if item["frame"] == item["frames"] - 1:
                stack, self._stack = np.stack(self._stack, axis=-1), []
                affine = read_angiogram(item["path"]).affine
                written.append(write_atomically(paths["mask"], lambda path: write_map(path, stack, affine)))
        if "probability" in paths and probability is not None:
            levels = np.round(np.clip(probability, 0, 1) * 255).astype(np.uint8)
            written.append(write_atomically(paths["probability"], lambda path: write_png(path, levels.T)))
        if "overlay" in paths:
            picture = draw_overlay(read_angiogram(item["path"]).grey(item["frame"]).T, binary.T)
            written.append(write_atomically(paths["overlay"], lambda path: write_png(path, picture[..., ::-1])))
        return written
