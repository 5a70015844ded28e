"""Narrowed stretches of vessels: minimum lumen diameter, reference, percent stenosis, length.

PS3.17 T.4.2, interpolated reference: a line through the diameters at marks, at 5 % and 95 % of the length of the
analysed vessel, is the diameter that it would have without disease; the reference is its value at the minimum.
Lengths are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from ..errors import UsageError, shown
from .measures import BORDER, BRANCH, CROSSING, GAP, METHODS, Lesion, Widths
from .profiles import STEP

__all__ = ["MARKS", "Search", "find_lesions", "narrowest", "ranked", "remeasured"]

MARKS = (0.05, 0.95)
"""Where the reference is taken, as shares of the analysed vessel's length (PS3.17 T.4.2)."""

WORDS = ((CROSSING, "crossing"), (BRANCH, "branch point"), (BORDER, "border"), (GAP, "gap"))


@dataclass(frozen=True)
class Search:
    """What counts as a lesion. All are our choice; those of the automatic search were set on ARCADE's train images.

    Attributes:
        least: percent diameter stenosis from which on a narrowing is one.
        recovers: least widening to both sides of the minimum, in percent of the narrower side, so that a taper is none.
        vessel: least reference diameter in pixels: below about four blurs, what is left of a narrowed lumen is not
            measured well enough.
        surroundings: healthy vessel that is analysed on each side of a lesion, in its diameters; 0 analyses the whole
            path, as someone who chose its ends wants it.
        mark: length over which the diameter at a mark is averaged, in diameters.
        ends: distance from the ends of the path where no minimum counts, in diameters.
        noise: standard deviation of the Gaussian over diameters in which minima are looked for, in pixels.
    """

    least: float = 20.0
    recovers: float = 15.0
    vessel: float = 0.0
    surroundings: float = 0.0
    mark: float = 1.0
    ends: float = 1.0
    noise: float = 0.75


def find_lesions(
    widths: Widths,
    reference: float | None = None,
    search: Search = Search(),  # noqa: B008 - frozen
) -> list[Lesion]:
    """All lesions of a path, ranked.

    Args:
        widths: of :func:`casr_net.vessels.measure_widths`.
        reference: diameter in pixels that the user chose; None interpolates it.
        search: what counts.

    Raises:
        UsageError: when the reference is not above 0.
    """
    _check(reference)
    known = np.isfinite(widths.diameter)
    if known.sum() < 5:
        return []
    smooth = _smooth(widths, search.noise)
    level = -np.log(np.maximum(smooth, 1e-3))
    peaks, found = find_peaks(level, prominence=-np.log1p(-search.recovers / 100))
    lesions = []
    total = float(widths.along[-1])
    for peak, left, right in zip(peaks, found["left_bases"], found["right_bases"], strict=True):
        room = search.ends * _median(smooth, known)
        if not room <= widths.along[peak] <= total - room or not known[peak]:
            continue
        lesion = _lesion(widths, smooth, int(peak), (int(left), int(right)), reference, search)
        if lesion is not None and lesion.percent_diameter >= search.least and lesion.reference >= search.vessel:
            lesions.append(lesion)
    return ranked(_parted(lesions))


def narrowest(widths: Widths, reference: float | None = None, search: Search = Search()) -> Lesion | None:  # noqa: B008
    """The narrowest place between the marks of a path, a lesion or not; None where no width is known.

    Raises:
        UsageError: when the reference is not above 0.
    """
    _check(reference)
    known = np.isfinite(widths.diameter)
    if not known.any():
        return None
    low, high = (float(widths.along[-1]) * mark for mark in MARKS)
    inside = known & (widths.along >= low) & (widths.along <= high)
    inside = inside if inside.any() else known
    smooth = _smooth(widths, search.noise)
    peak = int(np.argmin(np.where(inside, smooth, np.inf)))
    return _lesion(widths, smooth, peak, (0, len(smooth) - 1), reference, replace(search, surroundings=0.0))


def remeasured(
    widths: Widths, lesion: Lesion, search: Search, reference: float | None = None, fixed: bool = True
) -> tuple[float, float]:
    """Minimum and reference of a lesion by other widths of the same vessel.

    Args:
        widths: others than those that the lesion was found with.
        lesion: its place and its borders stay.
        search: that it was found with.
        reference: that the user chose; None interpolates it.
        fixed: the minimum is the diameter at the lesion's sample; else the least within two pixels of its place, as the
            samples of other widths may lie elsewhere.
    """
    known = np.isfinite(widths.diameter)
    if not known.any():
        return float("nan"), lesion.reference
    smooth = _smooth(widths, search.noise)
    if fixed:
        index, near = lesion.index, np.array([lesion.index])
    else:
        distance = np.hypot(*(widths.points - np.array(lesion.position)).T)
        index, near = int(np.argmin(distance)), np.flatnonzero(distance <= 2.0)
        near = near if len(near) else np.array([index])
    values = widths.diameter[near]
    mld = float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")
    if reference is not None:
        return mld, reference
    last = len(smooth) - 1
    borders = (min(max(lesion.begin + index - lesion.index, 0), last), min(lesion.end + index - lesion.index, last))
    return mld, float(_line(widths, smooth, borders, search)[index])


def ranked(lesions: Sequence[Lesion]) -> list[Lesion]:
    """Lesions by percent stenosis, sure ones before unsure ones, with their ranks from 1."""
    order = sorted(lesions, key=lambda lesion: (bool(lesion.unsure), -lesion.percent_diameter))
    return [replace(lesion, rank=rank) for rank, lesion in enumerate(order, start=1)]


def _check(reference: float | None) -> None:
    if reference is not None and not (np.isfinite(reference) and reference > 0):
        raise UsageError(f"The reference diameter is {shown(reference)}; it must be a number above 0.")


def _smooth(widths: Widths, sigma: float) -> np.ndarray:
    """Diameters without gaps and without the finest waves; at least three known ones are needed for nothing odd."""
    known = np.isfinite(widths.diameter)
    filled = np.interp(widths.along, widths.along[known], widths.diameter[known])
    return gaussian_filter1d(filled, sigma / STEP, mode="nearest")


def _median(values: np.ndarray, known: np.ndarray) -> float:
    return float(np.median(values[known]))


def _lesion(
    widths: Widths,
    smooth: np.ndarray,
    peak: int,
    bases: tuple[int, int],
    reference: float | None,
    search: Search,
) -> Lesion | None:
    around = max(int(1.0 / STEP), 1)  # the minimum itself, not of the smoothed line
    near = np.arange(max(peak - around, 0), min(peak + around + 1, len(smooth)))
    near = near[np.isfinite(widths.diameter[near])]
    if not len(near):
        return None
    index = int(near[np.argmin(widths.diameter[near])])
    mld = float(widths.diameter[index])
    begin, end = _borders(smooth, peak, bases)
    line = np.full(len(smooth), reference) if reference is not None else None
    if line is None:
        line = _line(widths, smooth, (begin, end), search)
        # The reference tells where the vessel is healthy again, and so the borders.
        begin, end = _borders(smooth, peak, bases, line)
    value = float(line[index])
    if value <= 0:
        return None
    ratio = mld / value
    return Lesion(
        index=index,
        begin=begin,
        end=end,
        position=(float(widths.points[index, 0]), float(widths.points[index, 1])),
        mld=mld,
        reference=value,
        reference_method="interpolated" if reference is None else "user",
        percent_diameter=100 * (1 - ratio),
        percent_area=100 * (1 - ratio**2),
        percent_area_densitometric=_by_area(widths, index, value),
        length=float(widths.along[end] - widths.along[begin]),
        unsure=_doubts(widths, index, begin, end, value),
    )


HEALTHY = 0.92
"""Share of the reference from which on a vessel is healthy again: the border of a lesion. Our choice."""
SHOULDER = 0.9
"""Share of the depth of a narrowing that has to be recovered at its border, while the reference is not known yet."""


def _borders(smooth: np.ndarray, peak: int, bases: tuple[int, int], line: np.ndarray | None = None) -> tuple[int, int]:
    """First samples to both sides of a minimum where the vessel is healthy again, within its bases."""
    found = []
    for step, base in ((-1, bases[0]), (1, bases[1])):
        way = np.arange(peak, base + step, step)
        if len(way) < 2:
            found.append(base)
            continue
        if line is None:
            # Of a long base only the first shoulder counts: as wide as the widest within a few diameters.
            reach = int(4 * float(smooth[way].max()) / STEP) + 2
            way = way[:reach]
            goal = smooth[peak] + SHOULDER * (smooth[way].max() - smooth[peak])
            healthy = smooth[way] >= goal
        else:
            healthy = smooth[way] >= HEALTHY * line[way]
            widest = int(np.argmax(smooth[way]))
            healthy[widest] = True  # else it never was
        found.append(int(way[np.argmax(healthy)]) if healthy.any() else int(way[-1]))
    return found[0], found[1]


def _line(widths: Widths, smooth: np.ndarray, borders: tuple[int, int], search: Search) -> np.ndarray:
    """The diameter without disease at each sample, from marks at 5 % and 95 % of the analysed vessel."""
    first, last = 0, len(smooth) - 1
    if search.surroundings:
        room = int(search.surroundings * float(smooth[[*borders]].max()) / STEP)
        first, last = max(borders[0] - room, 0), min(borders[1] + room, last)
    length = widths.along[last] - widths.along[first]
    places = [float(widths.along[first] + share * length) for share in MARKS]
    values = [_at_mark(widths, smooth, place, search, borders) for place in places]
    slope = (values[1] - values[0]) / max(places[1] - places[0], 1e-9)
    return values[0] + slope * (widths.along - places[0])


def _at_mark(widths: Widths, smooth: np.ndarray, place: float, search: Search, borders: tuple[int, int]) -> float:
    """Median diameter at a mark, of places where nothing disturbs if there are some, outside the lesion."""
    index = int(np.argmin(np.abs(widths.along - place)))
    half = max(0.5 * search.mark * float(smooth[index]), 1.0)
    near = np.abs(widths.along - place) <= half
    inside = np.zeros(len(smooth), bool)
    inside[borders[0] + 1 : borders[1]] = True
    for wanted in (near & ~inside & (widths.unsure == 0), near & ~inside, near):
        if wanted.sum() >= 3:
            return float(np.median(smooth[wanted]))
    return float(smooth[index])


def _by_area(widths: Widths, index: int, reference: float) -> float | None:
    """Percent area stenosis by the densitometric area at the minimum, against a round lumen of the reference."""
    near = widths.area[max(index - 1, 0) : index + 2]
    near = near[np.isfinite(near)]
    return float(100 * (1 - near.mean() / (np.pi / 4 * reference**2))) if len(near) else None


def _doubts(widths: Widths, index: int, begin: int, end: int, reference: float) -> tuple[str, ...]:
    """What may have made a narrowing of none: flags within half a diameter of the minimum."""
    reach = int(0.5 * reference / STEP) + 1
    near = slice(max(index - reach, 0), index + reach + 1)
    words = [word for flag, word in WORDS if (widths.unsure[near] & flag).any()]
    if widths.method[index] == METHODS.index("mask"):
        words.append("width of the mask only")
    return tuple(words)


def _parted(lesions: list[Lesion]) -> list[Lesion]:
    """Of lesions that lie within each other, the narrowest."""
    kept: list[Lesion] = []
    for lesion in sorted(lesions, key=lambda one: -one.percent_diameter):
        if not any(one.begin <= lesion.index <= one.end for one in kept):
            kept.append(lesion)
    return kept
