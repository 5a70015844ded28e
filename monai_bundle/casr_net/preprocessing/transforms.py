"""Stage 1: multichannel preprocessing by CLAHE and the improved Ben Graham method, as MONAI map transforms.

Arrays follow MONAI's order (channel, X, Y), X along the image's columns. The paper names both filters but none of their
parameters, nor which channel holds what, nor what it improved; every default here is our choice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .field import field_of_view, fill_outside

__all__ = [
    "BenGrahamd",
    "CLAHEd",
    "FieldOfViewd",
    "InvertMonochrome1d",
    "MultichannelPreprocessd",
    "ScaleToUnitd",
    "SelectFramed",
    "ToGreyd",
    "ben_graham",
    "clahe",
    "intensity_range",
]

CHANNELS = ("grey", "clahe", "ben_graham", "zero")


def intensity_range(
    pixels: np.ndarray, window: tuple[float, float] | None = None, bits: int = 0
) -> tuple[float, float]:
    """Choose the values that become 0 and 1.

    Args:
        pixels: any shape, any real type.
        window: centre and width of a DICOM VOI LUT window (PS3.3 C.11.2.1.2, LINEAR), in pixel values.
        bits: bits stored; up to 8, the full range is kept as it is. 0 when unknown.

    Returns:
        (low, high) with low < high: the window, else (0, 255) for 8-bit pixels, else the 0.1 and 99.9 percentiles.
    """
    if window is not None:
        centre, width = window
        if width > 1:
            return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    if 0 < bits <= 8:
        return 0.0, float(2**bits - 1)
    step = max(1, pixels.size // 2_000_000)  # a sample of large cines is enough for percentiles
    low, high = np.percentile(pixels.reshape(-1)[::step], (0.1, 99.9))
    if high <= low:
        low, high = float(pixels.min()), float(pixels.max())
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def clahe(grey: np.ndarray, clip_limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """Contrast limited adaptive histogram equalisation (OpenCV). (X, Y) in [0, 1], in and out.

    Works on 256 levels: OpenCV's clip limit is relative to the mean count of a bin, so that 16-bit images, whose bins
    hold less than one pixel of a tile, would hardly be changed.
    """
    levels = np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(levels).astype(np.float32) / 255


def ben_graham(
    grey: np.ndarray, field: np.ndarray | None = None, alpha: float = 4.0, sigma_fraction: float = 1 / 30
) -> np.ndarray:
    """Improved Ben Graham method: ``clip(alpha * (I - G_sigma(I)) + 0.5, 0, 1)``.

    After B. Graham's local average subtraction (Kaggle diabetic retinopathy, 2015). Improved in three ways, all our
    choice: sigma follows the image size, arithmetic is in floating point with one final clip, and the Gaussian is a
    normalised convolution inside the field (Knutsson and Westin, CVPR 1993), so that the rim causes no halo.

    Args:
        grey: (X, Y) in [0, 1].
        field: bool (X, Y), True inside the exposed field; None means everywhere.
        alpha: gain of the local contrast.
        sigma_fraction: sigma of the Gaussian, as a share of the longer side.

    Returns:
        float32 (X, Y) in [0, 1]; 0.5 outside the field.
    """
    image = np.asarray(grey, dtype=np.float32)
    sigma = max(sigma_fraction * max(image.shape), 0.5)
    if field is None or field.all():
        mean = _gaussian(image, sigma)
        return np.clip(alpha * (image - mean) + 0.5, 0, 1)
    weight = field.astype(np.float32)
    mean = _gaussian(image * weight, sigma) / np.maximum(_gaussian(weight, sigma), 1e-6)
    return np.where(field, np.clip(alpha * (image - mean) + 0.5, 0, 1), np.float32(0.5))


def _gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def _numpy(image: Any) -> np.ndarray:
    return image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)


def _like(array: np.ndarray, image: Any) -> Any:
    """Give a new array the class and the metadata of the image that it was computed from."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return (
        MetaTensor(tensor, meta=image.meta, applied_operations=image.applied_operations)
        if isinstance(image, MetaTensor)
        else tensor
    )


class _ImageTransformd(MapTransform):
    """Base of the transforms below: subclasses change one image by ``apply``."""

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        raise AssertionError("subclasses define apply")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            meta = image.meta if isinstance(image, MetaTensor) else {}
            result[key] = _like(self.apply(_numpy(image), meta, result), image)
        return result


class SelectFramed(_ImageTransformd):
    """Take one frame of a cine: (C, X, Y, T) to (C, X, Y). A single frame (C, X, Y) passes unchanged.

    Args:
        keys: images to change.
        frame_key: entry of the data dictionary with the frame's index from 0; frame 0 when absent.
    """

    def __init__(self, keys: KeysCollection, frame_key: str = "frame", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frame_key = frame_key

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        return image[..., int(data.get(self.frame_key, 0))] if image.ndim == 4 else image


class ToGreyd(_ImageTransformd):
    """Luminance (ITU-R BT.601) of RGB; alpha is ignored. (1 to 4, X, Y) to float32 (1, X, Y) in the same values."""

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        image = image.astype(np.float32)
        if image.shape[0] < 3:
            return image[:1]
        return np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), image[:3], axes=1)[None]


class ScaleToUnitd(_ImageTransformd):
    """Map pixel values to [0, 1] by the range that the reader noted (``meta["intensity_range"]``), else by
    :func:`intensity_range` of the image itself. Values outside are clipped. (C, X, Y) to float32 (C, X, Y)."""

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        low, high = meta.get("intensity_range") or intensity_range(image)
        return np.clip((image.astype(np.float32) - low) / (high - low), 0, 1).astype(np.float32)


class InvertMonochrome1d(_ImageTransformd):
    """Turn MONOCHROME1 (high values dark, DICOM PS3.3 C.7.6.3.1.2) into MONOCHROME2. (C, X, Y) in [0, 1]."""

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        return 1 - image if meta.get("photometric_interpretation") == "MONOCHROME1" else image


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
            field = field_of_view(_numpy(result[key])[0])
            result[self.field_key] = torch.from_numpy(field[None].astype(np.float32))
        return result


class CLAHEd(_ImageTransformd):
    """CLAHE of every channel by :func:`clahe`. (C, X, Y) in [0, 1], in and out."""

    def __init__(
        self, keys: KeysCollection, clip_limit: float = 2.0, tiles: int = 8, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clip_limit, self.tiles = clip_limit, tiles

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        return np.stack([clahe(channel, self.clip_limit, self.tiles) for channel in image])


class BenGrahamd(_ImageTransformd):
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
        field = None if self.field_key is None else _numpy(data[self.field_key])[0] > 0.5
        return np.stack([ben_graham(channel, field, self.alpha, self.sigma_fraction) for channel in image])


class MultichannelPreprocessd(_ImageTransformd):
    """The network's input: chosen channels of one grey image, scaled to [-1, 1]. (1, X, Y) in [0, 1] to (C, X, Y).

    Args:
        keys: images to change.
        channels: any of "grey", "clahe", "ben_graham" and "zero" (an empty channel, for ablations), in order.
        clip_limit, tiles: of :func:`clahe`.
        alpha, sigma_fraction: of :func:`ben_graham`.
        field_key: entry with the exposed field, (1, X, Y); computed here when None or absent.

    Raises:
        ValueError: for an unknown channel name.
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
        unknown = [name for name in channels if name not in CHANNELS]
        if unknown or not channels:
            raise ValueError(f"channels are {list(channels)}; known are {', '.join(CHANNELS)}.")
        self.channels, self.clip_limit, self.tiles = tuple(channels), clip_limit, tiles
        self.alpha, self.sigma_fraction, self.field_key = alpha, sigma_fraction, field_key

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        grey = image[0].astype(np.float32)
        stored = data.get(self.field_key) if self.field_key else None
        field = field_of_view(grey) if stored is None else _numpy(stored)[0] > 0.5
        grey = fill_outside(grey, field)
        parts = []
        for name in self.channels:
            if name == "grey":
                parts.append(grey)
            elif name == "clahe":
                parts.append(clahe(grey, self.clip_limit, self.tiles))
            elif name == "ben_graham":
                parts.append(ben_graham(grey, field, self.alpha, self.sigma_fraction))
            else:
                parts.append(np.full_like(grey, 0.5))
        return np.stack(parts).astype(np.float32) * 2 - 1
