"""Centre lines of tubes whose middle is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from casr_net.errors import UsageError
from casr_net.vessels.centreline import centre_line, refine_line
from casr_net.vessels.skeleton import local_radius
from casr_net.vessels.tree import vessel_tree


def tube_mask(line: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """bool (X, Y) of all pixels whose centre lies within the radius of a dense line (n, 2)."""
    grid = np.indices((200, 120)).reshape(2, -1).T
    distance, nearest = KDTree(line).query(grid)
    return (distance <= radii[nearest]).reshape(200, 120)


def course(kind: str, radius: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """A line through (100, 60), a point every tenth of a pixel, and its radii."""
    x = np.linspace(-70, 70, 1401)
    y = {"straight": 0 * x, "curved": 12 * np.sin(x / 16), "narrowed": 6 * np.sin(x / 25)}[kind]
    line = np.stack([x, y], axis=1) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    radii = np.full(len(x), radius)
    if kind == "narrowed":
        radii -= 0.6 * radius * np.exp(-((x / 9) ** 2))
    # A mask along the rows cannot tell where between them its middle lies: nearly at one.
    return line + np.array([100.3, 59.8]), radii


@pytest.mark.parametrize("radius", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("turn", [0.0, 0.4])
@pytest.mark.parametrize("kind", ["straight", "curved", "narrowed"])
def test_centre_line_lies_in_the_middle(kind: str, turn: float, radius: float) -> None:
    line, radii = course(kind, radius, turn)
    mask = tube_mask(line, radii)
    found = centre_line(mask, tuple(line[40]), tuple(line[-40]))
    distance = KDTree(line).query(found)[0]
    assert distance.mean() < 0.3
    assert np.percentile(distance, 95) < 1
    assert np.hypot(*(found[[0, -1]] - line[[40, -40]]).T).max() < 1.5
    steps = np.hypot(*np.diff(found, axis=0).T)
    assert np.allclose(steps, 0.5, atol=0.2)
    # The length is that of the line, not of the staircase of pixels.
    assert steps.sum() == pytest.approx(np.hypot(*np.diff(line[40:-39], axis=0).T).sum(), rel=0.02)


def test_wide_detour_is_not_taken() -> None:
    mask = np.zeros((160, 120), bool)
    mask[10:150, 20:23] = True  # thin and straight on
    mask[30:37, 20:60] = mask[110:117, 20:60] = mask[30:117, 54:61] = True  # wide and around
    assert np.abs(centre_line(mask, (12, 21), (148, 21))[:, 1] - 21).max() < 3


def test_path_of_a_tree_is_drawn_into_the_middle() -> None:
    line, radii = course("curved", 4.0, 0.4)
    mask = tube_mask(line, radii)
    path = vessel_tree(mask).path(tuple(line[60]), tuple(line[-60]))
    found = refine_line(local_radius(mask), path.points)
    before, after = (KDTree(line).query(points)[0].mean() for points in (path.points, found))
    assert after < 0.15 < before


def test_short_paths_stay_as_they_are() -> None:
    points = np.array([[3.0, 3.0], [4.0, 3.0], [5.0, 4.0]])
    assert np.array_equal(refine_line(np.ones((9, 9)), points), points)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ((2, 2), (90, 5), r"start \[2, 2\] is not in a vessel"),
        ((10, 5), (90, 400), r"end \[90, 400\] is no point of the image of \[100, 30\] pixels"),
        ((10, 5), (float("nan"), 5), "end .* is no point of the image"),
        ((10, 5), (90, 20), "No vessel joins"),
    ],
)
def test_points_that_make_no_line_are_refused(start: tuple, end: tuple, message: str) -> None:
    mask = np.zeros((100, 30), bool)
    mask[5:95, 4:8] = mask[5:95, 18:23] = True
    with pytest.raises(UsageError, match=message):
        centre_line(mask, start, end)
