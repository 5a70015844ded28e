"""The two filters of stage 1 as functions of arrays. The paper names both but none of their parameters."""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

__all__ = ["ben_graham", "clahe"]

SLOWEST = 8.0
"""Radians a standard deviation up to which a Gaussian is computed: beyond, less than 1e-5 of a wave is left, by the
kernel's cut ends. Our choice: errors are those of rounding then."""

SHARES = np.arange(256, dtype=np.float32) / 255
"""What a level of 256 stands for."""


def clahe(grey: np.ndarray, clip_limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """Contrast limited adaptive histogram equalisation (OpenCV). (X, Y) in [0, 1], in and out.

    Works on 256 levels: OpenCV's clip limit is relative to the mean count of a bin, so that 16-bit images, whose bins
    hold less than one pixel of a tile, would hardly be changed.
    """
    return cv2.LUT(clahe_levels(grey, clip_limit, tiles), SHARES)


def clahe_levels(grey: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """:func:`clahe`, as levels from 0 to 255, uint8."""
    grey = np.asarray(grey, np.float32)
    # OpenCV takes absolute values, rounds to the nearest, and cuts off at 255.
    levels = cv2.convertScaleAbs(grey if grey.min() >= 0 else np.maximum(grey, 0), alpha=255)
    return cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(levels)


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
        return _stretched(image, mean, alpha)
    weight = field.astype(np.float32)
    mean = _gaussian(image * weight, sigma)
    mean /= np.maximum(_gaussian(weight, sigma), 1e-6)
    result = _stretched(image, mean, alpha)
    result[~field] = 0.5
    return result


def _stretched(image: np.ndarray, mean: np.ndarray, alpha: float) -> np.ndarray:
    """In the memory of ``mean``: fresh arrays of this size cost more than what is computed."""
    np.subtract(image, mean, out=mean)
    mean *= np.float32(alpha)
    mean += np.float32(0.5)
    return np.clip(mean, 0, 1, out=mean)


def _gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """OpenCV's Gaussian with reflected borders (``BORDER_REFLECT_101``), up to its own rounding, ten times as fast.

    Such a filter scales cosines (the DCT-I diagonalises it), and one as wide as this leaves next to nothing of all but
    the slowest: only those are computed.
    """
    mean = np.float32(image.mean())
    along, across = (_slow_cosines(size, sigma) for size in image.shape)
    coefficients = along.analysis @ (image - mean) @ across.analysis.T
    smooth: np.ndarray = along.synthesis @ (coefficients @ across.synthesis.T)
    smooth += mean
    return smooth


class _Cosines(NamedTuple):
    """(k, n) from a line to what is left of its slowest cosines, and (n, k) back."""

    analysis: np.ndarray
    synthesis: np.ndarray


@functools.lru_cache(maxsize=8)
def _slow_cosines(size: int, sigma: float) -> _Cosines:
    last = max(size - 1, 1)
    # OpenCV's own kernel, cut off at four standard deviations for floating point.
    kernel = cv2.getGaussianKernel(round(8 * sigma + 1) | 1, sigma, cv2.CV_64F)[:, 0]
    count = min(size, int(np.ceil(SLOWEST * last / (np.pi * sigma))) + 1)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    left = np.cos(np.pi / last * np.outer(np.arange(count), offsets)) @ kernel
    waves = np.cos(np.pi / last * np.outer(np.arange(count), np.arange(size)))
    # The cosines are orthogonal where both ends count half.
    ends = np.ones(size)
    ends[[0, -1]] = 0.5
    norm = np.where((np.arange(count) % last == 0), 1.0, 2.0) / last
    analysis = (left * norm)[:, None] * waves * ends
    return _Cosines(analysis.astype(np.float32), np.ascontiguousarray(waves.T, np.float32))
