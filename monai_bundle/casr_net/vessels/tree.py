"""The vessel tree of a mask: who branches from whom, along which line, how wide; crossings, catheter and root told.

mask -> skeleton -> net of lines -> spurs cut, ends led to the outline, gaps joined -> crossings parted -> catheter,
root -> forest. All lengths are in pixels; what a pixel measures in the patient is the business of
:mod:`casr_net.vessels.scale`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from ..errors import DataError, shown
from .catheter import mark_catheter
from .crossings import part_crossings
from .depth import vessel_depth
from .net import Net
from .paths import SNAP, VesselPath, path_along, path_between
from .pruning import join_ends, lead_to_outline, prune_spurs
from .roots import find_root
from .skeleton import local_radius, trace_skeleton, vessel_skeleton

__all__ = ["VesselTree", "vessel_tree"]


@dataclass(frozen=True, eq=False)
class VesselTree:
    """The vessels of one frame as a forest, and what is known of its nodes. It does not change any more.

    Attributes:
        graph: frozen :class:`networkx.DiGraph`. Edges point downstream, the catheter's towards the artery. Nodes are
            numbers with attributes

            - x, y: position (float);
            - kind: "end", "branch", "crossing", "tip" (of the catheter) or "gap" (an end that was joined to another);
            - crossing: number of the crossing, -1 elsewhere. Each of two vessels that cross has a node of its own at
              that place, with the same number;
            - doubtful: the crossing is one only because a loop had to be parted somewhere;
            - root: contrast enters here.

            Edges have

            - points: float (n, 2), from the upstream node to the downstream node;
            - radii: float (n,), distance to the mask's outline, or to the middle of what two vessels share;
            - length: along the points;
            - radius: median of the radii;
            - catheter, gap: bool; a gap is a straight joint where the mask has no vessel.
        roots: node where contrast enters, of each part, that with the longest vessels first.
        shape: (X, Y) of the mask.
    """

    graph: nx.DiGraph
    roots: tuple[int, ...]
    shape: tuple[int, int]

    @property
    def root(self) -> int | None:
        """Root of the main part, None of an empty tree."""
        return self.roots[0] if self.roots else None

    def nodes(self, kind: str, sure: bool = False) -> np.ndarray:
        """float (n, 2), positions of the nodes of one kind; a crossing counts once, a root may be an end as well.

        Args:
            kind: see the graph's attributes.
            sure: without doubtful ones.
        """
        chosen = {}
        for key, node in self.graph.nodes(data=True):
            if node["kind"] == kind and not (sure and node["doubtful"]):
                chosen[node["crossing"] if kind == "crossing" else key] = (node["x"], node["y"])
        return np.array(list(chosen.values()), float).reshape(-1, 2)

    def position(self, node: int) -> np.ndarray:
        """float (2,), x and y of a node."""
        return np.array([self.graph.nodes[node]["x"], self.graph.nodes[node]["y"]])

    def overlapped(self) -> nx.MultiGraph:
        """The tree as it looks, with one node for both vessels of a crossing: each of its loops has a crossing."""
        first: dict[int, int] = {}
        name = {}
        for key, number in self.graph.nodes(data="crossing"):
            name[key] = key if number < 0 else first.setdefault(number, key)
        graph = nx.MultiGraph()
        graph.add_nodes_from((name[key], data) for key, data in self.graph.nodes(data=True))
        graph.add_edges_from((name[a], name[b], data) for a, b, data in self.graph.edges(data=True))
        return graph

    def paths(self) -> list[VesselPath]:
        """From each root to each of its leaves, the longest first; without the catheter.

        What seems to branch from the catheter, such as a vessel that lies across it, has paths of its own from there.
        """
        vessels = nx.DiGraph((a, b) for a, b, catheter in self.graph.edges(data="catheter") if not catheter)
        found = []
        for root in [node for node, count in vessels.in_degree() if not count]:
            ways = nx.single_source_shortest_path(vessels, root)
            found += [path_along(self.graph, way) for node, way in ways.items() if not vessels.out_degree(node)]
        return sorted(found, key=lambda path: -path.length)

    def path(self, start: tuple[float, float], end: tuple[float, float], snap: float = SNAP) -> VesselPath:
        """The way along vessels between two points.

        At a crossing it stays in its vessel, if there is such a way; else it turns there and says so.

        Args:
            start, end: (x, y) in pixels.
            snap: farthest that they may lie from a centre line, in pixels.

        Raises:
            UsageError: when a point lies farther from every vessel, when no vessels join the two, or when both are the
                same place.
        """
        return path_between(self.graph, start, end, snap)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; unit of x, y, radii and length is the pixel."""
        graph = self.graph
        return {
            "unit": "pixel",
            "shape": list(self.shape),
            "roots": list(self.roots),
            "nodes": [{"id": key, **data} for key, data in graph.nodes(data=True)],
            "edges": [
                {
                    "from": a,
                    "to": b,
                    **{key: data[key] for key in ("length", "radius", "catheter", "gap")},
                    "points": np.round(data["points"], 2).tolist(),
                    "radii": np.round(data["radii"], 2).tolist(),
                }
                for a, b, data in graph.edges(data=True)
            ],
        }

    def to_graphml(self) -> str:
        """GraphML text; points and radii of the edges are JSON in attributes of type string, all else is plain."""
        plain = nx.DiGraph(unit="pixel", columns=self.shape[0], rows=self.shape[1])
        plain.add_nodes_from(self.graph.nodes(data=True))
        for a, b, data in self.graph.edges(data=True):
            lists = {key: json.dumps(np.round(data[key], 2).tolist()) for key in ("points", "radii")}
            plain.add_edge(a, b, **{**data, **lists})
        return "\n".join(nx.generate_graphml(plain))


def vessel_tree(mask: np.ndarray, attenuation: np.ndarray | None = None, field: np.ndarray | None = None) -> VesselTree:
    """Build the tree of a vessel mask.

    Args:
        mask: bool (X, Y).
        attenuation: float (X, Y), larger where more contrast agent lies in the way: the values of
            :meth:`casr_net.files.Angiogram.attenuation`. Tells a crossing that no loop calls for, where the vessels add
            up, from branch points. None: by direction and width alone.
        field: bool (X, Y), the exposed field, at whose border a catheter comes in; None for the whole image.

    Returns:
        The tree; without nodes for an empty mask.

    Raises:
        DataError: when the mask has no background or is not bool (X, Y), or when another array does not fit it.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != bool:
        raise DataError(f"The mask is {mask.dtype} of shape {shown(mask.shape)}; it must be bool (X, Y).")
    if mask.size and mask.all():
        raise DataError("The mask covers the whole image; no vessel can be told from it.")
    for name, array in (("attenuation", attenuation), ("field", field)):
        if array is not None and array.shape != mask.shape:
            raise DataError(
                f"The {name} is of shape {shown(array.shape)} and the mask of {shown(mask.shape)}; it must be the same."
            )
    depth = None if attenuation is None else vessel_depth(attenuation, mask)
    radius = local_radius(mask)
    net = trace_skeleton(vessel_skeleton(mask), radius)
    prune_spurs(net, radius)
    lead_to_outline(net, mask)
    join_ends(net)
    part_crossings(net, [find_root(net, part) for part in net.components()], depth)
    tip = mark_catheter(net, np.ones(mask.shape, bool) if field is None else field)
    return _finished(net, tip, (mask.shape[0], mask.shape[1]))


def _root(net: Net, part: list[int], tip: int | None) -> int:
    return tip if tip is not None and tip in part else find_root(net, part)


def _by_size(net: Net) -> list[list[int]]:
    """Parts of a net, that with the longest vessels first; the catheter does not count."""

    def length(part: list[int]) -> float:
        edges = {key for node in part for key, _ in net.arms[node]}
        return sum(net.edges[key].length for key in edges if not net.edges[key].catheter)

    return sorted(net.components(), key=length, reverse=True)


def _finished(net: Net, tip: int | None, shape: tuple[int, int]) -> VesselTree:
    graph = nx.DiGraph()
    roots = []
    joined = {node for edge in net.edges.values() if edge.gap for node in edge.nodes}
    for part in _by_size(net):
        root = _root(net, part, tip)
        roots.append(root)
        waiting, seen = [root], {root}
        while waiting:
            node = waiting.pop()
            for key, end in net.arms[node]:
                edge = net.edges[key]
                other = edge.nodes[1 - end]
                if other in seen:
                    continue
                seen.add(other)
                waiting.append(other)
                turned = bool(end) != edge.catheter  # contrast runs through the catheter towards its tip
                points, radii = edge.outward(int(turned))
                for array in (points, radii):
                    array.setflags(write=False)
                graph.add_edge(
                    *((other, node) if edge.catheter else (node, other)), points=points, radii=radii,
                    length=edge.length, radius=edge.radius, catheter=edge.catheter, gap=edge.gap,
                )  # fmt: skip
        for node in part:
            arms = len(net.arms[node])
            number = net.crossings.get(node, -1)
            kind = "crossing" if number >= 0 else "tip" if node == tip else "gap" if node in joined else (
                "branch" if arms > 2 else "end")  # fmt: skip
            x, y = (float(value) for value in net.positions[node])
            graph.add_node(
                node, x=x, y=y, kind=kind, crossing=number, doubtful=number in net.doubtful, root=node == root
            )
    return VesselTree(nx.freeze(graph), tuple(roots), shape)
