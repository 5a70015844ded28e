"""Reading of masks in every format that angiograms come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .images import guarded, open_file
from .names import VOLUME

__all__ = ["read_mask"]

LARGEST = (1, 255, 65535)  # of label maps, and of 8-bit and 16-bit images


def read_mask(path: str | Path, slices_as_frames: bool = False) -> np.ndarray:
    """Read one file of masks. Unlike an angiogram, a mask may be constant, and of any size that decodes.

    Vessel is what lies above half of the largest possible value: 1 for files with no value above 1 (label maps), else
    255, else 65535. A file whose largest value lies between 1 and half of that is refused: its scale cannot be told.

    Args:
        path: any image that :func:`casr_net.files.read_angiogram` knows; alpha is ignored.
        slices_as_frames: take the slices of a NIfTI or NRRD volume for frames: programs that load a cine as a volume,
            such as 3D Slicer, write its label map so. Only for a caller who knows how many frames there should be.

    Returns:
        bool (X, Y, frames), True in the vessel.

    Raises:
        DataError: when the file is missing, damaged, coloured, negative, not finite or of unknown scale.
    """
    path = Path(path)
    pixels = _volume(path) if slices_as_frames and path.name.lower().endswith(VOLUME) else _pixels(path)
    if pixels.shape[0] > 2 and (pixels[1:3] != pixels[:1]).any():
        raise DataError(f"{path}: a coloured image; a mask is grey.")
    values = pixels[0]
    if values.dtype == bool:
        return values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{path}: holds values that are not finite (NaN or infinite).")
    if values.min() < 0:
        raise DataError(f"{path}: the smallest value is {values.min()}; a mask has none below 0.")
    top = values.max()
    largest = next((limit for limit in LARGEST if top <= limit), None)
    if largest is None or (largest > 1 and top <= largest / 2):
        raise DataError(
            f"{path}: the largest value is {top}; a mask's is 0 or 1, or 128 to 255, or from 32768 to 65535."
        )
    return values > largest / 2


def _pixels(path: Path) -> np.ndarray:
    """(samples, X, Y, frames) of any file."""
    source = open_file(path).source
    return guarded(path, lambda: np.stack([source.frame(index) for index in range(source.count)], axis=-1))


def _volume(path: Path) -> np.ndarray:
    """(samples, X, Y, Z) of a volume; whatever else a file holds is read as always."""
    from .volumes import open_volume

    source = open_volume(path, slices_as_frames=True).source
    try:
        return np.stack([source.frame(index) for index in range(source.count)], axis=-1)
    finally:
        source.close()
