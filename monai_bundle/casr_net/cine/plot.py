"""The contrast curve as a picture: SVG text that a page can hold as it is, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from .curve import DURING, ContrastCurve

__all__ = ["draw_curve"]

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 58, 30, 44
STYLE = (
    ".cc{font:12px system-ui,sans-serif;--length:#0b63b5;--contrast:#b3480c;--key:#1a7f37}"
    "@media(prefers-color-scheme:dark){.cc{--length:#6cb6ff;--contrast:#f0a05a;--key:#56d364}}"
    ".cc text{fill:currentColor}.cc .l{stroke:var(--length)}.cc .c{stroke:var(--contrast)}.cc .k{stroke:var(--key)}"
    ".cc text.l{fill:var(--length);stroke:none}.cc text.c{fill:var(--contrast);stroke:none}"
    ".cc text.k{fill:var(--key);stroke:none}"
)
"""Colours have a contrast of 4.5 or more on white and on #0d1117. The text takes the page's colour."""


def draw_curve(curve: ContrastCurve, key_frames: Sequence[int] = ()) -> str:
    """Length and contrast over the frames, frames with contrast shaded, key frames marked.

    Args:
        curve: of the cine.
        key_frames: their numbers.

    Returns:
        one SVG element, without XML declaration; no script, no outside reference.
    """
    last = max(curve.count - 1, int(curve.frames[-1]), 1)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(frame: float) -> float:
        return round(LEFT + (right - LEFT) * frame / last, 1)

    said = "; ".join(curve.messages) or _told(curve)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cc" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'width="100%" style="max-width:{WIDTH}px">',
        f"<title>Contrast curve</title><desc>{escape(said)}</desc><style>{STYLE}</style>",
    ]
    for first, final in _stretches(curve):
        begin, end = across(max(first - 0.5, 0)), across(min(final + 0.5, last))
        parts.append(
            f'<rect x="{begin}" y="{TOP}" width="{round(max(end - begin, 2), 1)}" height="{bottom - TOP}" '
            'fill="currentColor" opacity="0.08"/>'
        )
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}V{TOP}" fill="none" stroke="currentColor" opacity="0.6"/>')
    for frame in _ticks(last):
        parts.append(f'<text x="{across(frame)}" y="{bottom + 16}" text-anchor="middle">{frame + 1}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">frame</text>')
    for name, values, place, anchor, unit in (
        ("l", curve.length, LEFT - 6, "end", "length (px)"),
        ("c", curve.contrast, right + 6, "start", "contrast"),
    ):
        top = _round_up(float(np.nanmax(values))) if np.isfinite(values).any() else 1.0
        for share in (0.0, 0.5, 1.0):
            y = round(bottom - (bottom - TOP) * share, 1)
            parts.append(f'<text class="{name}" x="{place}" y="{y + 4}" text-anchor="{anchor}">{share * top:g}</text>')
        edge, side = (4, "start") if name == "l" else (WIDTH - 4, "end")
        parts.append(f'<text class="{name}" x="{edge}" y="{TOP - 14}" text-anchor="{side}">{unit}</text>')
        dash = ' stroke-dasharray="5 3"' if name == "c" else ""
        heights = bottom - (bottom - TOP) * np.clip(values / top, 0, 1)
        for line in _lines(curve.frames, heights):
            points = " ".join(f"{across(frame)},{round(height, 1)}" for frame, height in line)
            how = f'fill="none" stroke-width="2" stroke-linecap="round"{dash}'
            parts.append(f'<polyline class="{name}" {how} points="{points}"/>')
    for frame in key_frames:
        x = across(frame)
        parts.append(f'<path class="k" d="M{x} {TOP}V{bottom}" stroke-width="1.5" stroke-dasharray="2 2"/>')
        parts.append(f'<text class="k" x="{x}" y="{TOP - 4}" text-anchor="middle">{int(frame) + 1}</text>')
    return "".join([*parts, "</svg>"])


def _told(curve: ContrastCurve) -> str:
    arrival = "from the beginning" if curve.arrival is None else f"from frame {curve.arrival + 1}"
    departure = "to the end" if curve.departure is None else f"until it has left at frame {curve.departure + 1}"
    best = "" if curve.best is None else f"; best frame {curve.best + 1}"
    return f"contrast {arrival} {departure}{best}."


def _stretches(curve: ContrastCurve) -> list[tuple[int, int]]:
    """First and last frame with contrast of each stretch."""
    found: list[tuple[int, int]] = []
    before = ""
    for frame, phase in zip(curve.frames.tolist(), curve.phases, strict=True):
        if phase == DURING:
            found[-1:] = [(found[-1][0], frame)] if before == DURING else [*found[-1:], (frame, frame)]
        before = phase
    return found


def _lines(frames: np.ndarray, values: np.ndarray) -> list[list[tuple[int, float]]]:
    """The stretches of known values."""
    lines: list[list[tuple[int, float]]] = [[]]
    for frame, value in zip(frames.tolist(), values.tolist(), strict=True):
        if np.isfinite(value):
            lines[-1].append((frame, value))
        elif lines[-1]:
            lines.append([])
    # A frame alone would not be seen: a line of no length with round ends is a dot.
    return [line if len(line) > 1 else line * 2 for line in lines if line]


def _ticks(last: int) -> list[int]:
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if last / size <= 10)
    return [0, *range(step - 1, last + 1, step)] if step > 1 else list(range(last + 1))


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9)))
