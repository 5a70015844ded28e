"""Plots of a report: the diameters along a path with its lesions, and the contrast over a cine."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from ..vessels.measures import METHODS, Interval, Lesion
from .measurements import Analysis, MeasuredPath, across, arc_mm
from .svg import element, joined, points_of, svg, text, ticks

__all__ = ["contrast_plot", "profile_plot"]

WIDTH, HEIGHT = 760, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 18, 40


class _Axes:
    """From values to places, and the frame around them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = x, y

    def place(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """(n, 2) of values."""
        share = (np.asarray(x, float) - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        height = (np.asarray(y, float) - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return np.stack(
            np.broadcast_arrays(LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - height * _inner()), axis=-1
        )

    def drawn(self, x_name: str, y_name: str) -> Markup:
        parts = []
        for value in ticks(*self.x, 8):
            at = float(self.place(value, self.y[0])[0])
            parts.append(element("line", x1=at, x2=at, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="axis"))
            parts.append(text(at, HEIGHT - BOTTOM + 16, f"{value:g}", "tick", "middle"))
        for value in ticks(*self.y, 5):
            at = float(self.place(self.x[0], value)[1])
            parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"))
            parts.append(text(LEFT - 6, at + 4, f"{value:g}", "tick", "end"))
        parts.append(element("path", d=f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}", class_="axis", fill="none"))
        parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_name, "name", "middle"))
        parts.append(text(LEFT, TOP - 6, y_name, "name"))
        return joined(parts)


def _inner() -> int:
    return HEIGHT - TOP - BOTTOM


def profile_plot(analysis: Analysis, path: MeasuredPath) -> Markup:
    """Diameters along a path: measured ones as a line, those of the mask thin, lesions shaded with reference, MLD and
    interval."""
    widths = path.widths
    factor, along = across(widths, analysis.scale), arc_mm(widths, analysis.scale)
    unit = "pixels" if factor is None else "mm"
    scale = np.ones(len(widths.diameter)) if factor is None else factor
    x = widths.along if along is None else along
    y = widths.diameter * scale
    tops = [float(np.nanmax(y, initial=0))] + [lesion.reference * scale[lesion.index] for lesion in path.lesions]
    axes = _Axes((0.0, float(x[-1]) if len(x) else 1.0), (0.0, 1.12 * max(max(tops), 1e-6)))
    parts = [_lesion_ground(axes, x, lesion) for lesion in path.lesions]
    parts.append(axes.drawn(f"length along the vessel, {unit}", f"diameter, {unit}"))
    fallback = widths.method == METHODS.index("mask")
    for kind, wanted in (("profile", ~fallback), ("profile fallback", fallback)):
        for first, last in _stretches(wanted & np.isfinite(y)):
            parts.append(element("polyline", points=points_of(axes.place(x[first:last], y[first:last])), class_=kind))
    for first, last in _stretches(widths.unsure > 0):
        ends = axes.place(x[[first, last - 1]], 0.0)
        parts.append(element("line", x1=float(ends[0, 0]), x2=float(ends[1, 0]) + 1, y1=float(ends[0, 1]) - 2,
                             y2=float(ends[1, 1]) - 2, class_="doubtful"))  # fmt: skip
    parts += [_lesion_marks(axes, x, float(scale[lesion.index]), lesion) for lesion in path.lesions]
    label = (
        f"Diameter along path {path.number}, in {unit}, with {len(path.lesions)} narrowings shaded; "
        "dashed: the reference diameter."
    )
    return svg(WIDTH, HEIGHT, label, parts, "plot")


def _lesion_ground(axes: _Axes, x: np.ndarray, lesion: Lesion) -> Markup:
    (left, top), (right, bottom) = axes.place(x[[lesion.begin, lesion.end]], np.array([axes.y[1], axes.y[0]]))
    return element(
        "rect", x=float(left), y=float(top), width=max(float(right - left), 1.0), height=float(bottom - top),
        class_="lesion-ground unsure" if lesion.unsure else "lesion-ground",
    )  # fmt: skip


def _lesion_marks(axes: _Axes, x: np.ndarray, factor: float, lesion: Lesion) -> Markup:
    ends = axes.place(x[[lesion.begin, lesion.end]], lesion.reference * factor)
    at = axes.place(x[lesion.index], lesion.mld * factor)
    parts = [
        element("line", x1=float(ends[0, 0]), x2=float(ends[1, 0]), y1=float(ends[0, 1]), y2=float(ends[1, 1]),
                class_="reference"),
    ]  # fmt: skip
    if lesion.mld_interval is not None:
        parts.append(_whisker(axes, float(x[lesion.index]), lesion.mld_interval, factor))
    parts.append(element("circle", cx=float(at[0]), cy=float(at[1]), r=3.5, class_="mld"))
    parts.append(text(float(ends.mean(axis=0)[0]), TOP + 11, str(lesion.rank or "?"), "lesion-name", "middle"))
    return joined(parts)


def _whisker(axes: _Axes, x: float, interval: Interval, factor: float) -> Markup:
    low, high = (axes.place(x, value * factor) for value in (interval.low, interval.high))
    return element(
        "path", class_="whisker", fill="none",
        d=f"M{low[0] - 4:.1f} {low[1]:.1f}h8m-4 0V{high[1]:.1f}m-4 0h8",
    )  # fmt: skip


def contrast_plot(analysis: Analysis) -> Markup | None:
    """Vessel length and contrast over the frames of a cine, its phases, and the frame that was measured."""
    curve = analysis.frame.curve
    if not curve or len(curve["frames"]) < 2:
        return None
    frames = np.asarray(curve["frames"], float) + 1  # people count frames from 1
    axes = _Axes((float(frames[0]), float(frames[-1])), (0.0, 1.1))
    parts = []
    phases = list(curve["phases"])
    for first, last in _stretches(np.array([phase == "during" for phase in phases])):
        (left, top), (right, bottom) = axes.place(frames[[first, last - 1]], np.array([axes.y[1], 0.0]))
        parts.append(
            element("rect", x=float(left), y=float(top), width=max(float(right - left), 2.0),
                    height=float(bottom - top), class_="during")
        )  # fmt: skip
    parts.append(axes.drawn("frame", "share of the largest value"))
    for name, kind in (("length", "profile"), ("contrast", "second")):
        values = np.array([np.nan if value is None else value for value in curve[name]], float)
        known = np.isfinite(values)
        if known.any() and values[known].max() > 0:
            parts.append(
                element("polyline", class_=kind, points=points_of(axes.place(frames[known], np.clip(
                    values[known] / values[known].max(), 0, None))))
            )  # fmt: skip
    at = axes.place(analysis.frame.number + 1, np.array([0.0, axes.y[1]]))
    parts.append(element("line", x1=float(at[0, 0]), x2=float(at[1, 0]), y1=float(at[0, 1]), y2=float(at[1, 1]),
                         class_="chosen"))  # fmt: skip
    label = (
        "Vessel length and contrast over the frames of the cine; shaded: with contrast; the line marks frame "
        f"{analysis.frame.number + 1}, which was measured."
    )
    return svg(WIDTH, HEIGHT, label, parts, "plot")


def _stretches(wanted: np.ndarray) -> list[tuple[int, int]]:
    """First index of each stretch of True, and the one behind its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]
