"""Trees of tiny drawn masks, with the answer beside each picture: x is the column, y the row, both from 0."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from casr_net.errors import DataError
from casr_net.vessels.tree import VesselTree, vessel_tree


def drawn(picture: str) -> np.ndarray:
    """bool (X, Y) of a picture, vessel at "#"."""
    rows = [line.strip() for line in picture.strip().splitlines()]
    return np.array([[letter == "#" for letter in row] for row in rows]).T.copy()


LINE = """
    ..........
    .########.
    ..........
"""
CORNER = """
    ..........
    .#######..
    .......#..
    .......#..
    .......#..
    ..........
"""
T = """
    .............
    .###########.
    ......#......
    ......#......
    ......#......
    ......#......
    .............
"""
Y = """
    .#.......#.
    ..#.....#..
    ...#...#...
    ....#.#....
    .....#.....
    .....#.....
    .....#.....
    .....#.....
"""
SPUR = """
    ......#......
    ......#......
    .###########.
    .............
"""
PLUS = """
    .....#.....
    .....#.....
    .....#.....
    .....#.....
    ###########
    .....#.....
    .....#.....
    .....#.....
"""
X = """
    #.........#
    .#.......#.
    ..#.....#..
    ...#...#...
    ....#.#....
    .....#.....
    ....#.#....
    ...#...#...
    ..#.....#..
    .#.......#.
    #.........#
"""
# Thinning draws a crossing as two branch points with a short edge between.
H = """
    #...........#
    .#.........#.
    ..#.......#..
    ...#.....#...
    ....#####....
    ...#.....#...
    ..#.......#..
    .#.........#.
    #...........#
"""
LOOP = """
    ..............
    ...####.......
    ..#....#......
    ..#....#######
    ..#....#......
    ...####.......
    ..............
"""
RING = """
    ..........
    ...####...
    ..#....#..
    ..#....#..
    ..#....#..
    ...####...
    ..........
"""
# Loops and no end at all: whatever is the root may be taken apart with a crossing.
WINDOW = """
    .................
    .###############.
    .#....#....#...#.
    .#....#....#...#.
    .#....#....#...#.
    .###############.
    .#....#....#...#.
    .#....#....#...#.
    .#....#....#...#.
    .###############.
    .#....#....#...#.
    .#....#....#...#.
    .#....#....#...#.
    .###############.
    .................
"""
PINHOLE = """
    .............
    ....####.....
    #####..######
    ....####.....
    .............
"""
TWO = """
    .............
    .#########...
    .............
    .............
    .............
    .............
    .............
    ...#########.
    .............
"""
GAP = """
    ......................
    .########..#########..
    ......................
"""
ASIDE = """
    ......................
    .########.............
    ......................
    ......................
    ...........#########..
    ......................
"""
BLUNT = """
    .....................
    .###################.
    .###################.
    .###################.
    .###################.
    .###################.
    .###################.
    .###################.
    .....................
"""
SINGLE = """
    ...
    .#.
    ...
"""
EVERY_BORDER = """
    ......#......
    ......#......
    ......#......
    ......#......
    ......#......
    #############
    .........#...
    .........#...
    .........#...
    .........#...
"""
# Two vessels side by side, without a loop: nothing tells them from a stem that parts at both ends.
PARALLEL = """
    #...................#
    .#.................#.
    ..#...............#..
    ...###############...
    ...###############...
    ..#...............#..
    .#.................#.
    #...................#
"""
SHORT_CORE = """
    #...........#
    .#.........#.
    ..#.......#..
    ...#.....#...
    ....#...#....
    .....#.#.....
    ......#......
    ......#......
    .....#.#.....
    ....#...#....
    ...#.....#...
    ..#.......#..
    .#.........#.
    #...........#
"""
# The side line leaves the outline by two pixels, which is a spur of a vessel of 7 pixels, or by six.
WIDE_SPUR = """
    .........#...........
    .........#...........
    #####################
    #####################
    #####################
    #####################
    #####################
    #####################
    #####################
    .....................
"""
WIDE_BRANCH = """
    .........#...........
    .........#...........
    .........#...........
    .........#...........
    .........#...........
    .........#...........
    #####################
    #####################
    #####################
    #####################
    #####################
    #####################
    #####################
    .....................
"""
BORDER = """
    ############
    ............
    ............
"""

# name: picture, ends, branch points, crossings (doubtful ones in the same list), roots
ANSWERS = {
    "line": (LINE, [(1, 1), (8, 1)], [], [], 1),
    "corner": (CORNER, [(1, 1), (7, 4)], [], [], 1),
    "t": (T, [(1, 1), (6, 5), (11, 1)], [(6, 1)], [], 1),
    "y": (Y, [(1, 0), (5, 7), (9, 0)], [(5, 4)], [], 1),
    "spur": (SPUR, [(1, 2), (11, 2)], [], [], 1),
    "plus": (PLUS, [(0, 4), (5, 0), (5, 7), (10, 4)], [], [(5, 4)], 2),
    "x": (X, [(0, 0), (0, 10), (10, 0), (10, 10)], [], [(5, 5)], 2),
    "h": (H, [(0, 0), (0, 8), (12, 0), (12, 8)], [], [(6, 4)], 2),
    "loop": (LOOP, [(13, 3)], [], [(7, 3)], 1),
    "ring": (RING, [], [], [(2, 2)], 1),
    "pinhole": (PINHOLE, [(0, 2), (12, 2)], [], [], 1),
    "two trees": (TWO, [(1, 1), (3, 7), (9, 1), (11, 7)], [], [], 2),
    "gap": (GAP, [(1, 1), (19, 1)], [], [], 1),
    "aside": (ASIDE, [(1, 1), (8, 1), (11, 4), (19, 4)], [], [], 2),
    "parallel": (PARALLEL, [(0, 0), (0, 7), (20, 0), (20, 7)], [(3, 3), (17, 3)], [], 1),
    "short core": (SHORT_CORE, [(0, 0), (0, 13), (12, 0), (12, 13)], [], [(6, 6)], 2),
    "border": (BORDER, [(0, 0), (11, 0)], [], [], 1),
    "single": (SINGLE, [(1, 1)], [], [], 1),
    "every border": (EVERY_BORDER, [(0, 5), (6, 0), (9, 9), (12, 5)], [(6, 5), (9, 5)], [], 1),
}


def places(tree: VesselTree, kind: str) -> list[tuple[float, float]]:
    return sorted((float(x), float(y)) for x, y in tree.nodes(kind))


def assert_every_loop_has_a_crossing(tree: VesselTree) -> None:
    assert not tree.graph.nodes or nx.is_forest(tree.graph.to_undirected())
    seen = tree.overlapped()
    rest = seen.subgraph([node for node, kind in seen.nodes(data="kind") if kind != "crossing"])
    assert not rest.nodes or nx.is_forest(nx.MultiGraph(rest))


@pytest.mark.parametrize("name", ANSWERS)
def test_drawn_mask_has_the_tree_beside_it(name: str) -> None:
    picture, ends, branches, crossings, roots = ANSWERS[name]
    tree = vessel_tree(drawn(picture))
    assert places(tree, "end") == ends
    assert places(tree, "branch") == branches
    assert places(tree, "crossing") == crossings
    assert len(tree.roots) == roots
    assert_every_loop_has_a_crossing(tree)


@pytest.mark.parametrize("name", ANSWERS)
def test_drawn_mask_turned_has_the_same_tree(name: str) -> None:
    picture, ends, branches, crossings, roots = ANSWERS[name]
    tree = vessel_tree(drawn(picture).T.copy())
    counts = [len(tree.nodes(kind)) for kind in ("end", "branch", "crossing")]
    assert counts == [len(ends), len(branches), len(crossings)]
    assert len(tree.roots) == roots


def test_loops_without_any_end_are_parted_at_crossings() -> None:
    tree = vessel_tree(drawn(WINDOW))
    assert_every_loop_has_a_crossing(tree)
    assert len(tree.roots) >= 1
    # Nine panes, and each parting opens one.
    assert sum(len(group) - 1 for group in crossing_groups(tree)) >= 9


def crossing_groups(tree: VesselTree) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for node, number in tree.graph.nodes(data="crossing"):
        if number >= 0:
            groups.setdefault(number, []).append(node)
    return list(groups.values())


def test_vessels_of_a_crossing_go_straight_on() -> None:
    tree = vessel_tree(drawn(H))
    assert [sorted(map(tuple, path.points[[0, -1]])) for path in tree.paths()] == [
        [(0.0, 0.0), (12.0, 8.0)],
        [(0.0, 8.0), (12.0, 0.0)],
    ]
    # Both run over the edge that thinning gave to both, so no way is cut short.
    assert all(path.points.shape == (13, 2) for path in tree.paths())


def test_only_crossings_without_looks_are_doubtful() -> None:
    doubtful = {name: len(t.nodes("crossing")) - len(t.nodes("crossing", sure=True)) for name, t in
                ((name, vessel_tree(drawn(answer[0]))) for name, answer in ANSWERS.items())}  # fmt: skip
    assert {name for name, count in doubtful.items() if count} == {"loop", "ring"}


def test_length_counts_diagonal_steps_as_root_two() -> None:
    straight, turned = vessel_tree(drawn(LINE)), vessel_tree(drawn(X))
    assert [data["length"] for *_, data in straight.graph.edges(data=True)] == [7]
    lengths = [data["length"] for *_, data in turned.graph.edges(data=True)]
    assert np.allclose(lengths, 5 * np.sqrt(2))


def test_joint_over_a_gap_is_marked() -> None:
    tree = vessel_tree(drawn(GAP))
    gaps = [(a, b) for a, b, gap in tree.graph.edges(data="gap") if gap]
    assert len(gaps) == 1
    assert places(tree, "gap") == [(8, 1), (11, 1)]
    assert tree.paths()[0].length == 18


def test_blunt_ends_do_not_fork_and_reach_the_outline() -> None:
    tree = vessel_tree(drawn(BLUNT))
    (data,) = [data for *_, data in tree.graph.edges(data=True)]
    assert np.abs(np.array(places(tree, "end")) - [(1, 4), (19, 4)]).max() <= 1
    assert data["radius"] == 3.5
    assert data["length"] == pytest.approx(18, abs=1)


def test_spur_of_a_wide_vessel_is_cut_and_a_branch_stays() -> None:
    spur, branch = vessel_tree(drawn(WIDE_SPUR)), vessel_tree(drawn(WIDE_BRANCH))
    assert [len(spur.nodes(kind)) for kind in ("end", "branch")] == [2, 0]
    assert places(branch, "branch") == [(9, 9)]
    assert (9, 0) in places(branch, "end")


def catheter_picture(catheter: int, artery: int) -> str:
    """A line from the left border, of the given width up to column 60, then of another, which forks at column 85."""
    half = [(60, catheter // 2), (85, artery // 2)]
    rows = []
    for y in range(-40, 41):
        row = "".join("#" if abs(y) <= next(h for end, h in half if x < end) else "." for x in range(85))
        rows.append(row + "".join("#" if abs(abs(y) - x) <= 2 else "." for x in range(30)))
    return "\n".join(rows)


def test_catheter_is_the_even_line_from_the_border_into_a_wider_artery() -> None:
    tree = vessel_tree(drawn(catheter_picture(5, 11)))
    ((x, y),) = places(tree, "tip")
    assert abs(x - 60) <= 6
    assert y == 40
    assert tree.root is not None
    assert tuple(tree.position(tree.root)) == (x, y)
    assert len(tree.nodes("branch")) == 1
    marked = [data["points"] for *_, data in tree.graph.edges(data=True) if data["catheter"]]
    assert [(points[:, 0].min(), points[:, 0].max()) for points in marked] == [(0, x)]


@pytest.mark.parametrize(("first", "then"), [(5, 5), (11, 5)])
def test_line_from_the_border_that_does_not_widen_is_an_artery(first: int, then: int) -> None:
    assert places(vessel_tree(drawn(catheter_picture(first, then))), "tip") == []


def test_line_along_the_border_is_no_catheter() -> None:
    mask = np.zeros((100, 300), bool)
    mask[3:8, :200] = True
    assert places(vessel_tree(mask), "tip") == []


def test_empty_mask_gives_an_empty_tree() -> None:
    tree = vessel_tree(np.zeros((30, 20), bool))
    assert (tree.root, tree.roots, tree.paths(), len(tree.graph), tree.shape) == (None, (), [], 0, (30, 20))
    assert tree.nodes("end").shape == (0, 2)


def test_mask_without_background_is_refused() -> None:
    with pytest.raises(DataError, match="covers the whole image"):
        vessel_tree(np.ones((30, 20), bool))


@pytest.mark.parametrize("mask", [np.zeros((4, 4)), np.zeros((2, 4, 4), bool)])
def test_what_is_no_mask_is_refused(mask: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"must be bool \(X, Y\)"):
        vessel_tree(mask)


@pytest.mark.parametrize("name", ["attenuation", "field"])
def test_arrays_of_another_shape_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is of shape \[5, 4\] and the mask of \[4, 4\]"):
        vessel_tree(np.eye(4, dtype=bool), **{name: np.ones((5, 4), bool)})
