"""The catheter told from the artery: it comes in at the border, smooth, of one width and long without branches.

Rules and limits are our choice, set on synthetic angiograms and looked at on expert masks, which leave it out.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import median_filter

from .net import Arm, Net, arc, heading, middle
from .roots import rate_roots

__all__ = ["mark_catheter"]

MARGIN = 8.0
"""Farthest from the border of the exposed field that a catheter's line begins, in pixels."""
INWARD = 3.0
"""How far it leads from that border, in margins: masks of networks have lines along the border."""
LENGTH, WIDTHS, PIXELS = 0.1, 8.0, 40.0
"""Shortest catheter, as a share of the longer image side, in its own widths, in pixels; an artery that leaves the image
is seldom so long without a branch."""
THIN = 1.8
"""Least radius of a catheter in pixels: the vessels that are thinner are twigs."""
SPREAD, SPREAD_PIXELS = 0.2, 0.7
"""Largest departure from the width of its first stretch, as a share of the radius and in pixels."""
EVEN, EVEN_PIXELS = 0.25, 0.5
"""Largest range of the radius from its 20th to its 80th percentile, likewise: an artery tapers, a catheter does not."""
TURN = 1.5
"""Largest bend, in degrees a pixel: the sum of turns between chords, over the length."""
CHORD = 15.0
"""Length of these chords in pixels."""
ONWARD = 35.0
"""Largest turn at a node where something else branches off or lies across, in degrees."""
BRANCHES = 0.004
"""Most of such nodes, per pixel: other vessels may lie across a catheter; one is always allowed."""
WIDER, WIDEST = 1.05, 0.9
"""The artery beyond the tip is wider than the catheter, at least by this factor, and at least about as wide as this
share of all else in the tree: it is its first stretch. Beyond an artery that leaves the image come wider ones."""
SLACK, SLACK_PIXELS = 1.25, 0.5
"""What counts as about as wide: this factor, or so many pixels more."""
ROOT, FORWARD = 0.35, 0.08
"""How much worse than the best other end a catheter's may be as a root: in the sum, or in the second number alone, of
:func:`casr_net.vessels.roots.rate_roots`. A catheter may be thinner than any artery, but the tree lies ahead of it."""


@dataclass(frozen=True)
class Run:
    """A line from the border inwards as far as it keeps its width: edges passed wholly, then an edge up to an index.

    ``uneven`` is the range of its radius, ``beyond`` the radius of the widest vessel that follows its tip.
    """

    whole: list[Arm]
    last: Arm
    index: int
    length: float
    radius: float
    bend: float
    branches: int
    uneven: float
    beyond: float

    @property
    def keys(self) -> set[int]:
        return {key for key, _ in (*self.whole, self.last)}


def mark_catheter(net: Net, field: np.ndarray) -> int | None:
    """Find the catheter and mark its edges; an edge that goes on as artery is parted where its width changes.

    Args:
        net: without loops; changed in place.
        field: bool (X, Y), the exposed field, without collimator and black borders.

    Returns:
        The node at the catheter's tip, where contrast enters the artery; None without a catheter.
    """
    inside = cv2.distanceTransform(np.pad(field, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    limit = np.array(field.shape) - 1
    best: Run | None = None
    for part in net.components():
        rated: dict[int, tuple[float, float]] = {}
        for node in part:
            at = np.clip(np.floor(net.positions[node] + 0.5).astype(int), 0, limit)
            if len(net.arms[node]) != 1 or inside[tuple(at)] > MARGIN:
                continue
            run = _run(net, net.arms[node][0])
            if best is not None and run.length <= best.length:
                continue
            if not _looks_like_one(net, run, part, max(field.shape)):
                continue
            tip = np.floor(net.outward(run.last)[0][run.index] + 0.5).astype(int)
            if inside[tuple(np.clip(tip, 0, limit))] < INWARD * MARGIN:
                continue
            rated = rated or rate_roots(net, part)
            others = [rates for end, rates in rated.items() if end != node] or [(0.0, 0.0)]
            in_sum = sum(rated[node]) >= max(map(sum, others)) - ROOT
            if in_sum or rated[node][1] >= max(forward for _, forward in others) - FORWARD:
                best = run
    return None if best is None else _mark(net, best)


def _looks_like_one(net: Net, run: Run, part: list[int], side: int) -> bool:
    """Whether a run is long, straight, of one width, without branches, and leads into the tree's widest vessel."""
    if run.radius < THIN or run.length < max(LENGTH * side, 2 * WIDTHS * run.radius, PIXELS) or run.bend > TURN:
        return False
    if run.uneven > max(EVEN * run.radius, EVEN_PIXELS) or run.branches > max(BRANCHES * run.length, 1):
        return False
    keys = {key for node in part for key, _ in net.arms[node]} - run.keys
    if not keys:
        return True
    radii = np.concatenate([net.edges[key].radii for key in keys])
    as_wide = radii <= max(SLACK * run.beyond, run.beyond + SLACK_PIXELS)
    return run.beyond >= WIDER * run.radius and float(as_wide.mean()) >= WIDEST


def _run(net: Net, start: Arm) -> Run:
    arms = [start]
    while (onward := _onward(net, arms[-1])) is not None and onward[0] not in {key for key, _ in arms}:
        arms.append(onward)
    lines = [net.outward(arm) for arm in arms]
    sizes = np.array([len(points) for points, _ in lines])
    points, radii = np.vstack([line for line, _ in lines]), np.concatenate([radius for _, radius in lines])
    along = arc(points)
    smooth = median_filter(radii, size=15, mode="nearest")
    first = int(np.searchsorted(along, max(2 * radii[0], 30.0)))  # where it grazes the border, its width is not seen
    radius = middle(smooth[first : first + 60]) if first < len(smooth) else middle(smooth)
    off = np.abs(smooth - radius) > max(SPREAD * radius, SPREAD_PIXELS)
    off[:first] = False
    # A vessel that lies across widens the outline for a while: only a lasting change ends the catheter.
    while_off = int(6 * radius) + 12
    lasting = np.convolve(off, np.ones(while_off))[while_off - 1 :] >= 0.8 * while_off
    end = int(np.argmax(lasting)) if lasting.any() else len(points) - 1
    number = int(np.searchsorted(np.cumsum(sizes), end, side="right"))
    number = min(number, len(arms) - 1)
    index = end - int(sizes[:number].sum())
    branches = sum(len(net.arms[net.node_at((key, 1 - side))]) > 2 for key, side in arms[:number])
    low, high = np.percentile(smooth[min(first, end) : end + 1], [20, 80])
    return Run(
        arms[:number], arms[number], index, float(along[end]), radius, _bend(points[: end + 1]), branches,
        float(high - low), _beyond(net, arms[number], index, radius),
    )  # fmt: skip


def _beyond(net: Net, last: Arm, index: int, radius: float) -> float:
    """Radius of the widest vessel that follows a run's end."""
    skip, reach = int(radius) + 2, 40
    rest = net.outward(last)[1][index + skip :]
    if len(rest) > 10:
        return middle(rest[:reach])
    far = (last[0], 1 - last[1])
    ahead = [net.outward(arm)[1] for arm in net.arms[net.node_at(far)] if arm != far]
    return max((middle(radii[min(skip, len(radii) // 2) :][:reach]) for radii in ahead), default=0.0)


def _onward(net: Net, arm: Arm) -> Arm | None:
    """The arm in which a line goes on straight beyond its far node."""
    far = (arm[0], 1 - arm[1])
    points, radii = net.outward(far)
    reach = 3 * middle(radii[:20]) + 6
    ahead = -heading(points, float(radii[0]), reach)
    best: tuple[float, Arm] | None = None
    for other in net.arms[net.node_at(far)]:
        if other != far:
            out, out_radii = net.outward(other)
            turn = float(ahead @ heading(out, float(out_radii[0]), reach))
            if turn >= np.cos(np.deg2rad(ONWARD)) and (best is None or turn > best[0]):
                best = (turn, other)
    return None if best is None else best[1]


def _bend(points: np.ndarray) -> float:
    """Degrees of turn a pixel, between chords of a fixed length."""
    along = arc(points)
    count = int(along[-1] / CHORD)
    if count < 2:
        return 0.0
    knots = points[np.searchsorted(along, np.arange(count + 1) * CHORD).clip(max=len(points) - 1)]
    angle = np.arctan2(*np.diff(knots, axis=0).T)
    turns = np.abs((np.diff(angle) + np.pi) % (2 * np.pi) - np.pi)
    return float(np.rad2deg(turns.sum()) / along[-1])


def _mark(net: Net, run: Run) -> int:
    for key, _ in run.whole:
        net.edges[key].catheter = True
    key, side = run.last
    edge = net.edges[key]
    near, far = edge.nodes[side], edge.nodes[1 - side]
    index = len(edge.points) - 1 - run.index if side else run.index
    reach = int(2 * run.radius) + 2
    if run.index <= reach and run.whole:
        return near
    if run.index >= len(edge.points) - 1 - reach:
        edge.catheter = True
        return far
    node = net.split_edge(key, index)
    for half, _ in net.arms[node]:
        net.edges[half].catheter = near in net.edges[half].nodes
    return node
