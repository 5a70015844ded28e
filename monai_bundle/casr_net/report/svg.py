"""Small pieces of SVG as text, for pages that load nothing. Colours come from the page's style sheet, by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup, escape

__all__ = ["COLOURS", "colour", "element", "joined", "points_of", "runs", "svg", "text", "ticks"]

# From violet to yellow, rising in lightness, and all of them lighter than vessels on an angiogram. Our choice.
COLOURS = (
    "#a24be0", "#b54fd0", "#c856bd", "#d95fa6", "#e66b8f", "#f07a77", "#f68b5f", "#f99f48", "#fbb636", "#fbd524",
)  # fmt: skip


def element(name: str, content: Markup | str | None = None, **attributes: object) -> Markup:
    """One element; an underscore at the end of an attribute's name is dropped, one inside becomes a hyphen."""
    parts = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value))
        for key, value in attributes.items()
        if value is not None
    ]
    start = Markup("<") + Markup(name) + Markup("").join(parts)
    if content is None:
        return start + Markup("/>")
    return start + Markup(">") + escape(content) + Markup("</") + Markup(name) + Markup(">")


def svg(width: float, height: float, label: str, content: Iterable[Markup], kind: str) -> Markup:
    """A picture with a name for those who cannot see it."""
    inner = element("title", label) + Markup("").join(content)
    return element("svg", inner, viewBox=f"0 0 {_plain(width)} {_plain(height)}", role="img", class_=kind)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> Markup:
    """A line of text."""
    return element("text", words, x=x, y=y, class_=kind or None, text_anchor=anchor)


def joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def points_of(points: np.ndarray) -> str:
    """Of a polyline; points that are not finite are left out."""
    known = points[np.isfinite(points).all(axis=1)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in known)


def colour(value: float, low: float, high: float) -> int:
    """Index of the colour of a value; those outside the range get the outermost."""
    if not math.isfinite(value) or high <= low:
        return 0
    return min(max(int((value - low) / (high - low) * len(COLOURS)), 0), len(COLOURS) - 1)


def runs(classes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Class, first and last index of each stretch of equal classes; neighbours share an index, so that lines meet."""
    found: list[tuple[int, int, int]] = []
    start = 0
    for index in range(1, len(classes) + 1):
        if index == len(classes) or classes[index] != classes[start]:
            found.append((classes[start], start, min(index, len(classes) - 1)))
            start = index
    return found


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two values, about as many as wanted."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / count))
    for factor in (1, 2, 5, 10):
        if (high - low) / (factor * step) <= count + 0.5:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
