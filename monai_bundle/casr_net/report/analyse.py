"""One angiogram, from the open file to its measurements. Nothing is written here, so that the command line, the worker
of 3D Slicer and the label app can all ask for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from ..files.images import Angiogram, read_angiogram
from ..files.names import as_text
from ..preprocessing.field import field_of_view
from ..vessels.catheter_scale import catheter_scale
from ..vessels.diameters import measure_widths
from ..vessels.doubt import with_intervals
from ..vessels.measures import BORDER, Lesion, Widths
from ..vessels.paths import SNAP, VesselPath
from ..vessels.scale import Scale, pixel_aspect, pixel_size
from ..vessels.stenosis import Search, find_lesions, narrowest
from ..vessels.tree import VesselTree, vessel_tree
from ..vessels.treelesions import automatic_search, tree_lesions
from .measurements import Analysis, FrameChoice, MeasuredPath, Source
from .options import Options
from .provenance import identity_of_file, methods_of, versions_of

if TYPE_CHECKING:
    from ..cine.curve import ContrastCurve
    from ..inference.segmenter import Segmenter

__all__ = ["analyse", "plain_lines"]

DOUBTED = 10
"""Narrowings of a tree, by rank, that get intervals, which cost several measurements each. Our choice."""

LEVEL = 0.9
"""Probability that an interval is to hold the true value."""

MOST = 0.5
"""Largest share of an image that vessels cover, with much room: a mask with more is inverted. Our choice."""

SHORTEST = 10.0
"""Of a way of the tree that is told, in pixels. Our choice: no measure makes sense on less."""


def analyse(
    source: str | Path | Angiogram,
    segmenter: Segmenter | None,
    options: Options | None = None,
    name: str = "",
    curve: ContrastCurve | None = None,
) -> Analysis:
    """Measure one frame of an angiogram or a cine.

    Open -> best frame of a cine -> mask -> tree -> scale -> widths and narrowings along paths -> doubt.

    Args:
        source: the file, or an open angiogram.
        segmenter: the network, which finds the vessels; may be None where the options bring a mask and a frame.
        options: see :class:`Options`.
        name: what its results are called.
        curve: contrast over the cine, where it was measured already; else it is when the best frame is looked for.

    Raises:
        DataError: when the file cannot be read or has no vessel.
        UsageError: when an option does not fit the image: a frame that is not there, a point off every vessel.
    """
    chosen = Options() if options is None else options
    angiogram = source if isinstance(source, Angiogram) else read_angiogram(source, chosen.window)
    frame, vessels, warnings = _frame_and_vessels(angiogram, segmenter, chosen, curve)
    grey, attenuation = angiogram.grey(frame.number), angiogram.attenuation(frame.number)
    if not attenuation.proportional:
        warnings.append(f"Attenuation: {attenuation.note} Densitometric areas are rough then.")
    tree = vessel_tree(vessels.mask, attenuation.values, field_of_view(grey))
    scale, said = _scale(angiogram, attenuation.values, vessels.mask, tree, chosen)
    warnings += said
    try:
        paths, said = _paths(tree, attenuation.values, vessels, scale, chosen)
    except DataError as error:
        raise DataError(f"{angiogram.path}: {error}") from error
    warnings += said
    intervals = any(lesion.mld_interval for path in paths for lesion in path.lesions)
    return Analysis(
        source=_source(angiogram, name, chosen), frame=frame, grey=grey, mask=vessels.mask, tree=tree, scale=scale,
        paths=tuple(paths), methods=methods_of(attenuation.note, chosen, intervals),
        settings=chosen.as_dict(), versions=versions_of(segmenter),
        warnings=plain_lines([*angiogram.warnings, *warnings], angiogram),
    )  # fmt: skip


def _source(angiogram: Angiogram, name: str, options: Options) -> Source:
    columns, rows = angiogram.size
    digest, identity = identity_of_file(angiogram)
    return Source(
        as_text(name or angiogram.path.stem if options.keep_identity else name or "input"), angiogram.format, columns,
        rows, angiogram.frames, digest,
        {key: as_text(value) for key, value in identity.items()} if options.keep_identity else {},
    )  # fmt: skip


def plain_lines(words: Sequence[str], angiogram: Angiogram) -> tuple[str, ...]:
    """Sentences without the file's path, which may name a patient; each once."""
    path = str(angiogram.path)
    plain = (line.replace(f"{path}: ", "").replace(path, "the file") for line in words)
    return tuple(dict.fromkeys(line[:1].upper() + line[1:] for line in plain))


@dataclass(frozen=True)
class _Vessels:
    """bool (X, Y), and of the network's masks the probability, float (X, Y)."""

    mask: np.ndarray
    probability: np.ndarray | None = None


def _frame_and_vessels(
    angiogram: Angiogram, segmenter: Segmenter | None, options: Options, curve: ContrastCurve | None
) -> tuple[FrameChoice, _Vessels, list[str]]:
    """The frame, its vessels, and what is to be said."""
    if options.frame is not None and options.frame >= angiogram.frames:
        raise UsageError(
            f"{angiogram.path}: there is no frame {options.frame}; it has {angiogram.frames}, which --frame and files "
            "count from 0."
        )
    warnings: list[str] = []
    if options.frame is not None:
        frame = FrameChoice(options.frame, "chosen by the user")
    elif angiogram.frames == 1:
        frame = FrameChoice(0, "the only frame")
    elif segmenter is None:
        raise UsageError(f"{angiogram.path}: a cine of {angiogram.frames} frames; say which frame is to be measured.")
    else:
        frame, warnings = _best_frame(angiogram, segmenter, curve)
    probability: np.ndarray | None = None
    if options.mask is not None:
        mask = options.mask
    elif segmenter is None:
        raise UsageError(f"{angiogram.path}: neither a network nor a mask says where its vessels are.")
    else:
        found = segmenter.of(angiogram, frame.number)
        mask, probability = np.asarray(found.mask).T, np.asarray(found.probability).T
    if mask.shape != angiogram.size:
        sizes = [f"{size[0]} x {size[1]}" for size in (mask.shape, angiogram.size)]
        raise DataError(f"{angiogram.path}: the mask has {sizes[0]} pixels, the image {sizes[1]}.")
    place = f" in frame {frame.number + 1} of {angiogram.frames}" if angiogram.frames > 1 else ""
    if not mask.any():
        raise DataError(f"{angiogram.path}: no vessel was found{place}; there is nothing to measure.")
    share = float(np.mean(mask))
    if share > MOST:
        raise DataError(
            f"{angiogram.path}: the mask{place} covers {100 * share:.0f} % of the image; vessels cover "
            f"{100 * MOST:.0f} % at the most. It may be inverted."
        )
    return frame, _Vessels(np.ascontiguousarray(mask, bool), probability), warnings


def _best_frame(
    angiogram: Angiogram, segmenter: Segmenter, curve: ContrastCurve | None
) -> tuple[FrameChoice, list[str]]:
    """The best opacified frame of a cine, by its contrast curve."""
    from ..cine.keyframes import key_frames
    from ..cine.survey import survey

    curve = survey(angiogram, segmenter) if curve is None else curve
    told = {**curve.as_dict(), "messages": list(plain_lines(curve.messages, angiogram))}
    found = key_frames(curve, angiogram.header, 1)
    warnings = list(curve.messages)
    if not found:
        warnings.append("No frame shows contrast; the one with the longest vessels was measured.")
        number = int(curve.frames[int(np.argmax(curve.length))])
        return FrameChoice(number, "the longest vessels", told), warnings
    return FrameChoice(int(found[0].frame), found[0].reason.rstrip("."), told), warnings


def _scale(
    angiogram: Angiogram, attenuation: np.ndarray, mask: np.ndarray, tree: VesselTree, options: Options
) -> tuple[Scale, list[str]]:
    """The scale, and what is to be said of it."""
    stated = None if options.mm_per_pixel is None else (options.mm_per_pixel, options.mm_per_pixel)
    catheter = None
    if options.french is not None:
        catheter = catheter_scale(attenuation, mask, tree, options.french, pixel_aspect(angiogram.header))
    scale = pixel_size(angiogram.header, stated, catheter)
    missed = [catheter.note] if catheter is not None and catheter.row_mm is None else []
    doubts = catheter.contradictions if catheter is not None else ()
    return scale, list(dict.fromkeys([*scale.contradictions, *doubts, *missed]))


def _paths(
    tree: VesselTree, attenuation: np.ndarray, vessels: _Vessels, scale: Scale, options: Options
) -> tuple[list[MeasuredPath], list[str]]:
    """What was measured, and what is to be said of it."""

    def doubted(lesions: Sequence[Lesion], widths: Widths, search: Search) -> list[Lesion]:
        """Those of the first ranks with intervals."""
        first = [lesion for lesion in lesions if options.doubt and lesion.rank <= DOUBTED]
        made = with_intervals(
            first, widths, attenuation, vessels.mask, tree, vessels.probability, search=search, level=LEVEL
        )  # fmt: skip
        return [*made, *(lesion for lesion in lesions if lesion not in first)]

    if options.ends is None:
        search = automatic_search(vessels.mask.shape)
        parts = tree_lesions(tree, attenuation, vessels.mask, search=search)
        found = [part for part in parts if part[0].length >= SHORTEST]
        if not found:
            raise DataError("the vessels, without the catheter, are too short to be measured.")
        if not any((np.isfinite(widths.diameter) & (widths.unsure & BORDER == 0)).any() for _, widths, _ in found):
            raise DataError("no vessel shows a width that could be measured: all run along the border.")
        said = [] if any(lesions for *_, lesions in found) else ["No narrowing was found on the tree."]
        return _told([(path, widths, doubted(lesions, widths, search)) for path, widths, lesions in found]), said
    path = tree.path(*options.ends, snap=SNAP)
    widths = measure_widths(attenuation, vessels.mask, path, tree)
    reference = _reference(options, scale)
    lesions = list(find_lesions(widths, reference))
    said = list(path.messages)
    if not lesions:
        said.append("No narrowing stands out on the path; its narrowest place is told.")
        place = narrowest(widths, reference)
        lesions = [] if place is None else [replace(place, rank=1)]
    return [MeasuredPath(1, "ends", widths, tuple(doubted(lesions, widths, Search())), path.messages)], said


def _told(found: Sequence[tuple[VesselPath, Widths, Sequence[Lesion]]]) -> list[MeasuredPath]:
    """The longest path, then those with lesions, by the rank of their first."""
    longest = max(range(len(found)), key=lambda index: found[index][0].length)
    ranked = sorted(
        (index for index in range(len(found)) if found[index][2] and index != longest),
        key=lambda index: min(lesion.rank for lesion in found[index][2]),
    )
    return [
        MeasuredPath(
            place + 1, "longest" if index == longest else "tree", found[index][1], tuple(found[index][2]),
            tuple(found[index][0].messages),
        )
        for place, index in enumerate([longest, *ranked])
    ]  # fmt: skip


def _reference(options: Options, scale: Scale) -> float | None:
    """The user's reference diameter in pixels."""
    if options.reference is None:
        return None
    value, unit = options.reference
    if unit == "px":
        return value
    if scale.row_mm is None or scale.column_mm is None:
        raise UsageError(
            f"A reference diameter of {value:g} mm needs the size of a pixel, or of the catheter in the image."
        )
    return value / math.sqrt(scale.row_mm * scale.column_mm)
