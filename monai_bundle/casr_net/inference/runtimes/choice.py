"""Which of several engines is the fastest here: measured once, and kept."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Callable, Mapping

import torch

__all__ = ["INT8", "as_record", "chained", "fastest", "measure", "read_record"]

logger = logging.getLogger("casr_net")

ROUNDS = 3
GAIN = 0.9
"""An engine is taken in place of torch, and 8 bits in place of more, when it needs at most this share of the time. Our
choice: a shorter way is not worth another package's rounding."""

INT8 = " int8"
"""End of the names of runtimes in 8 bits."""


def measure(
    engines: Mapping[str, Callable[[torch.Tensor], torch.Tensor]], sample: torch.Tensor, rounds: int = ROUNDS
) -> dict[str, float]:
    """Median milliseconds a frame by runtime, in turns, so that other work on the machine meets all alike.

    Args:
        engines: by runtime; each has run the sample before.
        sample: what is computed, (N, C, X, Y).
        rounds: number of runs of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            mark = time.perf_counter()
            engine(sample)
            seconds[name].append(time.perf_counter() - mark)
    return {name: round(1000 * statistics.median(times), 1) for name, times in seconds.items()}


def chained(before: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds by runtime of two measurements. Where one engine took part in both, those of the second are brought
    to the speed that the machine had in the first."""
    factors = [before[name] / measured[name] for name in measured if name in before and measured[name] > 0]
    factor = factors[0] if factors else 1.0
    return {**{name: round(factor * value, 1) for name, value in measured.items()}, **before}


def fastest(milliseconds: Mapping[str, float]) -> str:
    """The runtime to take; torch unless another one is clearly faster, and 8 bits only where they clearly are."""
    wide = {name: value for name, value in milliseconds.items() if not name.endswith(INT8)} or dict(milliseconds)
    chosen = min(wide, key=lambda name: wide[name])
    if wide[chosen] > GAIN * wide.get("torch", float("inf")):
        chosen = "torch"
    best = min(milliseconds, key=lambda name: milliseconds[name])
    return best if milliseconds[best] <= GAIN * milliseconds[chosen] else chosen


def as_record(chosen: str, milliseconds: Mapping[str, float]) -> bytes:
    return json.dumps({"chosen": chosen, "milliseconds": dict(milliseconds)}).encode()


def read_record(content: bytes) -> str:
    """The runtime of a record."""
    return str(json.loads(content)["chosen"])
