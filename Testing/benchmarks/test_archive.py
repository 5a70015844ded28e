"""What is computed of the figures of lists of cines. Nothing is timed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import archive

        yield archive
        sys.modules.pop("archive")


def test_start_file_and_frame_are_told_apart(benchmark: Any) -> None:
    samples = {
        f"{engine}: {name}": {
            quantity: [5 + 0.5 * cines + 0.1 * cines * frames] * 3
            for quantity in ("seconds", "processor_seconds", "results_mb", "record_mb", "read_mb", "written_mb")
        }
        | {"worker_memory_mb": [700.0] * 3, "all_memory_mb": [900.0] * 3}
        for engine in benchmark.ENGINES
        for name, (cines, frames) in benchmark.LISTS.items()
    }
    parts = {engine: benchmark.parts(samples, engine) for engine in benchmark.ENGINES}
    assert parts["local"]["seconds"] == pytest.approx({"start": 5, "file": 0.5, "frame": 0.1})
    found = {"size": 512, "parts": parts, "bytes_a_listed_frame": 300, "listing_seconds_a_file": 0.0036}
    assumed = benchmark.Assumptions(cines=1000, frames=95, cores=10, price=0.1)
    figures = benchmark.archive(found, assumed)
    assert figures["core_seconds_a_cine"] == pytest.approx(10)
    assert figures["core_hours"] == pytest.approx(1000 * 10 / 3600)
    assert figures["hours"] == pytest.approx(figures["core_hours"] / 10)
    assert figures["dollars"] == pytest.approx(figures["core_hours"] / 10)
    assert figures["listing_hours"] == pytest.approx(0.001)
    assert figures["cines_until_memory"] == pytest.approx(8e9 / (95 * 300))


def test_the_text_has_the_place_of_the_tables() -> None:
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert text.count("<!-- archive -->") == text.count("<!-- /archive -->") == 1
