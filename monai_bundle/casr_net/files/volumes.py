"""NRRD and NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .frames import ArrayFrames, Opened
from .nrrd_images import read_nrrd

__all__ = ["open_volume"]


def open_volume(path: Path) -> Opened:
    """Open one slice, or a cine.

    Raises:
        DataError: for a volume.
    """
    import nibabel

    if path.name.lower().endswith(".nrrd"):
        pixels, affine = read_nrrd(path)
        return Opened(ArrayFrames(pixels), "nrrd", affine, 8 if pixels.dtype == np.uint8 else 0)
    image: Any = nibabel.load(path)
    array = np.asanyarray(image.dataobj)
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[2] == 1:  # (x, y, 1, t): NIfTI's way to store a cine
        array = array[:, :, 0]
    elif array.ndim > 2:
        raise DataError(
            f"{path}: a volume of {' x '.join(map(str, array.shape))}; expected one slice, or (x, y, 1, time)."
        )
    pixels = array.reshape(1, *array.shape[:2], -1)
    bits = 8 if pixels.dtype == np.uint8 else 0
    return Opened(ArrayFrames(pixels), "nifti", np.asarray(image.affine, float), bits)
