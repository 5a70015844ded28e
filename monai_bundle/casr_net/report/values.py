"""Plain values for JSON: rounded, and None for what is not known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..vessels.measures import BORDER, BRANCH, CROSSING, GAP, Interval

__all__ = ["both", "flags", "interval", "median", "number", "numbers", "pairs", "percent", "times"]

FLAGS = {CROSSING: "crossing", BRANCH: "branch", BORDER: "border", GAP: "gap"}
"""Words for :attr:`casr_net.vessels.Widths.unsure`."""


def flags(value: int) -> list[str]:
    """Words for the flags of one sample."""
    return [word for bit, word in FLAGS.items() if int(value) & bit]


def number(value: float | None, digits: int = 2) -> float | None:
    """Rounded; None for what is not known or not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def numbers(values: Iterable[float], digits: int = 2) -> list[float | None]:
    """Rounded, None where there is none."""
    return [number(float(value), digits) for value in values]


def pairs(points: np.ndarray) -> list[list[float | None]]:
    """Points, rounded."""
    return [numbers(point) for point in points]


def both(pixels: float, millimetres: float | None) -> dict[str, float | None]:
    """A length in both units."""
    return {"px": number(pixels), "mm": number(millimetres, 3)}


def interval(value: Interval | None, factor: float | None) -> dict[str, Any] | None:
    """An interval of a length in both units."""
    if value is None:
        return None
    return {
        "level": value.level,
        "low": both(value.low, times(value.low, factor)),
        "high": both(value.high, times(value.high, factor)),
    }


def percent(value: Interval | None) -> dict[str, Any] | None:
    """An interval of a share in percent."""
    if value is None:
        return None
    return {"level": value.level, "low": number(value.low, 1), "high": number(value.high, 1)}


def times(value: float, factor: float | None) -> float | None:
    return None if factor is None else value * factor


def median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
