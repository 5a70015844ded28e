"""MONAI readers of angiograms and masks, for ``LoadImaged``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import ensure_tuple

from .images import Angiogram, is_image, read_angiogram
from .masks import read_mask

__all__ = ["AngiogramReader", "MaskReader"]


class AngiogramReader(ImageReader):
    """MONAI reader for ``LoadImaged``: arrays (samples, X, Y), or (samples, X, Y, T) for a cine, channel first.

    MONAI's own readers give a multi-frame XA with wrong axes (PydicomReader), keep MONOCHROME1 and the window unapplied
    and treat a cine as a volume. The metadata carry ``affine``, ``spatial_shape``, ``original_channel_dim`` = 0,
    ``intensity_range`` and ``photometric_interpretation``.

    The file is read in :meth:`get_data`: after an error in :meth:`read`, MONAI's ``LoadImage`` would try its own
    readers, which accept what is refused here, such as a volume, and give wrong pixels without a word.
    """

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        return all(is_image(Path(name)) for name in ensure_tuple(filename))

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> Path:
        return Path(ensure_tuple(data)[0])

    def get_data(self, img: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Pixels and metadata.

        Raises:
            DataError: as :func:`read_angiogram`.
        """
        return self._data(read_angiogram(img))

    def _data(self, img: Angiogram) -> tuple[np.ndarray, dict[str, Any]]:
        pixels = img.pixels[..., 0] if img.frames == 1 else img.pixels
        meta = {
            "affine": img.affine.copy(),
            "original_affine": img.affine.copy(),
            "spatial_shape": np.asarray(pixels.shape[1:]),
            "original_channel_dim": 0,
            "intensity_range": img.intensity_range,
            "photometric_interpretation": img.photometric_interpretation,
        }
        return pixels, meta


class MaskReader(ImageReader):
    """MONAI reader for ``LoadImaged``: (1, X, Y) of 0 and 1, or (1, X, Y, T) for a cine, by :func:`read_mask`.

    The file is read in :meth:`get_data`, see :class:`casr_net.files.AngiogramReader`.
    """

    def verify_suffix(self, filename: Any) -> bool:
        return all(is_image(name) for name in ensure_tuple(filename))

    def read(self, data: Any, **kwargs: Any) -> Path:
        return Path(ensure_tuple(data)[0])

    def get_data(self, img: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Pixels and metadata.

        Raises:
            DataError: as :func:`read_mask`.
        """
        masks = read_mask(img)
        pixels = (masks[..., 0] if masks.shape[-1] == 1 else masks)[None].astype(np.uint8)
        return pixels, {"affine": np.eye(4), "spatial_shape": np.asarray(pixels.shape[1:]), "original_channel_dim": 0}
