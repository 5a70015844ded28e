"""Key frames of a cine: the best opacified, and among the well opacified ones those in end-diastole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import find_peaks

from ..errors import UsageError
from .curve import ContrastCurve
from .heartbeat import frame_times, r_frames

__all__ = ["END_DIASTOLIC", "OPACIFIED", "KeyFrame", "key_frames"]

END_DIASTOLIC, OPACIFIED = "end-diastolic", "best opacified"

WELL = 0.7
"""Least opacity, as a share of the best frame's, of an end-diastolic key frame. Our choice."""
APART = 2
"""Least distance in frames between a key frame that is chosen by its opacity alone and the others."""
STILL = 0.004
"""Standard deviation of the logarithm of the tree's size below which nothing beats: a phantom. Real trees have 0.02 and
more. Our choice."""
BEAT = 0.4
"""Shortest heartbeat in seconds that the motion is looked at for: 150 beats a minute."""
RATE = 7.5
"""Frames a second where the header states none: the slowest that is usual, so that no beat is passed over."""


@dataclass(frozen=True)
class KeyFrame:
    """A frame worth looking at.

    Attributes:
        frame: its number, from 0.
        kind: "end-diastolic" or "best opacified".
        score: its opacity in [0, 1].
        source: what end-diastole was told by, in words: "R Wave Pointer (0028,6040)", "electrocardiogram, ...",
            "motion"; "contrast curve" of a frame that was chosen by its opacity alone.
        reason: one sentence.
    """

    frame: int
    kind: str
    score: float
    source: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "frame": self.frame, "kind": self.kind, "score": round(self.score, 4), "source": self.source,
            "reason": self.reason,
        }  # fmt: skip


def key_frames(curve: ContrastCurve, header: Mapping[str, Any] | None = None, count: int = 1) -> list[KeyFrame]:
    """Choose key frames, the best first.

    First the end-diastolic frame with the most contrast, then the best opacified frame, then further end-diastolic
    ones, then further well opacified ones. End-diastole is told by the R Wave Pointer, else by the R Wave Time Vector,
    else by the electrocardiogram of the object, else by the motion: the tree is largest, and moves least.

    Args:
        curve: of the cine.
        header: of the file, by DICOM keyword (:attr:`casr_net.files.images.Angiogram.header`).
        count: how many, at least 1; fewer are given where the cine has fewer frames with contrast.

    Returns:
        empty where no frame has contrast.

    Raises:
        UsageError: for a count below 1.
    """
    if count < 1:
        raise UsageError(f"count of key frames is {count}; at least 1 is needed.")
    if not curve.during.any():
        return []
    candidates = _end_diastolic(curve, header or {})
    best = _opacified(curve, [])
    chosen = candidates[:1]
    for key in [best, *candidates[1:]]:
        if key is not None and key.frame not in {other.frame for other in chosen}:
            chosen.append(key)
    while len(chosen) < count and (further := _opacified(curve, chosen)) is not None:
        chosen.append(further)
    return chosen[:count]


def _end_diastolic(curve: ContrastCurve, header: Mapping[str, Any]) -> list[KeyFrame]:
    frames, source, _ = r_frames(header, curve.count)
    if not frames:
        frames, source = _resting(curve, header), "motion"
    keys = []
    for frame in frames:
        opacity = _opacity_at(curve, frame)
        if curve.phase_of(frame) == "during" and opacity >= WELL and curve.shows(frame):
            how = "the tree is largest and nearly at rest" if source == "motion" else "of an R wave"
            text = f"end-diastolic by {source}: {how}; opacity {100 * opacity:.0f} % of the best frame."
            keys.append(KeyFrame(frame, END_DIASTOLIC, opacity, source, text))
    return sorted(keys, key=lambda key: (-key.score, key.frame))


def _opacified(curve: ContrastCurve, chosen: list[KeyFrame]) -> KeyFrame | None:
    free = curve.during & curve.whole
    for key in chosen:
        free &= np.abs(curve.frames - key.frame) >= APART
    if not free.any():
        return None
    at = int(np.argmax(np.where(free, curve.opacity, -1)))
    share = float(curve.opacity[at])
    text = "the best opacified frame." if not chosen else f"opacity {100 * share:.0f} % of the best frame."
    return KeyFrame(int(curve.frames[at]), OPACIFIED, share, "contrast curve", text)


def _resting(curve: ContrastCurve, header: Mapping[str, Any]) -> list[int]:
    """Frames in end-diastole by the motion: the size of the tree, which the beat changes, at its peaks."""
    during = np.flatnonzero(curve.during & np.isfinite(curve.spread))
    if len(during) < 4:
        return []
    size, frames = np.log(curve.spread[during]), curve.frames[during]
    times = frame_times(header, curve.count)
    rate = 1000 / float(np.median(np.diff(times))) if times is not None and len(times) > 1 else RATE
    shortest = max(BEAT * rate / max(float(np.median(np.diff(frames))), 1.0), 1.0)
    # Contrast that still arrives, and a slow drift of the sum, change the size too, but not within a beat.
    trend = np.polynomial.Polynomial.fit(frames, size, 2 if len(frames) >= 12 else 1)
    beat = size - trend(frames)
    if beat.std() < STILL:
        return []
    padded = np.concatenate([[beat.min()], beat, [beat.min()]])  # a peak may lie at the end
    peaks, _ = find_peaks(padded, distance=shortest, prominence=0.5 * float(beat.std()))
    return [int(frames[peak - 1]) for peak in peaks]


def _opacity_at(curve: ContrastCurve, frame: int) -> float:
    return float(np.interp(frame, curve.frames, curve.opacity))
