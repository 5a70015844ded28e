"""From vessels in space to the image: thickness along the rays, and what detector and display make of the dose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .background import Collimator

__all__ = ["Detector", "Lumen", "expose", "thickness_and_mask"]

SAMPLES_PER_PIXEL = 2.0  # along a centreline; fewer leave scallops along thin vessels


@dataclass(frozen=True)
class Lumen:
    """A vessel as projected.

    Attributes:
        points: (n, 3), x, y and depth in pixels.
        radii: (n,), pixels.
        contrast: (n,), 0 to 1.
        parent: index of the vessel it leaves, None at the ostium; parents come first.
    """

    points: np.ndarray
    radii: np.ndarray
    contrast: np.ndarray
    parent: int | None


@dataclass(frozen=True)
class Detector:
    """Image quality of one acquisition.

    Attributes:
        blur: standard deviation of focal spot and detector blur, pixels.
        photons: detected quanta per pixel at the median of the image.
        grain: standard deviation of the detector's blur of the quanta, pixels; it correlates the noise.
        level: grey value of the image's median.
        gamma: exponent of the tone curve.
        sharpening: share of the unsharp mask that is added, as scanners do.
        quality: of JPEG compression, 0 to 100.
    """

    blur: float
    photons: float
    grain: float
    level: float
    gamma: float
    sharpening: float
    quality: int


def thickness_and_mask(vessels: list[Lumen], size: int, visible: float) -> tuple[np.ndarray, np.ndarray]:
    """Contrast-filled thickness along every ray, and the mask of what is visible of it.

    Crossing vessels add up, as their shadows do. Where a branch lies inside its parent, at its origin, the common lumen
    counts once.

    Args:
        vessels: parents before children.
        size: rows and columns.
        visible: least contrast that goes into the mask.

    Returns:
        float32 (rows, columns) pixels of full contrast, and bool (rows, columns).
    """
    total, mask = np.zeros(size * size), np.zeros(size * size, bool)
    layers: list[tuple[np.ndarray, ...]] = []
    for vessel in vessels:
        pixel, half, depth, contrast = layer = _layer(vessel, size)
        layers.append(layer)
        shared = np.zeros(len(pixel))
        if vessel.parent is not None and len(layers[vessel.parent][0]):
            other, other_half, other_depth, _ = layers[vessel.parent]
            at = np.minimum(np.searchsorted(other, pixel), len(other) - 1)
            common = np.minimum(depth + half, (other_depth + other_half)[at]) - np.maximum(
                depth - half, (other_depth - other_half)[at]
            )
            shared = np.where(other[at] == pixel, np.maximum(common, 0), 0)
        total[pixel] += contrast * (2 * half - shared)
        mask[pixel[contrast >= visible]] = True
    return total.reshape(size, size).astype(np.float32), mask.reshape(size, size)


def _layer(vessel: Lumen, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (sorted flat indices) of one vessel; half the chord through it, its depth and contrast there."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(vessel.points, axis=0), axis=1))])
    along = np.union1d(np.linspace(0, length[-1], int(SAMPLES_PER_PIXEL * length[-1]) + 2), length)
    x, y, depth = (np.interp(along, length, column) for column in vessel.points.T)
    radii, contrast = np.interp(along, length, vessel.radii), np.interp(along, length, vessel.contrast)
    reach = int(radii.max() + 1)
    offset = np.arange(-reach, reach + 1)
    columns = np.round(x).astype(int)[:, None, None] + offset[None, None]
    rows = np.round(y).astype(int)[:, None, None] + offset[None, :, None]
    square = (
        (radii**2)[:, None, None] - (columns - x[:, None, None]) ** 2 - (rows - y[:, None, None]) ** 2
    )  # of half the chord through the ball around each sample
    inside = (square > 0) & (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    sample = np.nonzero(inside)[0]
    pixel, half = (rows * size + columns)[inside], np.sqrt(square[inside])
    order = np.lexsort((half, pixel))
    last = np.append(np.diff(pixel[order]) > 0, True) if len(order) else np.zeros(0, bool)  # the largest per pixel
    chosen = order[last]
    return pixel[chosen], half[chosen], depth[sample[chosen]], contrast[sample[chosen]]


def expose(
    rng: np.random.Generator, detector: Detector, chest: np.ndarray, vessels: np.ndarray, field: Collimator
) -> np.ndarray:
    """Image of optical depths, by the law of Beer and Lambert, with blur, quantum noise and tone curve.

    Args:
        rng: source of the noise.
        detector: image quality.
        chest: (rows, columns) optical depth of everything that does not change with contrast; it sets the exposure, as
            the automatic exposure control does, so that a cine does not flicker.
        vessels: (rows, columns) optical depth of contrast and catheter.
        field: the collimator.

    Returns:
        uint8 (rows, columns), MONOCHROME2: vessels are dark.
    """
    reference = np.exp(-np.median(chest[field.field]))
    dose = np.exp(-(chest + vessels)) / reference * field.transmission
    dose = cv2.GaussianBlur(dose.astype(np.float32), (0, 0), max(detector.blur, 0.3))
    # Poisson noise of many quanta is normal; the detector's blur correlates it and leaves its variance.
    grain = cv2.GaussianBlur(rng.normal(size=dose.shape).astype(np.float32), (0, 0), detector.grain)
    dose = dose + np.sqrt(np.maximum(dose, 0) / detector.photons) * grain / max(float(grain.std()), 1e-6)
    if detector.sharpening:
        dose = dose + detector.sharpening * (dose - cv2.GaussianBlur(dose, (0, 0), 2.5 * max(detector.blur, 0.5)))
    grey = detector.level * np.maximum(dose, 0) ** detector.gamma
    # Displays compress the bright end: linear up to the median, asymptotically white beyond it.
    room = 255 - detector.level
    over = np.maximum(grey - detector.level, 0)
    grey = np.minimum(grey, detector.level) + room * (1 - np.exp(-over / room))
    if field.black:
        grey = np.where(field.field, grey, 0)
    image = np.clip(np.round(grey), 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, detector.quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if done else None
    if decoded is None:
        raise RuntimeError("OpenCV cannot encode JPEG")
    if field.black:
        decoded = np.where(field.field, decoded, 0)  # workstations draw the frame after decompression
    return decoded
