"""Stage 1: multichannel preprocessing by CLAHE and the improved Ben Graham method, as MONAI map transforms.

Arrays follow MONAI's order (channel, X, Y), X along the image's columns. The paper names both filters but none of their
parameters, nor which channel holds what, nor what it improved; every default here is our choice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.transforms.utils import scale_affine
from monai.utils import TraceKeys

from ..errors import shown
from .base import ImageTransformd, as_numpy, like
from .channels import CHANNELS, network_channels
from .field import field_of_view
from .filters import ben_graham, clahe
from .grid import longest_size, resampled

__all__ = [
    "BenGrahamd",
    "CLAHEd",
    "FieldOfViewd",
    "MultichannelPreprocessd",
    "ResizeLongestd",
]


class ResizeLongestd(MapTransform, InvertibleTransform):
    """Images whose longer side gets a number of pixels, by :func:`casr_net.preprocessing.resampled`.

    MONAI's ``Resized`` with ``size_mode="longest"`` and ``mode="bilinear"``, but computed by OpenCV, so that it is the
    same without torch. They differ by rounding: up to 3e-5 where torch's places in single precision are to blame. The
    inverse, for ``Invertd``, blurs nothing.

    Args:
        keys: images (1, X, Y).
        spatial_size: pixels of the longer side.
        anti_aliasing: blur before the image becomes smaller.
    """

    def __init__(
        self, keys: KeysCollection, spatial_size: int, anti_aliasing: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if isinstance(spatial_size, bool) or not isinstance(spatial_size, int) or spatial_size < 1:
            raise ValueError(f"spatial_size is {shown(spatial_size)}; it must be a whole number from 1.")
        self.spatial_size, self.anti_aliasing = spatial_size, anti_aliasing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            old = (int(result[key].shape[1]), int(result[key].shape[2]))
            result[key] = self._resized(result[key], longest_size(old, self.spatial_size), self.anti_aliasing)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Back to the grid that the image came from."""
        result = dict(data)
        for key in self.key_iterator(result):
            old = self.pop_transform(result[key])[TraceKeys.ORIG_SIZE]
            with self.trace_transform(False):
                result[key] = self._resized(result[key], (int(old[0]), int(old[1])), False)
        return result

    def _resized(self, image: Any, size: tuple[int, int], anti_aliasing: bool) -> Any:
        old = tuple(map(int, image.shape[1:]))
        done = like(np.stack([resampled(plane, size, anti_aliasing) for plane in as_numpy(image)]), image)
        if not isinstance(image, MetaTensor):
            return done
        traced = self.track_transform_meta(
            image, sp_size=size, affine=scale_affine(old, size), orig_size=old,
            transform_info=self.get_transform_info(), lazy=False,
        )  # fmt: skip
        return done.copy_meta_from(traced)


class FieldOfViewd(MapTransform):
    """Add the exposed field of an image under another key, by :func:`casr_net.preprocessing.field_of_view`.

    Args:
        keys: one image, (1, X, Y) in [0, 1].
        field_key: where the float32 (1, X, Y) field of 0 and 1 is put.
    """

    def __init__(self, keys: KeysCollection, field_key: str = "field", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            field = field_of_view(as_numpy(result[key])[0])
            result[self.field_key] = torch.from_numpy(field[None].astype(np.float32))
        return result


class CLAHEd(ImageTransformd):
    """CLAHE of every channel by :func:`clahe`. (C, X, Y) in [0, 1], in and out."""

    def __init__(
        self, keys: KeysCollection, clip_limit: float = 2.0, tiles: int = 8, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clip_limit, self.tiles = clip_limit, tiles

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        return np.stack([clahe(channel, self.clip_limit, self.tiles) for channel in image])


class BenGrahamd(ImageTransformd):
    """Improved Ben Graham method on every channel by :func:`ben_graham`. (C, X, Y) in [0, 1], in and out."""

    def __init__(
        self,
        keys: KeysCollection,
        alpha: float = 4.0,
        sigma_fraction: float = 1 / 30,
        field_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.alpha, self.sigma_fraction, self.field_key = alpha, sigma_fraction, field_key

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        field = None if self.field_key is None else as_numpy(data[self.field_key])[0] > 0.5
        return np.stack([ben_graham(channel, field, self.alpha, self.sigma_fraction) for channel in image])


class MultichannelPreprocessd(ImageTransformd):
    """The network's input: chosen channels of one grey image, scaled to [-1, 1]. (1, X, Y) in [0, 1] to (C, X, Y).

    Args:
        keys: images to change.
        channels: any of "grey", "clahe", "ben_graham" and "zero" (an empty channel, for ablations), in order.
        clip_limit, tiles: of :func:`clahe`.
        alpha, sigma_fraction: of :func:`ben_graham`.
        field_key: entry with the exposed field, (1, X, Y); computed here when None or absent.

    Raises:
        ValueError: for an unknown channel name, or a value outside its range.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Sequence[str] = ("grey", "clahe", "ben_graham"),
        clip_limit: float = 2.0,
        tiles: int = 8,
        alpha: float = 4.0,
        sigma_fraction: float = 1 / 30,
        field_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if isinstance(channels, str) or not channels or any(name not in CHANNELS for name in channels):
            raise ValueError(f"channels are {shown(channels)}; known are {', '.join(CHANNELS)}.")
        for name, value in (("clip_limit", clip_limit), ("alpha", alpha), ("sigma_fraction", sigma_fraction)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{name} is {shown(value)}; it must be a number above 0.")
        if isinstance(tiles, bool) or not isinstance(tiles, int) or tiles < 1:
            raise ValueError(f"tiles is {shown(tiles)}; it must be a whole number from 1.")
        self.channels, self.clip_limit, self.tiles = tuple(channels), clip_limit, tiles
        self.alpha, self.sigma_fraction, self.field_key = alpha, sigma_fraction, field_key

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        grey = image[0].astype(np.float32)
        stored = data.get(self.field_key) if self.field_key else None
        field = field_of_view(grey) if stored is None else as_numpy(stored)[0] > 0.5
        return network_channels(
            grey, field, self.channels, self.clip_limit, self.tiles, self.alpha, self.sigma_fraction
        )
