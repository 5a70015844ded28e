"""Frames that cannot be done, and what looks wrong about those that can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casr_net.cli import main
from casr_net.errors import DataError, UsageError
from casr_net.files.images import Angiogram
from casr_net.files.inputs import find_inputs
from casr_net.files.masks import read_mask
from casr_net.files.results import ResultWriter
from casr_net.inference.evaluator import FrameDataset
from casr_net.inference.filerecord import FileRecord, frame_ranges
from casr_net.inference.record import RunReport
from casr_net.inference.run import wanted_items

from .conftest import files, record


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Frames of the TIFF cine whose decoding fails."""
    frames: set[int] = set()
    grey = Angiogram.grey

    def decode(self: Angiogram, frame: int) -> np.ndarray:
        if self.path.suffix == ".tif" and frame in frames:
            raise (DataError(f"{self.path}: the frame is cut off.") if frame % 2 else ValueError("odd bits"))
        return grey(self, frame)

    monkeypatch.setattr(Angiogram, "grey", decode)
    return frames


@pytest.mark.parametrize("frames", [{1, 3}, {0, 4}, {0, 1, 2, 3, 4}])
def test_frames_that_fail_cost_only_themselves(segment, png: Path, cine: Path, capsys, damaged, frames) -> None:
    damaged |= frames
    code, output = segment(cine, png)
    assert code == 1
    good = [f"run1_f000{i}_mask.png" for i in range(5) if i not in frames]
    assert files(output) == ["angio_mask.png", "run.json", *good]
    error = capsys.readouterr().err
    first = min(frames)
    reason = "the frame is cut off." if first % 2 else "results cannot be made: ValueError: odd bits"
    text = f"{cine}: {len(frames)} of 5 frames failed ({frame_ranges(frames)}); frame {first + 1}: {reason}"
    assert error.splitlines() == [text]
    (run,) = record(output)["runs"]
    file = run["files"][0]
    assert (file["state"], file["failed"], file["done"]) == ("failed", sorted(frames), 5 - len(frames))
    assert file["error"] == text
    assert run["frames"] == {"expected": 6, "before": 0, "done": 6 - len(frames), "failed": len(frames)}
    # Mended, the missing frames are done.
    damaged.clear()
    assert segment(cine, png)[0] == 0
    assert record(output)["runs"][1]["frames"]["done"] == len(frames)


@pytest.mark.parametrize("frame", [0, 2, 4])
def test_no_part_of_a_cine_is_written_as_its_stack(segment, cine: Path, damaged, frame: int) -> None:
    damaged.add(frame)
    code, output = segment(cine, options=("--format", "nii.gz"))
    assert code == 1
    assert files(output) == ["run.json"]


def test_an_error_in_the_network_costs_its_frame_only(segment, cine: Path, monkeypatch, capsys) -> None:
    from casr_net.inference.predict import FrameInferer

    call, calls = FrameInferer.__call__, []

    def fail(self: Any, inputs: Any, network: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return call(self, inputs, network)

    monkeypatch.setattr(FrameInferer, "__call__", fail)
    code, output = segment(cine)
    assert code == 1
    assert "1 of 5 frames failed (2); frame 2: results cannot be made: RuntimeError: out of memory" in (
        capsys.readouterr().err
    )
    assert files(output) == ["run.json", *(f"run1_f000{i}_mask.png" for i in (0, 2, 3, 4))]


def test_debug_shows_where_the_error_of_a_single_file_comes_from(segment, cine: Path, capsys, damaged) -> None:
    damaged.add(2)
    segment(cine)
    assert "Traceback" not in capsys.readouterr().err
    segment(cine, options=("--overwrite", "--debug"), quiet=False)
    error = capsys.readouterr().err
    assert "Traceback" in error and 'raise (DataError(f"{self.path}' in error


def test_quiet_says_errors_only(segment, png: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    segment(png, tmp_path / "bad.png")
    (line,) = capsys.readouterr().err.splitlines()
    assert "bad.png: " in line
    segment(png, options=("--overwrite",), quiet=False)
    assert "1 of 1 files segmented" in capsys.readouterr().err


def test_what_looks_wrong_is_said_once_a_file_and_kept(segment, png: Path, cine: Path, monkeypatch, capsys) -> None:
    import torch

    from casr_net.network.casrnet import CASRNet

    monkeypatch.setattr(CASRNet, "forward", lambda self, x: torch.full_like(x[:, :1], -9.0))
    code, output = segment(cine, png, options=("--window", 40, 20), quiet=False)
    assert code == 0
    lines = capsys.readouterr().err.splitlines()
    clipped = "the grey range clips more than half of the exposed field"
    assert f"{cine}: {clipped} in 5 of 5 frames (1 to 5)." in lines
    assert f"{cine}: no vessel was found in 5 of 5 frames (1 to 5)." in lines
    assert f"{png}: no vessel was found." in lines
    (run,) = record(output)["runs"]
    assert run["files"][1]["warnings"] == [f"{clipped}.", "no vessel was found."]
    grey = run["files"][1]["grey"]
    assert (grey["rule"], grey["low"], grey["high"]) == ("window of the user", 30, 49)


@pytest.mark.parametrize(("frames", "marked", "said"), [
    (1, {0: 0}, "0.0% of the image"), (1, {0: 299}, "1.5% of the image"), (1, {0: 300}, ""),
    (3, {0: 0, 1: 0, 2: 299}, "1.5% of a frame"), (3, {0: 0, 1: 0, 2: 300}, ""), (3, {}, ""),
])  # fmt: skip
def test_vessels_that_are_next_to_nothing_in_all_frames(frames: int, marked: dict[int, int], said: str) -> None:
    """As they are where bright vessels are taken for dark ones; frames before the contrast agent are not meant."""
    record = FileRecord("a.dcm", "a", frames, wanted=frames, done=frames)
    record.source, record.area = {"columns": 200, "rows": 100}, marked
    lines = record.conclude()
    assert len(lines) == bool(said)
    assert all(f"{said} at most" in line and "where dark ones are expected" in line for line in lines)
    # A part of a cine tells nothing of the rest, and a grey range that clips is another reason.
    for spoil in ({"before": 1}, {"clipped": [0]}):
        other = FileRecord("a.dcm", "a", frames, **spoil)
        other.source, other.area = record.source, marked
        assert not any("dark ones" in line for line in other.conclude())


def test_an_ordinary_image_gets_no_warning(segment, png: Path, monkeypatch, capsys) -> None:
    from casr_net.network.casrnet import CASRNet

    monkeypatch.setattr(CASRNet, "forward", lambda self, x: -8 * x[:, :1])
    _, output = segment(png, quiet=False)
    assert record(output)["runs"][0]["files"][0]["warnings"] == []
    assert str(png) not in capsys.readouterr().err


def test_window_reaches_the_network(segment, tmp_path: Path, angiogram: np.ndarray) -> None:
    Image.fromarray(angiogram.astype(np.uint16) * 100).save(tmp_path / "deep.tif")
    _, output = segment(tmp_path / "deep.tif", options=("--probability",))
    plain = np.asarray(Image.open(output / "deep_probability.png"))
    _, output = segment(tmp_path / "deep.tif", options=("--probability", "--overwrite", "--window", 9000, 4000))
    assert (np.asarray(Image.open(output / "deep_probability.png")) != plain).any()
    grey = record(output)["runs"][1]["files"][0]["grey"]
    assert (grey["low"], grey["high"]) == (7000, 10999)


@pytest.mark.parametrize("window", [("0", "1"), ("nan", "5"), ("5", "inf"), ("5", "-3")])
def test_an_impossible_window_is_refused(png: Path, tmp_path: Path, capsys, window: tuple[str, str]) -> None:
    for command in (["segment", str(png), "--output", str(tmp_path / "out")], ["info", str(png)]):
        assert main([*command, "--window", *window]) == 2
        assert "--window" in capsys.readouterr().err


def test_large_stacks_wait_on_the_disk(tmp_path: Path, cine: Path, monkeypatch) -> None:
    monkeypatch.setattr("casr_net.files.stacks.STACK_IN_MEMORY", 0)
    writer = ResultWriter(tmp_path, format="nrrd")
    items = find_inputs(cine).items
    for item in items:
        mask = np.zeros((160, 128))
        mask[item["frame"], 7] = 1
        writer.write(item, mask, None)
        if writer._stack is not None:
            assert isinstance(writer._stack.masks, np.memmap)
    assert np.argwhere(read_mask(tmp_path / "run1_mask.nrrd")).tolist() == [[i, 7, i] for i in range(5)]


def test_dataset_is_passed_through_once_by_one_process(tmp_path: Path, cine: Path) -> None:
    import torch

    report = RunReport(tmp_path / "out")
    items = wanted_items(find_inputs(cine), ResultWriter(tmp_path / "out"), report)
    dataset = FrameDataset(items, lambda item: {"frame": item["frame"]}, report)
    frames = iter(dataset)
    assert [next(frames)["frame"] for _ in range(2)] == [0, 1]
    assert dataset.current is items[1]
    assert [item["frame"] for item in dataset] == [2, 3, 4]
    assert list(dataset) == []
    loader = torch.utils.data.DataLoader(FrameDataset(items, dict, report), batch_size=None, num_workers=1)
    with pytest.raises(UsageError, match="num_workers must be 0"):
        next(iter(loader))
    with pytest.raises(UsageError, match=r"dataset#data: \{'image': 'a.png'\} is no frame of a file; .* as inputs"):
        FrameDataset([{"image": "a.png"}], dict, report)


def test_ranges_in_words() -> None:
    assert frame_ranges([3, 0, 1, 2, 7, 9, 10]) == "1 to 4, 8, 10 to 11"
    assert frame_ranges([]) == ""


def test_states_of_a_file() -> None:
    states = [
        FileRecord("a", wanted=w, done=d, error=e).state for w, d, e in ((0, 0, None), (2, 1, None), (2, 2, None))
    ]
    assert [*states, FileRecord("a", error="x").state] == ["kept", "waiting", "done", "failed"]
