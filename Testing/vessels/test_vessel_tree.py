"""Trees of thicker vessels and of synthetic angiograms: crossings, ways, catheter, root, files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casr_net.errors import UsageError
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.synthetic.background import tube
from casr_net.synthetic.scene import make_scene
from casr_net.vessels.tree import VesselTree, vessel_tree


def stroke(*lines: tuple[list[tuple[float, float]], int], size: tuple[int, int] = (160, 160)) -> np.ndarray:
    """bool (X, Y) of lines, each (points as x and y, width)."""
    canvas = np.zeros(size[::-1], np.uint8)
    for points, width in lines:
        cv2.polylines(canvas, [np.round(np.array(points) * 16).astype(np.int32)], False, 1, width, shift=4)
    return (canvas > 0).T.copy()


def crossed(angle: float, first: int = 7, second: int = 5) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Two vessels that cross in the middle at an angle in degrees, and the second one's ends."""
    turn = np.deg2rad(angle)
    step = 58 * np.array([np.cos(turn), np.sin(turn)])
    ends = [tuple(80 - step), tuple(80 + step)]
    return stroke(([(20, 80), (140, 80)], first), (ends, second)), ends


def assert_every_loop_has_a_crossing(tree: VesselTree) -> None:
    assert not tree.graph.nodes or nx.is_forest(tree.graph.to_undirected())
    seen = tree.overlapped()
    rest = seen.subgraph([node for node, kind in seen.nodes(data="kind") if kind != "crossing"])
    assert not rest.nodes or nx.is_forest(nx.MultiGraph(rest))


@pytest.mark.parametrize("angle", [25, 35, 50, 70, 90, 110, 135, 155])
def test_two_vessels_that_cross_stay_two(angle: float) -> None:
    mask, ends = crossed(angle)
    tree = vessel_tree(mask)
    assert [len(tree.nodes(kind)) for kind in ("end", "branch", "crossing")] == [4, 0, 1]
    assert np.hypot(*(tree.nodes("crossing")[0] - 80)) < 4
    assert not len(tree.nodes("crossing")) - len(tree.nodes("crossing", sure=True))
    path = tree.path(*ends)
    assert 115 < path.length < 135  # caps make it longer, and steps from pixel to pixel
    assert path.messages == ()
    assert [kind for _, kind, _ in path.marks].count("crossing") == 1


@pytest.mark.parametrize("angle", [30, 45, 60])
def test_two_branches_that_leave_opposite_sides_are_no_crossing(angle: float) -> None:
    step = 60 * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    branches = [([(80, 80), (80 + step[0], 80 + sign * step[1])], 4) for sign in (-1, 1)]
    tree = vessel_tree(stroke(([(20, 80), (140, 80)], 7), *branches))
    assert len(tree.nodes("crossing")) == 0
    assert 1 <= len(tree.nodes("branch")) <= 2
    assert np.hypot(*(tree.position(tree.roots[0]) - [20, 80])) < 6


def test_grey_values_tell_a_crossing_from_branches() -> None:
    mask, _ = crossed(90, 5, 5)
    rows = stroke(([(20, 80), (140, 80)], 5)).astype(float)
    columns = stroke(([(80, 15), (80, 145)], 5)).astype(float)
    adding, joined = vessel_tree(mask, 0.4 * (rows + columns)), vessel_tree(mask, 0.4 * np.maximum(rows, columns))
    assert (len(adding.nodes("crossing")), len(adding.nodes("branch"))) == (1, 0)
    assert (len(joined.nodes("crossing")), len(joined.nodes("branch"))) == (0, 1)


def test_vessels_that_touch_side_by_side_stay_apart() -> None:
    upper = [(20, 60), (60, 77), (100, 77), (140, 60)]
    lower = [(20, 100), (60, 83), (100, 83), (140, 100)]
    tree = vessel_tree(stroke((upper, 6), (lower, 6)))
    assert [len(tree.nodes(kind)) for kind in ("end", "branch", "crossing")] == [4, 0, 1]
    assert len(tree.roots) == 2


def test_branch_that_crosses_its_parent_comes_back_to_none() -> None:
    parent = [(20, 80), (140, 80)]
    branch = [(40, 80), (60, 110), (80, 110), (100, 80), (110, 50), (130, 30)]
    tree = vessel_tree(stroke((parent, 8), (branch, 4)))
    assert [len(tree.nodes(kind)) for kind in ("end", "branch", "crossing")] == [3, 1, 1]
    assert np.hypot(*(tree.nodes("crossing")[0] - [100, 80])) < 6
    assert np.hypot(*(tree.nodes("branch")[0] - [42, 80])) < 6
    assert np.hypot(*(tree.position(tree.roots[0]) - [20, 80])) < 6


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(-5, 69), st.integers(-5, 52)), min_size=2, max_size=5), st.integers(1, 9)
        ),
        max_size=7,
    )
)
def test_any_strokes_give_a_forest_whose_loops_have_crossings(lines: list) -> None:
    mask = stroke(*lines, size=(64, 48))
    if mask.all():
        return
    tree = vessel_tree(mask)
    assert_every_loop_has_a_crossing(tree)
    assert len(tree.roots) == nx.number_weakly_connected_components(tree.graph)
    assert bool(tree.roots) == bool(mask.any())
    for a, b, data in tree.graph.edges(data=True):
        ends = np.array([tree.position(a), tree.position(b)])
        assert np.allclose(data["points"][[0, -1]], ends)
        assert len(data["radii"]) == len(data["points"]) >= 2
    json.dumps(tree.as_dict(), allow_nan=False)
    nx.parse_graphml(tree.to_graphml())


@pytest.fixture(scope="module")
def synthetic() -> tuple[np.ndarray, dict]:
    angiogram = make_angiogram(1008)
    return angiogram.mask.T.copy(), angiogram.truth


def test_root_of_a_synthetic_tree_is_its_ostium(synthetic: tuple[np.ndarray, dict]) -> None:
    mask, truth = synthetic
    tree = vessel_tree(mask)
    assert tree.root is not None
    assert np.hypot(*(tree.position(tree.root) - truth["branches"][0]["points"][0])) < 16
    assert_every_loop_has_a_crossing(tree)


def test_edges_lead_away_from_the_root(synthetic: tuple[np.ndarray, dict]) -> None:
    tree = vessel_tree(synthetic[0])
    assert all(tree.graph.in_degree(node) == (node not in tree.roots) for node in tree.graph)


@pytest.mark.parametrize("seed", [5, 13, 20, 31])
def test_catheter_is_told_from_the_artery(seed: int) -> None:
    angiogram, scene = make_angiogram(seed), make_scene(seed, 512, None)
    catheter = tube(scene.catheter, scene.catheter_radius, 512).T > 0
    tree = vessel_tree(angiogram.mask.T | catheter)
    (tip,) = tree.nodes("tip")
    assert tree.root is not None
    assert np.array_equal(tree.position(tree.root), tip)
    assert np.hypot(*(tip - angiogram.truth["branches"][0]["points"][0])) < 16
    marked = [data["points"] for *_, data in tree.graph.edges(data=True) if data["catheter"]]
    inside = np.floor(np.vstack(marked) + 0.5).astype(int)
    assert catheter[tuple(inside.T)].mean() > 0.95
    assert sum(len(points) for points in marked) > 100
    # It is no vessel: no path runs along it.
    assert all(np.hypot(*(path.points[0] - tip)) < 1 for path in tree.paths() if path.nodes[0] == tree.root)
    assert len(vessel_tree(angiogram.mask.T.copy()).nodes("tip")) == 0


def test_catheter_comes_in_at_the_border_of_the_exposed_field() -> None:
    mask = stroke(
        ([(100, 40), (130, 200)], 8), ([(130, 200), (200, 230), (300, 240)], 12), ([(200, 230), (260, 330)], 7),
        size=(400, 400),
    )  # fmt: skip
    field = np.zeros((400, 400), bool)
    field[40:360, 40:360] = True
    assert len(vessel_tree(mask).nodes("tip")) == 0
    (tip,) = vessel_tree(mask, field=field).nodes("tip")
    assert np.hypot(*(tip - [130, 200])) < 16


def test_vessel_that_seems_to_branch_from_the_catheter_keeps_a_path() -> None:
    artery = [(140, 300), (240, 330), (340, 335)]
    mask = stroke(
        ([(100, 0), (140, 300)], 8), (artery, 13), ([(240, 330), (300, 390)], 7), ([(122, 160), (220, 190)], 4),
        size=(400, 400),
    )  # fmt: skip
    tree = vessel_tree(mask)
    (tip,) = tree.nodes("tip")
    assert np.hypot(*(tip - artery[0])) < 16
    assert len(tree.paths()) == 3
    (across,) = [path for path in tree.paths() if path.nodes[0] != tree.root]
    assert np.hypot(*(across.points[-1] - [220, 190])) < 6


def test_artery_that_leaves_the_image_is_no_catheter() -> None:
    # Branches point away from the wide end, so contrast leaves through the border.
    mask = stroke(
        ([(60, 60), (200, 200)], 14), ([(200, 200), (399, 260)], 7), ([(150, 150), (300, 180)], 6),
        ([(120, 120), (150, 300)], 6), size=(400, 400),
    )  # fmt: skip
    tree = vessel_tree(mask)
    assert len(tree.nodes("tip")) == 0
    assert tree.root is not None
    assert np.hypot(*(tree.position(tree.root) - [60, 60])) < 8


def test_points_beside_the_vessel_are_moved_with_a_message() -> None:
    tree = vessel_tree(stroke(([(20, 80), (140, 80)], 5)))
    path = tree.path((30, 86), (120, 80))
    assert np.array_equal(path.points[[0, -1]], [(30, 80), (120, 80)])
    assert path.messages == ("The start was moved by 6.0 pixels from (30.0, 86.0) to (30.0, 80.0).",)
    assert path.length == 90
    back = tree.path((120, 80), (30, 80))
    assert np.array_equal(back.points, path.points[::-1])


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ((30, 95), r"start of the path is \(30.0, 95.0\), 15.0 pixels from the nearest vessel; at most 10 are bridged"),
        ((float("nan"), 80), "must be two numbers"),
        ((1, 2, 3), "must be two numbers"),
        ((120, 80), "same place"),
        ((30, 20), "No vessels join"),
    ],
)
def test_points_that_make_no_path_are_refused(start: tuple[float, ...], message: str) -> None:
    tree = vessel_tree(stroke(([(20, 80), (140, 80)], 5), ([(20, 20), (140, 20)], 5)))
    with pytest.raises(UsageError, match=message):
        tree.path(start, (120, 80))


def test_point_in_an_empty_mask_is_refused() -> None:
    with pytest.raises(UsageError, match="the mask has no vessel"):
        vessel_tree(np.zeros((9, 9), bool)).path((1, 1), (2, 2))


def test_path_that_has_to_turn_at_a_crossing_says_so() -> None:
    mask, ends = crossed(70)
    path = vessel_tree(mask).path((20, 80), ends[1])
    assert len(path.messages) == 1
    assert path.messages[0].startswith("The path turns from one vessel to another at the crossing at (")
    assert path.length == pytest.approx(125, abs=10)


def test_tree_cannot_be_changed() -> None:
    tree = vessel_tree(stroke(([(20, 80), (140, 80)], 5)))
    (data,) = [data for *_, data in tree.graph.edges(data=True)]
    with pytest.raises(nx.NetworkXError, match="Frozen"):
        tree.graph.remove_node(tree.root)
    with pytest.raises(ValueError, match="read-only"):
        data["points"][0] = 0
    with pytest.raises(ValueError, match="read-only"):
        tree.paths()[0].points[0] = 0


def test_graphml_and_json_hold_the_tree(synthetic: tuple[np.ndarray, dict]) -> None:
    tree = vessel_tree(synthetic[0])
    read = nx.parse_graphml(tree.to_graphml(), node_type=int)
    assert set(read) == set(tree.graph)
    assert [read.graph[key] for key in ("unit", "columns", "rows")] == ["pixel", 512, 512]
    for a, b, data in tree.graph.edges(data=True):
        assert np.allclose(json.loads(read.edges[a, b]["points"]), data["points"], atol=0.005)
        assert read.edges[a, b]["length"] == pytest.approx(data["length"])
    record = json.loads(json.dumps(tree.as_dict(), allow_nan=False))
    assert (record["unit"], record["shape"], record["roots"]) == ("pixel", [512, 512], list(tree.roots))
    assert len(record["nodes"]) == len(tree.graph)
    assert [edge["from"] for edge in record["edges"]] == [a for a, _ in tree.graph.edges]


def test_expert_masks_give_forests_whose_loops_have_crossings(real_data: Path) -> None:
    masks = sorted(path for name in ("ica_nj", "dca1") for path in (real_data / name / "masks").glob("*.png"))
    assert len(masks) == 588
    for path in masks[::6]:  # all of them in experiments/trees.py
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        tree = vessel_tree(image.T > 127)
        assert tree.root is not None
        assert_every_loop_has_a_crossing(tree)
