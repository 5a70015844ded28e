"""What a synthetic angiogram's tree looks like in projection: branch points, ends, crossings, ways from the ostium.

Not every branch of the anatomy shows: what never leaves its parent's outline, or ends behind another vessel, has no
branch point or end in a mask. Points are (x, y) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

__all__ = ["TreeTruth", "Vessel", "dense", "truth_of"]

SHOWN = 4.0
"""How far a vessel must go beyond another's outline to be seen as branching from it or as crossing it, in pixels."""
PLACE = 8.0
"""Crossings nearer to each other than this are one place, in pixels: within a node's reach there is one node."""


@dataclass(frozen=True)
class Vessel:
    """A vessel from its origin to its end, what is seen of it.

    Attributes:
        points: (n, 2), a sample every half pixel; those outside the mask are left out.
        radii: (n,).
        parent: index of the vessel that it leaves, None for the trunk.
        exit: index of the first sample whose disc lies outside the parent's outline; n when there is none.
        way: (m, 2), the samples from the ostium to this vessel's end.
    """

    points: np.ndarray
    radii: np.ndarray
    parent: int | None
    exit: int
    way: np.ndarray


@dataclass(frozen=True)
class TreeTruth:
    """Attributes:
    vessels: parents before children.
    branches: of each branch point, the stretch (n, 2) of the parent's centre line over which the branch leaves it.
    ends: (n, 2), and the index of the vessel of each in ``end_of``; the ostium is not among them.
    crossings: of each, the stretch (n, 2) of one vessel over which it overlaps the other, which it leaves at both ends
        of the stretch, on different sides. Each of its two ends shows beyond the other's outline: a vessel that stops
        right behind another looks like its branch.
    places: of each place, the stretches (n, 2) of the crossings that lie there together.
    hidden: (n, 2), ends of vessels that lie behind another or hardly stick out of it, where a mask has what looks like
        a branch point and is none.
    touching: (n, 2), places where vessels overlap without being parent and child at their branching: crossings, and
        vessels that pass side by side.
    ostium: (2,), None when it is not seen.
    """

    vessels: list[Vessel]
    branches: list[np.ndarray]
    ends: np.ndarray
    end_of: list[int]
    crossings: list[np.ndarray]
    places: list[np.ndarray]
    hidden: np.ndarray
    touching: np.ndarray
    ostium: np.ndarray | None


def dense(points: np.ndarray, radii: np.ndarray, step: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Points and radii, one every ``step`` pixels."""
    along = np.append(0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    at = np.linspace(0, along[-1], int(along[-1] / step) + 2)
    return np.stack([np.interp(at, along, column) for column in points.T], axis=1), np.interp(at, along, radii)


def truth_of(truth: dict[str, Any], mask: np.ndarray) -> TreeTruth:
    """Read the truth of :func:`casr_net.synthetic.make_angiogram`.

    Args:
        truth: of the angiogram.
        mask: bool (X, Y), what is visible.
    """
    vessels = _vessels(truth["branches"], mask)
    branches, ends, end_of, hidden = [], [], [], []
    trees = [KDTree(v.points) if len(v.points) else None for v in vessels]
    for index, vessel in enumerate(vessels):
        if vessel.exit >= len(vessel.points) - 2 * SHOWN:
            continue
        if vessel.parent is not None and (stem := trees[vessel.parent]) is not None:
            first, last = stem.query(vessel.points[[0, vessel.exit]])[1]
            branches.append(vessels[vessel.parent].points[min(first, last) : max(first, last) + 1])
        others = [i for i in range(len(vessels)) if i != index and trees[i] is not None]
        end = vessel.points[-1]
        nearest = [trees[i].query(end) for i in others]  # type: ignore[union-attr]
        if any(d <= vessels[i].radii[at] + SHOWN for i, (d, at) in zip(others, nearest, strict=True)):
            hidden.append(end)
        if all(d > vessels[i].radii[at] + 1 for i, (d, at) in zip(others, nearest, strict=True)):
            ends.append(end)
            end_of.append(index)
    crossings, touching = _crossings(vessels, trees)
    trunk = np.array(truth["branches"][0]["points"][0])
    seen = len(vessels[0].points) > 0 and np.hypot(*(vessels[0].points[0] - trunk)) < 1
    return TreeTruth(
        vessels, branches, np.reshape(ends, (-1, 2)), end_of, crossings, _places(crossings),
        np.reshape(hidden, (-1, 2)), touching, trunk if seen else None,
    )  # fmt: skip


def _vessels(branches: list[dict[str, Any]], mask: np.ndarray) -> list[Vessel]:
    chains: list[list[int]] = []
    chain_of: dict[int, int] = {}
    for branch in branches:
        stem = branch["parent"]
        if stem is not None and branches[stem]["name"] == branch["name"]:
            chain_of[branch["id"]] = chain_of[stem]
            chains[chain_of[stem]].append(branch["id"])
        else:
            chain_of[branch["id"]] = len(chains)
            chains.append([branch["id"]])
    vessels: list[Vessel] = []
    for chain in chains:
        points, radii = dense(
            np.concatenate([np.array(branches[i]["points"]) for i in chain]),
            np.concatenate([np.array(branches[i]["radii"]) for i in chain]),
        )
        at = np.floor(points + 0.5).astype(int)
        seen = np.all((at >= 0) & (at < mask.shape), axis=1)
        seen[seen] = mask[tuple(at[seen].T)]
        points, radii = points[seen], radii[seen]
        stem = branches[chain[0]]["parent"]
        parent = None if stem is None else chain_of[stem]
        out, way = 0, points
        if parent is not None:
            stem_vessel = vessels[parent]
            out = len(points)
            if len(points) and len(stem_vessel.points):
                distance, index = KDTree(stem_vessel.points).query(points)
                outside = distance > stem_vessel.radii[index] + radii
                out = int(np.argmax(outside)) if outside.any() else len(points)
                at_stem = KDTree(stem_vessel.way).query(points[0])[1]
                way = np.vstack([stem_vessel.way[: at_stem + 1], points])
        vessels.append(Vessel(points, radii, parent, out, way))
    return vessels


def _crossings(vessels: list[Vessel], trees: list[KDTree | None]) -> tuple[list[np.ndarray], np.ndarray]:
    """Overlaps of two vessels: those after which a vessel goes on at the other side, and the samples of all."""
    crossings, touching = [], [np.zeros((0, 2))]
    for one, first in enumerate(vessels):
        for two in range(one):
            second, tree = vessels[two], trees[two]
            if tree is None or not len(first.points):
                continue
            distance, index = tree.query(first.points)
            overlap = distance < second.radii[index] + first.radii
            touching.append(first.points[overlap])
            edges = np.flatnonzero(np.diff(overlap.astype(int)))
            starts, ends = edges[~overlap[edges]], edges[overlap[edges]] + 1
            for before in starts.tolist():  # a run from the origin or up to the tip is no crossing
                after = next((end for end in ends.tolist() if end > before), None)
                if after is None or not 0 < index[before] < len(second.points) - 1:
                    continue
                if not 0 < index[after] < len(second.points) - 1:
                    continue
                shown = 2 * SHOWN  # samples
                if before - (0 if first.parent is None else first.exit) < shown or len(first.points) - after < shown:
                    continue
                if _side(first.points[before], second.points, index[before]) != _side(
                    first.points[after], second.points, index[after]
                ):
                    crossings.append(first.points[before + 1 : after])
    return crossings, np.vstack(touching)


def _places(crossings: list[np.ndarray]) -> list[np.ndarray]:
    """Stretches of crossings, put together where they come near each other."""
    trees = [KDTree(stretch) for stretch in crossings]
    place = list(range(len(crossings)))
    for one in range(len(crossings)):
        for two in range(one):
            if place[one] != place[two] and trees[one].query(crossings[two])[0].min() <= PLACE:
                place = [place[two] if number == place[one] else number for number in place]
    return [
        np.vstack([stretch for stretch, other in zip(crossings, place, strict=True) if other == number])
        for number in sorted(set(place))
    ]


def _side(point: np.ndarray, line: np.ndarray, index: int) -> bool:
    """On which side of a line a point lies, near one of the line's samples."""
    step = line[min(index + 2, len(line) - 1)] - line[max(index - 2, 0)]
    offset = point - line[index]
    return bool(step[0] * offset[1] - step[1] * offset[0] > 0)
