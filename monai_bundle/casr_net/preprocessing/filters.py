"""The two filters of stage 1 as functions of arrays. The paper names both but none of their parameters."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["ben_graham", "clahe"]

_SHARES = np.arange(256, dtype=np.float32) / 255


def clahe(grey: np.ndarray, clip_limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """Contrast limited adaptive histogram equalisation (OpenCV). (X, Y) in [0, 1], in and out.

    Works on 256 levels: OpenCV's clip limit is relative to the mean count of a bin, so that 16-bit images, whose bins
    hold less than one pixel of a tile, would hardly be changed.
    """
    scaled = np.clip(grey, 0, 1)
    scaled *= 255
    levels = np.rint(scaled, out=scaled).astype(np.uint8)
    return _SHARES[cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(levels)]


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
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
