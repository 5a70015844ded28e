"""Which way contrast takes through a net of vessels, and where the net has loops."""

from __future__ import annotations

from heapq import heappop, heappush

from .net import Arm, Net

__all__ = ["Flow"]

POWER = 2.0
"""Contrast comes first over the shortest way, each pixel counted as the inverse of this power of the radius."""


class Flow:
    """Over which arm contrast comes to each node first, and which edges close loops.

    Wide vessels are preferred: a twig that touches a far branch does not feed it.

    Attributes:
        supply: the arm through which a node is fed; roots have none.
        loop_edges: keys of the edges that lie in a loop.
    """

    def __init__(self, net: Net, roots: list[int]) -> None:
        self.net = net
        self.supply: dict[int, Arm] = {}
        reached: set[int] = set()
        for start in [*roots, *net.positions]:  # a root may have been taken apart, as a part of a crossing
            waiting: list[tuple[float, int, Arm | None]] = [(0.0, start, None)] if start in net.positions else []
            while waiting:
                distance, node, inflow = heappop(waiting)
                if node in reached:
                    continue
                reached.add(node)
                if inflow is not None:
                    self.supply[node] = inflow
                for key, end in net.arms[node]:
                    edge = net.edges[key]
                    if edge.nodes[1 - end] not in reached:
                        way = distance + edge.length / max(edge.radius, 0.5) ** POWER
                        heappush(waiting, (way, edge.nodes[1 - end], (key, 1 - end)))
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
