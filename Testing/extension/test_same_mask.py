"""The mask in Slicer is that of the command line: real volume nodes, read by Slicer's own readers. [real Slicer C++]

The worker runs in this process, with a small network of random weights: what it gets decides, not how good it is.
"""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from CASRSegmentationLib import origins, sources
from CASRSegmentationLib.frames import FrameError
from CASRSegmentationLib.job import Request, store_frames
from CASRSegmentationLib.protocol import Job, read_probability
from standins.angiograms import draw_frames

CASES = (Path(__file__).resolve().parents[3] / "shared" / "cases").resolve()
WINDOW = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 1800, "WindowWidth": 1500}


@pytest.fixture(scope="module")
def segmenter(random_weights, small_config):
    from casr_net import Segmenter

    return Segmenter(small_config, device="cpu", weights=str(random_weights))


@pytest.fixture
def run(segmenter, tmp_path):
    """``run(source, indices, **options)`` -> probability maps by frame, and the worker's messages."""
    from casr_net.worker import FrameWorker

    def run(source, indices, **options: Any) -> tuple[dict[int, np.ndarray], list[dict[str, Any]]]:
        folder = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        list(store_frames(Request(source, tuple(indices), Path("bundle"), device="cpu", **options), folder))
        messages: list[dict[str, Any]] = []
        FrameWorker(messages.append, lambda device: segmenter).segment(folder)
        failed = [message for message in messages if "error" in message]
        assert not failed, failed
        return {index: read_probability(folder, index) for index in indices}, messages

    return run


def load(path: Path) -> Any:
    """As by drag and drop; None where Slicer's readers refuse the file."""
    return slicer.modules.volumes.logic().AddArchetypeVolume(str(path), path.name)


def rules(messages: list[dict[str, Any]]) -> list[str | None]:
    return [message["source"] for message in messages if message["event"] == "rule"]


def deep_cine(count: int = 3) -> np.ndarray:
    return draw_frames(count).astype(np.uint16) * 16


# Files of our own


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"BitsStored": 12, "HighBit": 11},
        WINDOW,
        {**WINDOW, "RescaleSlope": "2", "RescaleIntercept": "-500", "WindowCenter": 3000, "WindowWidth": 3000},
        {**WINDOW, "PhotometricInterpretation": "MONOCHROME1"},
        {**WINDOW, "WindowCenter": 40, "WindowWidth": 400},
        {"BitsStored": 12, "HighBit": 11, "PixelPaddingValue": 0},
    ],
    ids=["plain", "12 bits", "window", "rescale", "inverted", "window of a CT", "padding"],
)
def test_dicom_by_drag_and_drop(scene, run, segmenter, write_xa, tmp_path, attributes):
    path = write_xa(tmp_path / "a.dcm", deep_cine(), **attributes)
    source = sources.describe(load(path))
    assert source.count == 3 and origins.file_of(source) == str(path)
    found, messages = run(source, (0, 2))
    wanted = segmenter(path).probability
    assert (found[0] == wanted[0]).all() and (found[2] == wanted[2]).all()
    assert rules(messages) == [str(path)]


def test_without_the_file_a_window_is_lost(scene, run, segmenter, write_xa, tmp_path):
    """What the tests above would not show if the rule changed nothing."""
    path = write_xa(tmp_path / "a.dcm", deep_cine(1), **WINDOW)
    volume = load(path)
    volume.SetAndObserveStorageNodeID(None)
    found, messages = run(sources.describe(volume), (0,))
    assert np.abs(found[0] - segmenter(path).probability).max() > 1e-3 and rules(messages) == [None]


@pytest.fixture
def database(monkeypatch):
    """Slicer's DICOM database with files by SOP instance UID."""
    files: dict[str, str] = {}
    values = types.SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""), instanceValue=lambda uid, tag: "")
    monkeypatch.setattr(slicer, "dicomDatabase", values, raising=False)
    return files


def test_cine_of_the_dicom_module(run, segmenter, write_xa, tmp_path, make_cine, database):
    pixels = deep_cine(4)
    path = write_xa(tmp_path / "a.dcm", pixels, **WINDOW)
    cine = make_cine(pixels)
    cine.volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    database["1.2.3"] = str(path)
    found, messages = run(sources.describe(cine.volume), (1, 3))
    wanted = segmenter(path).probability
    assert (found[1] == wanted[1]).all() and (found[3] == wanted[3]).all() and rules(messages) == [str(path)]


def test_second_cine_of_a_browser_takes_the_frames_that_are_shown(scene, cine, database):
    other = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "plane B")
    other.SetIndexName("time")
    for number in (0, 3):
        other.SetDataNodeAtValue(cine.sequence.GetNthDataNode(number), cine.sequence.GetNthIndexValue(number))
    cine.browser.AddSynchronizedSequenceNode(other)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    source = sources.describe(cine.browser.GetProxyNode(other))
    assert [origins.file_frame(source, index) for index in range(6)] == [0, 0, 0, 1, 1, 1]
    assert [origins.file_frame(sources.describe(cine.volume), index) for index in range(6)] == list(range(6))


def test_frame_that_was_edited_in_slicer(scene, run, segmenter, write_xa, tmp_path):
    path = write_xa(tmp_path / "a.dcm", deep_cine(), **WINDOW)
    volume = load(path)
    assert origins.unchanged(sources.describe(volume))
    slicer.util.arrayFromVolume(volume)[1, 10:20, 10:20] = 4000
    slicer.util.arrayFromVolumeModified(volume)
    assert not origins.unchanged(sources.describe(volume))
    found, messages = run(sources.describe(volume), (0, 1))
    assert (found[0] == segmenter(path).probability[0]).all() and rules(messages) == [str(path), None]
    (warning,) = [message["text"] for message in messages if message["event"] == "warning"]
    assert "not those of 'a.dcm'" in warning


def test_displayed_window_only_if_it_is_asked_for(scene, run, segmenter, write_xa, tmp_path):
    path = write_xa(tmp_path / "a.dcm", deep_cine(1), **WINDOW)
    volume = load(path)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(2000, 1500)
    source = sources.describe(volume)
    assert (run(source, (0,))[0][0] == segmenter(path).probability).all(), "looking is not choosing"
    found, messages = run(source, (0,), window=True)
    wanted = segmenter.frame(slicer.util.arrayFromVolume(volume)[0], (500.0, 2500.0)).probability
    assert np.allclose(found[0], wanted, atol=1e-5) and rules(messages) == [None]
    bright, _ = run(source, (0,), window=True, invert=True)
    inverted = segmenter.grey(1 - np.clip((slicer.util.arrayFromVolume(volume)[0].T - 500.0) / 2000, 0, 1))
    assert np.allclose(bright[0], inverted.probability, atol=1e-5)


def test_volume_without_a_window(scene, frame_volume, tmp_path):
    frame_volume.SetAndObserveDisplayNodeID(None)
    with pytest.raises(FrameError, match="has no window"):
        list(store_frames(Request(sources.describe(frame_volume), (0,), Path("b"), window=True), tmp_path))


def test_file_is_not_known(frame_volume, cine, database, tmp_path, scene):
    for volume in (frame_volume, cine.volume):
        assert origins.file_of(sources.describe(volume)) == ""
    source = sources.describe(frame_volume)
    path = tmp_path / "a.dcm"
    for uids in ("1.2.3", "1.2.3 1.2.4"):
        frame_volume.SetAttribute("DICOM.instanceUIDs", uids)
        assert origins.file_of(source) == "", "not in the database, or not there, or one of several"
        database["1.2.3"] = str(path)
    path.touch()
    assert origins.file_of(source) == "", "several instances"
    frame_volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert origins.file_of(source) == str(path)
    list(store_frames(Request(source, (0,), Path("b"), invert=True), tmp_path))
    job = Job.load(tmp_path)
    assert (job.source, job.source_frames, job.inverted, job.unchanged) == (str(path), (0,), True, False)
    assert json.loads((tmp_path / "job.json").read_text())["intensity_range"] is None


# The files that went wrong elsewhere


@pytest.mark.parametrize(
    "path",
    sorted(CASES.glob("*.dcm")) or [pytest.param(None, marks=pytest.mark.skip(reason="../shared/cases is not there"))],
    ids=lambda path: path.stem if path else "none",
)
def test_shared_cases(scene, run, segmenter, path):
    from casr_net.errors import DataError

    volume = load(path)
    if volume is None:
        pytest.skip("Slicer's readers refuse this file")
    source = sources.describe(volume)
    try:
        wanted = segmenter(path).probability
    except DataError as error:
        pytest.skip(f"the command line refuses this file: {error}")
    wanted = wanted[None] if wanted.ndim == 2 else wanted
    indices = range(min(source.count, len(wanted)))
    found, messages = run(source, indices)
    assert rules(messages) == [str(path)]
    assert all((found[index] == wanted[index]).all() for index in indices)
