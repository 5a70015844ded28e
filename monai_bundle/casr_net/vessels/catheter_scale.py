"""The size of a pixel by a catheter of known size: 1 French is a third of a millimetre of outer diameter.

The width is that between the edges of the shadow (:mod:`casr_net.vessels.diameters`), which are taken for the
catheter's outer wall. That holds where wall and filling are about as opaque as each other, as in an opaque wall (barium
or bismuth salts, a steel braid) full of contrast agent. An empty catheter shows its wall alone, whose blurred shadow
looks wider than it is. Of a wall that hardly shows, contrast agent shows the lumen, which is narrower: by makers'
figures for 6 F (2.0 mm) 1.8 mm in guiding and 1.3 to 1.4 mm in diagnostic catheters. What that costs is measured in
``experiments/catheter_scale.py``. One image does not tell which it is; whoever gives the size must know.

The catheter lies beside the vessels' origin: vessels nearer to the detector are magnified less, those farther away
more, by 1 to 1.5 % a centimetre.
"""

from __future__ import annotations

import math
import numbers

import networkx as nx
import numpy as np

from ..errors import UsageError, shown
from .diameters import Settings, measure_widths
from .measures import METHODS, Widths
from .paths import VesselPath, path_along
from .scale import Scale
from .tree import VesselTree

__all__ = ["FRENCH", "catheter_scale"]

FRENCH = (3.0, 12.0)
"""Sizes of catheters that are taken for real. Our choice: 4 to 8 F are usual in coronary angiography."""
MM_PER_FRENCH = 1 / 3

SETTINGS = Settings()
"""As vessels are measured, so that what display and blur do to both cancels in part. More smoothing along the catheter
had the smaller spread on synthetic angiograms of seeds 100 to 149, the larger one on 2000 to 2079: not kept."""
PLACE, PLACES = 1.5, 5
"""Length of a place in the catheter's widths, and least number of places. Our choice."""
ENDS = 2.0
"""What is left out at both ends, in widths: the image's border, and the tip in the artery. Our choice."""
ARTERY_MM = (2.0, 7.0)
"""Diameters of a coronary artery where it is widest, with room: 3 to 5 mm are usual. A scale that gives others is
doubted in words, since the tree may have taken another line for the catheter. Our choice."""
LARGEST_SPREAD = 0.2
"""Relative spread of the width along the shaft from which on it gives no scale. Our choice."""


def catheter_scale(
    attenuation: np.ndarray,
    mask: np.ndarray,
    tree: VesselTree,
    french: float,
    aspect: float = 1.0,
    settings: Settings = SETTINGS,
) -> Scale:
    """Measure the catheter of a tree along its whole shaft, and take its known size for a scale.

    Its width is the median over places along the shaft, each the median of its samples. Where it is crossed, at the
    border and at the tip it is not measured.

    Args:
        attenuation, mask: see :func:`casr_net.vessels.measure_widths`; the mask holds the catheter.
        tree: of the mask.
        french: outer diameter, 1 F is a third of a millimetre.
        aspect: height of a pixel over its width, see :func:`casr_net.vessels.pixel_aspect`.
        settings: how widths are measured; only those between edges count.

    Returns:
        The scale, of kind "catheter", with the spread of the width over the places. Without one (kind "none", and the
        reason in the note) where the tree has no catheter, too little of it can be measured, or its width varies by
        more than a fifth; :func:`casr_net.vessels.pixel_size` then takes the next source, and says so.

    Raises:
        UsageError: for a size of less than 3 or more than 12 F, or an aspect that is not above 0.
        DataError: when the arrays do not fit each other.
    """
    if not _within(french, FRENCH):
        raise UsageError(f"The catheter is {shown(french)} French; it must be {FRENCH[0]:g} to {FRENCH[1]:g}.")
    if not (_within(aspect, (0.0, math.inf)) and 0 < aspect < math.inf):
        raise UsageError(f"The height of a pixel over its width is {shown(aspect)}; it must be above 0.")
    path = _shaft(tree)
    if path is None:
        return _none("no catheter was found among the vessels")
    widths = measure_widths(attenuation, mask, path, tree, settings)
    places = _places(widths, aspect)
    if len(places) < PLACES:
        return _none(f"the catheter can be measured at {len(places)} places only, {PLACES} are needed")
    width = float(np.median(places))
    spread = 1.4826 * float(np.median(np.abs(places - width))) / width
    if spread > LARGEST_SPREAD:
        return _none(f"the catheter's width varies by {100 * spread:.0f} % along its shaft, at most "
                     f"{100 * LARGEST_SPREAD:.0f} % are taken for one")  # fmt: skip
    millimetres = float(french) * MM_PER_FRENCH
    column = millimetres / width
    note = (
        f"Pixel size by the catheter of {float(french):g} F ({millimetres:.3g} mm), {width:.2f} pixels wide at "
        f"{len(places)} places along {path.length:.0f} pixels, spread {100 * spread:.1f} %; it is taken to show "
        "up to its outer wall."
    )
    return Scale(column * float(aspect), column, False, note, "catheter", spread, _doubts(tree, column, aspect))


def _doubts(tree: VesselTree, column: float, aspect: float) -> tuple[str, ...]:
    """What the vessels' own size says against a scale."""
    widest = max((edge["radius"] for *_, edge in tree.graph.edges(data=True) if not edge["catheter"]), default=0.0)
    millimetres = 2 * widest * column * math.sqrt(float(aspect))
    if not widest or ARTERY_MM[0] <= millimetres <= ARTERY_MM[1]:
        return ()
    return (
        f"By the catheter the widest vessel measures {millimetres:.2g} mm, where {ARTERY_MM[0]:g} to {ARTERY_MM[1]:g} "
        "mm are usual: what was taken for the catheter may be another line, or of another size.",
    )


def _within(value: object, limits: tuple[float, float]) -> bool:
    return isinstance(value, numbers.Real) and limits[0] <= float(value) <= limits[1]


def _none(reason: str) -> Scale:
    return Scale(None, None, False, f"The catheter gives no pixel size: {reason}.")


def _shaft(tree: VesselTree) -> VesselPath | None:
    """The longest line of the tree's catheter."""
    shaft = nx.DiGraph(edge for edge in tree.graph.edges(data=True) if edge[2]["catheter"])
    if not len(shaft):
        return None
    return path_along(tree.graph, nx.dag_longest_path(shaft, weight="length"))


def _places(widths: Widths, aspect: float) -> np.ndarray:
    """(n,) width at each place, in widths of a pixel."""
    # A strip across which a pixel is the unit of length; what is across it changes where pixels are not square.
    across = np.hypot(widths.normals[:, 0], widths.normals[:, 1] / aspect)
    measured = widths.diameter / np.where(across > 0, across, np.nan)
    sure = (widths.unsure == 0) & (widths.method == METHODS.index("edges")) & np.isfinite(measured)
    if not sure.any():
        return np.zeros(0)
    rough = float(np.median(widths.diameter[sure]))
    sure &= (widths.along > ENDS * rough) & (widths.along < widths.along[-1] - ENDS * rough)
    number = (widths.along / (PLACE * rough)).astype(int)
    full = np.median(np.diff(widths.along)) / (PLACE * rough) if len(widths.along) > 1 else 1.0
    chosen = [measured[sure & (number == one)] for one in np.unique(number[sure])]
    return np.array([np.median(values) for values in chosen if len(values) * full >= 0.5])
