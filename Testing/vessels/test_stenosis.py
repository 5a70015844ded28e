"""Lesions of diameters that are written down, and of a tree's image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from casr_net.errors import UsageError
from casr_net.vessels.measures import BRANCH, Widths
from casr_net.vessels.stenosis import Search, find_lesions, narrowest
from casr_net.vessels.tree import vessel_tree
from casr_net.vessels.treelesions import tree_lesions


def written(diameter: np.ndarray) -> Widths:
    """Widths of a straight vessel, a sample every pixel."""
    count = len(diameter)
    along = np.arange(count, dtype=float)
    points = np.stack([along, np.full(count, 50.0)], axis=1)
    normals = np.tile([0.0, -1.0], (count, 1))
    half = diameter[:, None] / 2
    return Widths(points, along, normals, diameter, points + half * normals, points - half * normals,
                  np.ones(count, np.uint8), np.pi / 4 * diameter**2, np.zeros(count, np.uint8))  # fmt: skip


def dent(count: int, middle: int, half: float, share: float) -> np.ndarray:
    step = np.abs(np.arange(count) - middle) / half
    return 1 - share * np.where(step < 1, np.cos(np.pi / 2 * step) ** 2, 0)


def test_numbers_of_one_lesion() -> None:
    """The reference is the line from 5 % to 95 % of the length, at the minimum (PS3.17 T.4.2)."""
    healthy = np.linspace(10, 8, 201)
    lesions = find_lesions(written(healthy * dent(201, 120, 20, 0.5)))
    assert len(lesions) == 1
    lesion = lesions[0]
    assert abs(lesion.index - 120) <= 1
    assert lesion.position == (float(lesion.index), 50.0)
    assert lesion.reference == pytest.approx(healthy[120], abs=0.02)
    assert lesion.mld == pytest.approx(healthy[120] / 2, abs=0.05)
    assert lesion.percent_diameter == pytest.approx(50, abs=0.6)
    assert lesion.percent_area == pytest.approx(75, abs=0.6)
    assert lesion.percent_area_densitometric == pytest.approx(75, abs=1.5)
    assert 20 < lesion.length <= 40
    assert (lesion.reference_method, lesion.unsure, lesion.rank) == ("interpolated", (), 1)


def test_reference_that_the_user_chose() -> None:
    lesion = find_lesions(written(10 * dent(201, 100, 20, 0.5)), reference=8.0)[0]
    assert (lesion.reference, lesion.reference_method) == (8.0, "user")
    assert lesion.percent_diameter == pytest.approx(37.5, abs=0.5)
    with pytest.raises(UsageError, match="reference"):
        find_lesions(written(np.full(50, 5.0)), reference=-1.0)


def test_several_lesions_are_ranked_and_unsure_ones_come_last() -> None:
    widths = written(10 * dent(301, 80, 15, 0.6) * dent(301, 150, 15, 0.3) * dent(301, 220, 15, 0.45))
    widths.unsure[70:90] = BRANCH
    lesions = find_lesions(widths)
    assert [(lesion.index, lesion.rank) for lesion in lesions] == [(220, 1), (150, 2), (80, 3)]
    assert [lesion.unsure for lesion in lesions] == [(), (), ("branch point",)]
    assert lesions[2].percent_diameter == pytest.approx(60, abs=1)


@pytest.mark.parametrize(
    "diameter",
    [
        np.linspace(12, 2, 200),  # taper
        np.where(np.arange(200) < 100, 10.0, 7.0),  # the step at a branch point
        np.minimum(10.0, np.linspace(60, 0.5, 200)),  # runs out at its end
        np.maximum(10 * dent(200, 0, 30, 0.7), 1.0),  # a narrow beginning, as of a stump
        np.full(200, 9.0),
        np.full(200, np.nan),
    ],
)
def test_what_is_no_lesion(diameter: np.ndarray) -> None:
    for search in (Search(), Search(surroundings=2.5)):
        assert find_lesions(written(diameter), search=search) == []


def test_step_before_a_lesion_does_not_count_with_local_surroundings() -> None:
    diameter = np.where(np.arange(301) < 100, 12.0, 8.0) * dent(301, 200, 16, 0.5)
    lesion = find_lesions(written(diameter), search=Search(surroundings=2.5))[0]
    assert lesion.reference == pytest.approx(8, abs=0.1)
    assert lesion.percent_diameter == pytest.approx(50, abs=1)


def test_narrowest_place_is_told_even_without_a_lesion() -> None:
    lesion = narrowest(written(np.linspace(10, 8, 101)))
    assert lesion is not None
    assert abs(lesion.percent_diameter) < 2
    assert narrowest(written(np.full(20, np.nan))) is None


def test_lesion_of_a_stem_is_listed_once_for_all_its_branches() -> None:
    x, y = np.indices((220, 200)).astype(float)
    local = 6.0 * (1 - 0.5 * np.where(np.abs(x - 60) < 14, np.cos(np.pi / 28 * (x - 60)) ** 2, 0))
    thick = np.where((x > 8) & (x < 140), local**2 - (y - 100) ** 2, 0)
    for sign in (1, -1):
        along, across = (x - 138) * 0.8 + sign * (y - 100) * 0.6, (y - 100) * 0.8 - sign * (x - 138) * 0.6
        thick = np.maximum(thick, np.where((along > 0) & (along < 80), 4.0**2 - across**2, 0))
    mask = thick > 0
    image = gaussian_filter(0.05 * 2 * np.sqrt(np.maximum(thick, 0)), 1.2).astype(np.float32)
    tree = vessel_tree(mask, image)
    found = tree_lesions(tree, image, mask)
    sure = [lesion for _, _, lesions in found for lesion in lesions if not lesion.unsure]
    assert len(sure) == 1
    assert sure[0].position == pytest.approx((60, 100), abs=1.5)
    assert sure[0].percent_diameter == pytest.approx(50, abs=6)
    assert sure[0].rank == 1


def test_tree_without_vessels_has_no_lesions() -> None:
    mask = np.zeros((64, 64), bool)
    assert tree_lesions(vessel_tree(mask), np.zeros((64, 64)), mask) == []


def test_the_automatic_search_knows_the_size_of_the_image():
    """Chosen at 512 pixels; what is smaller shows the same vessel in fewer pixels, down to what can be measured."""
    from casr_net.vessels.treelesions import automatic_search

    limits = {side: automatic_search((side, side)).vessel for side in (2048, 512, 400, 300, 64)}
    assert limits == {
        2048: 9.0,
        512: 9.0,
        400: pytest.approx(7.03, abs=0.01),
        300: pytest.approx(5.27, abs=0.01),
        64: 5.0,
    }
