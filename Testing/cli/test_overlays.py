"""``casr segment --overlay``: pictures, videos, sheets; and the areas as a table."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from casr_net.cli import main
from casr_net.errors import UsageError
from casr_net.files import moving
from casr_net.files.rate import DEFAULT_RATE, frame_rate
from casr_net.files.results import ResultWriter

from .conftest import files, record

av = pytest.importorskip("av")


def decoded(path: Path) -> tuple[np.ndarray, float]:
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        return np.stack(frames), float(video.streams.video[0].average_rate)


@pytest.fixture
def xa(tmp_path: Path, angiogram: np.ndarray, write_xa: Callable[..., Path]) -> Path:
    """A cine of 4 frames of an odd size, shown at 12.5 frames a second."""
    frames = np.stack([np.roll(angiogram[:127, :159], 5 * shift, axis=1) for shift in range(4)])
    path = tmp_path / "in" / "run.dcm"
    path.parent.mkdir(exist_ok=True)
    return write_xa(path, frames, FrameTime=80.0)


def test_video_of_a_cine(segment, xa: Path) -> None:
    code, out = segment(xa, options=("--overlay", "video"))
    assert code == 0
    assert files(out) == [
        "run.json", *(f"run_f000{frame}_mask.png" for frame in range(4)), "run_overlay.webm"
    ]  # fmt: skip
    frames, rate = decoded(out / "run_overlay.webm")
    assert frames.shape == (4, 128, 160, 3)
    assert rate == 12.5
    assert record(out)["outputs"]["run_overlay.webm"] == {
        "run": 1, "input": str(xa), "kind": "overlay", "frame": None, "bytes": (out / "run_overlay.webm").stat().st_size
    }  # fmt: skip
    assert record(out)["outputs"]["run_f0002_mask.png"]["frame"] == 2


def test_animation_keeps_the_length_of_the_cine(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (32, 40, 3), np.uint8) for _ in range(7)]
    moving.write_animation(tmp_path / "a.webp", iter(pictures), 30.0)
    with Image.open(tmp_path / "a.webp") as image:
        assert (image.n_frames, image.size) == (7, (40, 32))
        times = []
        for frame in range(7):
            image.seek(frame)
            image.load()
            times.append(image.info["duration"])
    assert sum(times) == round(7 * 1000 / 30)
    assert set(times) == {33, 34}


def test_sheet_and_a_single_image(segment, png: Path, cine: Path) -> None:
    code, out = segment(cine, png, options=("--overlay", "sheet", "-f", "nrrd"))
    assert code == 0
    assert {"run1_overlay.png", "angio_overlay.png", "run1_mask.nrrd"} <= set(files(out))
    sheet = cv2.imread(str(out / "run1_overlay.png"))
    assert sheet.shape == (128 + moving.STRIP + 2, 5 * (160 + 4), 3)
    assert cv2.imread(str(out / "angio_overlay.png")).shape == (128, 160, 3)


def test_a_picture_in_place_of_an_animation_is_told(segment, png: Path, cine: Path, capsys) -> None:
    code, out = segment(png, cine, options=("--overlay", "animation"), quiet=False)
    assert code == 0 and (out / "angio_overlay.png").is_file() and (out / "run1_overlay.webp").is_file()
    assert "overlay animation is for cines: 1 single image(s) get a picture (PNG)." in capsys.readouterr().err


def test_frames_of_a_sheet() -> None:
    assert moving.sheet_frames([3, 7, 9]) == [3, 7, 9]
    many = moving.sheet_frames(range(300))
    assert len(many) == moving.SHEET_FRAMES
    assert (many[0], many[-1]) == (0, 299)
    assert moving.shrunk(np.zeros((1000, 500), np.float32)).shape == (320, 160)


def test_the_same_command_goes_on(segment, cine: Path) -> None:
    """An interrupted cine begins anew, masks that are there are kept; a whole one is left alone."""
    _, out = segment(cine, options=("--overlay", "animation"))
    first = (out / "run1_overlay.webp").read_bytes()
    kept = (out / "run1_f0001_mask.png").stat().st_mtime_ns
    (out / "run1_overlay.webp").unlink()
    code, _ = segment(cine, options=("--overlay", "animation"))
    assert code == 0
    assert (out / "run1_overlay.webp").read_bytes() == first
    assert (out / "run1_f0001_mask.png").stat().st_mtime_ns == kept
    segment(cine, options=("--overlay", "animation"))
    assert record(out)["runs"][-1]["frames"]["before"] == 5


def test_an_input_after_the_option_stays_one(segment, png: Path, random_weights: Path, small_config, tmp_path) -> None:
    command = ["segment", "--overlay", str(png), "-o", str(tmp_path / "o"), "-w", str(random_weights), "-q"]
    assert main([*command, "-c", str(small_config)]) == 0
    assert (tmp_path / "o" / "angio_overlay.png").is_file()


def test_no_video_of_some_frames(segment, xa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = segment(xa, options=("--overlay", "video", "--key-frames", "2"))
    assert code == 2
    assert "--overlay sheet" in capsys.readouterr().err
    assert not out.exists()


def test_without_the_extra(segment, xa: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(moving.importlib.util, "find_spec", lambda name: None if name == "av" else real(name))
    code, out = segment(xa, options=("--overlay", "video"))
    assert code == 2
    assert "casr-net[video]" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(UsageError, match="known are frames, video"):
        ResultWriter(out, overlay="film")


def test_a_full_disk_leaves_nothing(segment, xa: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def full(path: Path, pictures: Any, rate: float) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("casr_net.files.results.write_video", full)
    code, out = segment(xa, options=("--overlay", "video"))
    assert code == 1
    assert "run_overlay.webm: cannot be written: No space left on device" in capsys.readouterr().err
    assert not [name for name in files(out) if "overlay" in name or ".part" in name]


def test_a_video_that_cannot_be_encoded_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        moving.write_video(tmp_path / "no" / "folder.webm", [np.zeros((32, 32, 3), np.uint8)], 15.0)


@pytest.mark.parametrize(
    ("header", "rate"),
    [
        ({}, DEFAULT_RATE),
        ({"FrameTime": 40.0}, 25.0),
        ({"FrameTime": 40.0, "CineRate": 10.0}, 10.0),
        ({"FrameTime": 40.0, "CineRate": 10.0, "RecommendedDisplayFrameRate": 30.0}, 30.0),
        ({"FrameTime": 0.0, "CineRate": 0.0, "FrameTimeVector": [0.0, 50.0, 150.0]}, 10.0),
        ({"CineRate": 1e6, "FrameTime": -3.0}, DEFAULT_RATE),
    ],
)
def test_rate(header: dict[str, Any], rate: float) -> None:
    assert frame_rate(header) == rate


def test_a_table_that_is_not_ours_is_kept(segment, png: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "areas.csv").write_text("patient,territory\n1,LAD\n")
    assert segment(png, options=("--areas",), quiet=False)[0] == 0
    assert "areas.csv: is no table of this program; it is kept as areas_old1.csv." in capsys.readouterr().err
    assert (out / "areas_old1.csv").read_text() == "patient,territory\n1,LAD\n"
    table = (out / "areas.csv").read_bytes()
    (out / "areas.csv").write_bytes(b"\xef\xbb\xbf" + table.replace(b",", b";"))  # as a spreadsheet writes it
    assert segment(png, options=("--areas",))[0] == 0
    assert (out / "areas.csv").read_bytes() == table and not (out / "areas_old2.csv").exists()


def test_areas(segment, png: Path, cine: Path) -> None:
    segment(png, options=("--areas",))
    code, out = segment(png, cine, options=("--areas",))
    assert code == 0
    with open(out / "areas.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["frame"], row["run"]) for row in rows] == [
        ("angio", "0", "1"), *(("run1", str(frame), "2") for frame in range(5))
    ]  # fmt: skip
    for row in rows[1:]:
        mask = cv2.imread(str(out / f"run1_f000{row['frame']}_mask.png"), cv2.IMREAD_UNCHANGED)
        assert int(row["area_pixels"]) == np.count_nonzero(mask)
        assert float(row["area_share"]) == pytest.approx(np.mean(mask > 0), abs=1e-6)
        assert (row["rows"], row["columns"]) == ("128", "160")
