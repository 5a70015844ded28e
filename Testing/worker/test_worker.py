"""The worker process of the extension: in this process for what is hard to provoke, as a real process for the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from casr_net import Segmenter
from casr_net.errors import CASRError, DataError, UsageError
from casr_net.inference import shipped
from casr_net.refinement.contours import RefinementParameters, refine
from casr_net.worker import PROTOCOL, FrameWorker

BUNDLE = Path(__file__).resolve().parents[2] / "monai_bundle"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(BUNDLE)}
COMMAND = [sys.executable, "-m", "casr_net.worker"]


def make_job(folder: Path, frames: np.ndarray, **entries: Any) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / "frames.npy", frames)
    (folder / "job.json").write_text(json.dumps({"indices": list(range(len(frames))), **entries}))
    return folder


class Recorder:
    """A worker in this process with a small network, and what it says."""

    def __init__(self, make: Any) -> None:
        self.messages: list[dict[str, Any]] = []
        self.devices: list[str] = []
        self.worker = FrameWorker(self.messages.append, lambda device: self.devices.append(device) or make(device))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == name]


@pytest.fixture(scope="module")
def segmenter(random_weights: Path, small_config: Path) -> Segmenter:
    return Segmenter(small_config, device="cpu", weights=str(random_weights))


@pytest.fixture
def recorder(segmenter: Segmenter) -> Recorder:
    segmenter.refinement = Segmenter().refinement
    return Recorder(lambda device: segmenter)


def test_job_gives_what_the_segmenter_gives(
    recorder: Recorder, segmenter: Segmenter, angiogram: np.ndarray, tmp_path: Path
) -> None:
    frames = np.stack([angiogram, angiogram[::-1]])
    folder = make_job(tmp_path / "job", frames, indices=[4, 9], device="cpu")
    recorder.worker.segment(folder)
    assert [m["event"] for m in recorder.messages] == ["loaded", "rule", "frame", "frame", "done"]
    assert [(m["index"], m["number"], m["count"]) for m in recorder.events("frame")] == [(4, 1, 2), (9, 2, 2)]
    wanted = segmenter(frames)
    for place, (index, message) in enumerate(zip((4, 9), recorder.events("frame"), strict=True)):
        mask, probability = (np.load(folder / f"{name}_{index:05d}.npy") for name in ("mask", "probability"))
        assert mask.dtype == np.uint8 and probability.dtype == np.float32
        assert (mask == wanted.mask[place]).all() and message["pixels"] == mask.sum()
        assert np.allclose(probability, wanted.probability[place], atol=1e-6)
    assert not list(folder.glob(".*"))


def test_intensity_range_is_that_of_the_job(recorder: Recorder, angiogram: np.ndarray, tmp_path: Path) -> None:
    deep = angiogram.astype(np.uint16) * 16
    for name, frame, window in (("deep", deep, [0, 255 * 16]), ("plain", angiogram, None)):
        recorder.worker.segment(make_job(tmp_path / name, frame[None], intensity_range=window, device="cpu"))
    deep_map, plain_map = (np.load(tmp_path / name / "probability_00000.npy") for name in ("deep", "plain"))
    assert np.allclose(deep_map, plain_map, atol=1e-5)


def test_refine_anew_without_the_network(recorder: Recorder, angiogram: np.ndarray, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", angiogram[None], device="cpu")
    lines = [{"command": "segment", "folder": str(folder)}]
    lines += [{"command": "refine", "folder": str(folder), "index": 0, "threshold": 0.3, "refine": False, "id": 7}]
    recorder.worker.serve(json.dumps(line) for line in lines)
    (refined,) = recorder.events("refined")
    mask, probability = (np.load(folder / f"{name}_00000.npy") for name in ("mask", "probability"))
    assert (mask == (probability >= np.float32(0.3))).all()
    assert (refined["id"], refined["index"], refined["pixels"]) == (7, 0, mask.sum())
    assert recorder.devices == ["cpu"]


def test_refinement_needs_neither_network_nor_torch(tmp_path: Path, angiogram: np.ndarray) -> None:
    """In a process of its own, whose imports are listed."""
    np.save(tmp_path / "probability_00000.npy", np.where(angiogram < 110, np.float32(0.9), np.float32(0.1)))
    code = """
import json, sys
from casr_net.worker import FrameWorker
worker = FrameWorker(lambda message: print(json.dumps(message)))
worker.refine(__import__("pathlib").Path(sys.argv[1]), 0, 0.5, True)
print(json.dumps([name for name in ("torch", "monai") if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    message, modules = map(json.loads, done.stdout.splitlines())
    assert message["event"] == "refined" and modules == []
    wanted = refine(np.load(tmp_path / "probability_00000.npy").T, RefinementParameters()).T
    assert wanted.any() and (np.load(tmp_path / "mask_00000.npy") == wanted).all()


def test_parameters_of_the_refinement_are_those_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shipped.shipped_refinement() == Segmenter().refinement
    (tmp_path / "configs").mkdir()
    content = json.loads((BUNDLE / "configs" / "inference.json").read_text())
    step = next(s for s in content["postprocessing"]["transforms"] if s["_target_"].endswith("RefineVesselsd"))
    monkeypatch.setattr(shipped, "bundle_root", lambda: tmp_path)

    def changed(**values: Any) -> RefinementParameters | None:
        step.update(values)
        (tmp_path / "configs" / "inference.json").write_text(json.dumps(content))
        return shipped.shipped_refinement()

    content["gap"] = 0.02
    assert changed(max_gap="@gap", min_area=0.01) == RefinementParameters(max_gap=0.02, min_area=0.01)
    assert changed(max_gap="$@gap * 2") is None, "only MONAI can tell"
    with pytest.raises(UsageError, match=r"inference\.json: max_gap is -1"):
        changed(max_gap=-1)
    (tmp_path / "configs" / "inference.json").write_text("{")
    with pytest.raises(UsageError, match="not a JSON configuration"):
        shipped.shipped_refinement()


def test_refinement_switch_changes_back(recorder: Recorder, angiogram: np.ndarray, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", angiogram[None], device="cpu")
    recorder.worker.segment(folder)
    first = np.load(folder / "mask_00000.npy")
    for switch in (False, True):
        recorder.worker.refine(folder, 0, 0.5, switch)
    assert (np.load(folder / "mask_00000.npy") == first).all()


def test_one_bad_frame_costs_no_other(recorder: Recorder, angiogram: np.ndarray, tmp_path: Path) -> None:
    frames = np.stack([np.full_like(angiogram, 7), angiogram])
    folder = make_job(tmp_path / "job", frames, device="cpu")
    recorder.worker.segment(folder)
    bad, good = recorder.events("frame")
    assert "constant" in bad["error"] and "error" not in good
    assert not (folder / "mask_00000.npy").exists() and (folder / "mask_00001.npy").exists()
    assert recorder.events("done")[0]["failed"] == 1


class Failing(Segmenter):
    """Fails on its second frame."""

    at_once = False

    def __init__(self, inner: Segmenter, error: Exception) -> None:
        self.__dict__.update(inner.__dict__)
        self.error, self.count = error, 0

    def grey(self, image: np.ndarray, affine: Any = None, frames: int | None = None) -> Any:
        self.count += 1
        if self.count == 2:
            raise self.error
        return super().grey(image, affine, frames)


def wrapped(cause: Exception) -> Exception:
    """As MONAI raises what a transform has raised."""
    error = RuntimeError("applying transform <X>")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (RuntimeError("tensor a\nmust match \x1b[31m tensor b"), "RuntimeError", r"must match \\x1b\[31m tensor b"),
        (MemoryError(), "MemoryError", "memory does not suffice"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough"), "MemoryError", "memory does not suffice"),
        (wrapped(MemoryError()), "MemoryError", "memory does not suffice"),
        (wrapped(DataError("a.dcm: cut off.")), "DataError", r"^a\.dcm: cut off\.$"),
        (ZeroDivisionError("x" * 10_000), "ZeroDivisionError", r"xxx\.\.\."),
        (KeyError("pred"), "KeyError", "failed unexpectedly"),
    ],
)
def test_error_that_nobody_expected_costs_one_frame(
    segmenter: Segmenter, angiogram: np.ndarray, tmp_path: Path, capfd: Any, error: Exception, kind: str, text: str
) -> None:
    recorder = Recorder(lambda device: Failing(segmenter, error))
    folder = make_job(tmp_path / "job", np.stack([angiogram] * 3), device="cpu")
    recorder.worker.serve([json.dumps({"command": "segment", "folder": str(folder), "id": 1})])
    first, second, third = recorder.events("frame")
    assert "error" not in first and "error" not in third and recorder.events("done")[0]["failed"] == 1
    assert second["kind"] == kind and re.search(text, second["error"]) and second["error"].isprintable()
    assert len(second["error"]) < 400
    unexpected = kind not in ("MemoryError", "DataError")
    assert ("Traceback" in capfd.readouterr().err) == ("Traceback" in second.get("details", "")) == unexpected
    assert not (folder / "mask_00001.npy").exists() and (folder / "mask_00002.npy").exists()


def test_error_that_nobody_expected_costs_one_command(tmp_path: Path, angiogram: np.ndarray) -> None:
    def make(device: str) -> Segmenter:
        raise OSError(5, "Input/output error")

    recorder = Recorder(make)
    folder = make_job(tmp_path / "job", angiogram[None])
    line = {"command": "segment", "folder": str(folder)}
    recorder.worker.serve([json.dumps({**line, "id": 1}), json.dumps({**line, "folder": "/none", "id": 2})])
    first, second = recorder.events("error")
    assert (first["id"], first["kind"], second["id"], second["kind"]) == (1, "OSError", 2, "DataError")
    assert "failed unexpectedly" in first["text"]


class FullGPU(Segmenter):
    """As if on a GPU whose memory is full: fails there, works on the CPU."""

    def __init__(self, inner: Segmenter) -> None:
        self.__dict__.update(inner.__dict__)
        self.device = torch.device("cuda:0")

    def grey(self, image: np.ndarray, affine: Any = None, frames: int | None = None) -> Any:
        if self.device.type == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().grey(image, affine, frames)


def test_out_of_memory_goes_on_with_the_cpu(segmenter: Segmenter, angiogram: np.ndarray, tmp_path: Path) -> None:
    recorder = Recorder(lambda device: FullGPU(segmenter))
    recorder.worker.segment(make_job(tmp_path / "job", np.stack([angiogram] * 2), device="auto"))
    (warning,) = recorder.events("warning")
    assert "going on with the CPU" in warning["text"] and "2 GiB" in warning["text"]
    assert [m["device"] for m in recorder.events("frame")] == ["cpu", "cpu"]


def test_network_is_loaded_once_a_device(recorder: Recorder, angiogram: np.ndarray, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", angiogram[None], device="cpu")
    recorder.worker.segment(folder)
    recorder.worker.segment(folder)
    assert recorder.devices == ["cpu"] and len(recorder.events("loaded")) == 1
    recorder.worker.segment(make_job(tmp_path / "job", angiogram[None], device="auto"))
    assert recorder.devices == ["cpu", "auto"]


@pytest.mark.parametrize(
    ("entries", "kind", "text"),
    [
        ({"indices": [0, 1]}, UsageError, "2 different indices for frames of shape"),
        ({"indices": [-1]}, UsageError, "expected frame numbers from 0"),
        ({"intensity_range": [5, 5]}, UsageError, "intensity_range is"),
        ({"intensity_range": ["a", 5]}, UsageError, "intensity_range is"),
        ({"threshold": 0}, UsageError, "above 0 and at most 1"),
        ({"threshold": "x"}, UsageError, "above 0 and at most 1"),
        ({"refine": 1}, UsageError, "true or false"),
        ({"treshold": 0.5}, UsageError, "unknown entry 'treshold'"),
        ({"source": 7}, UsageError, "source is 7; expected the path of a file"),
        ({"source": "a.dcm", "source_frames": [0, 1]}, UsageError, "2 source_frames for 1 indices"),
        ({"source": "a.dcm", "source_frames": [-1]}, UsageError, "source_frames are"),
        ({"unchanged": 1}, UsageError, "unchanged is 1; expected true or false"),
        ({"inverted": "yes"}, UsageError, "inverted is 'yes'; expected true or false"),
        ({"device": ["cpu"]}, UsageError, "device is"),
    ],
)
def test_wrong_jobs(
    recorder: Recorder, angiogram: np.ndarray, tmp_path: Path, entries: dict[str, Any], kind: type[CASRError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        recorder.worker.segment(make_job(tmp_path / "job", angiogram[None], **entries))


def test_missing_and_damaged_files(recorder: Recorder, angiogram: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"job\.json: cannot be read"):
        recorder.worker.segment(tmp_path)
    folder = make_job(tmp_path / "job", angiogram[None])
    (folder / "frames.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"frames\.npy: cannot be read as an array"):
        recorder.worker.segment(folder)
    (folder / "job.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        recorder.worker.segment(folder)
    with pytest.raises(DataError, match="probability_00003"):
        recorder.worker.refine(folder, 3, 0.5, True)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "is not JSON"),
        ("[]", "no entry 'command'"),
        ('{"command": "dance", "folder": "x"}', "known are segment, refine, measure, quit"),
        ('{"command": "segment"}', "folder is None"),
        ('{"command": "refine", "folder": "x", "index": "0"}', "index is '0'"),
    ],
)
def test_wrong_commands_are_answered_and_the_next_is_taken(recorder: Recorder, line: str, text: str) -> None:
    recorder.worker.serve([line, '{"command": "segment", "folder": "/none", "id": 3}', '{"command": "quit"}', "never"])
    first, second = recorder.messages
    assert first["event"] == second["event"] == "error"
    assert text in first["text"]
    assert second["kind"] == "DataError" and second["id"] == 3


def run(arguments: list[str], stdin: str = "") -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_real_process_serves_jobs_with_the_shipped_weights(tmp_path: Path) -> None:
    from casr_net.synthetic.angiogram import make_cine

    frames = np.stack([frame.image for frame in make_cine(seed=2, frames=3, size=256)])
    folder = make_job(tmp_path / "job", frames, device="cpu")
    commands = [
        {"command": "segment", "folder": str(folder), "id": 1},
        {"command": "refine", "folder": str(folder), "index": 1, "threshold": 0.7, "refine": True, "id": 2},
    ]
    code, messages, log = run([], "\n".join(map(json.dumps, commands)) + "\n")
    assert code == 0, log
    names = [message["event"] for message in messages]
    assert names == ["hello", "loaded", "rule", "frame", "frame", "frame", "done", "refined"]
    assert [message.get("id") for message in messages] == [None, 1, 1, 1, 1, 1, 1, 2]
    assert messages[0]["protocol"] == PROTOCOL and isinstance(PROTOCOL, int)


def test_real_process_says_what_is_wrong(tmp_path: Path) -> None:
    code, messages, _ = run([str(tmp_path)])
    assert code == 1 and [m["event"] for m in messages] == ["hello", "error"]
    assert str(tmp_path / "job.json") in messages[1]["text"]
    code, messages, _ = run(["a", "b"])
    assert code == 2 and "2 arguments" in messages[1]["text"]


def test_phantom_cine_in_a_real_process(real_data: Path, tmp_path: Path) -> None:
    from casr_net.files.images import read_angiogram

    path = real_data / "xa_dicom" / "phantom_14frames.dcm"
    cine = read_angiogram(path)
    frames = np.stack([cine.stored(index)[0].T for index in range(cine.frames)])
    assert frames.shape[0] == 14
    folder = make_job(tmp_path / "job", np.ascontiguousarray(frames), device="cpu")
    code, messages, log = run([str(folder)])
    assert code == 0, log
    assert [m["index"] for m in messages if m["event"] == "frame"] == list(range(14))
    assert all(np.load(folder / f"mask_{i:05d}.npy").shape == frames.shape[1:] for i in range(14))


def test_all_frames_of_a_job_have_one_intensity_range(
    recorder: Recorder, segmenter: Segmenter, angiogram: np.ndarray, tmp_path: Path
) -> None:
    frames = np.stack([angiogram.astype(np.uint16) * 16, angiogram.astype(np.uint16) * 4])
    folder = make_job(tmp_path / "job", frames, device="cpu")
    recorder.worker.segment(folder)
    wanted = segmenter(frames)
    for index in range(2):
        assert np.allclose(np.load(folder / f"probability_{index:05d}.npy"), wanted.probability[index], atol=1e-6)
    alone = segmenter.frame(frames[1])
    assert not np.allclose(alone.probability, wanted.probability[1], atol=1e-3), "the frame alone has another range"


def test_several_frames_at_once_keep_their_order_and_their_errors(
    recorder: Recorder, segmenter: Segmenter, angiogram: np.ndarray, tmp_path: Path
) -> None:
    from casr_net.inference.threads import Shares, sharing

    frames = np.stack([np.roll(angiogram, 5 * index, axis=1) for index in range(9)])
    frames[4] = 80  # constant: fails when it is decoded
    folder = make_job(tmp_path / "job", frames, indices=list(range(20, 29)), device="cpu")
    with sharing(Shares(3, requests=3)):
        recorder.worker.segment(folder)
    messages = recorder.events("frame")
    assert [message["index"] for message in messages] == list(range(20, 29))
    assert [message["index"] for message in messages if "error" in message] == [24]
    assert recorder.events("done")[0]["failed"] == 1
    with sharing(Shares(1)):
        recorder.worker.segment(make_job(tmp_path / "alone", frames, indices=list(range(20, 29)), device="cpu"))
    for index in sorted({*range(20, 29)} - {24}):
        together, alone = (np.load(tmp_path / name / f"mask_{index:05d}.npy") for name in ("job", "alone"))
        assert np.array_equal(together, alone)
