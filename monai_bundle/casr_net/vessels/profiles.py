"""A vessel straightened: profiles of grey values across its centre line, side by side.

Points are (x, y): indices into arrays (X, Y). Lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from ..errors import DataError, shown
from .centreline import refine_line
from .net import arc
from .paths import VesselPath

__all__ = ["ACROSS", "STEP", "Course", "course_of", "outline_of", "profiles_of", "smooth_along"]

STEP = 1.0
"""Distance between the samples along a vessel, in pixels."""
ACROSS = 0.25
"""Distance between the samples across it, in pixels."""
TANGENT = 2.0
"""Standard deviation of the Gaussian along the line before its direction is taken, in pixels: a normal that trembles
would widen the profile."""


@dataclass(frozen=True, eq=False)
class Course:
    """The line along which a vessel is measured, n samples at equal distance.

    Attributes:
        points: float (n, 2), x and y.
        along: float (n,), length from the start.
        normals: float (n, 2), unit vectors to the left of the direction, as the image is shown (x to the right, y
            downwards).
        radius: float (n,), distance from the points to the mask's outline, 0 outside the mask.
    """

    points: np.ndarray
    along: np.ndarray
    normals: np.ndarray
    radius: np.ndarray


def course_of(path: VesselPath | np.ndarray, radius: np.ndarray) -> Course:
    """Draw a path into the middle of its vessel, smooth it and sample it at equal distances.

    Args:
        path: of a tree, or points (n, 2), at least two different ones.
        radius: float (X, Y), see :func:`casr_net.vessels.local_radius`.

    Raises:
        DataError: when the points make no line within the image.
    """
    points = np.asarray(path.points if isinstance(path, VesselPath) else path, float)
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise DataError(f"The path is of shape {shown(points.shape)}; it must be finite numbers (points, 2).")
    points = points[np.append(True, np.diff(points, axis=0).any(axis=1))]
    if len(points) < 2:
        raise DataError(f"The path has {len(points)} different points; at least 2 are needed.")
    if (points < -0.5).any() or (points > np.array(radius.shape) - 0.5).any():
        raise DataError(f"The path leaves the image of {shown(radius.shape)} pixels.")
    line = refine_line(radius, _equal(points, 1.0))
    # Where the outline is ragged the line may still tremble; and refining must not lead it out of the image.
    line = _equal(np.clip(line, 0, np.array(radius.shape) - 1), STEP)
    direction = np.gradient(gaussian_filter1d(line, TANGENT / STEP, axis=0, mode="nearest"), axis=0)
    if len(line) > 4:  # the mode bends the ends; the direction just before them is the better one
        direction[:2], direction[-2:] = direction[2], direction[-3]
    size = np.hypot(direction[:, 0], direction[:, 1])
    direction /= np.maximum(size, 1e-9)[:, None]
    normals = np.stack([direction[:, 1], -direction[:, 0]], axis=1)
    local = map_coordinates(radius, line.T, order=1, mode="nearest")
    return Course(line, np.arange(len(line)) * float(arc(line)[-1]) / max(len(line) - 1, 1), normals, local)


def _equal(points: np.ndarray, step: float) -> np.ndarray:
    """Points at equal distances of about ``step`` along a polygon, at least two."""
    along = arc(points)
    at = np.linspace(0, along[-1], max(round(along[-1] / step), 1) + 1)
    return np.stack([np.interp(at, along, column) for column in points.T], axis=1)


def profiles_of(image: np.ndarray, course: Course, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Grey values across a line.

    Args:
        image: float (X, Y); may hold NaN.
        course: of the vessel.
        reach: farthest from the line, in pixels.

    Returns:
        offset (m,), from the right (below 0) to the left, and float32 (n, m) by cubic interpolation, NaN beyond the
        image and beside pixels that are not finite.
    """
    count = int(np.ceil(reach / ACROSS))
    offset = np.arange(-count, count + 1) * ACROSS
    at = course.points[:, None] + offset[None, :, None] * course.normals[:, None]
    x, y = (at[..., axis].astype(np.float32) for axis in (0, 1))
    values = np.where(np.isfinite(image), image, np.nan).astype(np.float32)
    # OpenCV takes the first axis of an array for y.
    found = cv2.remap(values, y, x, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan"))
    outside = (x < 0) | (y < 0) | (x > image.shape[0] - 1) | (y > image.shape[1] - 1)
    found[outside] = np.nan
    return offset, found


def outline_of(mask: np.ndarray, course: Course, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Half the width of the mask across a line, and how far to the left its middle lies; float (n,) each.

    Where the mask goes on beyond the ``reach``, as at branch points, its distance transform is taken instead; 0 where
    the line leaves the mask.
    """
    offset, stack = profiles_of(mask.astype(np.float32), course, reach)
    stack = np.nan_to_num(stack)
    middle = len(offset) // 2
    sides = []
    for inside in (stack[:, middle:], stack[:, middle::-1]):
        out = inside < 0.5
        index = np.where(out.any(axis=1), np.argmax(out, axis=1), 0)
        rows = np.arange(len(stack))
        high, low = inside[rows, np.maximum(index - 1, 0)], inside[rows, index]
        step = np.where(high > low, (high - 0.5) / np.where(high > low, high - low, 1), 0)
        sides.append(np.where(index > 0, (index - 1 + step) * ACROSS, 0))
    left, right = sides
    half, shift = (left + right) / 2, (left - right) / 2
    open_ = half > 1.5 * course.radius + 1.5
    return np.where(open_, course.radius + 0.25, half), np.where(open_, 0.0, shift)


def smooth_along(stack: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted mean of neighbouring profiles by a Gaussian of ``sigma`` pixels along the vessel; NaN has no weight."""
    if sigma <= 0:
        return stack
    finite = np.isfinite(stack)
    if finite.all():
        return gaussian_filter1d(stack, sigma / STEP, axis=0, mode="nearest")
    total = gaussian_filter1d(np.where(finite, stack, 0), sigma / STEP, axis=0, mode="nearest")
    weight = gaussian_filter1d(finite.astype(np.float32), sigma / STEP, axis=0, mode="nearest")
    return np.where(finite, total / np.maximum(weight, 1e-6), np.nan)
