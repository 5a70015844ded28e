"""End-diastole by the header: R waves as frames, from pointers or the electrocardiogram.

End-diastole is taken at the R wave: the ventricle contracts right after it (the isovolumetric phase follows the QRS
complex), so that the frame of the R wave shows the heart filled and at rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

__all__ = ["frame_times", "r_frames", "r_peaks"]

REFRACTORY = 0.3
"""Seconds that no second R wave follows within: 200 beats a minute."""


def frame_times(header: Mapping[str, Any], count: int) -> np.ndarray | None:
    """Milliseconds from the first frame to each, by Frame Time Vector, Frame Time or Cine Rate.

    Frame Time Vector (0018,1065) holds the times between frames, the first is 0 (PS3.3 C.7.6.5.1.2).

    Args:
        header: by DICOM keyword, :attr:`casr_net.files.images.Angiogram.header`.
        count: frames of the file.

    Returns:
        float (count,); None where the header states no usable time.
    """
    steps = header.get("FrameTimeVector")
    if steps is not None and len(steps) >= count > 0 and min(steps) >= 0 and sum(steps[:count]) > 0:
        return np.cumsum([0.0, *steps[1:count]])
    interval = header.get("FrameTime") or 0.0
    rate = header.get("CineRate") or 0.0
    interval = interval if interval > 0 else 1000 / rate if rate > 0 else 0.0
    return np.arange(count) * float(interval) if interval > 0 else None


def r_frames(header: Mapping[str, Any], count: int) -> tuple[list[int], str, list[str]]:
    """Frames of the R waves.

    Args:
        header, count: as above.

    Returns:
        the frames, from 0, in order; where they are from, in words (empty where the header says nothing usable); and
        messages.
    """
    messages: list[str] = []
    pointers = header.get("RWavePointer")
    if pointers:
        frames = sorted({int(value) - 1 for value in pointers if 1 <= value <= count and value == int(value)})
        if len(frames) < len(set(pointers)):
            messages.append(f"R Wave Pointer names frames that are not there (the file has {count}); they are ignored.")
        if frames:
            return frames, "R Wave Pointer (0028,6040)", messages
    times = frame_times(header, count)
    vector = [value for value in header.get("RWaveTimeVector") or [] if value >= 0]
    if times is not None and vector:
        frames = _nearest(np.array(vector), times)
        if frames:
            return frames, "R Wave Time Vector (0018,6060)", messages
    lead = header.get("Electrocardiogram")
    if lead is not None and times is not None and count > 1:
        span = (times[-1] + times[1]) / 1000
        frequency = lead.frequency if math.isfinite(lead.frequency) else len(lead.samples) / span
        offset = lead.offset - float(header.get("FrameDelay") or 0.0)
        frames = _nearest(offset + 1000 * r_peaks(lead.samples, frequency) / frequency, times)
        if frames:
            return frames, f"electrocardiogram, {lead.source}", messages
        messages.append("no R wave was found in the electrocardiogram during the cine.")
    elif lead is not None:
        messages.append("the electrocardiogram cannot be used: the header states no time between frames.")
    return [], "", messages


def r_peaks(samples: np.ndarray, frequency: float) -> np.ndarray:
    """Indices of the R waves of a lead, after Pan and Tompkins (IEEE Trans. Biomed. Eng. 32:230, 1985).

    Band-pass, derivative, square, mean over the width of a QRS complex, peaks; each is then moved to the largest
    departure of the lead nearby. The limits of the band are theirs (5 to 15 Hz) as far as the frequency lets.

    Args:
        samples: float (n,).
        frequency: samples a second.
    """
    if len(samples) < frequency / 2 or frequency < 20:
        return np.zeros(0, int)
    high = min(15.0, 0.45 * frequency)
    band = butter(2, (5.0, high), "bandpass", fs=frequency, output="sos")
    filtered = sosfiltfilt(band, samples - np.median(samples), padlen=min(len(samples) - 1, 3 * round(frequency)))
    width = max(round(0.12 * frequency), 1)
    energy = np.convolve(np.gradient(filtered) ** 2, np.ones(width) / width, mode="same")
    found, _ = find_peaks(
        energy, height=0.25 * np.percentile(energy, 99), distance=max(round(REFRACTORY * frequency), 1)
    )
    return np.array([_summit(filtered, peak, width) for peak in found], int)


def _summit(filtered: np.ndarray, peak: int, width: int) -> int:
    first = max(peak - width, 0)
    return first + int(np.argmax(np.abs(filtered[first : peak + width + 1])))


def _nearest(times: np.ndarray, frames: np.ndarray) -> list[int]:
    """Frames nearest to times; times farther than half an interval from every frame belong to none."""
    if len(frames) < 2:
        return [0] if len(times) and np.abs(times).min() < 1 else []
    half = float(np.median(np.diff(frames))) / 2
    inside = times[(times >= frames[0] - half) & (times <= frames[-1] + half)]
    return sorted({int(np.argmin(np.abs(frames - time))) for time in inside})
