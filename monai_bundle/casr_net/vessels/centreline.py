"""Centre lines with sub-pixel precision: a least-cost path through the mask's middle, drawn onto it and smoothed.

Points are (x, y): indices into arrays (X, Y), a pixel's centre is at whole numbers. Lengths are in pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from scipy.interpolate import splev, splprep
from scipy.ndimage import map_coordinates
from skimage.graph import MCP_Geometric

from ..errors import UsageError, shown
from .net import arc
from .skeleton import local_radius, vessel_skeleton

__all__ = ["centre_line", "refine_line"]

STEP = 0.5
"""Distance between the points of a centre line, in pixels."""
POWER = 4
"""A step costs the inverse of this power of its depth in the vessel. Lower powers cut corners of wide vessels."""
STAIRS, NOISE = 0.2, 0.1
"""Standard deviation that the smoothing spline leaves, in pixels: of points on the grid, of points in the middle."""


def centre_line(mask: np.ndarray, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """The centre line of a vessel between two points in it.

    In a mask with crossings or loops the cheapest way may change vessels: take the path of a
    :class:`casr_net.vessels.VesselTree` and :func:`refine_line` there.

    Args:
        mask: bool (X, Y).
        start, end: (x, y), in the mask.

    Returns:
        float (n, 2), from start to end, neighbours about half a pixel apart. The ends lie in the vessel's middle beside
        the given points.

    Raises:
        UsageError: when a point is not in the mask, or no vessel joins the two.
    """
    radius = local_radius(mask)
    pixels = [_pixel(mask, point, name) for point, name in ((start, "start"), (end, "end"))]
    router = MCP_Geometric(np.where(mask, _share_of_depth(mask, radius) ** -POWER, -1))
    costs, _ = router.find_costs([pixels[0]], [pixels[1]])
    if not np.isfinite(costs[pixels[1]]):
        raise UsageError(f"No vessel joins the start {shown(start)} and the end {shown(end)}.")
    return refine_line(radius, np.array(router.traceback(pixels[1]), float))


def _share_of_depth(mask: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Depth in the vessel over that on its skeleton: by depth alone, detours through wide vessels would be cheap."""
    skeleton = vessel_skeleton(mask)
    apart = (~skeleton).astype(np.uint8)
    _, label = cv2.distanceTransformWithLabels(apart, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    local = np.ones(int(label.max()) + 1, np.float32)
    local[label[skeleton]] = np.maximum(radius[skeleton], 0.5)
    return np.minimum(np.maximum(radius, 0.25) / local[label], 1)


def refine_line(radius: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Draw a line of pixels along a vessel into its middle.

    Args:
        radius: float (X, Y) of :func:`casr_net.vessels.local_radius`.
        points: (n, 2), neighbours at most a few pixels apart, without repeats.

    Returns:
        float (m, 2), about half a pixel apart.
    """
    points = np.asarray(points, float)
    if len(points) < 4:
        return points
    return _smooth(_to_middle(radius, _smooth(points, STAIRS)), NOISE)


def _pixel(mask: np.ndarray, point: tuple[float, float], name: str) -> tuple[int, int]:
    at = np.floor(np.asarray(point, float) + 0.5)
    if at.shape != (2,) or not np.isfinite(at).all() or (at < 0).any() or (at >= mask.shape).any():
        raise UsageError(f"The {name} {shown(point)} is no point of the image of {shown(mask.shape)} pixels.")
    pixel = (int(at[0]), int(at[1]))
    if not mask[pixel]:
        raise UsageError(f"The {name} {shown(point)} is not in a vessel.")
    return pixel


def _smooth(points: np.ndarray, noise: float) -> np.ndarray:
    along = arc(points)
    spline: Any = splprep(points.T, u=along, s=len(points) * 2 * noise**2, k=3)
    return np.stack(splev(np.linspace(0, along[-1], int(along[-1] / STEP) + 2), spline[0]), axis=1)


def _to_middle(radius: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Move each point across the line to the centroid of the distance transform's power there."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    local = np.maximum(map_coordinates(radius, line.T, order=1, mode="nearest"), 1.0)
    share = np.linspace(-1, 1, 17)
    offset = share[None] * local[:, None]
    at = line[:, None] + offset[..., None] * normal[:, None]
    weight = map_coordinates(radius, at.reshape(-1, 2).T, order=1, mode="nearest").reshape(offset.shape) ** POWER
    return line + ((weight * offset).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12))[:, None] * normal
