"""Key frames by R waves, electrocardiogram, motion and opacity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.dicoms import cine as pictures
from makers.dicoms import write, xa
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from casr_net.cine.curve import ContrastCurve
from casr_net.cine.heartbeat import frame_times, r_frames, r_peaks
from casr_net.cine.keyframes import key_frames
from casr_net.errors import UsageError
from casr_net.files.images import read_angiogram

COUNT = 24


def curve(beat: float = 8.0, count: int = COUNT) -> ContrastCurve:
    """Contrast from frame 4 on, best at 16; the tree is largest at frames 0, 8, 16, ... of a beat of 8 frames."""
    frames = np.arange(count)
    opacity = np.clip(1 - np.abs(frames - 16) / 20, 0, 1) * (frames >= 4)
    none = np.zeros(count)
    return ContrastCurve(
        frames=frames, count=count, size=(512, 512), length=1500 * opacity, catheter=none, contrast=none + 0.1,
        opacity=opacity, motion=none + 1, spread=1 + 0.05 * np.cos(2 * np.pi * frames / beat),
        phases=tuple("during" if frame >= 4 else "before" for frame in frames),
    )  # fmt: skip


def ecg(times: list[float], frequency: float, seconds: float) -> np.ndarray:
    """A lead with R waves at times in seconds, T waves, drift and a little noise."""
    t = np.arange(round(seconds * frequency)) / frequency
    lead = 0.1 * np.sin(2 * np.pi * 0.3 * t) + np.random.default_rng(1).normal(0, 0.02, len(t))
    for at in times:
        lead += np.exp(-(((t - at) / 0.012) ** 2)) + 0.25 * np.exp(-(((t - at - 0.25) / 0.05) ** 2))
    return lead


def header(tmp_path: Path, data: Dataset) -> dict[str, Any]:
    return read_angiogram(write(tmp_path / "x.dcm", data)).header


def test_r_wave_pointer(tmp_path: Path) -> None:
    """Frames count from 1 there, and from 0 here."""
    told = header(tmp_path, xa(pictures(COUNT), RWavePointer=[3, 12, 21], FrameTime="66.7"))
    found = key_frames(curve(), told, 3)
    assert [key.frame for key in found] == [20, 16, 11]
    assert [key.kind for key in found] == ["end-diastolic", "best opacified", "end-diastolic"]
    assert found[0].source == "R Wave Pointer (0028,6040)" and found[1].source == "contrast curve"
    assert found[0].as_dict()["reason"].startswith("end-diastolic by R Wave Pointer")


def test_pointers_beyond_the_cine_are_said() -> None:
    frames, source, messages = r_frames({"RWavePointer": [0.0, 5.0, 90.0]}, 10)
    assert frames == [4] and source.startswith("R Wave") and "ignored" in messages[0]
    assert r_frames({"RWavePointer": [90.0]}, 10)[:2] == ([], "")


def test_frame_times() -> None:
    assert frame_times({"FrameTimeVector": [0.0, 50.0, 60.0]}, 3) == pytest.approx([0, 50, 110])
    assert frame_times({"FrameTimeVector": [0.0, 50.0], "CineRate": 10.0}, 3) == pytest.approx([0, 100, 200])
    assert frame_times({"FrameTime": 40.0, "CineRate": 10.0}, 2) == pytest.approx([0, 40])
    assert frame_times({"FrameTime": 0.0}, 2) is None


def test_r_wave_time_vector() -> None:
    told = {"RWaveTimeVector": [210.0, 1009.0, 9000.0], "FrameTime": 100.0}
    assert r_frames(told, 12)[:2] == ([2, 10], "R Wave Time Vector (0018,6060)")


@pytest.mark.parametrize("frequency", [60.0, 250.0, 1000.0])
def test_r_peaks(frequency: float) -> None:
    times = [0.5, 1.3, 2.05, 2.9]
    assert r_peaks(ecg(times, frequency, 3.4), frequency) / frequency == pytest.approx(times, abs=0.03)
    assert r_peaks(-ecg(times, frequency, 3.4), frequency) / frequency == pytest.approx(times, abs=0.03)


def waveform(samples: np.ndarray, frequency: float, meaning: str) -> Dataset:
    item, channel, code = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "2:2", "MDC", meaning
    channel.ChannelSourceSequence = [code]
    channel.WaveformBitsStored = 16
    item.ChannelDefinitionSequence = [channel]
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = 1, len(samples)
    item.SamplingFrequency, item.WaveformBitsAllocated, item.WaveformSampleInterpretation = str(frequency), 16, "SS"
    item.WaveformData = (1000 * samples).astype("<i2").tobytes()
    return item


def test_waveform_of_the_object(tmp_path: Path) -> None:
    pressure = waveform(ecg([0.1], 200, 2.4), 200, "Aortic pressure")
    lead = waveform(ecg([0.7, 1.8], 200, 2.4), 200, "Lead II")
    told = header(tmp_path, xa(pictures(COUNT), WaveformSequence=[pressure, lead], FrameTime="100"))
    frames, source, _ = r_frames(told, COUNT)
    assert frames == [7, 18] and source == "electrocardiogram, WaveformSequence (5400,0100)"
    assert key_frames(curve(), told, 1)[0].frame == 18


@pytest.mark.parametrize("timed", [True, False])
def test_curve_of_an_old_object(tmp_path: Path, timed: bool) -> None:
    """Groups 50xx; without a time unit, the curve spans the cine."""
    samples = ecg([0.7, 1.8], 200, 2.4)
    data = xa(pictures(COUNT), FrameTime="100")
    data.add_new(Tag(0x5000, 0x0005), "US", 1)
    data.add_new(Tag(0x5000, 0x0010), "US", len(samples))
    data.add_new(Tag(0x5000, 0x0020), "CS", "ECG")
    data.add_new(Tag(0x5000, 0x0103), "US", 1)
    if timed:
        data.add_new(Tag(0x5000, 0x0030), "SH", ["MSEC", "DPPS"])
        data.add_new(Tag(0x5000, 0x0114), "US", 5)
    data.add_new(Tag(0x5000, 0x3000), "OW", (1000 * samples).astype("<i2").tobytes())
    frames, source, _ = r_frames(header(tmp_path, data), COUNT)
    assert frames == [7, 18] and source == "electrocardiogram, curve (5000,3000)"


def test_a_damaged_electrocardiogram_costs_nothing(tmp_path: Path) -> None:
    item = waveform(ecg([0.7], 200, 2.4), 200, "Lead II")
    item.NumberOfWaveformSamples = 9999
    told = header(tmp_path, xa(pictures(3), WaveformSequence=[item], FrameTime="100"))
    assert "Electrocardiogram" not in told


def test_an_electrocardiogram_without_frame_times_is_said(tmp_path: Path) -> None:
    told = header(tmp_path, xa(pictures(3), WaveformSequence=[waveform(ecg([0.7], 200, 2.4), 200, "Lead I")]))
    frames, source, messages = r_frames(told, 3)
    assert (frames, source) == ([], "") and "no time between frames" in messages[0]


def test_motion_where_the_header_says_nothing() -> None:
    found = key_frames(curve(), {}, 2)
    assert found[0].frame == 16 and found[0].source == "motion" and found[0].kind == "end-diastolic"
    assert found[1].frame == 14 or found[1].frame == 18, "the next by opacity, not beside the first"


def test_what_does_not_beat_has_no_end_diastole() -> None:
    noise = np.random.default_rng(2).normal(0, 0.0005, COUNT)
    found = key_frames(replace(curve(), spread=1 + noise), {}, 2)
    assert [key.kind for key in found] == ["best opacified"] * 2 and found[0].frame == 16


def test_end_diastole_counts_only_where_the_tree_is_filled() -> None:
    found = key_frames(curve(), {"RWavePointer": [2.0, 6.0]}, 1)
    assert found[0].kind == "best opacified" and found[0].frame == 16


@pytest.mark.parametrize("left", [0.0, 0.4])
def test_a_dropped_frame_is_no_key_frame(left: float) -> None:
    """Its opacity, smoothed over its neighbours, is theirs."""
    for told, best, instead in (({}, 16, {15, 17, 8}), ({"RWavePointer": [11.0, 17.0]}, 16, {10, 15, 17})):
        assert key_frames(curve(), told, 1)[0].frame == best
        dropped = curve().length.copy()
        dropped[best] *= left
        found = [key.frame for key in key_frames(replace(curve(), length=dropped), told, 3)]
        assert best not in found and found[0] in instead


@pytest.mark.parametrize("left", [0.0, 0.4])
def test_the_best_frame_of_a_curve_is_no_dropped_one(left: float) -> None:
    """It is told in the curve's JSON, the run's record and the plot, and is the best opacified key frame."""
    dropped = curve().length.copy()
    dropped[16] *= left
    damaged = replace(curve(), length=dropped, spread=np.ones(COUNT))  # nothing beats
    assert curve().best == 16 and damaged.best == damaged.as_dict()["best"] == 15
    assert "best frame 16." in damaged.plot() and key_frames(damaged, {}, 1)[0].frame == 15


def test_frames_without_vessels_are_no_key_frames_however_many() -> None:
    """In the middle of three the smoothed length is 0 too."""
    dropped = curve().length.copy()
    dropped[15:18] = 0
    damaged = replace(curve(), length=dropped)
    found = {key.frame for key in key_frames(damaged, {"RWavePointer": [16.0, 17.0, 18.0]}, COUNT)}
    assert found and not found & {15, 16, 17} and damaged.best in (14, 18)
    assert replace(curve(), length=np.zeros(COUNT)).best == 16, "no frame has any: opacity alone decides"


def test_r_waves_between_the_frames_that_were_looked_at() -> None:
    """Of a long cine every second frame is looked at; an R wave may lie on any."""
    full = curve(count=25)

    def every(frames: list[int], length: np.ndarray) -> ContrastCurve:
        parts = {name: getattr(full, name)[frames] for name in ("catheter", "contrast", "opacity", "motion", "spread")}
        phases = tuple(full.phases[frame] for frame in frames)
        return replace(full, frames=np.array(frames), length=length[frames], phases=phases, **parts)

    told, second = {"RWavePointer": [16.0]}, list(range(0, 25, 2))  # frame 15, from 0
    assert [(key.frame, key.kind) for key in key_frames(every(second, full.length), told, 1)] == [(15, "end-diastolic")]
    dropped = full.length.copy()
    dropped[14] = 0
    assert key_frames(every(second, dropped), told, 1)[0].frame == 16, "beside a dropped frame"
    left_out = [frame for frame in second if frame != 14]
    assert key_frames(every(left_out, full.length), {"RWavePointer": [15.0]}, 1)[0].frame == 16, "not decoded"
    last = every([frame for frame in range(25) if frame != 24], full.length)
    assert not last.shows(24) and last.shows(23) and not last.shows(99)


def test_fewer_key_frames_than_asked_for() -> None:
    short = replace(
        curve(count=1), opacity=np.ones(1), phases=("during",), spread=np.array([np.nan]), motion=np.array([np.nan])
    )
    assert [key.frame for key in key_frames(short, {}, 5)] == [0]
    assert key_frames(replace(curve(), phases=("before",) * COUNT), {}, 3) == []
    with pytest.raises(UsageError, match="at least 1"):
        key_frames(curve(), {}, 0)
