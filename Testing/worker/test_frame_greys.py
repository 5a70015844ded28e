"""Which grey values a job's frames get: those of their file, or their own. [no network]"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from casr_net.errors import DataError
from casr_net.files.frames import ArrayFrames, PlainFrames, array_frames
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.inference.frame_greys import FrameGreys, same_picture
from casr_net.inference.frame_jobs import FrameJob

Write = Callable[..., Path]


def job(frames: np.ndarray, source: Path | None = None, **entries: Any) -> FrameJob:
    """Frames (N, rows, columns) of a viewer, all of those of the file."""
    numbers = tuple(range(len(frames)))
    values: dict[str, Any] = {
        "folder": Path(), "frames": frames, "indices": numbers, "intensity_range": None, "source": source,
        "source_frames": numbers if source else (), "unchanged": False, "inverted": False, "device": "cpu",
        "refine": True, "threshold": 0.5, **entries,
    }  # fmt: skip
    return FrameJob(**values)


@pytest.fixture
def deep(angiogram: np.ndarray) -> np.ndarray:
    """Two frames of 12 bits, the second darker."""
    return np.stack([angiogram, angiogram * 0.8]).astype(np.uint16) * 16


WINDOW = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 1800, "WindowWidth": 1500}
WAYS: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "as stored": (WINDOW, lambda stored: stored),
    "rescaled by the viewer": (
        {**WINDOW, "RescaleSlope": 0.5, "RescaleIntercept": -100},
        lambda stored: (stored * 0.5 - 100).astype(np.float32),
    ),
    "inverted by the viewer": ({**WINDOW, "PhotometricInterpretation": "MONOCHROME1"}, lambda stored: 4095 - stored),
    "not inverted by the viewer": ({**WINDOW, "PhotometricInterpretation": "MONOCHROME1"}, lambda stored: stored),
    "decoded with an error of two": (
        WINDOW,
        lambda stored: stored + np.random.default_rng(1).integers(0, 3, stored.shape, np.uint16),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_frame_that_shows_its_file_gets_the_files_grey(
    write_xa: Write, tmp_path: Path, deep: np.ndarray, way: str
) -> None:
    attributes, view = WAYS[way]
    path = write_xa(tmp_path / "a.dcm", deep, **attributes)
    greys, wanted = FrameGreys(job(view(deep), path)), read_angiogram(path)
    for place in range(2):
        assert (greys.frame(place)[0] == wanted.grey(place)).all()
    assert not greys.warnings and len(greys.rules) == 1, "one rule, told once"
    assert greys.rules[0]["source"] == str(path) and greys.rules[0]["rule"] == wanted.rule.describe()["rule"]


def test_frames_of_a_part_of_the_file(write_xa: Write, tmp_path: Path, deep: np.ndarray) -> None:
    path = write_xa(tmp_path / "a.dcm", deep, BitsStored=12, HighBit=11)
    greys = FrameGreys(job(deep[1:], path, indices=(7,), source_frames=(1,)))
    assert (greys.frame(0)[0] == read_angiogram(path).grey(1)).all(), "with the range of the whole file"
    alone = Angiogram.from_array(deep[1:]).grey(0)
    assert np.abs(alone - greys.frame(0)[0]).max() > 0.05


def changed(deep: np.ndarray) -> np.ndarray:
    frames = deep.copy()
    frames[1, 40:60, 40:60] = 0
    return frames


@pytest.mark.parametrize(
    "view",
    [
        changed,
        lambda deep: deep.transpose(0, 2, 1),
        lambda deep: deep[:, :-1],
        lambda deep: np.sqrt(deep).astype(np.float32),
    ],
    ids=["painted", "turned", "cropped", "other contrast curve"],
)
def test_a_frame_that_does_not_show_its_file_keeps_its_own(
    write_xa: Write, tmp_path: Path, deep: np.ndarray, view: Callable[[np.ndarray], np.ndarray]
) -> None:
    path, frames = write_xa(tmp_path / "a.dcm", deep, **WINDOW), view(deep)
    greys, own = FrameGreys(job(frames, path)), Angiogram.from_array(frames)
    assert (greys.frame(1)[0] == own.grey(1)).all()
    (warning,) = greys.warnings
    assert warning.startswith("The pixels of the volume are not those of 'a.dcm'")
    assert greys.rules[-1]["source"] is None and greys.rules[-1]["rule"] == "percentiles"
    if view is changed:
        assert (greys.frame(0)[0] == read_angiogram(path).grey(0)).all(), "the other frame is as it was"


@pytest.mark.parametrize(("rows", "columns"), [(-1, 1), (1, -1), (-1, -1)])
def test_a_mirrored_frame_gets_the_files_grey_mirrored(
    write_xa: Write, tmp_path: Path, deep: np.ndarray, rows: int, columns: int
) -> None:
    path = write_xa(tmp_path / "a.dcm", deep, **WINDOW)
    greys = FrameGreys(job(deep[:, ::rows, ::columns], path))
    assert (greys.frame(1)[0] == read_angiogram(path).grey(1)[::columns, ::rows]).all() and not greys.warnings


def test_file_that_the_viewer_has_misread(write_xa: Write, tmp_path: Path, deep: np.ndarray) -> None:
    """Left-justified pixels, taken for right-justified ones: noise, of which nobody has changed anything."""
    path = write_xa(tmp_path / "a.dcm", deep << 4, BitsStored=12, HighBit=15)
    noise = (deep << 4) & 4095
    greys = FrameGreys(job(noise, path, unchanged=True))
    assert (deep[1] == read_angiogram(path).stored(1)[0].T).all()
    assert (greys.frame(1)[0] == read_angiogram(path).grey(1)).all()
    assert "has misread it" in greys.warnings[0]
    greys = FrameGreys(job(noise, path))
    assert (greys.frame(1)[0] == Angiogram.from_array(noise).grey(1)).all()
    greys = FrameGreys(job(noise[:, :-1], path, unchanged=True))
    assert greys.frame(1)[0].shape == noise[1, :-1].T.shape, "of another size"


def test_a_frame_that_the_file_does_not_have(write_xa: Write, tmp_path: Path, deep: np.ndarray) -> None:
    greys = FrameGreys(job(deep[:1], write_xa(tmp_path / "a.dcm", deep, **WINDOW), source_frames=(2,)))
    assert (greys.frame(0)[0] == Angiogram.from_array(deep[:1]).grey(0)).all() and len(greys.warnings) == 1


def test_file_that_cannot_be_read(write_xa: Write, tmp_path: Path, deep: np.ndarray) -> None:
    computed = write_xa(tmp_path / "ct.dcm", deep, Modality="CT")
    for path, reason in ((computed, "CT"), (tmp_path / "none.dcm", "no such file")):
        greys = FrameGreys(job(deep, path))
        assert (greys.frame(0)[0] == Angiogram.from_array(deep).grey(0)).all()
        (warning,) = greys.warnings
        assert reason in warning and str(path) in warning and "own grey values are used" in warning


def test_the_users_range_comes_before_the_file(write_xa: Write, tmp_path: Path, deep: np.ndarray) -> None:
    greys = FrameGreys(job(deep, write_xa(tmp_path / "a.dcm", deep, **WINDOW), intensity_range=(500.0, 3000.0)))
    assert np.allclose(greys.frame(0)[0], np.clip((deep[0].T - 500.0) / 2500, 0, 1), atol=1e-6)
    (rule,) = greys.rules
    assert (rule["rule"], rule["source"], rule["low"], rule["high"]) == ("range of the user", None, 500, 3000)


def test_bright_vessels(write_xa: Write, tmp_path: Path, deep: np.ndarray) -> None:
    """The user's word counts where it says more than the header; both together are not twice."""
    silent = write_xa(tmp_path / "silent.dcm", 4095 - deep, **WINDOW)
    greys = FrameGreys(job(np.invert(4095 - deep), silent, inverted=True))
    assert (greys.frame(0)[0] == 1 - read_angiogram(silent).grey(0)).all()
    told = write_xa(tmp_path / "told.dcm", 4095 - deep, **WINDOW, PhotometricInterpretation="MONOCHROME1")
    greys = FrameGreys(job(np.invert(4095 - deep), told, inverted=True))
    assert (greys.frame(0)[0] == read_angiogram(told).grey(0)).all()


def test_constant_frame(deep: np.ndarray) -> None:
    greys = FrameGreys(job(np.stack([np.full_like(deep[0], 7), deep[0]])))
    with pytest.raises(DataError, match="constant image, every pixel is 7"):
        greys.frame(0)[0]
    assert greys.frame(1)[0].shape == deep[0].T.shape


def test_frames_that_are_not_finite(deep: np.ndarray) -> None:
    frames = deep.astype(np.float32)
    frames[0, 3, 5] = np.nan
    greys = FrameGreys(job(frames))
    with pytest.raises(DataError, match="not finite"):
        greys.frame(0)[0]
    assert np.isfinite(greys.frame(1)[0]).all()


def test_same_picture_of_colors(angiogram: np.ndarray) -> None:
    color = np.stack([angiogram.T, angiogram.T // 2, 255 - angiogram.T])
    grey = np.rint(0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]).astype(np.uint8)
    assert same_picture(grey, color) and same_picture(angiogram.T, angiogram.T[None])
    assert not same_picture(angiogram, angiogram.T[None]), "turned by 90 degrees"
    assert not same_picture(grey, np.zeros_like(color)) and not same_picture(np.full_like(grey, 3), color)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i2", "<f4"])
def test_frames_of_a_mapped_file_are_read_one_by_one(
    angiogram: np.ndarray, tmp_path: Path, order: Any, dtype: str
) -> None:
    frames = np.stack([angiogram, angiogram[::-1], angiogram // 2])[:, :, :-10].astype(dtype)
    np.save(tmp_path / "frames.npy", np.asarray(frames, order=order))
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    assert isinstance(array_frames(mapped), PlainFrames) and isinstance(array_frames(mapped[1:]), ArrayFrames)
    for array, wanted in ((mapped, frames), (mapped[1:], frames[1:])):
        opened, whole = Angiogram.from_array(array), Angiogram.from_array(wanted)
        assert (opened.size, opened.frames, opened.dtype) == (whole.size, whole.frames, whole.dtype)
        for index in range(opened.frames):
            assert np.array_equal(opened.stored(index), whole.stored(index))
            assert np.array_equal(opened.grey(index), whole.grey(index))
