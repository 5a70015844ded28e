"""Widths of a vessel along its centre line.

Grey values are taken across the vessel, side by side. Wide vessels are measured between their edges
(:mod:`casr_net.vessels.edges`), freed from what the blur does to them; about as thin as the blur, they get a blurred
cylinder fitted (:mod:`casr_net.vessels.cylinder`). Only where neither finds the vessel does the mask's outline count.
All lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from ..errors import DataError, UsageError, shown
from .cylinder import BLUR, WIDE, Fit, fit_blur, fit_cylinders
from .edges import contours, corrected
from .flags import Others, flags_of, others_of
from .measures import METHODS, Widths
from .paths import VesselPath
from .profiles import STEP, Course, course_of, outline_of, profiles_of, smooth_along
from .skeleton import local_radius
from .tree import VesselTree

__all__ = ["Settings", "measure_paths", "measure_widths"]

NONE, EDGES, CYLINDER, MASK = range(4)
WIDEST = 6
"""Vessels between branch points that the blur of an image is taken from."""


@dataclass(frozen=True)
class Settings:
    """How widths are measured. Lengths are in pixels. All defaults are our choice, on phantoms
    (``experiments/phantoms.py``, the seeds for choosing).

    Attributes:
        method: "both" or one of :data:`casr_net.vessels.METHODS` for all places: "edges", "cylinder", "mask".
        blur: standard deviation of the image's blur; None takes it from wide places of the vessel.
        smoothing: standard deviation of the Gaussian along the vessel, of the profiles before.
        after: the same of the diameters afterwards.
        thin, wide: diameters in blurs below which the cylinder counts alone and above which the edges do; between, a
            mean of both, whose weight changes steadily.
        contrast: least height of a fitted cylinder's profile above its background, in its noise, to be a vessel.
        away: largest ratio of a diameter to the mask's, either way; beyond, the mask's counts.
    """

    method: str = "both"
    blur: float | None = None
    smoothing: float = 1.0
    after: float = 0.75
    thin: float = 3.5
    wide: float = 5.0
    contrast: float = 2.0
    away: float = 2.0


def measure_widths(
    attenuation: np.ndarray,
    mask: np.ndarray,
    path: VesselPath | np.ndarray,
    tree: VesselTree | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> Widths:
    """Measure a vessel along a path.

    Args:
        attenuation: float (X, Y), larger where more contrast agent lies in the way, see
            :meth:`casr_net.files.Angiogram.attenuation`; NaN where nothing is known, such as outside the exposed field.
        mask: bool (X, Y).
        path: of a tree, or points (n, 2) of x and y along a vessel.
        tree: of the mask, so that crossings and branch points are told.
        settings: how.

    Returns:
        The widths; a sample every pixel.

    Raises:
        DataError: when the arrays do not fit each other, the mask is empty or full, or the path is no line in the
            image.
        UsageError: for an unknown method or a blur that is not above 0.
    """
    attenuation, mask = np.asarray(attenuation), np.asarray(mask)
    _check(attenuation, mask, settings)
    others = None if tree is None else others_of(tree)
    return _along(Frame(attenuation, mask, local_radius(mask), others), path, settings)


@dataclass(frozen=True, eq=False)
class Frame:
    """What all vessels of a frame share: attenuation, mask, the mask's local radius, all vessels as points."""

    attenuation: np.ndarray
    mask: np.ndarray
    radius: np.ndarray
    others: Others | None


def _along(frame: Frame, path: VesselPath | np.ndarray, settings: Settings) -> Widths:
    attenuation, mask = frame.attenuation, frame.mask
    course = course_of(path, frame.radius)
    half, aside = outline_of(mask, course, 1.6 * float(course.radius.max()) + 3)
    rough = np.maximum(half, 0.5)
    flags = flags_of(course, attenuation, mask, frame.others, rough)
    offset, raw = profiles_of(attenuation, course, 1.6 * float(rough.max()) + 12)
    return _measured(course, rough, aside, flags, offset, smooth_along(raw, settings.smoothing), settings)


def measure_paths(
    attenuation: np.ndarray, mask: np.ndarray, paths: list[VesselPath], tree: VesselTree, settings: Settings
) -> list[Widths]:
    """:func:`measure_widths` of many paths of one tree; the blur is one for all of them.

    Raises:
        DataError, UsageError: as there.
    """
    attenuation, mask = np.asarray(attenuation), np.asarray(mask)
    _check(attenuation, mask, settings)
    frame = Frame(attenuation, mask, local_radius(mask), others_of(tree))
    if settings.blur is None:
        settings = replace(settings, blur=_blur(frame, tree))
    return [_along(frame, path, settings) for path in paths]


def _blur(frame: Frame, tree: VesselTree) -> float:
    """The blur of an image in pixels, from its widest vessels; :data:`casr_net.vessels.cylinder.BLUR` without any."""
    edges = [data for *_, data in tree.graph.edges(data=True) if not data["catheter"] and not data["gap"]]
    stacks, sizes = [], []
    offset = np.zeros(0)
    for data in sorted(edges, key=lambda data: -data["radius"])[:WIDEST]:
        if data["radius"] < WIDE or data["length"] < 4 * data["radius"]:
            continue
        course = course_of(data["points"], frame.radius)
        rough = np.maximum(course.radius + 0.25, 0.5)
        clear = flags_of(course, frame.attenuation, frame.mask, frame.others, rough) == 0
        offset, stack = profiles_of(frame.attenuation, course, 1.6 * float(frame.radius.max()) + 12)
        stacks.append(smooth_along(stack, Settings().smoothing)[clear])
        sizes.append(rough[clear])
    if not stacks:
        return BLUR
    return fit_blur(np.concatenate(stacks), offset, np.concatenate(sizes)) or BLUR


def _check(attenuation: np.ndarray, mask: np.ndarray, settings: Settings) -> None:
    if mask.ndim != 2 or mask.dtype != bool:
        raise DataError(f"The mask is {mask.dtype} of shape {shown(mask.shape)}; it must be bool (X, Y).")
    if attenuation.shape != mask.shape or attenuation.dtype.kind not in "uif":
        raise DataError(
            f"The attenuation is {attenuation.dtype} of shape {shown(attenuation.shape)} and the mask of "
            f"{shown(mask.shape)}; it must be numbers of the same shape."
        )
    if not mask.any():
        raise DataError("The mask is empty; there is no vessel to measure.")
    if mask.all():
        raise DataError("The mask covers the whole image; no vessel can be told from it.")
    if settings.method not in ("both", *METHODS[1:]):
        raise UsageError(f"The method is {shown(settings.method)}; it must be both, edges, cylinder or mask.")
    if settings.blur is not None and not 0 < settings.blur < 20:
        raise UsageError(f"The blur is {shown(settings.blur)} pixels; it must be above 0 and below 20.")


def _measured(
    course: Course,
    rough: np.ndarray,
    aside: np.ndarray,
    flags: np.ndarray,
    offset: np.ndarray,
    stack: np.ndarray,
    settings: Settings,
) -> Widths:
    clear = flags == 0
    blur = settings.blur
    if blur is None:
        blur = fit_blur(stack[clear], offset, rough[clear]) or BLUR
    edges = contours(stack, offset, rough, blur)
    between, middle = corrected(edges, blur), (edges[0] - edges[1]) / 2
    fit = fit_cylinders(stack, offset, rough, blur)
    thin = ~(2 * fit.radius > settings.wide * blur) | (settings.method == "cylinder")
    expected, spread = _density(fit, rough, clear, blur)
    again = fit_cylinders(stack[thin], offset, rough[thin], blur, (expected[thin], spread))
    for name, values in vars(again).items():
        getattr(fit, name)[thin] = values
    diameter, centre, method = _chosen(2 * between, middle, fit, (2 * rough, aside), blur, settings)
    known = np.isfinite(diameter)
    if known.any():
        index = np.arange(len(diameter))
        for values in (diameter, centre):
            filled = median_filter(np.interp(index, index[known], values[known]), 3, mode="nearest")
            values[known] = gaussian_filter1d(filled, settings.after / STEP, mode="nearest")[known]
    half = diameter[:, None] / 2
    left, right = (course.points + (centre[:, None] + side * half) * course.normals for side in (1, -1))
    area = _densitometric(fit.area, diameter, clear & (method != MASK))
    return Widths(course.points, course.along, course.normals, diameter, left, right, method, area, flags)


def _chosen(
    between: np.ndarray,
    middle: np.ndarray,
    fit: Fit,
    mask: tuple[np.ndarray, np.ndarray],
    blur: float,
    settings: Settings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Diameter, distance of its middle from the line, and method of each sample."""
    outline, aside = mask
    round_ = 2 * fit.radius
    seen = fit.density * round_ > settings.contrast * fit.noise
    for values in (between, round_):
        values[~seen | (values > settings.away * outline + 2 * blur)] = np.nan
        values[values < outline / settings.away - 2 * blur] = np.nan
    edged = np.isfinite(between)
    rounded = np.isfinite(round_)
    if settings.method == "edges":
        rounded[:] = False
    elif settings.method == "cylinder":
        edged[:] = False
    elif settings.method == "mask":
        edged[:] = rounded[:] = False
    share = np.clip((round_ / blur - settings.thin) / (settings.wide - settings.thin), 0, 1)
    share = np.where(edged & rounded, share, edged.astype(float))
    with np.errstate(invalid="ignore"):
        diameter = np.where(share > 0, share * np.nan_to_num(between), 0) + np.where(
            share < 1, (1 - share) * np.nan_to_num(round_), 0
        )
        centre = np.where(share >= 0.5, middle, fit.shift)
    method = np.where(share >= 0.5, EDGES, CYLINDER).astype(np.uint8)
    neither = ~edged & ~rounded
    inside = outline > 1.0  # a radius of half a pixel stands for none, see measure_widths
    diameter[neither], centre[neither] = np.where(inside, outline, np.nan)[neither], aside[neither]
    method[neither] = np.where(inside, MASK, NONE)[neither]
    return diameter, np.where(np.isfinite(diameter), np.nan_to_num(centre), np.nan), method


REACH = 30.0
"""Standard deviation of the Gaussian along the vessel over which its density is taken to be one, in pixels."""


SPREAD, SPREAD_BY_MASK = 0.2, 0.35
"""Standard deviation of the logarithm of a vessel's density around that of its wide places, and around what the mask
tells: contrast mixes well, what changes is how obliquely the ray goes through. Our choice."""


def _density(fit: Fit, rough: np.ndarray, clear: np.ndarray, blur: float) -> tuple[np.ndarray, float]:
    """What a vessel's density is likely to be at each sample, that of its wide places near by, and how surely.

    Where it is nowhere wide, the mask tells: its area is taken to be right in the median.
    """
    told = clear & np.isfinite(fit.density) & (fit.radius > 1.75 * blur) & (fit.misfit < 0.2)
    density = fit.density
    if told.sum() < 20:
        told = clear & np.isfinite(fit.area)
        density = np.where(told, fit.area / (np.pi * rough**2), np.nan)
        if not told.any():
            return np.full(len(rough), np.nan), SPREAD_BY_MASK
        return np.full(len(rough), float(np.median(density[told]))), SPREAD_BY_MASK
    return np.exp(_carried(np.log(np.where(told, density, 1)), told)), SPREAD


def _carried(values: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Weighted mean of the values that are told, near each sample; far from all of them, of all."""
    middle = float(np.median(values[told]))
    inside = told & (np.abs(values - middle) < 1.0)
    sigma = REACH / STEP
    total, weight = (
        gaussian_filter1d(np.where(inside, part, 0.0), sigma, mode="constant") for part in (values, np.ones(len(told)))
    )
    faint = 0.02
    return (total + faint * middle) / (weight + faint)


def _densitometric(area: np.ndarray, diameter: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Areas in square pixels: scaled to the diameters where the vessel is as wide as around, so not in a lesion."""
    told = usable & np.isfinite(area) & np.isfinite(diameter) & (np.nan_to_num(area) > 0)
    if not told.any():
        return np.full(len(area), np.nan)
    level = np.exp(_carried(np.log(np.where(told, diameter, 1)), told))
    healthy = told & (np.nan_to_num(diameter) >= 0.9 * level)
    healthy = healthy if healthy.sum() >= 5 else told
    ratio = np.log(np.where(healthy, np.pi / 4 * np.nan_to_num(diameter) ** 2 / np.where(told, area, 1), 1))
    return np.where(np.isfinite(area), area * np.exp(_carried(ratio, healthy)), np.nan)
