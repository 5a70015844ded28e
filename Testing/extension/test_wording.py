"""What is counted is said in the singular or in the plural."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "CASRSegmentation"


def test_singular_and_plural():
    from CASRSegmentationLib.wording import counted

    texts = ("{name}: 1 frame", "{name}: {count} frames")
    assert [counted(count, *texts, name="a") for count in (0, 1, 2)] == ["a: 0 frames", "a: 1 frame", "a: 2 frames"]


def test_summary_of_several_frames():
    from CASRSegmentationLib.job import Summary

    summary = Summary(pixels={0: 0, 1: 0, 2: 9}, failed={3: "no memory.", 4: "no memory."}, seconds=2.04, device="cpu")
    assert summary.text() == (
        "3 frames segmented in 2.0 s on cpu. 2 failed; the first, frame 4: no memory. "
        "No vessel was found in frames 1, 2."
    )
    one = Summary(pixels={6: 0}, failed={3: "no memory."}, seconds=1, device="cpu")
    assert one.text() == (
        "1 frame segmented in 1.0 s on cpu. 1 failed, frame 4: no memory. No vessel was found in frame 7."
    )


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")) + sorted(ROOT.rglob("*.ui")), ids=lambda path: path.name)
def test_no_text_leaves_the_plural_to_the_reader(path: Path):
    assert not re.search(r"\w\(e?s\)[ .,:;\"]", path.read_text(encoding="utf-8"))
