"""One input file in a run: how far it has come, how it was shown, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import CASRError, DataError
from ..files.names import as_text

__all__ = ["FEW", "FileRecord", "counted", "frame_ranges"]

FEW = 0.015
"""Share of an image that its vessels take, below which it is said. Of our 588 angiograms with masks none has less than
0.0199; of 179 that were inverted, and so have bright vessels, the shipped network's mask is below in 174
(``experiments/bright_vessels.py``)."""


@dataclass
class FileRecord:
    """What is known of a file.

    Attributes:
        path: of the file, as it was given or found.
        name: of its results, without ending.
        frames: in the file; 0 where it could not be opened.
        asked: frames that the user wants the results of; None: all.
        wanted: frames that this run is to segment.
        before: frames whose results were there already.
        done: frames that this run has segmented.
        failed: frame, from 0, to what is wrong with it.
        source: what it is told by and how it was shown: format, columns, rows, bytes, modified, sha256, grey; of
            a cine of which only key frames are asked for, also key_frames and contrast.
        warnings: lines without the path.
        empty, clipped: frames without a vessel, and those of which the grey range clips more than half.
        quality: frame, from 0, to the Dice coefficient that its probabilities promise.
        area: frame, from 0, to the number of vessel pixels in its mask.
        error: what is wrong with the file, or with frames of it.
        seconds: that its frames took.
    """

    path: str
    name: str = ""
    frames: int = 0
    asked: int | None = None
    wanted: int = 0
    before: int = 0
    done: int = 0
    failed: dict[int, CASRError] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)
    quality: dict[int, float] = field(default_factory=dict)
    area: dict[int, int] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether this run has tried every frame it wanted."""
        return self.done + len(self.failed) >= self.wanted

    @property
    def state(self) -> str:
        """ "failed" (the file, or a frame of it), "kept" (nothing was to do), "done", or "waiting"."""
        if self.error is not None:
            return "failed"
        if self.wanted == 0:
            return "kept"
        return "done" if self.complete else "waiting"

    def failure(self) -> CASRError | None:
        """One error for all frames that failed."""
        if not self.failed:
            return None
        frame, first = min(self.failed.items())
        text = str(first).removeprefix(f"{self.path}: ")
        if self.frames > 1:
            failed = f"{len(self.failed)} of {self.frames} frames failed ({frame_ranges(self.failed)})"
            text = f"{failed}; frame {frame + 1}: {text}"
        error = DataError(f"{self.path}: {text}")
        error.__cause__ = first
        return error

    def conclude(self) -> list[str]:
        """Turn what was noted about frames into warnings, and give all of the file's, each with the path in front."""
        few = self._few()
        for frames, text in (
            (self.clipped, "the grey range clips more than half of the exposed field"),
            (self.empty, "no vessel was found"),
        ):
            if frames:
                place = f" in {len(frames)} of {self.frames} frames ({frame_ranges(frames)})" if self.frames > 1 else ""
                self.warnings.append(f"{text}{place}.")
        self.empty, self.clipped = [], []
        self.warnings += [few] if few else []
        return [f"{self.path}: {line}" for line in self.warnings]

    def _few(self) -> str:
        """What is to be said where the vessels of all frames are next to nothing, and the grey range not to blame."""
        pixels = self.source.get("columns", 0) * self.source.get("rows", 0)
        if not self.area or not pixels or self.before or self.clipped or max(self.area.values()) >= FEW * pixels:
            return ""
        place = "the image" if self.frames == 1 else "a frame"
        return (
            f"the vessels found take {max(self.area.values()) / pixels:.1%} of {place} at most: there is no contrast "
            "agent, or the vessels are bright, where dark ones are expected."
        )

    def as_json(self) -> dict[str, Any]:
        """As ``docs/run.schema.json`` has it."""
        return {
            "path": as_text(self.path), "name": as_text(self.name), "state": self.state, "frames": self.frames,
            "wanted": self.wanted, "before": self.before, "done": self.done, "failed": sorted(self.failed),
            "error": self.error, "warnings": [as_text(line) for line in self.warnings],
            "seconds": round(self.seconds, 4), **self.source, **self._measured(),
        }  # fmt: skip

    def _measured(self) -> dict[str, dict[str, float]]:
        quality: dict[str, float] = {str(frame): round(value, 4) for frame, value in sorted(self.quality.items())}
        area: dict[str, float] = {str(frame): value for frame, value in sorted(self.area.items())}
        return {name: values for name, values in (("quality", quality), ("area", area)) if values}


def frame_ranges(frames: Iterable[int]) -> str:
    """Numbers, given from 0, in words for people, from 1: "1 to 4, 8"."""
    parts: list[list[int]] = []
    for frame in sorted(number + 1 for number in frames):
        if parts and frame == parts[-1][-1] + 1:
            parts[-1][1:] = [frame]
        else:
            parts.append([frame])
    return ", ".join(" to ".join(map(str, part)) for part in parts)


def counted(records: Iterable[FileRecord]) -> dict[str, int]:
    """Frames of all files of a run: expected, there before, done, failed."""
    files = list(records)
    return {
        "expected": sum(record.frames if record.asked is None else record.asked for record in files),
        "before": sum(record.before for record in files),
        "done": sum(record.done for record in files),
        "failed": sum(len(record.failed) for record in files),
    }
