"""``casr evaluate``'s part: reading and pairing of masks, its errors, and the figures of its report."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image

from casr_net.cli import main
from casr_net.errors import DataError
from casr_net.evaluation.compare import evaluate_folders, format_report
from casr_net.files.masks import read_mask

SHAPE = (10, 8)  # (X, Y)


def bar(length: int) -> np.ndarray:
    """Mask (X, Y) of one line along X, so many pixels long."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:length, 4] = True
    return mask


def save(path: Path, mask: np.ndarray, value: int = 255) -> Path:
    """Write (X, Y) or (X, Y, frames) in the format of the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = mask.astype(np.uint8) * value
    if path.suffix == ".nrrd":
        header = {"kinds": ["domain", "domain", "list"]} if mask.ndim == 3 else {}
        nrrd.write(str(path), levels, header)
    elif path.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(levels[:, :, None, :] if mask.ndim == 3 else levels, np.eye(4)), path)
    else:
        Image.fromarray(levels.T).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three images with Dice 1, 2 * 4 / (4 + 8) = 2/3 and 0."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for name, predicted, expected in (("a", bar(6), bar(6)), ("b", bar(4), bar(8)), ("c", bar(0), bar(2))):
        save(predictions / f"{name}_mask.png", predicted)
        save(references / f"{name}.png", expected)
    return predictions, references


def names(report: dict) -> list[str]:
    return [row["name"] for row in report["images"]]


def test_figures_by_hand(folders: tuple[Path, Path]) -> None:
    report = evaluate_folders(*folders)
    assert report["count"] == 3
    assert names(report) == ["a", "b", "c"]
    assert [row["dice"] for row in report["images"]] == pytest.approx([1, 2 / 3, 0])
    assert report["mean"]["dice"] == pytest.approx(5 / 9)
    assert report["median"]["dice"] == pytest.approx(2 / 3)
    assert report["mean"]["iou"] == pytest.approx((1 + 0.5 + 0) / 3)
    # 10 pixels shared, none false, 4 + 2 missed.
    assert report["pooled"]["dice"] == pytest.approx(20 / 26)
    assert report["pooled"]["iou"] == pytest.approx(10 / 16)
    assert report["pooled"]["sensitivity"] == pytest.approx(10 / 16)
    assert report["pooled"]["precision"] == 1
    assert report["pooled"]["cldice"] == pytest.approx(20 / 26)
    # 0, then 95 % of the way along the distances 0 0 0 0 1 2 3 4 of b, then the diagonal.
    assert [row["hd95"] for row in report["images"]] == pytest.approx([0, 3.65, np.hypot(*SHAPE)])
    assert report["mean"]["betti0_error"] == pytest.approx(1 / 3)


def test_report_is_json_and_text(folders: tuple[Path, Path]) -> None:
    report = evaluate_folders(*folders)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    text = format_report(report)
    row = next(line for line in text.splitlines() if line.startswith("dice"))
    assert row.split() == ["dice", "0.5556", "0.6667", "0.7692"]
    assert next(line for line in text.splitlines() if line.startswith("hd95")).split()[-1] == "-"
    assert "3 images" in text
    assert report["protocol"] in text
    assert "  0.0000  c" in text


def test_worst_five_by_name(tmp_path: Path) -> None:
    for length in range(1, 8):
        save(tmp_path / "p" / f"x{9 - length}.png", bar(length))
        save(tmp_path / "r" / f"x{9 - length}.png", bar(8))
    save(tmp_path / "p" / "x9.png", bar(1))  # as bad as x8
    save(tmp_path / "r" / "x9.png", bar(8))
    report = evaluate_folders(tmp_path / "p", tmp_path / "r")
    assert [row["name"] for row in report["worst"]] == ["x8", "x9", "x7", "x6", "x5"]
    assert report["worst"][2]["dice"] == pytest.approx(4 / 10)


def test_images_may_differ_in_size_among_each_other(tmp_path: Path) -> None:
    for name, mask in (("a", bar(4)), ("b", np.ones((5, 7), dtype=bool))):
        save(tmp_path / "p" / f"{name}.png", mask)
        save(tmp_path / "r" / f"{name}.png", mask)
    assert evaluate_folders(tmp_path / "p", tmp_path / "r")["pooled"]["dice"] == 1


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("a.png", "a.png"),
        ("a_mask.png", "a.png"),
        ("a.png", "a_mask.png"),
        ("a_mask.png", "a_mask.bmp"),
        ("a_mask.nrrd", "a.png"),
        ("a_mask.nii.gz", "a.tif"),
        ("a_mask_mask.png", "a_mask_mask.png"),
        ("sub/a_mask.png", "sub/a.png"),
        ("a_f0007_mask.png", "a_f0007.png"),
        ("1.2.840.17_mask.png", "1.2.840.17.png"),
    ],
)
def test_pairing_of_names(tmp_path: Path, prediction: str, reference: str) -> None:
    save(tmp_path / "p" / prediction, bar(4), value=1 if "nrrd" in prediction or "nii" in prediction else 255)
    save(tmp_path / "r" / reference, bar(8))
    assert evaluate_folders(tmp_path / "p", tmp_path / "r")["mean"]["dice"] == pytest.approx(2 / 3)


def test_only_the_ending_of_a_name_is_dropped(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a_mask_2_mask.png", bar(4))
    save(tmp_path / "r" / "a_mask_2.png", bar(4))
    assert names(evaluate_folders(tmp_path / "p", tmp_path / "r")) == ["a_mask_2"]


def test_frames_pair_with_a_stack(tmp_path: Path) -> None:
    lengths = (2, 4, 8)
    for index in range(3):
        save(tmp_path / "p" / f"run_f{index:04d}_mask.png", bar(4))
    save(tmp_path / "r" / "run.nrrd", np.stack([bar(n) for n in lengths], axis=-1), value=1)
    report = evaluate_folders(tmp_path / "p", tmp_path / "r")
    assert names(report) == ["run_f0000", "run_f0001", "run_f0002"]
    assert [row["dice"] for row in report["images"]] == pytest.approx([4 / 6, 1, 8 / 12])


@pytest.mark.parametrize("ending", ["nrrd", "nii.gz"])
def test_stacks_pair_frame_by_frame(tmp_path: Path, ending: str) -> None:
    save(tmp_path / "p" / f"run_mask.{ending}", np.stack([bar(4), bar(2)], axis=-1), value=1)
    save(tmp_path / "r" / f"run.{ending}", np.stack([bar(4), bar(4)], axis=-1), value=1)
    report = evaluate_folders(tmp_path / "p", tmp_path / "r")
    assert [row["dice"] for row in report["images"]] == pytest.approx([1, 4 / 6])


def test_missing_frame_is_named(tmp_path: Path) -> None:
    save(tmp_path / "p" / "run_f0000_mask.png", bar(4))
    save(tmp_path / "r" / "run.nrrd", np.stack([bar(4), bar(2)], axis=-1), value=1)
    with pytest.raises(DataError, match=r"run\.nrrd: no prediction named run_f0001"):
        evaluate_folders(tmp_path / "p", tmp_path / "r")


def test_frame_beyond_the_stack_is_an_error(tmp_path: Path) -> None:
    prediction = save(tmp_path / "run_f0002_mask.png", bar(4))
    reference = save(tmp_path / "run.nrrd", np.stack([bar(4), bar(2)], axis=-1), value=1)
    with pytest.raises(DataError, match=r"run_f0002_mask\.png: no reference named run_f0002"):
        evaluate_folders(prediction, reference)


def test_two_files_pair_whatever_their_names(tmp_path: Path) -> None:
    one, other = save(tmp_path / "one.png", bar(4)), save(tmp_path / "other.png", bar(8))
    report = evaluate_folders(one, str(other))
    assert names(report) == ["one"]
    assert report["mean"]["dice"] == pytest.approx(2 / 3)


def test_two_stacks_pair_whatever_their_names(tmp_path: Path) -> None:
    one = save(tmp_path / "one.nrrd", np.stack([bar(4), bar(2)], axis=-1), value=1)
    other = save(tmp_path / "other.nrrd", np.stack([bar(4), bar(4)], axis=-1), value=1)
    assert evaluate_folders(one, other)["mean"]["dice"] == pytest.approx((1 + 4 / 6) / 2)
    longer = save(tmp_path / "longer.nrrd", np.stack([bar(4)] * 3, axis=-1), value=1)
    with pytest.raises(DataError, match=r"longer\.nrrd: no prediction named one_f0002"):
        evaluate_folders(one, longer)


def test_one_frame_of_a_stack_given_as_files(tmp_path: Path) -> None:
    frame = save(tmp_path / "frame_f0001_mask.png", bar(4))
    stack = save(tmp_path / "truth.nrrd", np.stack([bar(4), bar(2)], axis=-1), value=1)
    assert evaluate_folders(frame, stack)["mean"]["dice"] == pytest.approx(4 / 6)


def test_one_file_in_a_folder_of_references(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    report = evaluate_folders(predictions / "b_mask.png", references)
    assert names(report) == ["b"]
    assert report["mean"]["dice"] == pytest.approx(2 / 3)


def test_other_results_of_segment_are_passed_over(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    save(predictions / "a_overlay.png", bar(1))
    save(predictions / "a_probability.png", bar(1))
    (predictions / "run.json").write_text("{}")
    (predictions / ".part-1-a_mask.png").write_bytes(b"")
    assert evaluate_folders(predictions, references)["count"] == 3


def test_unpaired_prediction_is_named(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "extra_mask.png", bar(1))
    with pytest.raises(DataError, match=r"extra_mask\.png: no reference named extra or extra_mask in .*references"):
        evaluate_folders(*folders)


def test_unpaired_reference_is_named(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "extra.png", bar(1))
    with pytest.raises(DataError, match=r"extra\.png: no prediction named extra or extra_mask in .*predictions"):
        evaluate_folders(*folders)


def test_subset_scores_what_has_a_partner(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "extra_mask.png", bar(1))
    save(folders[0] / "more_f0003_mask.png", bar(1))
    save(folders[1] / "run.nrrd", np.stack([bar(4), bar(2)], axis=-1), value=1)
    report = evaluate_folders(*folders, subset=True)
    assert names(report) == ["a", "b", "c"] and report["mean"]["dice"] == pytest.approx(5 / 9)
    assert report["unpaired"] == {"predictions": ["extra", "more_f0003"], "references": ["run_f0000", "run_f0001"]}
    assert "left out: 2 predictions without a reference, 2 references without a prediction" in format_report(report)
    assert "left out" not in format_report({**report, "unpaired": {"predictions": [], "references": []}})


def test_subset_of_nothing_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a.png", bar(1))
    save(tmp_path / "r" / "b.png", bar(1))
    with pytest.raises(DataError, match=r"p: none of its masks has a partner in .*r\."):
        evaluate_folders(tmp_path / "p", tmp_path / "r", subset=True)


def test_error_names_the_way_out(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "extra_mask.png", bar(1))
    with pytest.raises(DataError, match="with --subset, what has no partner is left out"):
        evaluate_folders(*folders)


def test_missing_input_is_exit_code_1(tmp_path: Path, folders: tuple[Path, Path], capsys) -> None:
    """As a file that cannot be used; 2 is for commands that are wrong whatever the files."""
    (tmp_path / "empty").mkdir()
    for pair in (
        (tmp_path / "nowhere", folders[1]),
        (folders[0], tmp_path / "no.png"),
        (tmp_path / "empty", folders[1]),
    ):
        assert main(["evaluate", *map(str, pair)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and ("no such file" in error or "holds no masks" in error)
    assert not (tmp_path / "nowhere").exists()


def test_two_files_of_one_name_are_an_error(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "a_mask.png", bar(1))
    with pytest.raises(DataError, match=r"a_mask\.png: has the same name a as .*a\.png"):
        evaluate_folders(*folders)


def test_sizes_must_match(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "b.png", np.ones((12, 7), dtype=bool))
    with pytest.raises(DataError, match=r"b_mask\.png: 10 x 8 pixels, but .*b\.png has 12 x 7"):
        evaluate_folders(*folders)


def test_turned_image_is_a_different_size(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b_mask.png", bar(4).T)
    with pytest.raises(DataError, match="8 x 10 pixels"):
        evaluate_folders(*folders)


def test_missing_and_empty_folders(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        evaluate_folders(tmp_path / "nowhere", folders[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder holds no masks"):
        evaluate_folders(folders[0], tmp_path / "empty")


def test_all_empty_masks_are_read_and_perfect(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{name}.png", bar(0)) for name in "ab"]
    report = evaluate_folders(*paths)
    assert report["pooled"]["dice"] == report["mean"]["cldice"] == 1


def test_read_mask_shape_and_orientation(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[7, 2] = True
    for name, value in (("a.png", 255), ("a.tif", 255), ("a.nrrd", 1), ("a.nii.gz", 1)):
        read = read_mask(save(tmp_path / name, mask, value))
        assert read.shape == (*SHAPE, 1)
        assert read.dtype == bool
        assert np.array_equal(read[..., 0], mask), name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.uint8([0, 127, 128, 255]), [0, 0, 1, 1]),
        (np.uint8([0, 0, 1, 1]), [0, 0, 1, 1]),
        (np.uint8([0, 0, 0, 0]), [0, 0, 0, 0]),
        (np.uint8([255, 255, 255, 255]), [1, 1, 1, 1]),
        (np.uint16([0, 32767, 32768, 65535]), [0, 0, 1, 1]),
        (np.int16([0, 0, 255, 1]), [0, 0, 1, 0]),
        (np.float32([0, 0.4, 0.6, 1]), [0, 0, 1, 1]),
    ],
)
def test_scale_of_masks(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), values.reshape(2, 2))
    assert read_mask(tmp_path / "a.nrrd").ravel().tolist() == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.uint8([0, 1, 2, 3]), "the largest value is 3"),
        (np.uint8([0, 1, 2, 127]), "the largest value is 127"),
        (np.int16([0, 1, -1, 0]), "the smallest value is -1"),
        (np.float32([0, 1, np.nan, 0]), "not finite"),
        (np.int32([0, 1, 70000, 0]), "the largest value is 70000"),
    ],
)
def test_unclear_masks_are_refused(tmp_path: Path, values: np.ndarray, text: str) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), values.reshape(2, 2))
    with pytest.raises(DataError, match=rf"a\.nrrd: .*{text}"):
        read_mask(tmp_path / "a.nrrd")


def test_colour_images_are_refused_and_grey_rgb_is_not(tmp_path: Path) -> None:
    rgb = np.zeros((*SHAPE[::-1], 3), dtype=np.uint8)
    rgb[4, :6] = 255
    Image.fromarray(rgb).save(tmp_path / "grey.png")
    assert read_mask(tmp_path / "grey.png").sum() == 6
    rgb[0, 0] = (255, 0, 0)
    Image.fromarray(rgb).save(tmp_path / "red.png")
    with pytest.raises(DataError, match=r"red\.png: a coloured image"):
        read_mask(tmp_path / "red.png")


def test_one_bit_and_palette_images(tmp_path: Path) -> None:
    grey = Image.fromarray(bar(6).T.astype(np.uint8) * 255)
    grey.convert("1").save(tmp_path / "bit.png")
    grey.convert("P").save(tmp_path / "palette.png")
    for name in ("bit", "palette"):
        assert np.array_equal(read_mask(tmp_path / f"{name}.png")[..., 0], bar(6)), name


def test_damaged_and_missing_masks(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png: .*(damaged|cannot be read)"):
        read_mask(tmp_path / "a.png")
    for name in ("gone.png", "gone.nii.gz", "gone.nrrd"):
        with pytest.raises(DataError, match=r"gone\..*: no such file"):
            read_mask(tmp_path / name)
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(DataError, match=r"notes\.txt: not a supported image"):
        read_mask(tmp_path / "notes.txt")
