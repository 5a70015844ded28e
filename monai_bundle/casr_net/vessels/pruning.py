"""What a skeleton has too much or too little: spurs are cut, ends led to the outline, ends that face each other joined.

Patch lines that repair a mask, by the network's probability, are stage 3 (:mod:`casr_net.refinement`). Here only the
tree is joined, over a gap that stayed, and the joint is marked: nothing was seen there, so nothing is measured there.
"""

from __future__ import annotations

import numpy as np

from .net import Arm, Net, heading, middle

__all__ = ["join_ends", "lead_to_outline", "prune_spurs"]

SPUR = 1.7
"""Longest spur, in local radii at the node that it leaves from. A corner of a square end lies at 1.4 of them."""
LEAST_SPUR = 2.0
"""What a side branch shows at least beyond the outline of its parent, in pixels."""
GAP, GAP_WIDTHS = 20.0, 3.0
"""Longest gap that is joined, in pixels and in widths of the vessel."""
GAP_ANGLE = 30.0
"""Largest angle between a joint and the vessel at either end, in degrees."""
GAP_RATIO = 2.0
"""Largest ratio of the widths at the ends of a joint."""


def prune_spurs(net: Net, radius: np.ndarray) -> None:
    """Cut side lines that hardly leave the outline of the vessel that they start in, until there is none.

    The spurs of one node go together, as a blunt end forks into its two corners, unless nothing else would stay there.

    Args:
        net: changed in place.
        radius: float (X, Y), see :func:`casr_net.vessels.local_radius`.
    """
    while cut := _spurs_to_cut(net, radius):
        for key, end in cut:
            tip = net.edges[key].nodes[end]
            net.remove_edge(key)
            net.remove_node(tip)
        net.join_passed()


def _spurs_to_cut(net: Net, radius: np.ndarray) -> list[Arm]:
    at: dict[int, list[Arm]] = {}
    for arm in net.free_arms():
        if _is_spur(net, arm, radius):
            at.setdefault(net.node_at((arm[0], 1 - arm[1])), []).append(arm)
    cut = []
    for node, found in at.items():
        spare = 2 if len(found) == len(net.arms[node]) else 0  # of a blob the longest line stays
        cut += sorted(found, key=lambda arm: net.edges[arm[0]].length)[: len(found) - spare]
    return cut


def _is_spur(net: Net, arm: Arm, radius: np.ndarray) -> bool:
    edge = net.edges[arm[0]]
    node = net.node_at((arm[0], 1 - arm[1]))
    if len(net.arms[node]) < 3:  # a line of its own
        return False
    x, y = edge.points[-1 if arm[1] == 0 else 0].astype(int)
    inside = float(radius[x, y])
    return edge.length <= max(SPUR * inside, inside + LEAST_SPUR)


def lead_to_outline(net: Net, mask: np.ndarray) -> None:
    """Lead free ends on to the outline of the mask or the image's border; thinning stops about a radius before it.

    Args:
        net: changed in place.
        mask: bool (X, Y).
    """
    shape = np.array(mask.shape)
    for arm in net.free_arms():
        points, radii = net.outward(arm)
        limit = 2 * float(radii[0]) + 2
        direction = -heading(points, float(radii[0]) / 2, limit)  # the last pixels bend to a corner
        steps = np.arange(1, int(limit) + 1)[:, None] * direction + points[0]
        at = np.floor(steps + 0.5).astype(int)
        inside = ((at >= 0) & (at < shape)).all(axis=1)
        inside[inside] = mask[tuple(at[inside].T)]
        count = len(steps) if inside.all() else int(np.argmin(inside))
        if count:
            net.lead(arm, steps[:count], np.full(count, radii[0]))
            net.positions[net.node_at(arm)] = steps[count - 1]


def join_ends(net: Net) -> None:
    """Join free ends of separate parts that face each other over a short gap, the nearest first; no loop arises.

    Args:
        net: changed in place; joints are edges marked as gaps.
    """
    arms = list(net.free_arms())
    if len(arms) < 2:
        return
    part = {node: number for number, nodes in enumerate(net.components()) for node in nodes}
    group = np.array([part[net.node_at(arm)] for arm in arms])
    tips, widths, out = [], [], []
    for arm in arms:
        points, radii = net.outward(arm)
        near = radii[: max(3, int(4 * radii[0]))]
        tips.append(points[0])
        widths.append(max(2 * middle(near), 1.0))
        out.append(-heading(points, 0.0, 4 * middle(near) + 6))
    tip, width, away = np.array(tips), np.array(widths), np.array(out)
    step = tip[None] - tip[:, None]
    distance = np.hypot(step[..., 0], step[..., 1])
    limit = np.cos(np.deg2rad(GAP_ANGLE))
    ahead = np.einsum("ijk,ik->ij", step, away) >= limit * distance
    wide = np.maximum(width[:, None], width)
    fits = ahead & ahead.T & (distance <= np.minimum(GAP, GAP_WIDTHS * wide))
    fits &= (wide <= GAP_RATIO * np.minimum(width[:, None], width)) & (group[:, None] != group)
    pairs = np.argwhere(np.triu(fits, 1))
    for one, two in pairs[np.argsort(distance[tuple(pairs.T)], kind="stable")].tolist():
        if group[one] == group[two]:
            continue
        group[group == group[two]] = group[one]
        count = max(int(distance[one, two]), 1)
        share = np.linspace(0, 1, count + 1)[:, None]
        line = tip[one] + share * step[one, two]
        radii = (width[one] + share[:, 0] * (width[two] - width[one])) / 2
        net.add_edge(net.node_at(arms[one]), net.node_at(arms[two]), line, radii, gap=True)
