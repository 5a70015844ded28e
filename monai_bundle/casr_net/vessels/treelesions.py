"""Lesions of a whole tree: every path is measured, what paths share only once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import KDTree

from .diameters import Settings, measure_paths
from .measures import Lesion, Widths
from .paths import VesselPath
from .stenosis import Search, find_lesions
from .tree import VesselTree

__all__ = ["AUTOMATIC", "automatic_search", "tree_lesions"]

AUTOMATIC = Search(least=35.0, vessel=9.0, surroundings=2.5)
"""Threshold and least reference by F1 on ARCADE's train images (``experiments/stenoses_arcade.py``). Without chosen
ends, what is analysed is a lesion and the vessel around it: over branch points, the line of the whole path would call
the step to the next smaller width a narrowing."""
SIDE, LEAST_VESSEL = 512, 5.0
"""Side of the images that :data:`AUTOMATIC` was chosen on, in pixels; least reference in smaller ones, about four times
their usual blur, below which a narrowed lumen is not measured well enough. Our choice."""
OVERLAP = 40.0
"""Pixels of its parent that a branch is measured with, so that its lesions near the branch point have surroundings."""
SAME = 3.0
"""Lesions of two paths within this distance are one, in pixels."""


def automatic_search(shape: tuple[int, ...]) -> Search:
    """:data:`AUTOMATIC` for an image of this size: the same vessel covers fewer pixels of a smaller image.

    Args:
        shape: (X, Y). Images larger than 512 pixels get the limit of 512: a large vessel stays one.
    """
    return replace(AUTOMATIC, vessel=min(AUTOMATIC.vessel, max(LEAST_VESSEL, AUTOMATIC.vessel * max(shape) / SIDE)))


def tree_lesions(
    tree: VesselTree,
    attenuation: np.ndarray,
    mask: np.ndarray,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    search: Search | None = None,
) -> list[tuple[VesselPath, Widths, list[Lesion]]]:
    """Measure every vessel of a tree and find its lesions.

    Args:
        tree: of the mask.
        attenuation, mask: as for :func:`casr_net.vessels.measure_widths`.
        settings: how widths are measured.
        search: what counts as a lesion; None: :func:`automatic_search`.

    Returns:
        Of each vessel its path (a piece of that from the root to a leaf: the longest wholly, the others from a little
        before they branch off), its widths and its lesions. The ranks run over the whole tree, no lesion is listed
        twice.

    Raises:
        DataError: as :func:`casr_net.vessels.measure_widths`.
    """
    search = automatic_search(mask.shape) if search is None else search
    paths = _vessels(tree)
    vessels = list(zip(paths, measure_paths(attenuation, mask, paths, tree, settings), strict=True)) if paths else []
    found: list[tuple[int, Lesion]] = []
    places: list[tuple[float, float]] = []
    for number, (_, widths) in enumerate(vessels):
        for lesion in find_lesions(widths, None, search):
            if places and KDTree(places).query(lesion.position)[0] <= SAME:
                continue
            found.append((number, lesion))
        places = [lesion.position for _, lesion in found]
    order = sorted(found, key=lambda pair: (bool(pair[1].unsure), -pair[1].percent_diameter))
    rank = {id(lesion): number for number, (_, lesion) in enumerate(order, start=1)}
    return [
        (path, widths, _ranked(rank, [lesion for at, lesion in found if at == number]))
        for number, (path, widths) in enumerate(vessels)
    ]


def _ranked(rank: dict[int, int], lesions: list[Lesion]) -> list[Lesion]:
    return sorted((replace(lesion, rank=rank[id(lesion)]) for lesion in lesions), key=lambda lesion: lesion.rank)


def _vessels(tree: VesselTree) -> list[VesselPath]:
    """The paths of a tree, the longest first, each without what an earlier one has but for a little overlap."""
    seen: set[tuple[int, int]] = set()
    kept = []
    for path in tree.paths():
        edges = list(zip(path.nodes[:-1], path.nodes[1:], strict=True))
        new = [number for number, edge in enumerate(edges) if edge not in seen]
        seen.update(edges)
        if not new:
            continue
        start = max(path.marks[new[0]][0] - OVERLAP, 0.0)
        first = int(np.searchsorted(path.along, start))
        kept.append(_piece(path, first))
    return kept


def _piece(path: VesselPath, first: int) -> VesselPath:
    if first == 0:
        return path
    along = path.along[first:] - path.along[first]
    marks = tuple((at - float(path.along[first]), kind, key) for at, kind, key in path.marks
                  if at >= path.along[first])  # fmt: skip
    return VesselPath(
        path.points[first:], path.radii[first:], along, tuple(key for *_, key in marks), marks, path.messages
    )
