"""Ways along the vessels of a tree: from node to node, and between two points that someone chose."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np

from ..errors import UsageError, shown
from .net import arc

__all__ = ["SNAP", "VesselPath", "path_along", "path_between"]

SNAP = 10.0
"""Farthest that a point may lie from the vessel that it is taken for, in pixels."""

Line = tuple[np.ndarray, np.ndarray]
"""Points (n, 2) and radii (n,)."""


@dataclass(frozen=True)
class VesselPath:
    """A way along vessels.

    Attributes:
        points: float (n, 2), x and y in pixels, from the start to the end, on the skeleton.
        radii: float (n,), distance to the mask's outline in pixels: a rough width, see the diameters for better ones.
        along: float (n,), length from the start in pixels, along the skeleton with diagonal steps of sqrt(2).
        nodes: keys of the tree's nodes that it passes, in order.
        marks: (along, kind, key) of the same nodes.
        messages: what was done to find it: points that were moved, turns at crossings.
    """

    points: np.ndarray
    radii: np.ndarray
    along: np.ndarray
    nodes: tuple[int, ...]
    marks: tuple[tuple[float, str, int], ...]
    messages: tuple[str, ...] = ()

    @property
    def length(self) -> float:
        return float(self.along[-1])


def path_along(graph: nx.DiGraph, way: list[int], messages: tuple[str, ...] = ()) -> VesselPath:
    """The path over neighbouring nodes of a tree's graph."""
    return _path(graph, _lines(graph, way), way, messages)


def path_between(
    graph: nx.DiGraph, start: tuple[float, float], end: tuple[float, float], snap: float = SNAP
) -> VesselPath:
    """See :meth:`casr_net.vessels.VesselTree.path`."""
    messages: list[str] = []
    one, at_one = _snapped(graph, start, snap, "start", messages)
    two, at_two = _snapped(graph, end, snap, "end", messages)
    if one == two:
        if at_one == at_two:
            raise UsageError(f"The start {_text(start)} and the end {_text(end)} are the same place of a vessel.")
        low, high = sorted((at_one, at_two))
        data = graph.edges[one]
        points, radii = data["points"][low : high + 1], data["radii"][low : high + 1]
        line = (points[::-1], radii[::-1]) if at_one > at_two else (points, radii)
        return _path(graph, [line], [], tuple(messages))
    joined = nx.Graph(graph)
    joined.remove_edges_from([one, two])
    way = _way(graph, joined, (one, at_one), (two, at_two))
    if way is None:
        numbers: dict[int, list[int]] = {}
        for key, number in graph.nodes(data="crossing"):
            if number >= 0:
                numbers.setdefault(number, []).append(key)
        for keys in numbers.values():
            joined.add_edges_from(pairwise(keys), length=0.0)
        way = _way(graph, joined, (one, at_one), (two, at_two))
        if way is None:
            raise UsageError(f"No vessels join the start {_text(start)} and the end {_text(end)}.")
        for a, b in pairwise(way):
            if not graph.has_edge(a, b) and not graph.has_edge(b, a):
                place = (graph.nodes[a]["x"], graph.nodes[a]["y"])
                messages.append(f"The path turns from one vessel to another at the crossing at {_text(place)}.")
    head, tail = _stub(graph, one, at_one, way[0]), _stub(graph, two, at_two, way[-1])
    return _path(graph, [head, *_lines(graph, way), (tail[0][::-1], tail[1][::-1])], way, tuple(messages))


def _snapped(
    graph: nx.DiGraph, point: tuple[float, float], snap: float, name: str, messages: list[str]
) -> tuple[tuple[int, int], int]:
    """The edge nearest to a point, and the index of its nearest point there."""
    place = np.asarray(point, float)
    if place.shape != (2,) or not np.isfinite(place).all():
        raise UsageError(f"The {name} of the path is {shown(point)}; it must be two numbers, x and y.")
    best: tuple[float, tuple[int, int], int] | None = None
    for a, b, data in graph.edges(data=True):
        if not data["gap"]:
            distance = np.hypot(*(data["points"] - place).T)
            index = int(np.argmin(distance))
            if best is None or distance[index] < best[0]:
                best = (float(distance[index]), (a, b), index)
    if best is None:
        raise UsageError(f"The {name} of the path is {_text(place)}, and the mask has no vessel.")
    if best[0] > snap:
        raise UsageError(
            f"The {name} of the path is {_text(place)}, {best[0]:.1f} pixels from the nearest vessel; "
            f"at most {snap:g} are bridged."
        )
    if best[0] > 1:
        to = graph.edges[best[1]]["points"][best[2]]
        messages.append(f"The {name} was moved by {best[0]:.1f} pixels from {_text(place)} to {_text(to)}.")
    return best[1], best[2]


def _way(
    graph: nx.DiGraph, rest: nx.Graph, start: tuple[tuple[int, int], int], end: tuple[tuple[int, int], int]
) -> list[int] | None:
    """Nodes of the shortest way between two points of edges, in the graph without these; None when there is none."""
    best: tuple[float, list[int]] | None = None
    for first in start[0]:
        for last in end[0]:
            try:
                length, way = nx.single_source_dijkstra(rest, first, last, weight="length")
            except nx.NetworkXNoPath:
                continue
            length += sum(
                float(arc(_stub(graph, edge, at, node)[0])[-1]) for (edge, at), node in ((start, first), (end, last))
            )
            if best is None or length < best[0]:
                best = (length, way)
    return None if best is None else best[1]


def _stub(graph: nx.DiGraph, edge: tuple[int, int], index: int, node: int) -> Line:
    """Of an edge, from an inner point to one of its nodes."""
    points, radii = graph.edges[edge]["points"], graph.edges[edge]["radii"]
    if node == edge[1]:
        return points[index:], radii[index:]
    return points[: index + 1][::-1], radii[: index + 1][::-1]


def _lines(graph: nx.DiGraph, way: list[int]) -> list[Line]:
    lines = []
    for a, b in pairwise(way):
        if graph.has_edge(a, b):
            lines.append((graph.edges[a, b]["points"], graph.edges[a, b]["radii"]))
        elif graph.has_edge(b, a):
            lines.append((graph.edges[b, a]["points"][::-1], graph.edges[b, a]["radii"][::-1]))
    return lines


def _path(graph: nx.DiGraph, lines: list[Line], way: list[int], messages: tuple[str, ...]) -> VesselPath:
    points, radii = np.vstack([line for line, _ in lines]), np.concatenate([radius for _, radius in lines])
    new = np.append(True, np.diff(points, axis=0).any(axis=1))
    points, radii = points[new], radii[new]
    along = arc(points)
    marks = []
    for key in way:
        node = graph.nodes[key]
        index = int(np.argmin(np.hypot(points[:, 0] - node["x"], points[:, 1] - node["y"])))
        marks.append((float(along[index]), str(node["kind"]), key))
    for array in (points, radii, along):
        array.setflags(write=False)
    return VesselPath(points, radii, along, tuple(way), tuple(marks), messages)


def _text(point: Any) -> str:
    return f"({float(point[0]):.1f}, {float(point[1]):.1f})"
