"""The rate at which a cine is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT_RATE", "frame_rate"]

DEFAULT_RATE = 15.0
"""Frames a second where a file states none: the usual rate of coronary angiography. Our choice."""

SLOWEST, FASTEST = 0.1, 120.0
"""What is outside is an error of the file. Our choice."""


def frame_rate(header: Mapping[str, Any]) -> float:
    """Frames a second: Recommended Display Frame Rate (0008,2144), else Cine Rate (0018,0040), else by Frame Time
    (0018,1063), else by the mean of Frame Time Vector (0018,1065), else :data:`DEFAULT_RATE` (PS3.3 C.7.6.5, C.8.7).

    Args:
        header: by DICOM keyword, :attr:`casr_net.files.images.Angiogram.header`; empty for other files.
    """
    rates = [header.get("RecommendedDisplayFrameRate"), header.get("CineRate")]
    steps = (header.get("FrameTimeVector") or [])[1:]
    for time in (header.get("FrameTime"), sum(steps) / len(steps) if steps else None):
        rates.append(1000 / time if time and time > 0 else None)
    return next((round(float(rate), 3) for rate in rates if rate and SLOWEST <= rate <= FASTEST), DEFAULT_RATE)
