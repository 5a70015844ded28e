"""Where contrast enters a part of the tree: the end from which the vessels branch forwards and become narrower."""

from __future__ import annotations

import numpy as np

from .net import Arm, Net, heading, middle

__all__ = ["find_root", "rate_roots"]


def find_root(net: Net, nodes: list[int]) -> int:
    """The likeliest root among the ends of one part; of a part without ends its first node.

    Args:
        net: of lines.
        nodes: of one part, as :meth:`casr_net.vessels.net.Net.components` gives them.
    """
    rated = rate_roots(net, nodes)
    return max(rated, key=lambda node: sum(rated[node])) if rated else nodes[0]


def rate_roots(net: Net, nodes: list[int]) -> dict[int, tuple[float, float]]:
    """How likely each end of a part is its root: two numbers, to be added up.

    The first is the width at the end, as a share of the part's widest end. The second tells whether branches leave
    forwards, seen from this end: the mean cosine of their turns, weighted by their lengths up to 40 pixels, -1 to 1; 0
    without branches.

    Args:
        net: of lines.
        nodes: of one part.
    """
    ends = [node for node in nodes if len(net.arms[node]) == 1]
    ends = [node for node in ends if not net.edges[net.arms[node][0][0]].catheter] or ends
    widths = [_width(net, net.arms[node][0]) for node in ends]
    ways: dict[Arm, np.ndarray] = {}
    if len(ends) > 2:
        for node in nodes:
            for arm in net.arms[node]:
                points, radii = net.outward(arm)
                ways[arm] = heading(points, float(radii[0]), 3 * middle(radii[:20]) + 6)
    widest = max([*widths, 1e-9])
    return {node: (width / widest, _forward(net, node, ways)) for node, width in zip(ends, widths, strict=True)}


def _width(net: Net, arm: Arm) -> float:
    _, radii = net.outward(arm)
    return middle(radii[: max(8, int(6 * radii[0]))])


def _forward(net: Net, root: int, ways: dict[Arm, np.ndarray]) -> float:
    """See :func:`rate_roots`."""
    total = weight = 0.0
    seen = {root}
    waiting: list[tuple[int, Arm | None]] = [(root, None)]
    while waiting:
        node, inflow = waiting.pop()
        for arm in net.arms[node]:
            edge = net.edges[arm[0]]
            other = edge.nodes[1 - arm[1]]
            if other in seen:
                continue
            seen.add(other)
            waiting.append((other, (arm[0], 1 - arm[1])))
            if inflow is not None and ways:
                size = min(len(edge.points), 40)
                total -= size * float(ways[inflow] @ ways[arm])
                weight += size
    return total / weight if weight else 0.0
