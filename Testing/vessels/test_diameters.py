"""Widths of tubes that are known to a hundredth of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from makers.tubes import SIDE, tube
from scipy.ndimage import gaussian_filter

from casr_net.errors import DataError, UsageError
from casr_net.vessels.chord import half_width_of_edges, radius_of_edges
from casr_net.vessels.diameters import Settings, measure_widths
from casr_net.vessels.measures import BORDER, BRANCH, METHODS
from casr_net.vessels.tree import vessel_tree


@pytest.mark.parametrize(
    ("radius", "method", "bias", "scatter"),
    [(1.0, "cylinder", 0.35, 0.2), (1.5, "cylinder", 0.3, 0.2), (4.0, "edges", 0.12, 0.15), (8.0, "edges", 0.12, 0.15)],
)
def test_width_of_a_tube(radius: float, method: str, bias: float, scatter: float) -> None:
    image, mask, ends = tube(radius)
    widths = measure_widths(image, mask, ends)
    inner = widths.diameter[8:-8]
    assert inner.mean() == pytest.approx(2 * radius, abs=bias)
    assert inner.std() < scatter
    assert np.mean(widths.method[8:-8] == METHODS.index(method)) > 0.9
    # Contours lie where the width says, and the left one to the left of the way, as an image is shown.
    assert np.allclose(np.hypot(*(widths.left - widths.right).T), widths.diameter)
    direction = widths.points[-1] - widths.points[0]
    side = widths.left - widths.right
    assert (direction[0] * side[:, 1] - direction[1] * side[:, 0] < 0).all()
    assert np.nanmedian(widths.area[8:-8]) == pytest.approx(np.pi * inner.mean() ** 2 / 4, rel=0.05)
    assert np.allclose(np.diff(widths.along), widths.along[1], rtol=1e-6)


@pytest.mark.parametrize("method", ["edges", "cylinder", "mask"])
def test_each_method_alone(method: str) -> None:
    image, mask, ends = tube(5.0)
    widths = measure_widths(image, mask, ends, settings=Settings(method=method))
    assert np.all(widths.method[8:-8] == METHODS.index(method))
    assert widths.diameter[8:-8].mean() == pytest.approx(10, abs=0.2)


def test_edges_are_freed_from_the_blur() -> None:
    radii = np.array([1.5, 2.5, 4.0, 9.0])
    found = half_width_of_edges(radii, 1.0)
    assert found[0] > 1.7  # a thin vessel's edges stay apart
    assert np.allclose(radius_of_edges(found, 1.0), radii, atol=0.02)


def test_mask_counts_where_the_image_shows_nothing() -> None:
    image, mask, ends = tube(5.0)
    widths = measure_widths(np.zeros_like(image), mask, ends)
    assert np.all(widths.method[8:-8] == METHODS.index("mask"))
    assert widths.diameter[8:-8].mean() == pytest.approx(10, abs=0.3)


def test_unknown_attenuation_is_beyond_the_border() -> None:
    image, mask, ends = tube(5.0)
    image[:60] = np.nan
    widths = measure_widths(image, mask, ends)
    unknown = widths.points[:, 0] < 58
    assert np.all(widths.unsure[unknown] & BORDER)
    assert np.all(widths.unsure[widths.points[:, 0] > 72] == 0)
    assert widths.diameter[widths.points[:, 0] > 72].mean() == pytest.approx(10, abs=0.3)
    nothing = measure_widths(np.full_like(image, np.nan), mask, ends)
    assert np.all(nothing.unsure & BORDER)
    assert set(np.unique(nothing.method)) <= {0, METHODS.index("mask")}


def test_along_the_border_every_width_is_unsure() -> None:
    image, mask, _ = tube(5.0, turn=0.0)
    cut = np.ascontiguousarray(image[:, 64:]), np.ascontiguousarray(mask[:, 64:])
    widths = measure_widths(*cut, np.array([[10, 1], [110, 1]]))
    assert np.all(widths.unsure & BORDER)


def test_rim_of_a_branch_point_is_flagged() -> None:
    mask = np.zeros((120, 120), bool)
    mask[10:110, 57:64] = True
    mask[60:65, 60:110] = True
    tree = vessel_tree(mask)
    image = gaussian_filter(mask.astype(np.float32), 1.2)
    widths = measure_widths(image, mask, tree.path((12, 60), (108, 60)), tree)
    branch = (widths.unsure & BRANCH) > 0
    assert branch[np.abs(widths.points[:, 0] - 62) < 2].all()
    assert not branch[np.abs(widths.points[:, 0] - 62) > 9].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": np.zeros((SIDE, SIDE), bool)}, "empty"),
        ({"mask": np.ones((SIDE, SIDE), bool)}, "whole image"),
        ({"mask": np.zeros((SIDE, SIDE), np.uint8)}, "must be bool"),
        ({"attenuation": np.zeros((3, 3))}, "same shape"),
        ({"path": np.array([[3.0, 3.0]])}, "at least 2"),
        ({"path": np.array([[3.0, 3.0], [3.0, 3.0]])}, "at least 2"),
        ({"path": np.array([[3.0, np.nan], [3.0, 9.0]])}, "finite"),
        ({"path": np.array([[3.0, 3.0], [3.0, 900.0]])}, "leaves the image"),
    ],
)
def test_bad_input_is_told(change: dict, words: str) -> None:
    image, mask, ends = tube(4.0)
    with pytest.raises(DataError, match=words):
        measure_widths(**{"attenuation": image, "mask": mask, "path": ends, **change})


def test_short_path_of_two_points() -> None:
    image, mask, _ = tube(4.0)
    widths = measure_widths(image, mask, np.array([[63.0, 64.0], [65.0, 64.6]]))
    assert 2 <= len(widths.diameter) <= 4
    assert np.all(np.isfinite(widths.along))


def test_unknown_settings_are_told() -> None:
    image, mask, ends = tube(4.0)
    with pytest.raises(UsageError, match="method"):
        measure_widths(image, mask, ends, settings=Settings(method="guess"))
    with pytest.raises(UsageError, match="blur"):
        measure_widths(image, mask, ends, settings=Settings(blur=0.0))
