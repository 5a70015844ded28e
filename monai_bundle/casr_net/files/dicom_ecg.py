"""The electrocardiogram that an X-ray object carries: waveform sequence (PS3.3 C.10.9) or curve (PS3.3-2004 C.10.2).

The standard wants waveforms in objects of their own; systems put them into the image all the same, and the curves of
groups 50xx, retired since 2004, are what older archives hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from .dicom_display import numbers
from .pixeldata.header import text

__all__ = ["Electrocardiogram", "electrocardiogram"]

_TYPES = {0: "u2", 1: "i2", 2: "f4", 3: "f8", 4: "i4"}
"""Of curves, by Data Value Representation (50xx,0103)."""
_SECONDS = {"SECO": 1.0, "MSEC": 1e-3}
"""Axis units (50xx,0030) of curves that are times; the second is no defined term, but written."""
LEAST_SAMPLES, MOST_SAMPLES = 16, 10_000_000


@dataclass(frozen=True, eq=False)
class Electrocardiogram:
    """One lead.

    Attributes:
        samples: float (n,), in an arbitrary unit.
        frequency: samples a second; NaN where it is not stated: the lead then spans the cine.
        offset: milliseconds from the acquisition's start, when the first frame begins, to the first sample.
        source: in words, where it is from.
    """

    samples: np.ndarray
    frequency: float
    offset: float
    source: str


def electrocardiogram(data: Dataset) -> Electrocardiogram | None:
    """The first usable lead of an object; None where it has none, or a damaged one only."""
    try:
        return _waveform(data) or _curve(data)
    except Exception:  # whatever is damaged about it must not cost the image
        return None


def _waveform(data: Dataset) -> Electrocardiogram | None:
    for index, item in enumerate(data.get("WaveformSequence") or []):
        channels = item.get("ChannelDefinitionSequence") or []
        named = [_is_lead(channel) for channel in channels]
        if True not in named:
            continue
        samples = data.waveform_array(index)[:, named.index(True)]
        frequency = next(iter(numbers(item, "SamplingFrequency")), math.nan)
        offset = next((value for value in numbers(item, "MultiplexGroupTimeOffset") if math.isfinite(value)), 0.0)
        found = _checked(samples, frequency, offset, "WaveformSequence (5400,0100)")
        if found is not None:
            return found
    return None


def _is_lead(channel: Dataset) -> bool:
    """Whether a channel is an ECG lead by its Channel Source (CID 3001: lead I, II, ... V1)."""
    words = [text(channel, "ChannelLabel")]
    for item in channel.get("ChannelSourceSequence") or []:
        words += [text(item, "CodeMeaning")]
    told = " ".join(words).lower()
    return any(word in told.split() or f"{word}:" in told for word in ("lead", "ecg", "ekg"))


def _curve(data: Dataset) -> Electrocardiogram | None:
    for group in range(0x5000, 0x5020, 2):
        if Tag(group, 0x3000) not in data or str(_value(data, group, 0x0020)).strip().upper() != "ECG":
            continue
        kind = np.dtype(_TYPES[int(_value(data, group, 0x0103))]).newbyteorder("<")
        raw = _value(data, group, 0x3000)
        values = np.frombuffer(bytes(raw), kind, len(raw) // kind.itemsize).astype(float)
        points = int(_value(data, group, 0x0010))
        step = math.nan
        if len(values) >= 2 * points:  # pairs of time and height
            times, values = values[: 2 * points : 2], values[1 : 2 * points : 2]
            step = float(np.median(np.diff(times)))
        else:
            values = values[:points]
            steps = _value(data, group, 0x0114)
            if steps is not None:
                step = float(np.ravel(np.asarray(steps, float))[0])
        units = str(_value(data, group, 0x0030) or "").replace("['", "").replace("[", "").split("\\")[0].split("'")[0]
        second = _SECONDS.get(units.strip().upper(), math.nan)
        frequency = 1 / (step * second) if step * second > 0 else math.nan
        found = _checked(values, frequency, 0.0, f"curve ({group:04x},3000)")
        if found is not None:
            return found
    return None


def _value(data: Dataset, group: int, element: int) -> Any:
    tag = Tag(group, element)
    return data[tag].value if tag in data else None


def _checked(samples: np.ndarray, frequency: float, offset: float, source: str) -> Electrocardiogram | None:
    values = np.asarray(samples, float)
    sound = LEAST_SAMPLES <= len(values) <= MOST_SAMPLES and np.isfinite(values).all() and np.ptp(values) > 0
    if not sound or (math.isfinite(frequency) and frequency <= 0):
        return None
    return Electrocardiogram(values, frequency, offset, source)
