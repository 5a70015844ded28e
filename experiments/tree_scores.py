"""How well a vessel tree agrees with the truth of a synthetic angiogram."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from casr_net.vessels.tree import VesselTree
from tree_truth import TreeTruth

__all__ = ["Hits", "TreeScore", "pair_up", "score_tree"]

REACH = 8.0
"""Nodes match within this distance, in pixels."""


@dataclass
class Hits:
    """Found and true nodes, counted; with precision, recall and F1."""

    found: int = 0
    found_right: int = 0
    true: int = 0
    true_found: int = 0

    def add(self, found: int, found_right: int, true: int, true_found: int) -> None:
        self.found += found
        self.found_right += found_right
        self.true += true
        self.true_found += true_found

    def summary(self) -> dict[str, float]:
        precision, recall = self.found_right / max(self.found, 1), self.true_found / max(self.true, 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        return {
            "found": self.found, "true": self.true, "precision": round(precision, 4), "recall": round(recall, 4),
            "f1": round(f1, 4),
        }  # fmt: skip


@dataclass
class TreeScore:
    """Sums over images."""

    branches: Hits = field(default_factory=Hits)
    branches_at_hidden_ends: int = 0
    ends: Hits = field(default_factory=Hits)
    crossings: Hits = field(default_factory=Hits)
    crossings_sure: Hits = field(default_factory=Hits)
    places: Hits = field(default_factory=Hits)
    roots: list[bool] = field(default_factory=list)
    ways: list[float] = field(default_factory=list)
    distances: list[np.ndarray] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        ways, distance = np.array(self.ways), np.concatenate(self.distances)
        return {
            "branch_points": self.branches.summary(),
            "false_branch_points_where_a_vessel_ends_behind_another": self.branches_at_hidden_ends,
            "ends": self.ends.summary(),
            "crossings": self.crossings.summary(),
            "crossings_without_doubtful": self.crossings_sure.summary(),
            "places_of_crossings": self.places.summary(),
            "roots_found": round(float(np.mean(self.roots)), 4),
            "roots": len(self.roots),
            "ways": len(ways),
            "ways_right": round(float((ways >= 0.9).mean()), 4),
            "ways_mean_share": round(float(ways.mean()), 4),
            "skeleton_distance_mean": round(float(distance.mean()), 3),
            "skeleton_distance_p95": round(float(np.percentile(distance, 95)), 3),
        }


def pair_up(distance: np.ndarray, reach: float = REACH) -> int:
    """Most pairs of rows and columns within the reach, each used once."""
    if not distance.size:
        return 0
    rows, columns = linear_sum_assignment(np.where(distance <= reach, distance, 1e6))
    return int((distance[rows, columns] <= reach).sum())


def score_tree(tree: VesselTree, truth: TreeTruth, score: TreeScore) -> None:
    """Add one image.

    A branch point is right within 8 pixels of the stretch of the parent over which the branch leaves it, an end within
    8 pixels of a true end. A crossing is right near any place where vessels overlap. Found are true crossings, each by
    one of its own, and places of crossings, where any is enough. The way to a true end is right where the tree's path
    from its root to the nearest leaf runs along the true vessels from the ostium: within their radius + 3 pixels.
    """
    branches = tree.nodes("branch")
    _add(score.branches, branches, truth.branches)
    if len(truth.hidden) and len(branches):
        away = _distances(branches, truth.branches).min(axis=1, initial=np.inf) > REACH
        score.branches_at_hidden_ends += int((KDTree(truth.hidden).query(branches[away])[0] <= REACH).sum())
    roots = {tuple(tree.position(root)) for root in tree.roots}
    ends = np.array([p for p in tree.nodes("end") if tuple(p) not in roots]).reshape(-1, 2)
    _add(score.ends, ends, [end[None] for end in truth.ends])
    touching = KDTree(truth.touching) if len(truth.touching) else None
    for hits, sure in ((score.crossings, False), (score.crossings_sure, True)):
        found = tree.nodes("crossing", sure=sure)
        right = 0 if touching is None or not len(found) else int((touching.query(found)[0] <= REACH).sum())
        hits.add(len(found), right, len(truth.crossings), pair_up(_distances(found, truth.crossings)))
    found = tree.nodes("crossing")
    near = int((_distances(found, truth.places) <= REACH).any(axis=0).sum()) if len(found) else 0
    score.places.add(
        score.crossings.found - score.places.found,
        score.crossings.found_right - score.places.found_right,
        len(truth.places),
        near,
    )
    if truth.ostium is not None and tree.root is not None:
        score.roots.append(bool(np.hypot(*(tree.position(tree.root) - truth.ostium)) <= 2 * REACH))
    score.ways += _ways(tree, truth)
    lines = [v.points for v in truth.vessels if len(v.points)]
    skeleton = np.vstack([data["points"] for _, _, data in tree.graph.edges(data=True) if not data["gap"]])
    score.distances.append(KDTree(np.vstack(lines)).query(skeleton)[0])


def _add(hits: Hits, found: np.ndarray, true: list[np.ndarray]) -> None:
    pairs = pair_up(_distances(found, true))
    hits.add(len(found), pairs, len(true), pairs)


def _distances(found: np.ndarray, true: list[np.ndarray]) -> np.ndarray:
    """Of each point found (rows) from each true stretch (columns)."""
    distance = [[np.hypot(*(line - point).T).min() for line in true] for point in found]
    return np.reshape(distance, (len(found), len(true)))


def _ways(tree: VesselTree, truth: TreeTruth) -> list[float]:
    """For each true end, the share of the tree's path to it that runs along the true way; 0 when no leaf is there."""
    paths = tree.paths()
    tips = np.array([path.points[-1] for path in paths]).reshape(-1, 2)
    shares = []
    for end, index in zip(truth.ends, truth.end_of, strict=True):
        distance = np.hypot(*(tips - end).T)
        if not len(tips) or distance.min() > REACH:
            continue  # counted among the ends
        path = paths[int(np.argmin(distance))]
        vessel, radii = truth.vessels[index], [truth.vessels[index].radii]
        parent = vessel.parent
        while parent is not None:
            radii.append(truth.vessels[parent].radii)
            parent = truth.vessels[parent].parent
        way = KDTree(vessel.way)
        near = way.query(path.points)[0] <= max(float(r.max()) for r in radii) + 3
        covered = KDTree(path.points).query(vessel.way)[0] <= max(float(r.max()) for r in radii) + 3
        shares.append(min(float(near.mean()), float(covered.mean())))
    return shares
