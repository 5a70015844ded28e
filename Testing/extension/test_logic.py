"""Jobs from frames to segmentations, with a double of the worker. [stand-in Qt, real scene]"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import slicer
from CASRSegmentationLib import sources
from CASRSegmentationLib.frames import FrameError
from CASRSegmentationLib.job import JobError, Request, State
from CASRSegmentationLib.logic import CASRSegmentationLogic
from CASRSegmentationLib.node_scale import set_pixel_size
from CASRSegmentationLib.parameters import Frames, chosen_frames
from standins.event_loop import gui_watchdog, process_events, wait_until
from standins.workers import FakeWorker


class Job:
    """A logic with everything that it says."""

    def __init__(self) -> None:
        FakeWorker.made, FakeWorker.refuse = [], ""
        self.logic = CASRSegmentationLogic(FakeWorker)
        self.states, self.progress, self.warnings = [], [], []
        self.finished, self.failed, self.cancelled = [], [], []
        self.logic.state_changed.connect(self.states.append)
        self.logic.progress_changed.connect(self.progress.append)
        self.logic.warned.connect(self.warnings.append)
        self.logic.finished.connect(self.finished.append)
        self.logic.failed.connect(self.failed.append)
        self.logic.cancelled.connect(self.cancelled.append)

    def start(self, volume, indices=None, **options) -> FakeWorker:
        """Start, and let the frames be read."""
        source = sources.describe(volume)
        wanted = tuple(range(source.count)) if indices is None else indices
        self.logic.start(Request(source, wanted, Path("bundle"), **options))
        (worker,) = FakeWorker.made[-1:]
        wait_until(lambda: worker.commands or not self.logic.busy, what="the command")
        return worker

    def run(self, volume, indices=None, **options):
        """A whole job; its summary."""
        self.start(volume, indices, **options).do_all()
        wait_until(lambda: not self.logic.busy, what="the end")
        assert not self.failed, self.failed[0]
        return self.finished[-1]


@pytest.fixture
def job(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = Job()
    yield one
    one.logic.cancel()


def mask_of(summary, volume) -> np.ndarray:
    node = slicer.mrmlScene.GetNodeByID(summary.segmentation_id)
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, summary.segment_id, volume)


def leftovers() -> list[Path]:
    import tempfile

    return list(Path(tempfile.gettempdir()).glob("casr-job-*"))


def test_single_frame(job, frame_volume, frame_pixels):
    summary = job.run(frame_volume, statistics=True)
    assert (mask_of(summary, frame_volume)[0] == (frame_pixels < 110)).all()
    assert summary.pixels == {0: int((frame_pixels < 110).sum())} and summary.device == "cpu"
    assert job.states == [State.READING, State.STARTING, State.RUNNING, State.IDLE]
    (worker,) = FakeWorker.made
    assert worker.finished and not worker.killed and worker.bundle == Path("bundle")
    table = slicer.mrmlScene.GetNodeByID(summary.table_id)
    assert table.GetTable().GetNumberOfColumns() == 2
    assert "1 frame segmented" in summary.text() and "cpu" in summary.text()


def test_frames_go_out_in_display_orientation_and_come_back(job, make_volume, frame_pixels):
    volume = make_volume(frame_pixels, np.eye(4))
    summary = job.run(volume)
    assert (mask_of(summary, volume)[0] == (frame_pixels < 110)).all()


def test_what_the_worker_is_told(job, frame_volume, frame_pixels):
    worker = job.start(frame_volume, device="cuda:1", refine=False, threshold=0.3)
    assert (worker.frames == frame_pixels).all() and worker.frames.dtype == np.uint8
    told = worker.job
    assert (told.indices, told.device, told.refine, told.threshold, told.intensity_range) == (
        (0,),
        "cuda:1",
        False,
        0.3,
        None,
    )


def test_bright_vessels_are_inverted(job, make_volume, frame_pixels):
    volume = make_volume(255 - frame_pixels)
    worker = job.start(volume, invert=True)
    assert (worker.frames[0] == frame_pixels).all()


def test_sixteen_bits_stay_sixteen_bits(job, make_volume, frame_pixels):
    deep = frame_pixels.astype(np.uint16) * 16
    assert (job.start(make_volume(deep)).frames[0] == deep).all()


def test_range_of_a_cine(job, cine):
    cine.browser.SetSelectedItemNumber(5)
    summary = job.run(cine.volume, (1, 2, 3), probability=True, statistics=True)
    assert cine.browser.GetSelectedItemNumber() == 5
    assert sorted(summary.pixels) == [1, 2, 3] and summary.probability_id
    for index in range(6):
        cine.browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        wanted = (cine.frames[index] < 110) & (1 <= index <= 3)
        assert (mask_of(summary, cine.volume)[0] == wanted).all()
    assert slicer.mrmlScene.GetNodeByID(summary.table_id).GetTable().GetNumberOfRows() == 3


def test_one_worker_a_job(job, cine):
    job.run(cine.volume)
    assert len(FakeWorker.made) == 1 and len(FakeWorker.made[0].commands) == 1


def test_square_millimetres_only_with_a_calibration(job, frame_volume):
    set_pixel_size(frame_volume, 0.2)
    summary = job.run(frame_volume, statistics=True)
    table = slicer.mrmlScene.GetNodeByID(summary.table_id).GetTable()
    assert table.GetColumnName(2) == "Area (mm2)"
    assert table.GetValue(0, 2).ToDouble() == pytest.approx(0.04 * summary.pixels[0])


def test_progress(job, cine):
    worker = job.start(cine.volume)
    worker.say("hello", pid=1, version="0")
    assert job.progress[-1].text == "Loading the network..."
    worker.say("loaded", device="cpu", seconds=1.0)
    assert (job.progress[-1].number, job.progress[-1].seconds_left) == (0, None)
    worker.do(0)
    worker.do(1)
    wait_until(lambda: job.progress[-1].number == 2)
    assert job.progress[-1].count == 6 and job.progress[-1].seconds_left > 0
    assert job.progress[-1].text == "Frame 3 of 6"


def test_masks_are_on_the_screen_before_the_job_ends(job, cine):
    cine.browser.SetSelectedItemNumber(1)
    worker = job.start(cine.volume)
    worker.say("loaded", device="cpu", seconds=1.0)
    worker.do(0)
    worker.do(1)
    wait_until(lambda: job.progress[-1].number == 2)
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    segment = node.GetSegmentation().GetNthSegmentID(0)
    assert (slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, cine.volume)[0] == (cine.frames[1] < 110)).all()


def test_warnings_are_passed_on(job, frame_volume):
    worker = job.start(frame_volume)
    worker.say("warning", text="going on with the CPU")
    worker.do_all()
    wait_until(lambda: not job.logic.busy)
    assert job.warnings == ["going on with the CPU"] == job.finished[0].warnings


def test_rules_of_the_grey_values_are_told_and_kept(job, cine):
    worker = job.start(cine.volume, (0, 1))
    worker.say("rule", source="/data/a.dcm", rule="window of the user", low=1, high=2)
    worker.say("rule", source=None, rule="percentiles", low=None, high=None)
    for index, source in enumerate(("/data/a.dcm", None)):
        worker.compute(index)
        worker.say("frame", index=index, number=index + 1, count=2, device="cpu", pixels=1, source=source)
    worker.say("done", seconds=1, failed=0)
    wait_until(lambda: not job.logic.busy)
    (summary,) = job.finished
    assert summary.rules == [
        "Grey values as the command line reads them from a.dcm: window of the user, 1 - 2.",
        "Grey values of the volume itself: percentiles.",
    ]
    node = slicer.mrmlScene.GetNodeByID(summary.segmentation_id)
    for index, wanted in ((1, summary.rules[1]), (5, None), (0, summary.rules[0])):
        cine.browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        assert node.GetAttribute("CASR.GreyValues") == wanted


def test_frames_that_fail_do_not_stop_the_others(job, cine):
    worker = job.start(cine.volume, (0, 1, 2))
    worker.do(0)
    worker.say("frame", index=1, number=2, count=3, error="constant image")
    worker.do(2)
    worker.say("done", seconds=1, failed=1)
    wait_until(lambda: not job.logic.busy)
    (summary,) = job.finished
    assert sorted(summary.pixels) == [0, 2] and summary.failed == {1: "constant image"}
    assert "1 failed, frame 2: constant image" in summary.text()


def test_no_frame_at_all_is_a_failure_and_leaves_nothing(job, frame_volume, scene):
    before = scene.GetNumberOfNodes()
    worker = job.start(frame_volume)
    worker.say("frame", index=0, number=1, count=1, error="constant image")
    worker.say("done", seconds=1, failed=1)
    wait_until(lambda: not job.logic.busy)
    assert "constant image" in str(job.failed[0]) and not job.finished
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode") and scene.GetNumberOfNodes() == before


def test_frames_without_vessels_are_named(job, cine):
    worker = job.start(cine.volume, (0, 1))
    worker.do(0)
    worker.do(1, limit=0)
    worker.say("done", seconds=1, failed=0)
    wait_until(lambda: not job.logic.busy)
    assert "No vessel was found in frame 2" in job.finished[0].text()


# Ends


def test_cancel_in_the_middle_keeps_what_is_done(job, cine):
    worker = job.start(cine.volume)
    worker.say("loaded", device="cpu", seconds=1.0)
    worker.do(0)
    wait_until(lambda: job.progress[-1].number == 1)
    folder = worker.folder
    job.logic.cancel()
    assert worker.killed and not job.logic.busy and job.cancelled == ["Canceled. 1 frame was written before."]
    assert not folder.exists() and not leftovers()
    worker.say("frame", index=1, number=2, count=6)  # too late
    worker.say("done", seconds=1, failed=0)
    worker.ended.emit(0, "")
    process_events(0.05)
    assert not job.finished and not job.failed
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
    assert job.run(cine.volume).pixels.keys() == set(range(6)), "the next job works"


def test_cancel_before_anything_is_done_leaves_nothing(job, cine, scene):
    before = scene.GetNumberOfNodes()
    job.start(cine.volume)
    process_events(0.05)
    job.logic.cancel()
    assert scene.GetNumberOfNodes() == before
    job.logic.cancel()
    assert job.cancelled == ["Canceled."], "a second time does nothing"


@pytest.mark.parametrize("moment", ["reading", "running"])
def test_scene_closed_in_the_middle(job, cine, scene, moment):
    worker = job.start(cine.volume)
    if moment == "running":
        worker.do(0)
        wait_until(lambda: job.progress[-1].number == 1)
    scene.Clear(0)
    assert worker.killed and "scene was closed" in job.cancelled[0]
    worker.say("done", seconds=1, failed=0)
    process_events(0.05)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode") and not leftovers()


@pytest.mark.parametrize("what", ["volume", "browser", "sequence", "segmentation"])
def test_node_deleted_in_the_middle(job, cine, scene, what):
    worker = job.start(cine.volume)
    worker.do(0)
    wait_until(lambda: job.progress[-1].number == 1)
    segmentation = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    scene.RemoveNode(segmentation if what == "segmentation" else getattr(cine, what))
    assert worker.killed and "deleted" in job.cancelled[0] and not job.logic.busy


def test_unrelated_node_deleted_does_not_matter(job, frame_volume, scene):
    other = scene.AddNewNodeByClass("vtkMRMLTextNode")
    worker = job.start(frame_volume)
    scene.RemoveNode(other)
    worker.do_all()
    wait_until(lambda: not job.logic.busy)
    assert job.finished


def test_frame_that_changes_in_the_middle_is_not_written(job, cine):
    worker = job.start(cine.volume, (0, 1))
    item = cine.sequence.GetNthDataNode(1)
    slicer.util.arrayFromVolume(item)[...] = 0
    slicer.util.arrayFromVolumeModified(item)
    worker.do_all()
    wait_until(lambda: not job.logic.busy)
    (summary,) = job.finished
    assert list(summary.pixels) == [0] and "changed since" in summary.failed[1]


def test_volume_that_changes_its_size_in_the_middle(job, make_volume, frame_pixels):
    volume = make_volume(frame_pixels)
    worker = job.start(volume)
    slicer.util.updateVolumeFromArray(volume, np.zeros((1, 64, 64), np.uint8))
    worker.do_all()
    wait_until(lambda: not job.logic.busy)
    assert job.failed and not job.finished


def test_worker_that_dies_shows_its_log(job, frame_volume):
    worker = job.start(frame_volume)
    worker.ended.emit(-9, "Traceback\nMemoryError")
    (error,) = job.failed
    assert "exit code -9" in str(error) and error.details == "Traceback\nMemoryError" and not job.logic.busy


def test_error_of_the_worker_is_the_message(job, frame_volume):
    job.start(frame_volume).say("error", kind="WeightsError", text="model.pt: cannot be read.")
    assert str(job.failed[0]) == "model.pt: cannot be read." and not leftovers()


def test_worker_that_cannot_start(job, frame_volume):
    FakeWorker.refuse = "PythonSlicer was not found"
    with pytest.raises(JobError, match="PythonSlicer"):
        job.start(frame_volume)
    assert not job.logic.busy and not leftovers()


def test_frame_that_cannot_be_read(job, make_volume):
    pixels = np.zeros((64, 64), np.float32)
    pixels[0, 0] = np.nan
    volume = make_volume(pixels, name="bad")
    job.logic.start(Request(sources.describe(volume), (0,), Path("bundle")))
    wait_until(lambda: not job.logic.busy)
    assert str(job.failed[0]).startswith("bad: pixels that are not finite") and FakeWorker.made[0].killed


def test_segmentation_that_does_not_fit(job, frame_volume, make_cine):
    cine = make_cine(3, name="other")
    summary = job.run(cine.volume, (0,))
    other = make_cine(3, name="second")
    job.start(other.volume, segmentation_id=summary.segmentation_id)
    wait_until(lambda: not job.logic.busy)
    assert "another cine" in str(job.failed[0])


def test_second_job_at_once_is_refused(job, frame_volume):
    job.start(frame_volume)
    with pytest.raises(JobError, match="under way"):
        job.logic.start(Request(sources.describe(frame_volume), (0,), Path("bundle")))


def test_source_that_is_gone(job, frame_volume, scene):
    source = sources.describe(frame_volume)
    scene.RemoveNode(frame_volume)
    with pytest.raises(FrameError, match="deleted"):
        job.logic.start(Request(source, (0,), Path("bundle")))
    with pytest.raises(FrameError):
        job.logic.start(Request(source, (), Path("bundle")))


def test_segmentation_that_is_gone(job, frame_volume):
    with pytest.raises(JobError, match="not in the scene"):
        job.logic.start(Request(sources.describe(frame_volume), (0,), Path("bundle"), segmentation_id="vtkMRMLNone1"))


def test_gui_is_never_blocked(job, make_cine):
    """Eight frames of 1024 x 1024. The best of up to three tries: the machine has other work."""
    pixels = np.tile(np.arange(1024, dtype=np.int64) % 251, (8, 1024, 1)).astype(np.uint8)
    longest = []
    for attempt in range(3):
        cine = make_cine(pixels, name=f"cine {attempt}")
        with gui_watchdog() as watch:
            worker = job.start(cine.volume, probability=True, statistics=True)
            worker.say("loaded", device="cpu", seconds=1.0)
        for number in range(8):
            worker.compute(number)  # in another process, in life
            with watch:
                worker.answer(number)
                process_events(0.02)
        with watch:
            worker.say("done", seconds=1.0, failed=0)
            wait_until(lambda: not job.logic.busy)
        assert watch.beats > 5
        longest.append((watch.busy_ms, watch.longest_ms))
        if longest[-1][0] < 50:
            break
    assert min(longest)[0] < 50 and min(longest)[1] < 1000, longest


# Which frames


def test_chosen_frames(cine, frame_volume):
    source = sources.describe(cine.volume)
    cine.browser.SetSelectedItemNumber(3)
    assert chosen_frames(source, Frames.ALL, 1, 1) == tuple(range(6))
    assert chosen_frames(source, Frames.CURRENT, 1, 1) == (3,)
    assert chosen_frames(source, Frames.RANGE, 2, 4) == (1, 2, 3)
    for first, last in ((0, 2), (3, 2), (1, 7)):
        with pytest.raises(FrameError, match="has frames 1 to 6"):
            chosen_frames(source, Frames.RANGE, first, last)
    assert chosen_frames(sources.describe(frame_volume), Frames.RANGE, 5, 9) == (0,)


def test_files_have_one_subject_and_are_short():
    import CASRSegmentationLib

    for path in Path(inspect.getfile(CASRSegmentationLib)).parents[1].glob("*Lib/*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path.name
