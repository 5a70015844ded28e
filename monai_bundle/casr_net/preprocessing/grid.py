"""From the grid of an image to that of the network and back, as functions of arrays (X, Y)."""

from __future__ import annotations

import math

import cv2
import numpy as np

__all__ = ["cropped", "divisible_padding", "longest_size", "padded", "resampled"]

CUT = 4.0
"""Standard deviations at which the Gaussian against aliasing ends. As MONAI's ``GaussianFilter``."""

Padding = tuple[tuple[int, int], tuple[int, int]]


def longest_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size of an image whose longer side becomes ``longest`` pixels."""
    scale = longest / max(size)
    return round(size[0] * scale), round(size[1] * scale)


def resampled(image: np.ndarray, size: tuple[int, int], anti_aliasing: bool = False) -> np.ndarray:
    """An image on another grid that covers the same ground, by bilinear interpolation between pixel centres.

    Args:
        image: (X, Y).
        size: X and Y of the result.
        anti_aliasing: blur before, along axes that become smaller by a factor f, with a standard deviation of
            (f - 1) / 2 pixels, as scikit-image and MONAI's ``Resize`` do; the image is taken for 0 outside.

    Returns:
        float32 of that size; the image itself where it has it.
    """
    image = np.asarray(image, np.float32)
    if image.shape == tuple(size):
        return image
    if anti_aliasing and (size[0] < image.shape[0] or size[1] < image.shape[1]):
        along, across = (
            _gaussian_taps(max(0.0, (old / new - 1) / 2)) for old, new in zip(image.shape, size, strict=True)
        )
        image = cv2.sepFilter2D(image, cv2.CV_32F, across, along, borderType=cv2.BORDER_CONSTANT)
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _gaussian_taps(sigma: float) -> np.ndarray:
    """The share of a Gaussian in each pixel's width, float32."""
    if sigma == 0:
        return np.ones(1, np.float32)
    tail = int(max(sigma * CUT, 0.5) + 0.5)
    edges = [math.erf((place - 0.5) / (sigma * math.sqrt(2))) for place in range(-tail, tail + 2)]
    return np.diff(np.array(edges) / 2).astype(np.float32)


def divisible_padding(size: tuple[int, ...], k: int) -> Padding:
    """Pixels before and behind, along X and Y, that make both sides multiples of ``k``."""
    missing = [-side % k for side in size]
    return (missing[0] // 2, missing[0] - missing[0] // 2), (missing[1] // 2, missing[1] - missing[1] // 2)


def padded(planes: np.ndarray, padding: Padding, mode: str = "constant") -> np.ndarray:
    """(C, X, Y), widened.

    Args:
        planes: to widen.
        padding: of :func:`divisible_padding`.
        mode: "constant" (0) or "edge", as of ``numpy.pad``.
    """
    if not any(map(any, padding)):
        return planes
    return np.pad(planes, ((0, 0), *padding), mode="edge" if mode == "edge" else "constant")


def cropped(image: np.ndarray, padding: Padding) -> np.ndarray:
    """(X, Y) without its padding."""
    (left, right), (top, bottom) = padding
    return image[left : image.shape[0] - right, top : image.shape[1] - bottom]
