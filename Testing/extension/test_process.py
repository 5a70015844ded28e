"""The real worker process with the shipped weights, as the extension starts it. [real subprocess, real Slicer C++]"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import slicer
from CASRSegmentationLib import bundles, sources
from CASRSegmentationLib.job import JobError, Request
from CASRSegmentationLib.logic import CASRSegmentationLogic
from CASRSegmentationLib.process import Worker, WorkerError
from CASRSegmentationLib.protocol import PROTOCOL, Job
from standins.event_loop import gui_watchdog, process_events, wait_until
from standins.workers import install_python_slicer

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "xa_dicom"
STUBBORN = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps({"event": "hello", "protocol": PROTOCOL, "pid": child.pid, "version": "0"}), flush=True)
print("\\xff not a message, and a number: 3", flush=True)
sys.stderr.write("line before the end\\n")
for line in sys.stdin:
    if "die" in line:
        sys.exit(7)
    if "talk" in line:
        print('{"event": "fra', end="", flush=True)
        time.sleep(0.1)
        print('me", "index": 3}', flush=True)
time.sleep(600)
"""


@pytest.fixture
def bundle():
    return bundles.shipped().folder


@pytest.fixture
def stubborn(tmp_path):
    """A bundle whose worker does not end by itself, and has a child."""
    folder = tmp_path / "stubborn"
    (folder / "casr_net").mkdir(parents=True)
    (folder / "casr_net" / "__init__.py").touch()
    code = f"PROTOCOL = {PROTOCOL}\n{textwrap.dedent(STUBBORN)}"
    (folder / "casr_net" / "worker.py").write_text(code, encoding="utf-8")
    return folder


class Heard:
    def __init__(self, worker: Worker) -> None:
        self.messages, self.ends = [], []
        worker.message.connect(self.messages.append)
        worker.ended.connect(lambda code, log: self.ends.append((code, log)))

    def events(self) -> list[str]:
        return [message["event"] for message in self.messages]


def started(bundle: Path, folder: Path | None = None, **options) -> tuple[Worker, Heard]:
    worker = Worker(bundle, python=sys.executable, **options)
    heard = Heard(worker)
    worker.start(folder)
    return worker, heard


def test_job_mode(bundle, frame_pixels, tmp_path, app):
    Job((5,), None, "cpu").save(tmp_path, frame_pixels[None])
    worker, heard = started(bundle, tmp_path)
    wait_until(lambda: heard.ends, 120, "the worker")
    assert heard.events() == ["hello", "loaded", "rule", "frame", "done"] and heard.ends[0][0] == 0
    assert (tmp_path / "mask_00005.npy").is_file() and not worker.running


@pytest.mark.parametrize("spoken", ["", ', "protocol": 1', ', "protocol": 3'])
def test_bundle_of_another_protocol(tmp_path, app, spoken):
    """Bundles up to 0.3.0 state no protocol."""
    (tmp_path / "casr_net").mkdir()
    (tmp_path / "casr_net" / "__init__.py").touch()
    (tmp_path / "casr_net" / "worker.py").write_text(
        f"""print('{{"event": "hello", "pid": 1, "version": "0.3.0"{spoken}}}', flush=True)\n"""
        """print('{"event": "error", "text": "unknown entry"}', flush=True)\nimport time\ntime.sleep(60)\n"""
    )
    worker, heard = started(tmp_path)
    process = psutil.Process(worker.pid)
    wait_until(lambda: heard.messages)
    process_events(0.1)
    (message,) = heard.messages
    assert message["event"] == "error" and not worker.running
    for part in (str(tmp_path), "0.3.0", f"protocol {spoken[-1:] or '1'}", f"the extension {PROTOCOL}"):
        assert part in message["text"]
    wait_until(lambda: not process.is_running() or process.status() == "zombie")


def test_protocol_of_the_bundle_is_ours(bundle):
    """The number stands in two files, since the extension must not import the bundle."""
    from casr_net.worker import PROTOCOL as THEIRS  # noqa: N811

    assert THEIRS == PROTOCOL


def test_worker_is_told_whom_to_outlive_not(stubborn, app):
    (stubborn / "casr_net" / "worker.py").write_text(
        'import json, os\nprint(json.dumps({"event": "parent", "pid": os.environ["CASR_PARENT_PID"]}), flush=True)\n'
    )
    _worker, heard = started(stubborn)
    wait_until(lambda: heard.ends)
    assert heard.messages[0]["pid"] == str(os.getpid())


def test_messages_in_pieces_and_rubbish(stubborn, app):
    worker, heard = started(stubborn)
    worker.send({"command": "talk"})
    wait_until(lambda: len(heard.messages) == 2, 20, "two messages")
    assert heard.messages[1] == {"event": "frame", "index": 3}
    worker.cancel()


def test_end_brings_code_and_log(stubborn, app):
    worker, heard = started(stubborn)
    wait_until(lambda: heard.messages)
    worker.send({"command": "die"})
    wait_until(lambda: heard.ends)
    assert heard.ends == [(7, "line before the end")]
    with pytest.raises(WorkerError, match="not running"):
        worker.send({"command": "talk"})
    psutil.Process(heard.messages[0]["pid"]).kill()


def test_cancel_kills_the_whole_tree_and_is_silent(stubborn, app):
    worker, heard = started(stubborn)
    wait_until(lambda: heard.messages)
    child, launcher = psutil.Process(heard.messages[0]["pid"]), psutil.Process(worker.pid)
    started_at = time.perf_counter()
    worker.cancel()
    assert time.perf_counter() - started_at < 0.05, "cancel does not wait"
    wait_until(lambda: not worker.running)
    for process in (child, launcher):
        wait_until(lambda process=process: not process.is_running() or process.status() == "zombie")
    process_events(0.1)
    assert not heard.ends and heard.events() == ["hello"]
    worker.cancel()


def test_worker_that_cannot_be_started(bundle, tmp_path, app, monkeypatch):
    with pytest.raises(WorkerError, match="no-python: cannot be started"):
        Worker(bundle, python=str(tmp_path / "no-python")).start()
    with pytest.raises(WorkerError, match=r"no casr_net/worker\.py"):
        Worker(tmp_path, python=sys.executable).start()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorkerError, match="PythonSlicer was not found"):
        Worker(bundle).start()


def test_temporary_files_are_removed(stubborn, app, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    worker, heard = started(stubborn)
    wait_until(lambda: heard.messages)
    worker.cancel()
    wait_until(lambda: not list((tmp_path / "temporary").glob("casr-worker-*")))


# The whole way: logic, worker, segmentation


@pytest.fixture
def logic(scene, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    install_python_slicer(tmp_path / "bin", monkeypatch)
    one = CASRSegmentationLogic()
    yield one
    one.cancel()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1.0)


def sample_cine():
    from CASRSegmentationLib import sample_data

    volume, browser = sample_data.load_cine()
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    return volume, browser


def test_synthetic_cine_with_the_shipped_weights(logic, bundle):
    """Range of the shipped cine; the same masks as the network in this process gives."""
    from casr_net import Segmenter

    volume, browser = sample_cine()
    browser.SetSelectedItemNumber(1)
    source = sources.describe(volume)
    with gui_watchdog() as watch:
        summary = logic.process(Request(source, (3, 4, 5), bundle, device="cpu", probability=True, statistics=True))
    assert watch.beats > 100 and watch.busy_ms < 50 and watch.longest_ms < 3000, (watch.busy_ms, watch.longest_ms)
    assert sorted(summary.pixels) == [3, 4, 5] and browser.GetSelectedItemNumber() == 1
    segmenter = Segmenter(device="cpu", tta=False)  # as frames of cines
    node = slicer.mrmlScene.GetNodeByID(summary.segmentation_id)
    for index in (3, 5):
        browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, summary.segment_id, volume)[0] > 0
        wanted = segmenter(slicer.util.arrayFromVolume(volume)[0]).mask
        assert mask.sum() > 1000 and dice(mask, wanted) > 0.999


def test_killed_worker_is_reported_and_the_next_job_works(logic, bundle, frame_volume):
    source = sources.describe(frame_volume)
    request = Request(source, (0,), bundle, device="cpu")
    failures = []
    logic.failed.connect(failures.append)
    logic.start(request)
    wait_until(lambda: logic.state.value == "starting")
    os.kill(logic._worker.pid, signal.SIGKILL)
    wait_until(lambda: failures)
    assert "exit code -9" in str(failures[0]) and not logic.busy
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    logic.failed.disconnect(failures.append)
    assert logic.process(request).pixels


def test_cancel_in_the_middle_of_a_cine(logic, bundle):
    volume, _browser = sample_cine()
    progress, cancelled = [], []
    logic.progress_changed.connect(progress.append)
    logic.cancelled.connect(cancelled.append)
    source = sources.describe(volume)
    logic.start(Request(source, tuple(range(source.count)), bundle, device="cpu"))
    wait_until(lambda: progress and progress[-1].number >= 1, 120, "the first frame")
    process = psutil.Process(logic._worker.pid)
    logic.cancel()
    wait_until(lambda: not process.is_running() or process.status() == "zombie")
    process_events(0.2)
    assert len(cancelled) == 1 and "written before" in cancelled[0] and not logic.busy


@pytest.mark.parametrize("device", ["cuda:7", "cuda"])
def test_device_that_is_not_there(logic, bundle, frame_volume, device):
    import torch

    if torch.cuda.is_available() and device == "cuda":
        pytest.skip("this machine has a GPU")
    with pytest.raises(JobError, match="cuda"):
        logic.process(Request(sources.describe(frame_volume), (0,), bundle, device=device))


OOM = """
import torch
import casr_net.inference.segmenter as segmenter
from casr_net.worker import main

class Segmenter(segmenter.Segmenter):
    def __init__(self, device="auto"):
        super().__init__(device="cpu")
        self.device = torch.device("meta")

    def grey(self, image, affine=None, frames=None):
        if self.device.type != "cpu":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return super().grey(image, affine, frames)

segmenter.Segmenter = Segmenter
raise SystemExit(main())
"""


def test_memory_of_the_gpu_does_not_suffice(logic, bundle, frame_volume, tmp_path):
    """Simulated: a worker whose segmenter runs out of CUDA memory on its first frame."""
    folder = tmp_path / "oom"
    (folder / "real").mkdir(parents=True)
    for name in ("casr_net", "configs", "models"):
        (folder / "real" / name).symlink_to(bundle / name)
    (folder / "casr_net").mkdir()
    (folder / "casr_net" / "__init__.py").touch()  # a folder without it gives way to any installed package
    (folder / "casr_net" / "worker.py").write_text(
        f"import sys\nsys.path.insert(0, {str(folder / 'real')!r})\n"
        "for name in [n for n in sys.modules if n.startswith('casr_net')]:\n    del sys.modules[name]\n" + OOM,
        encoding="utf-8",
    )
    warnings = []
    logic.warned.connect(warnings.append)
    summary = logic.process(Request(sources.describe(frame_volume), (0,), folder))
    assert "memory did not suffice" in warnings[0] and summary.warnings == warnings
    assert summary.device == "cpu" and 0 in summary.pixels


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/xa_dicom is not there")
def test_phantom_xa(logic, bundle, make_cine):
    """14 frames of a real XA file of a phantom, as Slicer's DICOM plugin lays them into the scene."""
    import pydicom

    from casr_net import Segmenter

    frames = pydicom.dcmread(SHARED / "phantom_14frames.dcm").pixel_array
    cine = make_cine(np.ascontiguousarray(frames), name="phantom")
    source = sources.describe(cine.volume)
    summary = logic.process(Request(source, tuple(range(14)), bundle, device="cpu", statistics=True))
    assert sorted(summary.pixels) == list(range(14)) and not summary.failed
    wanted = Segmenter(device="cpu").frame(frames[9]).mask
    cine.browser.SetSelectedItemNumber(9)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    node = slicer.mrmlScene.GetNodeByID(summary.segmentation_id)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, summary.segment_id, cine.volume)[0] > 0
    assert (mask == wanted).mean() > 0.9999
