"""Which of several engines is the fastest here: measured once, and kept."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Mapping

import torch

from .engines import Engine

__all__ = ["as_record", "fastest", "measure", "read_record"]

logger = logging.getLogger("casr_net")

ROUNDS = 3
GAIN = 0.9
"""An engine is taken in place of torch when it needs at most this share of its time. Our choice: a shorter way is not
worth another package's rounding."""


def measure(engines: Mapping[str, Engine], sample: torch.Tensor, rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds a frame by runtime, in turns, so that other work on the machine meets all alike.

    Args:
        engines: by runtime; each has run the sample before.
        sample: what is computed, (1, C, X, Y).
        rounds: number of runs of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            mark = time.perf_counter()
            engine(sample)
            seconds[name].append(time.perf_counter() - mark)
    return {name: round(1000 * statistics.median(times), 1) for name, times in seconds.items()}


def fastest(milliseconds: Mapping[str, float]) -> str:
    """The runtime to take; torch unless another one is clearly faster."""
    best = min(milliseconds, key=lambda name: milliseconds[name])
    return best if milliseconds[best] <= GAIN * milliseconds.get("torch", float("inf")) else "torch"


def as_record(chosen: str, milliseconds: Mapping[str, float]) -> bytes:
    return json.dumps({"chosen": chosen, "milliseconds": dict(milliseconds)}).encode()


def read_record(content: bytes) -> str:
    """The runtime of a record."""
    return str(json.loads(content)["chosen"])
