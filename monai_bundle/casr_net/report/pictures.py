"""The measured frame as pictures: tree by width, lesions, and each lesion enlarged with its contours."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import cv2
import numpy as np
from markupsafe import Markup

from ..vessels.measures import Lesion
from .measurements import Analysis, MeasuredPath, across
from .svg import COLOURS, colour, element, joined, points_of, runs, svg, text, ticks

__all__ = ["colour_bar", "detail_picture", "frame_picture", "width_range"]

LONGEST = 1024
"""Side of the stored picture, in pixels; larger frames are reduced to it."""
ROOM = 3.0
"""Half the side of a lesion's enlargement, in reference diameters beyond its ends. Our choice."""


def frame_picture(analysis: Analysis, numbered: int) -> Markup:
    """The frame with its tree coloured by width and its lesions, the first ones numbered; others use its image."""
    columns, rows = analysis.mask.shape
    low, high = width_range(analysis)
    unit = max(columns, rows) / 512
    lesions = [lesion for _, lesion in analysis.lesions]
    label = (
        f"Frame {analysis.frame.number + 1} with the vessel tree coloured by its width"
        f"{f' and {len(lesions[:numbered])} numbered narrowings' if lesions else ''}."
    )
    parts = [
        element(
            "image", id="frame-image", href=_data_uri(analysis.grey), x=-0.5, y=-0.5, width=columns, height=rows,
            preserveAspectRatio="none",
        ),
        *_tree(analysis, low, high, unit),
    ]  # fmt: skip
    for path in analysis.paths:
        parts += _coloured(path.widths.points, path.widths.diameter, low, high, 2.6 * unit)
    for lesion in lesions[numbered:]:
        x, y = map(float, lesion.position)
        parts.append(element("circle", cx=x, cy=y, r=2.2 * unit, class_="further", stroke_width=0.8 * unit))
    parts += _marks(lesions[:numbered], unit, columns, rows)
    return svg(columns, rows, label, parts, "frame")


def detail_picture(analysis: Analysis, path: MeasuredPath, lesion: Lesion) -> Markup:
    """The surroundings of a lesion, with the contours that were measured, and its narrowest place."""
    columns, rows = analysis.mask.shape
    widths = path.widths
    part = widths.points[lesion.begin : lesion.end + 1]
    centre = (part.min(axis=0) + part.max(axis=0)) / 2
    half = max(float(np.ptp(part, axis=0).max()) / 2 + ROOM * lesion.reference, 16.0)
    half = min(half, columns / 2, rows / 2)
    left, top = np.clip(centre - half, 0, [columns - 2 * half, rows - 2 * half])
    line = half / 110
    across_at = np.stack([widths.left[lesion.index], widths.right[lesion.index]])
    inner = joined(
        [
            element("use", href="#frame-image"),
            element("polyline", points=points_of(widths.left), class_="contour", stroke_width=1.6 * line),
            element("polyline", points=points_of(widths.right), class_="contour", stroke_width=1.6 * line),
            element("polyline", points=points_of(widths.points), class_="centre", stroke_width=line),
            element("polyline", points=points_of(across_at), class_="narrowest", stroke_width=3 * line),
            *(
                element("polyline", points=points_of(np.stack([widths.left[at], widths.right[at]])), class_="limit",
                        stroke_width=1.6 * line)
                for at in (lesion.begin, lesion.end)
            ),
        ]
    )  # fmt: skip
    label = f"Narrowing {lesion.rank}, enlarged, with the measured contours; the narrowest place is marked."
    return element(
        "svg", element("title", label) + inner, viewBox=f"{left:.1f} {top:.1f} {2 * half:.1f} {2 * half:.1f}",
        role="img", class_="detail",
    )  # fmt: skip


def colour_bar(analysis: Analysis) -> Markup:
    """What the colours mean, in millimetres where they are known."""
    low, high = width_range(analysis)
    factor, unit = _millimetres(analysis)
    step = 320 / len(COLOURS)
    bars = [
        element("rect", x=10 + index * step, y=4, width=step + 0.5, height=12, fill=value)
        for index, value in enumerate(COLOURS)
    ]
    for value in ticks(low * factor, high * factor):
        x = 10 + 320 * (value / factor - low) / (high - low)
        bars += [element("line", x1=x, x2=x, y1=16, y2=20, class_="axis"), text(x, 32, f"{value:g}", "tick", "middle")]
    bars.append(text(342, 15, f"diameter, {unit}", "tick"))
    return svg(450, 38, f"Colours from {low * factor:.2g} to {high * factor:.2g} {unit} of diameter.", bars, "bar")


def width_range(analysis: Analysis) -> tuple[float, float]:
    """Diameters in pixels that the colours run between."""
    known = [2 * np.asarray(data["radii"]) for *_, data in analysis.tree.graph.edges(data=True) if not data["catheter"]]
    known += [path.widths.diameter for path in analysis.paths]
    values = np.concatenate(known) if known else np.array([0.0, 1.0])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [2, 98])
    return float(low), float(max(high, low + 0.5))


def _millimetres(analysis: Analysis) -> tuple[float, str]:
    """Of a pixel, in the mean over directions, for a legend only."""
    factors = [across(path.widths, analysis.scale) for path in analysis.paths]
    known = [values for values in factors if values is not None and len(values)]
    return (float(np.mean(np.concatenate(known))), "mm") if known else (1.0, "pixels")


def _tree(analysis: Analysis, low: float, high: float, unit: float) -> Iterator[Markup]:
    for *_, data in analysis.tree.graph.edges(data=True):
        if data["catheter"] or data["gap"]:
            kind = "catheter" if data["catheter"] else "gap"
            yield element("polyline", points=points_of(data["points"]), class_=kind, stroke_width=1.6 * unit)
        else:
            yield from _coloured(data["points"], 2 * data["radii"], low, high, 1.3 * unit)


def _coloured(points: np.ndarray, diameter: np.ndarray, low: float, high: float, width: float) -> list[Markup]:
    classes = [-1 if not np.isfinite(value) else colour(float(value), low, high) for value in diameter]
    return [
        element(
            "polyline", points=points_of(points[first : last + 1]), class_="vessel", stroke=COLOURS[kind],
            stroke_width=width,
        )
        for kind, first, last in runs(classes)
        if kind >= 0
    ]  # fmt: skip


def _marks(lesions: list[Lesion], unit: float, columns: int, rows: int) -> Iterator[Markup]:
    """Circles and numbers; a number that would lie on another one goes below it."""
    taken: list[tuple[float, float]] = []
    for lesion in lesions:
        x, y = lesion.position
        radius = max(lesion.reference, 6 * unit)
        kind = "lesion unsure" if lesion.unsure else "lesion"
        yield element("circle", cx=float(x), cy=float(y), r=float(radius), class_=kind, stroke_width=1.6 * unit)
        right = x + radius + 16 * unit < columns
        at = x + radius + 3 * unit if right else x - radius - 3 * unit
        line = min(max(y + 5 * unit, 14 * unit), rows - 3.0)
        while any(abs(at - other) < 14 * unit and abs(line - height) < 14 * unit for other, height in taken):
            line += 15 * unit
        taken.append((at, line))
        yield element(
            "text", str(lesion.rank or "?"), x=at, y=line, class_="lesion-number", font_size=15 * unit,
            stroke_width=3 * unit, text_anchor="start" if right else "end",
        )  # fmt: skip


def _data_uri(grey: np.ndarray) -> str:
    """The frame as an 8-bit PNG."""
    image = np.round(np.clip(grey.T, 0, 1) * 255).astype(np.uint8)
    if max(image.shape) > LONGEST:
        scale = LONGEST / max(image.shape)
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return "data:image/png;base64," + base64.b64encode(coded.tobytes()).decode("ascii")
