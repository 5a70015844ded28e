"""Crossings of vessels told from branch points, and taken apart: what stays is a forest.

In a projection two vessels that pass one behind the other look like a node of four arms, or, as thinning draws them, like
two branch points with a short edge between: merged and parted again. A coronary tree has no loops, so a loop that still
stays is cut where a branch looks least like one.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import combinations
from math import acos, degrees, log2

import numpy as np

from .net import Arm, Net, arc, heading, middle

__all__ = ["part_crossings"]

CORE = 5.0
"""Longest common course of two vessels that cross, in sums of the radii at its ends."""
TURN = 30.0
"""Largest turn of a vessel at a crossing that no loop calls for, in degrees."""
TURN_IN_LOOP = 50.0
"""The same where a loop has to hold a crossing."""
RATIO_COST = 20.0
"""Degrees of turn that a doubling of the width between the two arms of one vessel weighs."""
GREY = 30.0
"""Degrees by which a turn counts less when attenuations add up at the crossing, and more when they do not."""
POWER = 2.0
CUT_COST = 30.0
"""Degrees of turn that weigh against a crossing of which only one arm of a vessel is seen."""


@dataclass(frozen=True)
class Course:
    """An arm as it looks from its node: where it starts outside the other vessel, its direction, width, attenuation."""

    start: np.ndarray
    direction: np.ndarray
    radius: float
    depth: float


@dataclass(frozen=True)
class Candidate:
    """A possible crossing: its node or the edge between its two, the arms of the two vessels, the larger turn's cost."""

    nodes: tuple[int, ...]
    core: int | None
    strands: tuple[tuple[Arm, Arm], tuple[Arm, Arm]]
    cost: float


def part_crossings(net: Net, roots: list[int], attenuation: np.ndarray | None = None) -> None:
    """Take crossings apart until no loop is left, the clearest first; then those that look like one without a loop.

    Where a loop holds nothing like a crossing, the arm that comes in most against the flow is parted from its node, at a
    doubtful crossing.

    Args:
        net: changed in place, a forest afterwards.
        roots: node from which contrast flows, one for each part.
        attenuation: float (X, Y), optical depth of the vessels alone, 0 outside them; None when it is not known.
    """
    looks = _Looks(net, attenuation)
    while (flow := _Flow(net, roots)).loop_edges:
        rated = [(flow.turn_without(c, looks) - c.cost, c) for c in _candidates(net, looks) if c.cost <= TURN_IN_LOOP]
        cut = max(flow.cuts(looks), key=lambda pair: pair[0])
        for gain, candidate in sorted(rated, key=lambda pair: -pair[0]):
            if gain < cut[0]:
                _cut(net, cut[1])
                break
            if _closes_loop(net, candidate):
                _part(net, candidate)
                break
        else:
            _cut(net, cut[1])
    while found := [c for c in _candidates(net, looks) if c.cost <= TURN]:
        _part(net, min(found, key=lambda c: c.cost))
    net.join_passed()


def _closes_loop(net: Net, candidate: Candidate) -> bool:
    """Whether the two vessels meet elsewhere as well, so that parting them here keeps them together."""
    seen = set(candidate.nodes)
    reached: list[set[int]] = []
    for strand in candidate.strands:
        waiting = [net.edges[key].nodes[1 - end] for key, end in strand]
        found = {node for node in waiting if node not in seen}
        waiting = list(found)
        while waiting:
            for key, end in net.arms[waiting.pop()]:
                other = net.edges[key].nodes[1 - end]
                if other not in found and other not in seen:
                    found.add(other)
                    waiting.append(other)
        reached.append(found)
    return bool(reached[0] & reached[1])


class _Flow:
    """Over which arm contrast comes to each node first, by the shortest way, and which edges close loops.

    Attributes:
        supply: the arm through which a node is fed; roots have none.
        loop_edges: keys of the edges that lie in a loop.
    """

    def __init__(self, net: Net, roots: list[int]) -> None:
        self.net = net
        self.supply: dict[int, Arm] = {}
        reached: dict[int, float] = {}
        waiting: list[tuple[float, int, Arm | None]] = [(0.0, root, None) for root in roots]
        heapify(waiting)
        spare: list[int] = []
        while waiting:
            distance, node, inflow = heappop(waiting)
            if node in reached:
                continue
            reached[node] = distance
            if inflow is not None:
                self.supply[node] = inflow
            for key, end in net.arms[node]:
                edge = net.edges[key]
                if edge.nodes[1 - end] not in reached:
                    heappush(waiting, (distance + edge.length / max(middle(edge.radii), 0.5)**POWER, edge.nodes[1 - end], (key, 1 - end)))
        tree = {key for key, _ in self.supply.values()}
        spare = [key for key in net.edges if key not in tree]
        self.loop_edges = set(spare)
        for key in spare:
            ways = [self._upstream(node) for node in net.edges[key].nodes]
            self.loop_edges |= set(ways[0]) ^ set(ways[1])

    def _upstream(self, node: int) -> list[int]:
        keys = []
        while node in self.supply:
            key, end = self.supply[node]
            keys.append(key)
            node = self.net.edges[key].nodes[1 - end]
        return keys

    def turn_without(self, candidate: Candidate, looks: _Looks) -> float:
        """The sharpest turn in degrees from inflow to a branch, were the candidate's arms branches of one vessel."""
        arms = [arm for strand in candidate.strands for arm in strand]
        feeds = [arm for arm in arms if self.supply.get(self.net.node_at(arm)) == arm]
        if not feeds:
            return 90.0
        inflow = looks.course(feeds[0], looks.inside(feeds[0]))
        return max(_angle(-inflow.direction, looks.course(a, looks.inside(a)).direction) for a in arms if a != feeds[0])

    def cuts(self, looks: _Looks) -> list[tuple[float, Arm]]:
        """Arms in loops that may be parted from their node, with how much they come in against the flow, in degrees."""
        found = []
        for key in sorted(self.loop_edges):
            for arm in ((key, 0), (key, 1)):
                node, far = self.net.node_at(arm), self.net.node_at((key, 1 - arm[1]))
                inflow = self.supply.get(node)
                if inflow == arm or (self.supply.get(far, arm)[0] == key and inflow is not None and False):
                    continue
                turn = 90.0
                if inflow is not None:
                    ways = [looks.course(a, looks.inside(a)).direction for a in (inflow, arm)]
                    turn = _angle(-ways[0], ways[1])
                feeds = far in self.supply and self.supply[far][0] == key
                found.append((turn - 90 - CUT_COST - (90 if feeds else 0), arm))
        return found


class _Looks:
    """What arms look like, kept until their edge changes."""

    def __init__(self, net: Net, attenuation: np.ndarray | None) -> None:
        self.net, self.attenuation = net, attenuation
        self._kept: dict[tuple[Arm, int, float], Course] = {}

    def inside(self, arm: Arm) -> float:
        """How deep the node of an arm lies in the vessels, in pixels."""
        return float(self.net.outward(arm)[1][0])

    def course(self, arm: Arm, inside: float) -> Course:
        """Of an arm whose node lies ``inside`` pixels deep in the vessels."""
        key = (arm, len(self.net.edges[arm[0]].points), inside)
        if key not in self._kept:
            self._kept[key] = self._look(arm, inside)
        return self._kept[key]

    def _look(self, arm: Arm, inside: float) -> Course:
        points, radii = self.net.outward(arm)
        along = arc(points)
        skip = min(inside + 1, along[-1] / 2)
        first = int(np.searchsorted(along, skip))
        local = middle(radii[first:][:12])
        part = slice(first, max(int(np.searchsorted(along, along[first] + 3 * local + 6)), first + 2))
        depth = 0.0
        if self.attenuation is not None:
            depth = middle(self.attenuation[tuple(np.floor(points[part] + 0.5).astype(int).T)])
        return Course(points[first], heading(points, skip, 3 * local + 6), max(middle(radii[part]), 0.5), depth)

    def extra(self, line: np.ndarray, depths: list[float]) -> float:
        """How much of the weaker vessel's depth is added to the stronger's along the core of a crossing."""
        if self.attenuation is None or min(depths) <= 0:
            return 0.5
        depth = self.attenuation[tuple(np.floor(line + 0.5).astype(int).T)]
        return (float(depth.max()) - max(depths)) / min(depths)


def _candidates(net: Net, looks: _Looks) -> list[Candidate]:
    found = []
    for node, arms in net.arms.items():
        if len(arms) >= 4 and node not in net.crossings and len({key for key, _ in arms}) == len(arms):
            inside = float(net.outward(arms[0])[1][0])
            line = net.positions[node][None]
            found.append(_best((node,), None, [(arm, inside) for arm in arms], None, line, looks))
    for key, edge in net.edges.items():
        one, two = edge.nodes
        if one == two or edge.gap or one in net.crossings or two in net.crossings:
            continue
        if len(net.arms[one]) != 3 or len(net.arms[two]) != 3:
            continue
        inside = (float(edge.radii[0]), float(edge.radii[-1]))
        if edge.length > CORE * max(sum(inside), 2.0):
            continue
        arms = [(arm, depth) for node, depth in zip(edge.nodes, inside, strict=True)
                for arm in net.arms[node] if arm[0] != key]  # fmt: skip
        if len({arm[0] for arm, _ in arms}) == 4:
            found.append(_best((one, two), key, arms, 2, edge.points, looks))
    return found


def _best(
    nodes: tuple[int, ...], core: int | None, arms: list[tuple[Arm, float]], first: int | None, line: np.ndarray,
    looks: _Looks,
) -> Candidate:  # fmt: skip
    """The likeliest two vessels among the arms; with a core, each has one arm at either of its ends."""
    courses = [looks.course(arm, inside) for arm, inside in arms]
    pairs = [
        pair for pair in combinations(range(len(arms)), 2) if first is None or (pair[0] < first) != (pair[1] < first)
    ]
    price = {pair: _turn(courses[pair[0]], courses[pair[1]]) for pair in pairs}
    choices = [(one, two) for one, two in combinations(pairs, 2) if not set(one) & set(two)]
    one, two = min(choices, key=lambda choice: price[choice[0]] + price[choice[1]])
    extra = looks.extra(line, [min(courses[i].depth for i in strand) for strand in (one, two)])
    cost = max(price[one], price[two]) - GREY * float(np.clip(2 * extra - 1, -1, 1))
    strands = tuple((arms[a][0], arms[b][0]) for a, b in (one, two))
    return Candidate(nodes, core, (strands[0], strands[1]), cost)


def _turn(one: Course, two: Course) -> float:
    """Degrees by which a vessel of these two arms would turn, or miss itself sideways, and what its change of width weighs."""
    ways = [(-one.direction, two.direction)]
    chord = two.start - one.start
    if (size := float(np.hypot(*chord))) > 2:
        ways += [(-one.direction, chord / size), (chord / size, two.direction)]
    return max(_angle(a, b) for a, b in ways) + RATIO_COST * abs(log2(one.radius / two.radius))


def _angle(one: np.ndarray, two: np.ndarray) -> float:
    """Degrees between two unit vectors."""
    return degrees(acos(min(max(float(one @ two), -1.0), 1.0)))


def _part(net: Net, candidate: Candidate) -> None:
    """Lead the arms to the middle of the crossing and give each vessel a node of its own there."""
    number = max(net.crossings.values(), default=-1) + 1
    if candidate.core is not None:
        core = net.edges[candidate.core]
        middle = len(core.points) // 2
        halves = ((core.points[: middle + 1], core.radii[: middle + 1]),
                  (core.points[middle:][::-1], core.radii[middle:][::-1]))  # fmt: skip
        for strand in candidate.strands:
            for arm in strand:
                points, radii = halves[candidate.nodes.index(net.node_at(arm))]
                net.lead(arm, points[1:], radii[1:])
        net.remove_edge(candidate.core)
        place = core.points[middle]
    else:
        place = net.positions[candidate.nodes[0]]
    made = [net.add_node(place) for _ in candidate.strands]
    for node, strand in zip(made, candidate.strands, strict=True):
        net.crossings[node] = number
        for arm in strand:
            net.move_arm(arm, node)
    for node in candidate.nodes:
        for arm in list(net.arms[node]):  # a fifth vessel at one place, which leaves either of the two
            net.move_arm(arm, made[0])
        net.remove_node(node)


def _cut(net: Net, arm: Arm) -> None:
    node = net.node_at(arm)
    if node not in net.crossings:
        net.crossings[node] = max(net.crossings.values(), default=-1) + 1
    number = net.crossings[node]
    net.doubtful.add(number)
    made = net.add_node(net.positions[node])
    net.crossings[made] = number
    net.move_arm(arm, made)

