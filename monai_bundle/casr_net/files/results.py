"""Writing of results: every file is written whole under a temporary name and then renamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import DataError, UsageError
from .atomic import write_atomically
from .images import read_angiogram
from .nrrd_images import LPS_TO_RAS
from .overlay import draw_overlay

__all__ = ["FORMATS", "ResultWriter", "write_map"]

FORMATS = ("png", "nrrd", "nii.gz")


class ResultWriter:
    """Writes masks, and on request probability maps and overlays, of the frames of a run.

    PNG files hold one frame each, 8 bit, 0 or 255; frames of a cine get a number from 0 (``<name>_f0007_mask.png``).
    NRRD and NIfTI files hold one file's frames together, labels 0 and 1, on the source's grid with its geometry.

    Args:
        output_dir: where to write; made when the first result is.
        format: "png", "nrrd" or "nii.gz".
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
            written.append(write_atomically(paths["mask"], lambda path: _write_png(path, binary.T * 255)))
        else:
            self._stack = [*self._stack, binary] if item["frame"] > 0 else [binary]
            if item["frame"] == item["frames"] - 1:
                stack, self._stack = np.stack(self._stack, axis=-1), []
                affine = read_angiogram(item["path"]).affine
                written.append(write_atomically(paths["mask"], lambda path: write_map(path, stack, affine)))
        if "probability" in paths and probability is not None:
            levels = np.round(np.clip(probability, 0, 1) * 255).astype(np.uint8)
            written.append(write_atomically(paths["probability"], lambda path: _write_png(path, levels.T)))
        if "overlay" in paths:
            picture = draw_overlay(read_angiogram(item["path"]).grey(item["frame"]).T, binary.T)
            written.append(write_atomically(paths["overlay"], lambda path: _write_png(path, picture[..., ::-1])))
        return written


def _write_png(path: Path, image: np.ndarray) -> None:
    # cv2.imwrite cannot write to non-ASCII paths on Windows and reports failure by a flag only.
    done, data = cv2.imencode(".png", np.ascontiguousarray(image))
    if not done:
        raise OSError("PNG encoding failed")
    path.write_bytes(data.tobytes())


def write_map(path: Path, stack: np.ndarray, affine: np.ndarray) -> None:
    """Write labels (uint8, 0 and 1) or maps (float32, 0 to 1), (X, Y, frames), on the source's grid.

    Args:
        path: ``.nrrd`` and ``.nii.gz`` keep values and geometry; in ``.png``, for one frame, they become 0 to 255. The
            last axis of a cine is a list of frames, not a length.
        stack: the values.
        affine: (4, 4), RAS, as :class:`casr_net.files.Angiogram` has it.

    Raises:
        UsageError: for several frames in a PNG file.
    """
    if path.name.endswith(".png"):
        if stack.shape[-1] != 1:
            raise UsageError(f"{stack.shape[-1]} frames do not fit into one PNG file; use .nrrd or .nii.gz.")
        _write_png(path, np.round(np.clip(stack[..., 0], 0, 1) * 255).astype(np.uint8).T)
    elif path.name.endswith(".nrrd"):
        import nrrd

        lps = LPS_TO_RAS @ affine  # its own inverse
        single = stack.shape[-1] == 1
        directions = [*lps[:3, :2].T.tolist(), lps[:3, 2].tolist() if single else [np.nan] * 3]
        header = {
            "space": "left-posterior-superior",
            "space directions": np.array(directions),
            "space origin": lps[:3, 3],
            "kinds": ["domain", "domain", "domain" if single else "list"],
        }
        nrrd.write(str(path), stack, header, compression_level=6)
    else:
        import nibabel

        # A cine is (x, y, 1, t) in NIfTI, so that readers do not take frames for slices.
        volume = stack if stack.shape[-1] == 1 else stack[:, :, None, :]
        nibabel.save(nibabel.Nifti1Image(volume, affine), path)
