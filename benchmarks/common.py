"""What all benchmarks share: the lock that lets the training wait, turns, what was measured on, tables in texts."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from filelock import FileLock

from casr_net.files.atomic import write_atomically
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions

__all__ = [
    "Sample", "Work", "arguments", "median", "paused_training", "put_table", "record", "summary", "told", "turns",
    "used", "write_json",
]  # fmt: skip

Work = Callable[[], Any]
Sample = Callable[[Work], dict[str, float]]

SETTLING = 3.0
"""Seconds that the training gets to reach its pause after the lock is taken; it looks before each step."""


@contextlib.contextmanager
def paused_training(hold: bool = True, settling: float = SETTLING) -> Iterator[None]:
    """Let the training runner of ``make evidence`` wait meanwhile.

    Args:
        hold: False leaves it alone, for a rehearsal whose figures count nothing.
        settling: seconds until it has surely paused.
    """
    if not hold:
        yield
        return
    lock = platformdirs.user_cache_path("casr-net") / "evidence" / "pause.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        time.sleep(settling)
        yield


def used(work: Work) -> dict[str, float]:
    """What one call takes: milliseconds of wall, processor and kernel time, and page faults."""
    before, mark = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - mark, resource.getrusage(resource.RUSAGE_SELF)
    kernel = after.ru_stime - before.ru_stime
    return {
        "wall_ms": 1000 * wall, "cpu_ms": 1000 * (after.ru_utime - before.ru_utime + kernel),
        "kernel_ms": 1000 * kernel, "page_faults": float(after.ru_minflt - before.ru_minflt),
    }  # fmt: skip


def turns(found: Mapping[str, Work], rounds: int, sample: Sample = used) -> dict[str, dict[str, list[float]]]:
    """Run all in turns, so that whatever else happens on the machine meets all alike.

    Args:
        found: what is timed, by name.
        rounds: samples of each. One more turn comes before them, which converts, compiles and warms up.
        sample: calls one of them, and gives its quantities.

    Returns:
        samples by variant and quantity.
    """
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in found}
    for turn in range(rounds + 1):
        for name, work in found.items():
            for quantity, value in sample(work).items():
                if turn:
                    samples[name].setdefault(quantity, []).append(value)
    return samples


def summary(samples: Mapping[str, Mapping[str, Sequence[float]]], digits: int = 2) -> dict[str, dict[str, list[float]]]:
    """Median and quartiles of each variant and quantity."""
    return {
        name: {
            quantity: [round(float(q), digits) for q in np.percentile(values, (50, 25, 75))]
            for quantity, values in entry.items()
        }
        for name, entry in samples.items()
    }


def median(found: Mapping[str, Mapping[str, Sequence[float]]], name: str, quantity: str = "wall_ms") -> float:
    """Of one variant of a :func:`summary`."""
    return float(found[name][quantity][0])


def record(what: str | None, options: argparse.Namespace, **entries: Any) -> dict[str, Any]:
    """A result with all that it was measured on.

    Args:
        what: the docstring of the benchmark, whose first line tells what is measured.
        options: of :func:`arguments`.
        entries: the figures.
    """
    return {
        "what": (what or "").splitlines()[0], "note": options.note, "training_waited": options.lock,
        "rounds": options.rounds, "machine": machine(), "torch_threads": torch.get_num_threads(),
        "load": [round(value, 2) for value in os.getloadavg()], "platform": platform.platform(),
        "versions": runtime_versions([name for name in RUNTIMES if name in installed_runtimes()]),
        "largest_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **entries,
    }  # fmt: skip


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Keep a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1) + "\n"
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def put_table(text: Path, mark: str, words: str) -> None:
    """Put words between the marks ``<!-- mark -->`` and ``<!-- /mark -->`` of a text.

    Raises:
        ValueError: when it has no such marks, or several.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    content = text.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(end) < content.index(begin):
        raise ValueError(f"{text}: expected {begin} and {end} once each, in that order.")
    before, behind = content.split(begin)[0], content.split(end)[1]
    whole = f"{before}{begin}\n{words.strip()}\n{end}{behind}"
    write_atomically(text, lambda target: target.write_text(whole, encoding="utf-8"))


def told(result: Mapping[str, Any]) -> str:
    """Where a result is from, for the foot of a table."""
    return (
        f"{result['rounds']} rounds in turns, {result['torch_threads']} thread(s), {result['machine']['processor']}; "
        f"{result['note']}."
    )


def arguments(what: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--rounds", type=int, default=rounds, help="samples of each variant (%(default)s)")
    parser.add_argument("--note", default="nothing else was running", help="what else ran (%(default)s)")
    parser.add_argument(
        "--no-lock", dest="lock", action="store_false", help="do not let the training wait: for rehearsals"
    )
    return parser
