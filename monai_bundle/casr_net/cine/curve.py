"""Contrast over the frames of a cine: the record, and its JSON. Plain values without computation on images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, shown

__all__ = ["AFTER", "BEFORE", "DURING", "PHASES", "ContrastCurve"]

PHASES = ("before", "during", "after")
"""The contrast, seen from a frame: not yet there, there, gone again."""

BEFORE, DURING, AFTER = PHASES

FORM, VERSION = "casr-net contrast curve", 1
DIGITS = 5

DROPPED = 0.5
"""Share of its neighbours' length of vessels, in [0, 1], below which a frame is taken for dropped or damaged, and is
neither the best frame nor a key frame: opacity is smoothed over the frames, so that it says nothing of a single one.
Our choice."""


@dataclass(frozen=True, eq=False)
class ContrastCurve:
    """What was measured on n frames of a cine, in the order of time.

    Frames count from 0. Lengths are in pixels of the file, contrast is a difference of attenuation in the unit of the
    values that were given (:meth:`casr_net.files.images.Angiogram.attenuation`).

    Attributes:
        frames: int (n,), which frames of the file were looked at.
        count: frames of the file.
        size: columns and rows.
        length: float (n,), length of the skeleton of what looks like a contrast-filled artery.
        catheter: float (n,), length that was taken for a catheter, and is no part of ``length``.
        contrast: float (n,), attenuation on the vessels against that of their surroundings; NaN without vessels.
        opacity: float (n,) in [0, 1], how well the tree is opacified: the smoothed length, times the smoothed contrast
            where that is known, as a share of the cine's best.
        motion: float (n,), displacement of the vessels from the frame looked at before, against what lies around them
            (a moving table moves both), pixels a frame; NaN for the first, and where nothing can be followed.
        spread: float (n,), size of the tree as it stretches with the heart: 1 at the first frame, from the sum of its
            changes between frames; NaN where they are not known.
        phases: n of "before", "during", "after".
        messages: what is odd about the cine, one line each.
    """

    frames: np.ndarray
    count: int
    size: tuple[int, int]
    length: np.ndarray
    catheter: np.ndarray
    contrast: np.ndarray
    opacity: np.ndarray
    motion: np.ndarray
    spread: np.ndarray
    phases: tuple[str, ...]
    messages: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def during(self) -> np.ndarray:
        """bool (n,): frames with contrast."""
        return np.array([phase == DURING for phase in self.phases], bool)

    @property
    def arrival(self) -> int | None:
        """The first frame with contrast; None when there is none, or when the cine begins with it."""
        at = np.flatnonzero(self.during)
        return int(self.frames[at[0]]) if len(at) and at[0] > 0 else None

    @property
    def departure(self) -> int | None:
        """The first frame after the contrast has left; None when it is there to the end, or never."""
        at = np.flatnonzero(self.during)
        return int(self.frames[at[-1] + 1]) if len(at) and at[-1] + 1 < len(self.frames) else None

    @property
    def whole(self) -> np.ndarray:
        """bool (n,): frames with vessels of their own, and about as much of the tree as those beside them.

        Where no frame has any, none is worse than the others: all are.
        """
        from .phases import smoothed  # which imports from here

        seen = self.length > 0  # of three dropped in a row the middle one is smoothed to 0 too
        return (seen | (not seen.any())) & (self.length >= DROPPED * smoothed(self.length))

    @property
    def best(self) -> int | None:
        """The best opacified frame that is whole; None of a cine without contrast."""
        able = self.during & self.whole
        if not able.any():
            return None
        return int(self.frames[int(np.argmax(np.where(able, self.opacity, -1)))])

    def shows(self, frame: int) -> bool:
        """Whether any frame of the file is whole.

        One that was stepped over is taken for whole where those before and after it are. In a gap wider than the usual
        step a frame was left out, since it could not be decoded: nothing there is taken for whole.
        """
        whole, after = self.whole, int(np.searchsorted(self.frames, frame))
        if after < len(self.frames) and self.frames[after] == frame:
            return bool(whole[after])
        if after in (0, len(self.frames)):
            return False  # a survey looks at the first and the last frame: they could not be decoded either
        gaps = np.diff(self.frames)
        return bool(gaps[after - 1] <= np.median(gaps) and whole[after - 1] and whole[after])

    def phase_of(self, frame: int) -> str:
        """The phase of any frame of the file: that of the nearest frame that was looked at."""
        return self.phases[int(np.argmin(np.abs(self.frames - frame)))]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; what is not known is null. A list of values has an entry a frame that was looked at."""
        return {
            "format": FORM,
            "version": VERSION,
            "count": self.count,
            "columns": self.size[0],
            "rows": self.size[1],
            "frames": [int(frame) for frame in self.frames],
            **{name: _plain(getattr(self, name)) for name in _SERIES},
            "phases": list(self.phases),
            "arrival": self.arrival,
            "departure": self.departure,
            "best": self.best,
            "messages": list(self.messages),
        }

    @classmethod
    def from_dict(cls, content: Any) -> ContrastCurve:
        """The curve of :meth:`as_dict`.

        Raises:
            DataError: for anything else.
        """
        if not isinstance(content, dict) or content.get("format") != FORM or content.get("version") != VERSION:
            raise DataError("no contrast curve of this version.")
        try:
            frames = np.array(content["frames"], int)
            series = {
                name: np.array([math.nan if value is None else float(value) for value in content[name]])
                for name in _SERIES
            }
            phases = tuple(content["phases"])
            curve = cls(
                frames=frames, count=int(content["count"]), size=(int(content["columns"]), int(content["rows"])),
                phases=phases, messages=tuple(map(str, content["messages"])), **series,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"a damaged contrast curve ({shown(str(error))}).") from error
        wrong = {len(values) for values in (phases, *series.values())} != {len(frames)} or set(phases) - set(PHASES)
        if wrong or frames.ndim != 1:
            raise DataError("a damaged contrast curve: its lists do not fit together.")
        return curve

    def plot(self, key_frames: tuple[int, ...] = ()) -> str:
        """The curve as SVG, see :func:`casr_net.cine.plot.draw_curve`."""
        from .plot import draw_curve

        return draw_curve(self, key_frames)


_SERIES = ("length", "catheter", "contrast", "opacity", "motion", "spread")


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(value), DIGITS) if math.isfinite(value) else None for value in values]
