"""How far a lesion's numbers may be off: intervals for the minimum lumen diameter and the percent stenosis.

Three sources are put together: the scatter of neighbouring profiles, by a bootstrap of blocks (Kuensch, Ann. Stat.
17:1217, 1989); the model of the edge, by measuring again with another blur and by the other method; and the
segmentation, by measuring again in a narrower and a wider mask. What these do not see, such as a lumen that is not
round, is a constant. It, the factor of the bootstrap and the factor of all together were set on phantoms
(``experiments/phantoms.py``, the seeds for choosing); whether 90 % of such intervals hold the truth was counted on
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtri

from ..errors import CASRError, UsageError, shown
from .cylinder import BLUR
from .diameters import Settings, measure_widths
from .measures import Interval, Lesion, Widths
from .paths import VesselPath
from .profiles import STEP
from .stenosis import Search, remeasured
from .tree import VesselTree

__all__ = ["with_intervals"]

DRAWS = 200
BLOCK = 4.0
"""Length of the bootstrap's blocks in pixels: about as far as smoothing ties neighbours together."""
WAVE = 4.0
"""Standard deviation of the Gaussian along the vessel, in pixels, whose remainder is the scatter."""
SCATTER = 1.2
"""Factor of the scatter: smoothed diameters hide a part of it. Set on phantoms."""
REST = 0.12
"""Standard deviation in pixels of a diameter that no source sees. Set on phantoms."""
TOGETHER = 0.9
"""Factor of all sources together: the steps of the models are larger than what is usually wrong. Phantoms for choosing
gave 0.75, whose intervals held the truth too seldom on others; so this was taken and counted on third ones."""
BLURS = (0.85, 1.15)
"""Factors of the blur that are tried."""
THRESHOLDS = (0.3, 0.7)
"""Of the probability, that are tried in place of 0.5."""


def with_intervals(
    lesions: Sequence[Lesion],
    widths: Widths,
    attenuation: np.ndarray,
    mask: np.ndarray,
    tree: VesselTree | None = None,
    probability: np.ndarray | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    search: Search = Search(),  # noqa: B008 - frozen
    level: float = 0.9,
    seed: int = 0,
) -> list[Lesion]:
    """The lesions with their intervals.

    Args:
        lesions: of the widths, by :func:`casr_net.vessels.find_lesions` or :func:`casr_net.vessels.narrowest`.
        widths: of one path.
        attenuation, mask, tree, settings: that the widths were measured with.
        probability: float (X, Y) in [0, 1], of which the mask is a cut; None: the mask is made a pixel narrower and
            wider instead.
        search: that the lesions were found with.
        level: probability that an interval is to hold the truth.
        seed: of the bootstrap; equal seeds give equal intervals.

    Raises:
        UsageError: when the level is not between 0 and 1.
        DataError: as :func:`casr_net.vessels.measure_widths`.
    """
    if not 0 < level < 1:
        raise UsageError(f"The level of the intervals is {shown(level)}; it must be above 0 and below 1.")
    if not lesions:
        return []
    others = _measured_again(widths, attenuation, mask, tree, probability, settings)
    draws = _bootstrap(widths, np.random.default_rng(seed))
    z = float(ndtri(0.5 + level / 2))
    found = []
    for lesion in lesions:
        minimum, share = _spread(lesion, widths, others, draws, search)
        percent = lesion.percent_diameter
        found.append(
            replace(
                lesion,
                mld_interval=Interval(max(lesion.mld - z * minimum, 0.0), lesion.mld + z * minimum, level),
                percent_interval=Interval(percent - 100 * z * share, min(percent + 100 * z * share, 100.0), level),
            )
        )
    return found


def _measured_again(
    widths: Widths,
    attenuation: np.ndarray,
    mask: np.ndarray,
    tree: VesselTree | None,
    probability: np.ndarray | None,
    settings: Settings,
) -> list[list[Widths]]:
    """The same vessel by other models of the edge, and in other masks."""
    blur = settings.blur or BLUR
    same: VesselPath | np.ndarray = widths.points
    ways = [replace(settings, blur=factor * blur) for factor in BLURS]
    ways.append(replace(settings, method="cylinder"))
    models = [measure_widths(attenuation, mask, same, tree, way) for way in ways]
    if probability is None:
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        whole = mask.astype(np.uint8)
        masks = [cv2.erode(whole, cross) > 0, cv2.dilate(whole, cross) > 0]
    else:
        masks = [probability >= threshold for threshold in THRESHOLDS]
    outlines = []
    for other in masks:
        try:
            outlines.append(measure_widths(attenuation, other, same, tree, settings))
        except CASRError:  # nothing is left of it, or everything is vessel
            continue
    return [models, outlines]


def _bootstrap(widths: Widths, rng: np.random.Generator) -> list[Widths]:
    known = np.isfinite(widths.diameter)
    filled = np.interp(widths.along, widths.along[known], widths.diameter[known])
    smooth = gaussian_filter1d(filled, WAVE / STEP, mode="nearest")
    count = len(filled)
    # Beside a lesion the smoothed line departs from the vessel's: only the robust size of the scatter is taken from it.
    rest = filled - smooth
    limit = 3 * 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) + 1e-6
    rest = np.clip(rest - np.median(rest), -limit, limit)
    block = min(max(int(BLOCK / STEP), 1), count)
    starts = rng.integers(0, count - block + 1, (DRAWS, count // block + 1))
    index = (starts[..., None] + np.arange(block)).reshape(DRAWS, -1)[:, :count]
    return [replace(widths, diameter=widths.diameter + SCATTER * rest[row]) for row in index]


def _spread(
    lesion: Lesion, widths: Widths, others: list[list[Widths]], draws: list[Widths], search: Search
) -> tuple[float, float]:
    """Standard deviations of the minimum, and of its ratio to the reference."""
    user = lesion.reference if lesion.reference_method == "user" else None

    def numbers(one: Widths, fixed: bool) -> np.ndarray:
        mld, reference = remeasured(one, lesion, search, user, fixed)
        return np.array([mld, mld / reference])

    here = numbers(widths, True)
    variance = np.var([numbers(draw, True) for draw in draws], axis=0)
    for group in others:
        steps = np.array([numbers(one, False) - here for one in group])
        if len(steps):
            variance += np.nanmean(steps**2, axis=0)
    rest = np.array([REST, REST / lesion.reference])
    minimum, share = TOGETHER * np.sqrt(np.nan_to_num(variance) + rest**2)
    return float(minimum), float(share)
