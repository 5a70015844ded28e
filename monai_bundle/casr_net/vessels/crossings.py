"""Crossings of vessels told from branch points, and taken apart: what stays is a forest.

In a projection two vessels that pass one behind the other look like a node of four arms, or, as thinning draws them,
like two branch points with a short edge between: merged and parted again. A coronary tree has no loops, so a loop that
still stays is cut where a branch looks least like one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import acos, degrees, log2
from typing import Any

import numpy as np

from .flow import Flow
from .net import Arm, Net, arc, heading, middle

__all__ = ["part_crossings"]

CORE = 5.0
"""Longest common course of two vessels that cross, in sums of the radii at its ends."""
TURN = 22.0
"""Largest turn of a vessel at a crossing that no loop calls for, in degrees."""
TURN_IN_LOOP, TURN_IN_LOOP_GREY = 50.0, 60.0
"""The same where a loop has to hold a crossing: by direction and width alone, and with grey values."""
RATIO_COST = 20.0
"""Degrees of turn that a doubling of the width between the two arms of one vessel weighs."""
GREY = 25.0
"""Degrees by which a turn counts less when attenuations add up at the crossing, and more when they do not. Only where
no loop calls for a crossing: within loops, the more crossings it found, the fewer ways from the ostium were right."""
DEPTH_COST = 20.0
"""Degrees of turn that a doubling of the attenuation between the two arms of one vessel weighs, where it is known."""
AMBIGUITY, CLEAR = 20.0, 40.0
"""Degrees of turn that weigh against two vessels when another pairing of the arms is as good, and as much for them when
it is worse by twice ``CLEAR`` degrees; only in loops and with grey values. With these and 60 degrees, more
crossings were found on seeds 2000 to 2059 and as many ways from the ostium were right; without grey values fewer."""
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
    """A possible crossing: its node, or two and the edge between, the two vessels' arms, what their turns cost.

    ``in_loop`` is the cost where a loop calls for a crossing, ``grey`` what the attenuation adds to it elsewhere.
    """

    nodes: tuple[int, ...]
    core: int | None
    strands: tuple[tuple[Arm, Arm], tuple[Arm, Arm]]
    cost: float
    in_loop: float
    grey: float


def part_crossings(net: Net, roots: list[int], attenuation: np.ndarray | None = None) -> None:
    """Take crossings apart until no loop is left, the clearest first; then those that look like one without a loop.

    Where a loop holds nothing like a crossing, the arm that comes in most against the flow is parted from its node, at
    a doubtful crossing.

    Args:
        net: changed in place, a forest afterwards.
        roots: node from which contrast flows, one for each part.
        attenuation: float (X, Y), optical depth of the vessels alone, 0 outside them; None when it is not known.
    """
    looks = _Looks(net, attenuation)
    limit = TURN_IN_LOOP if attenuation is None else TURN_IN_LOOP_GREY
    while (flow := Flow(net, roots)).loop_edges:
        rated = [(_turn_without(c, flow, looks) - c.in_loop, c) for c in _candidates(net, looks) if c.in_loop <= limit]
        cut = _best_cut(flow, looks)
        better = sorted((pair for pair in rated if pair[0] >= cut[0]), key=lambda pair: -pair[0])
        chosen = next((candidate for _, candidate in better if _closes_loop(net, candidate)), None)
        if chosen is None:
            _cut(net, cut[1])
        else:
            _part(net, chosen)
    while found := [c for c in _candidates(net, looks) if c.cost + c.grey <= TURN]:
        _part(net, min(found, key=lambda c: c.cost + c.grey))
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


class _Looks:
    """What arms look like, kept until their edge changes."""

    def __init__(self, net: Net, attenuation: np.ndarray | None) -> None:
        self.net, self.attenuation = net, attenuation
        self._kept: dict[tuple[Arm, int, float], Course] = {}
        self._candidates: dict[tuple[Any, ...], Candidate] = {}

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

    def candidate(
        self, nodes: tuple[int, ...], core: int | None, arms: list[tuple[Arm, float]], line: np.ndarray
    ) -> Candidate:
        """The likeliest two vessels among arms, given with how deep their node lies; line is the core or the node.

        With a core, each vessel has one of the first two arms and one of the others.
        """
        key = (nodes, core, *((arm, len(self.net.edges[arm[0]].points)) for arm, _ in arms))
        if key not in self._candidates:
            self._candidates[key] = self._rate(nodes, core, arms, line)
        return self._candidates[key]

    def _rate(
        self, nodes: tuple[int, ...], core: int | None, arms: list[tuple[Arm, float]], line: np.ndarray
    ) -> Candidate:
        courses = [self.course(arm, inside) for arm, inside in arms]
        pairs = [pair for pair in combinations(range(len(arms)), 2) if core is None or (pair[0] < 2) != (pair[1] < 2)]
        price = {pair: _turn(courses[pair[0]], courses[pair[1]]) for pair in pairs}
        choices = [
            (price[one] + price[two], one, two) for one, two in combinations(pairs, 2) if not set(one) & set(two)
        ]
        (least, one, two), second = sorted(choices)[:2]
        doubt = 0.0 if self.attenuation is None else 1 - (second[0] - least) / CLEAR
        in_loop = max(price[one], price[two]) + AMBIGUITY * min(max(doubt, -1.0), 1.0)
        extra = self.extra(line, [min(courses[i].depth for i in strand) for strand in (one, two)])
        grey = -GREY * float(np.clip(2 * extra - 1, -1, 1))
        strands = tuple((arms[a][0], arms[b][0]) for a, b in (one, two))
        return Candidate(nodes, core, (strands[0], strands[1]), max(price[one], price[two]), in_loop, grey)


def _candidates(net: Net, looks: _Looks) -> list[Candidate]:
    found = []
    for node, arms in net.arms.items():
        if len(arms) >= 4 and node not in net.crossings and len({key for key, _ in arms}) == len(arms):
            inside = float(net.outward(arms[0])[1][0])
            line = net.positions[node][None]
            found.append(looks.candidate((node,), None, [(arm, inside) for arm in arms], line))
    for key, edge in net.edges.items():
        one, two = edge.nodes
        if one == two or edge.gap or one in net.crossings or two in net.crossings:
            continue
        if len(net.arms[one]) != 3 or len(net.arms[two]) != 3:
            continue
        depths = (float(edge.radii[0]), float(edge.radii[-1]))
        if edge.length > CORE * max(sum(depths), 2.0):
            continue
        around = [(arm, depth) for node, depth in zip(edge.nodes, depths, strict=True)
                  for arm in net.arms[node] if arm[0] != key]  # fmt: skip
        if len({arm[0] for arm, _ in around}) == 4:
            found.append(looks.candidate((one, two), key, around, edge.points))
    return found


def _turn_without(candidate: Candidate, flow: Flow, looks: _Looks) -> float:
    """The sharpest turn in degrees from inflow to a branch, were the candidate's arms branches of one vessel."""
    arms = [arm for strand in candidate.strands for arm in strand]
    feeds = [arm for arm in arms if flow.supply.get(looks.net.node_at(arm)) == arm]
    if not feeds:
        return 90.0
    ahead = -looks.course(feeds[0], looks.inside(feeds[0])).direction
    return max(_angle(ahead, looks.course(arm, looks.inside(arm)).direction) for arm in arms if arm != feeds[0])


def _best_cut(flow: Flow, looks: _Looks) -> tuple[float, Arm]:
    """The arm in a loop that comes in most against the flow, and how much, in degrees."""
    found = []
    for key in sorted(flow.loop_edges):
        for arm in ((key, 0), (key, 1)):
            node, far = looks.net.node_at(arm), looks.net.node_at((key, 1 - arm[1]))
            inflow = flow.supply.get(node)
            if inflow == arm:
                continue
            turn = 90.0
            if inflow is not None:
                ways = [looks.course(a, looks.inside(a)).direction for a in (inflow, arm)]
                turn = _angle(-ways[0], ways[1])
            if far in flow.supply and flow.supply[far][0] == key:  # it feeds what lies beyond
                turn -= 90.0
            found.append((turn - 90 - CUT_COST, arm))
    return max(found, key=lambda pair: pair[0])


def _turn(one: Course, two: Course) -> float:
    """Degrees by which a vessel of these arms turns or misses itself, and what changes of width and depth weigh."""
    ways = [(-one.direction, two.direction)]
    chord = two.start - one.start
    if (size := float(np.hypot(*chord))) > 2:
        ways += [(-one.direction, chord / size), (chord / size, two.direction)]
    deeper = abs(log2(one.depth / two.depth)) if min(one.depth, two.depth) > 0 else 0.0
    return max(_angle(a, b) for a, b in ways) + RATIO_COST * abs(log2(one.radius / two.radius)) + DEPTH_COST * deeper


def _angle(one: np.ndarray, two: np.ndarray) -> float:
    """Degrees between two unit vectors."""
    return degrees(acos(min(max(float(one @ two), -1.0), 1.0)))


def _part(net: Net, candidate: Candidate) -> None:
    """Lead the arms to the middle of the crossing and give each vessel a node of its own there."""
    number = max(net.crossings.values(), default=-1) + 1
    if candidate.core is not None:
        core = net.edges[candidate.core]
        half = len(core.points) // 2
        halves = ((core.points[: half + 1], core.radii[: half + 1]),
                  (core.points[half:][::-1], core.radii[half:][::-1]))  # fmt: skip
        for strand in candidate.strands:
            for arm in strand:
                points, radii = halves[candidate.nodes.index(net.node_at(arm))]
                net.lead(arm, points[1:], radii[1:])
        net.remove_edge(candidate.core)
        place = core.points[half]
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
