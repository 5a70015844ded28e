"""Intervals hold the truth of a phantom, say which level, and grow with noise."""

from __future__ import annotations

import numpy as np
import pytest
from makers.tubes import tube

from casr_net.errors import UsageError
from casr_net.vessels.diameters import measure_widths
from casr_net.vessels.doubt import with_intervals
from casr_net.vessels.measures import Lesion
from casr_net.vessels.stenosis import narrowest


def lesion_of(noise: float, level: float = 0.9, probability: bool = False) -> Lesion:
    image, mask, ends = tube(5.0, noise=noise, narrowed=0.5)
    widths = measure_widths(image, mask, ends)
    lesion = narrowest(widths)
    assert lesion is not None
    given = mask.astype(np.float32) if probability else None
    return with_intervals([lesion], widths, image, mask, probability=given, level=level)[0]


def test_interval_holds_the_truth() -> None:
    lesion = lesion_of(0.01)
    assert lesion.mld_interval is not None and lesion.percent_interval is not None
    assert lesion.mld_interval.low < lesion.mld < lesion.mld_interval.high
    assert lesion.mld_interval.low <= 5.0 <= lesion.mld_interval.high
    assert lesion.percent_interval.low <= 50 <= lesion.percent_interval.high
    assert lesion.percent_interval.level == 0.9
    assert lesion.mld_interval.high - lesion.mld_interval.low < 3


def test_interval_grows_with_noise_and_level() -> None:
    def size(lesion: Lesion) -> float:
        assert lesion.mld_interval is not None
        return lesion.mld_interval.high - lesion.mld_interval.low

    assert size(lesion_of(0.03)) > size(lesion_of(0.002))
    assert size(lesion_of(0.01, level=0.99)) > 1.3 * size(lesion_of(0.01))
    assert size(lesion_of(0.01, probability=True)) > 0


def test_same_seed_gives_the_same_interval() -> None:
    assert lesion_of(0.01).mld_interval == lesion_of(0.01).mld_interval


def test_no_lesions_and_no_such_level() -> None:
    image, mask, ends = tube(5.0)
    widths = measure_widths(image, mask, ends)
    assert with_intervals([], widths, image, mask) == []
    with pytest.raises(UsageError, match="level"):
        with_intervals([], widths, image, mask, level=1.5)
