"""A net of lines under construction: nodes, and edges with their points. The finished tree is a networkx graph.

Unlike a networkx graph it keeps the ends of an edge apart, also of one that returns to its own node, and which end its
points begin at. Lengths and radii are in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

__all__ = ["Arm", "Edge", "Net", "arc", "heading", "middle"]

Arm = tuple[int, int]
"""One end of an edge: the edge's key, and 0 for the end where its points begin or 1 for the other."""


@dataclass
class Edge:
    """A line between two nodes.

    Attributes:
        nodes: at the first and at the last point.
        points: float (n, 2), n >= 2, without repeats.
        radii: float (n,).
        gap: no vessel was seen here, two ends were joined.
        catheter: no vessel but the catheter.
    """

    nodes: tuple[int, int]
    points: np.ndarray
    radii: np.ndarray
    gap: bool = False
    catheter: bool = False

    # Kept once asked for: points and radii do not change, see Net.lead.
    @cached_property
    def length(self) -> float:
        return float(arc(self.points)[-1])

    @cached_property
    def radius(self) -> float:
        return middle(self.radii)

    def outward(self, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Points and radii, from the given end on."""
        return (self.points[::-1], self.radii[::-1]) if end else (self.points, self.radii)


@dataclass
class Net:
    """Nodes by key with their positions, arms (edge's ends) and marks; edges by key.

    Attributes:
        positions: (x, y) of each node.
        arms: of each node, the ends of edges that meet in it.
        crossings: nodes at a crossing, and the crossing's number; the nodes of one crossing share it.
        doubtful: numbers of crossings that close a loop and do not look like crossings.
        edges: by key.
    """

    positions: dict[int, np.ndarray] = field(default_factory=dict)
    arms: dict[int, list[Arm]] = field(default_factory=dict)
    crossings: dict[int, int] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    edges: dict[int, Edge] = field(default_factory=dict)
    _next: int = 0

    def _key(self) -> int:
        self._next += 1
        return self._next - 1

    def add_node(self, position: np.ndarray) -> int:
        key = self._key()
        self.positions[key] = np.asarray(position, float)
        self.arms[key] = []
        return key

    def add_edge(
        self, first: int, last: int, points: np.ndarray, radii: np.ndarray, gap: bool = False, catheter: bool = False
    ) -> int:
        key = self._key()
        self.edges[key] = Edge((first, last), points, radii, gap, catheter)
        self.arms[first].append((key, 0))
        self.arms[last].append((key, 1))
        return key

    def remove_edge(self, key: int) -> None:
        for end, node in enumerate(self.edges.pop(key).nodes):
            self.arms[node].remove((key, end))

    def remove_node(self, node: int) -> None:
        """Remove a node that no edge ends in."""
        del self.positions[node], self.arms[node]
        self.crossings.pop(node, None)

    def move_arm(self, arm: Arm, node: int) -> None:
        """Let an edge end in another node of the same place, or one that its points were led to before."""
        edge = self.edges[arm[0]]
        self.arms[edge.nodes[arm[1]]].remove(arm)
        self.arms[node].append(arm)
        edge.nodes = (node, edge.nodes[1]) if arm[1] == 0 else (edge.nodes[0], node)

    def node_at(self, arm: Arm) -> int:
        return self.edges[arm[0]].nodes[arm[1]]

    def outward(self, arm: Arm) -> tuple[np.ndarray, np.ndarray]:
        return self.edges[arm[0]].outward(arm[1])

    def free_arms(self) -> Iterator[Arm]:
        """Arms of the nodes in which a single edge ends."""
        for arms in list(self.arms.values()):
            if len(arms) == 1:
                yield arms[0]

    def lead(self, arm: Arm, points: np.ndarray, radii: np.ndarray) -> None:
        """Lengthen an edge at one end; the points, in order away from the edge's middle, follow its own."""
        edge = self.edges[arm[0]]
        parts = [(points[::-1], radii[::-1]), (edge.points, edge.radii)]
        if arm[1]:
            parts = [(edge.points, edge.radii), (points, radii)]
        line, widths = (np.concatenate(part) for part in zip(*parts, strict=True))
        self.edges[arm[0]] = replace(edge, points=line, radii=widths)

    def split_edge(self, key: int, index: int) -> int:
        """Put a node at an inner point of an edge; the key of the node."""
        edge = self.edges[key]
        node = self.add_node(edge.points[index])
        for first, last, part in (
            (edge.nodes[0], node, slice(0, index + 1)),
            (node, edge.nodes[1], slice(index, None)),
        ):
            self.add_edge(first, last, edge.points[part], edge.radii[part], edge.gap, edge.catheter)
        self.remove_edge(key)
        return node

    def join_passed(self, kept: frozenset[int] = frozenset()) -> None:
        """Make one edge of two that meet in a node where nothing else ends, other than crossings and kept nodes."""
        for node, arms in list(self.arms.items()):
            if len(arms) != 2 or arms[0][0] == arms[1][0] or node in self.crossings or node in kept:
                continue
            one, two = (self.edges[key] for key, _ in arms)
            if one.gap or two.gap or one.catheter != two.catheter:
                continue
            first, last = one.nodes[1 - arms[0][1]], two.nodes[1 - arms[1][1]]
            (head, head_radii), (tail, tail_radii) = self.outward(arms[0]), self.outward(arms[1])
            for key, _ in list(arms):
                self.remove_edge(key)
            self.remove_node(node)
            self.add_edge(
                first, last, np.vstack([head[::-1], tail[1:]]), np.append(head_radii[::-1], tail_radii[1:]),
                catheter=one.catheter,
            )  # fmt: skip

    def components(self) -> list[list[int]]:
        """Nodes that edges join, component by component."""
        seen: set[int] = set()
        found = []
        for start in self.positions:
            if start in seen:
                continue
            seen.add(start)
            part = [start]
            for node in part:
                for key, end in self.arms[node]:
                    other = self.edges[key].nodes[1 - end]
                    if other not in seen:
                        seen.add(other)
                        part.append(other)
            found.append(part)
        return found


def arc(points: np.ndarray) -> np.ndarray:
    """(n,) length along a line of points (n, 2) up to each of them."""
    return np.append(0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))


def heading(points: np.ndarray, skip: float, reach: float) -> np.ndarray:
    """(2,) unit vector: where a line leads, over ``reach`` pixels after its first ``skip``, or as far as it goes.

    Short lines have what they have: of a line below ``skip`` it is the direction from its first to its last point.
    """
    along = arc(points)
    first = int(np.searchsorted(along, min(skip, along[-1] / 2)))
    last = min(int(np.searchsorted(along, along[first] + reach)), len(points) - 1)
    step = points[last] - points[first] if last > first else points[-1] - points[0]
    size = float(np.hypot(*step))
    return step / size if size else np.array([1.0, 0.0])


def middle(values: np.ndarray) -> float:
    """The median, of an even number of values the upper of the two in the middle; twenty times as fast as NumPy's."""
    return sorted(values.tolist())[len(values) // 2] if len(values) < 50 else float(np.sort(values)[len(values) // 2])
