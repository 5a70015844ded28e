from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image

from casr_net.errors import DataError, UsageError
from casr_net.files.atomic import set_aside, write_atomically
from casr_net.files.images import read_angiogram
from casr_net.files.inputs import find_inputs
from casr_net.files.masks import read_mask
from casr_net.files.overlay import draw_overlay
from casr_net.files.results import ResultWriter


@pytest.fixture
def folder(tmp_path: Path, angiogram: np.ndarray) -> Path:
    root = tmp_path / "in"
    for name in ("b.png", "a.png", "sub/a.png", ".hidden/c.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), angiogram)
    (root / "notes.txt").write_text("no image")
    (root / "bad.png").write_bytes(b"bad")
    frames = [Image.fromarray(np.roll(angiogram, i, axis=1)) for i in range(3)]
    frames[0].save(root / "cine.tif", save_all=True, append_images=frames[1:])
    return root


def test_folder_is_walked_in_order(folder: Path) -> None:
    inputs = find_inputs(folder)
    names = [(item["name"], item["frame"], item["frames"]) for item in inputs.items]
    assert names == [("a", 0, 1), ("b", 0, 1), ("cine", 0, 3), ("cine", 1, 3), ("cine", 2, 3), ("sub/a", 0, 1)]
    assert list(inputs.failures) == [str(folder / "bad.png")]


def test_bad_arguments_do_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    inputs = find_inputs([tmp_path / "none.png", tmp_path / "empty", folder / "a.png", folder / "notes.txt"])
    assert [item["name"] for item in inputs.items] == ["a"]
    messages = [str(error) for error in inputs.failures.values()]
    assert [
        "no such file or folder" in messages[0],
        "holds no images" in messages[1],
        messages[2].endswith(f"no such file or folder, which {folder / 'notes.txt'} names."),  # taken for a list
    ] == [True] * 3
    assert [error.exit_code for error in inputs.failures.values()] == [1, 2, 1]


def test_equal_output_names_are_refused(folder: Path) -> None:
    inputs = find_inputs([folder / "a.png", folder / "sub" / "a.png"])
    assert len(inputs.items) == 1
    assert "same name 'a'" in str(inputs.failures[str(folder / "sub" / "a.png")])


def item(path: Path, **changes: object) -> dict[str, object]:
    return {"image": str(path), "path": str(path), "name": "x", "frame": 0, "frames": 1, **changes}


def test_png_outputs(png: Path, tmp_path: Path) -> None:
    columns, rows = read_angiogram(png).size
    mask = np.zeros((columns, rows))
    mask[3, 5] = 1
    written = ResultWriter(tmp_path / "out", overlay=True, probability=True).write(item(png), mask, mask * 0.5)
    assert [p.name for p in written] == ["x_mask.png", "x_probability.png", "x_overlay.png"]
    stored = cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED)
    assert stored.shape == (rows, columns)
    assert stored[5, 3] == 255 and stored.sum() == 255
    assert cv2.imread(str(written[1]), cv2.IMREAD_UNCHANGED)[5, 3] == 128
    assert cv2.imread(str(written[2])).shape == (rows, columns, 3)


@pytest.mark.parametrize("format", ["nrrd", "mha", "nii.gz"])
def test_single_slice_keeps_the_geometry(format: str, tmp_path: Path, angiogram: np.ndarray) -> None:
    affine = np.array([[-0.3, 0, 0, 5], [0, -0.4, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(angiogram.T[:, :, None], affine), tmp_path / "x.nii.gz")
    mask = (angiogram.T > 150).astype(np.float32)
    (written,) = ResultWriter(tmp_path / "out", format=format).write(item(tmp_path / "x.nii.gz"), mask, None)
    assert written.name == f"x_mask.{format}"
    back = read_angiogram(written)
    assert np.allclose(back.affine, affine)
    assert (back.stored(0)[0] == mask).all()


@pytest.mark.parametrize("format", ["nrrd", "mha", "nii.gz"])
def test_cine_is_written_as_one_stack(format: str, folder: Path, tmp_path: Path) -> None:
    columns, rows = read_angiogram(folder / "cine.tif").size
    writer, written = ResultWriter(tmp_path / "out", format=format), []
    for frame in range(3):
        mask = np.zeros((columns, rows))
        mask[frame, 0] = 1
        written += writer.write(item(folder / "cine.tif", frame=frame, frames=3), mask, None)
    assert [p.name for p in written] == [f"x_mask.{format}"]
    stack = read_mask(written[0])
    assert stack.shape == (columns, rows, 3)
    assert np.argwhere(stack).tolist() == [[0, 0, 0], [1, 0, 1], [2, 0, 2]]
    if format == "nrrd":
        assert nrrd.read_header(str(written[0]))["kinds"] == ["domain", "domain", "domain", "list"]


def test_frames_get_numbers(tmp_path: Path) -> None:
    paths = ResultWriter(tmp_path, overlay=True).paths(item(tmp_path / "x.dcm", frame=7, frames=12))
    assert {k: p.name for k, p in paths.items()} == {"mask": "x_f0007_mask.png", "overlay": "x_f0007_overlay.png"}


def test_names_with_dots_stay_whole(tmp_path: Path) -> None:
    paths = ResultWriter(tmp_path).paths(item(tmp_path, name="1.2.840.113"))
    assert paths["mask"].name == "1.2.840.113_mask.png"


def test_existing_results_are_kept(png: Path, tmp_path: Path) -> None:
    (tmp_path / "x_mask.png").write_bytes(b"mine")
    mask = np.ones(read_angiogram(png).size)
    kept = ResultWriter(tmp_path, probability=True)
    assert kept.existing(item(png)) == {"mask": tmp_path / "x_mask.png"}
    kept.kept = set(kept.existing(item(png)).values())
    assert [path.name for path in kept.write(item(png), mask, mask)] == ["x_probability.png"]
    assert (tmp_path / "x_mask.png").read_bytes() == b"mine"
    ResultWriter(tmp_path, overwrite=True).write(item(png), mask, None)
    assert cv2.imread(str(tmp_path / "x_mask.png"), cv2.IMREAD_UNCHANGED).min() == 255


@pytest.mark.parametrize("links", [True, False])
def test_what_another_process_makes_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """With and without hard links, which FAT has none of; an empty file is nothing to keep."""
    if not links:

        def refuse(*paths: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    place = tmp_path / "x.png"
    write_atomically(place, lambda path: path.write_bytes(b"first"), replace=False)

    def second(path: Path) -> None:
        path.write_bytes(b"second")

    with pytest.raises(DataError, match=r"x\.png: was made by another run meanwhile, and was kept"):
        write_atomically(place, second, replace=False)
    assert place.read_bytes() == b"first"
    write_atomically(place, second)
    assert place.read_bytes() == b"second"
    place.write_bytes(b"")
    write_atomically(place, lambda path: path.write_bytes(b"third"), replace=False)
    assert place.read_bytes() == b"third" and place.stat().st_nlink == 1 and os.listdir(tmp_path) == ["x.png"]


def test_a_file_that_is_not_ours_is_set_aside(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "areas.csv").write_bytes(b"%d" % number)
        assert set_aside(tmp_path / "areas.csv").name == f"areas_old{number}.csv"
    assert (tmp_path / "areas_old1.csv").read_bytes() == b"1"
    with pytest.raises(DataError, match=r"none\.csv: cannot be renamed: No such file"):
        set_aside(tmp_path / "none.csv")


def test_unknown_format() -> None:
    with pytest.raises(UsageError, match="format is 'gif'"):
        ResultWriter(".", format="gif")


def test_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "x.png").write_bytes(b"old")
    with pytest.raises(DataError, match=r"x\.png: cannot be written: No space left"):
        write_atomically(tmp_path / "x.png", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"old"


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "x.png", lambda path: path.write_bytes(b""))
    if os.geteuid() != 0:  # root may write everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(DataError, match="Permission denied"):
            write_atomically(tmp_path / "locked" / "x.png", lambda path: path.write_bytes(b""))


def test_overlay_draws_the_outline_only() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    picture = draw_overlay(np.full((60, 80), 0.5), mask)
    green = (picture == (0, 255, 0)).all(axis=-1)
    assert green.sum() == 4 * 19
    assert (picture[~green] == 128).all()
