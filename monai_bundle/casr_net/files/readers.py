"""MONAI readers of angiograms and masks, for ``LoadImaged``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import ensure_tuple

from .images import read_angiogram
from .kinds import is_image
from .masks import read_mask

__all__ = ["AngiogramReader", "MaskReader"]


class AngiogramReader(ImageReader):
    """MONAI reader for ``LoadImage``: shown grey, float32 (1, X, Y), or (1, X, Y, T) for a cine, in [0, 1].

    MONAI's own readers give a multi-frame XA with wrong axes (PydicomReader), keep MONOCHROME1 and the window unapplied
    and treat a cine as a volume. All frames are decoded; for one of many there is
    :class:`casr_net.preprocessing.LoadAngiogramd`. The metadata carry ``affine``, ``spatial_shape`` and
    ``original_channel_dim`` = 0.

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
            DataError: as :func:`casr_net.files.read_angiogram` and :meth:`casr_net.files.Angiogram.grey`.
        """
        source = read_angiogram(img)
        frames = [source.grey(index) for index in range(source.frames)]
        pixels = (frames[0] if len(frames) == 1 else np.stack(frames, axis=-1))[None]
        affine = source.affine
        meta = {
            "affine": affine.copy(),
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(pixels.shape[1:]),
            "original_channel_dim": 0,
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
