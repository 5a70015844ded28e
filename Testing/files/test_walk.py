"""What is found in folders, and what is wrong with paths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from casr_net.files.inputs import find_inputs
from casr_net.files.kinds import is_image

XA = "1.2.840.10008.5.1.4.1.1.12.1"
OBJECTS = {
    "DICOMDIR": "1.2.840.10008.1.3.10",
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
    "ECG": "1.2.840.10008.5.1.4.1.1.9.1.1",
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "PDF": "1.2.840.10008.5.1.4.1.1.104.1",
}


def dicom(path: Path, image: np.ndarray | None, sop_class: str = XA, **more: Any) -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID(sop_class)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.Modality = "XA" if image is not None else "OT"
    if image is not None:
        data.Rows, data.Columns = image.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        data.PixelData = image.tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def png(root: Path, angiogram: np.ndarray) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", angiogram)[1].tobytes())
        return path

    return write


def names(inputs: Any) -> list[str]:
    return [item["name"] for item in inputs.items]


def test_dicom_is_found_by_its_marker_whatever_the_ending(root: Path, angiogram: np.ndarray) -> None:
    for name in ("I0001.XA", "run2.dic", "IM0001", "1.2.840.1", "scan.v2"):
        dicom(root / name, angiogram)
    inputs = find_inputs(root)
    assert names(inputs) == ["1.2.840.1", "I0001", "IM0001", "run2", "scan.v2"]
    assert inputs.failures == {}


def test_endings_that_are_no_images_are_not_opened(root: Path, angiogram: np.ndarray, monkeypatch) -> None:
    dicom(root / "notes.txt", angiogram)
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("the file was opened"))
    assert not is_image(root / "notes.txt")


def test_objects_without_image_are_passed_over_and_counted(root: Path, png) -> None:
    png("a.png")
    for name, sop_class in OBJECTS.items():
        dicom(root / (name if name == "DICOMDIR" else f"{name}.dcm"), None, sop_class)
    inputs = find_inputs(root)
    assert names(inputs) == ["a"]
    assert inputs.failures == {}
    ((kind, count),) = inputs.passed_over.items()
    assert "no images" in kind and count == len(OBJECTS)


@pytest.mark.parametrize(("name", "kind"), [("SR", "Basic Text SR Storage"), ("DICOMDIR", "give its folder")])
def test_such_an_object_that_is_named_gets_the_true_reason(root: Path, name: str, kind: str) -> None:
    path = dicom(root / name, None, OBJECTS[name])
    inputs = find_inputs(path)
    assert kind in str(inputs.failures[str(path)])
    assert "a DICOM object that is no image" in str(inputs.failures[str(path)])
    assert inputs.passed_over == {}


def test_a_damaged_image_is_no_such_object(root: Path) -> None:
    path = dicom(root / "cut.dcm", None, XA)
    assert list(find_inputs(root).failures) == [str(path)]


def test_a_folder_of_nothing_but_such_objects_says_so(root: Path) -> None:
    dicom(root / "SR.dcm", None, OBJECTS["SR"])
    (error,) = find_inputs(root).failures.values()
    assert "holds no images (passed over: 1 files)" in str(error)


def test_results_are_passed_over_wherever_they_lie(root: Path, png) -> None:
    for name in ("a.png", "old/a_mask.png", "old/a_overlay.png", "deep/er/run_f0003_probability.png", "b_mask.nrrd"):
        png(name)
    inputs = find_inputs(root)
    assert names(inputs) == ["a"]
    ((kind, count),) = inputs.passed_over.items()
    assert "results of earlier runs" in kind and count == 4
    assert names(find_inputs(root / "old" / "a_mask.png")) == ["a_mask"]


def test_linked_folders_are_followed_and_loops_end(root: Path, tmp_path: Path, png) -> None:
    png("a.png")
    other = tmp_path / "elsewhere"
    shutil.copytree(root, other)
    (root / "linked").symlink_to(other)
    (root / "self").symlink_to(root)
    (other / "back").symlink_to(root)
    inputs = find_inputs(root)
    assert names(inputs) == ["a", "linked/a"]
    assert list(inputs.passed_over.values()) == [2]
    assert inputs.failures == {}


def test_a_link_to_nothing_is_said(root: Path, png) -> None:
    png("a.png")
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "gone.txt").symlink_to(root / "nowhere.txt")
    inputs = find_inputs(root)
    assert names(inputs) == ["a"]
    assert [str(error) for error in inputs.failures.values()] == [
        f"{root / 'gone.png'}: a link to a file that is not there."
    ]


def test_no_path_costs_the_others(root: Path, png, monkeypatch) -> None:
    good, locked = png("a.png"), root / "locked"
    png("locked/b.png")
    long, pipe = root / ("x" * 300 + ".png"), root / "pipe"
    os.mkfifo(pipe)
    scandir = os.scandir

    def refuse(path: Any) -> Any:  # the tests may run as root, who may open everything
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    inputs = find_inputs([long, locked, pipe, root / "none.png", "a\0b", root])
    assert names(inputs) == ["a"]
    assert inputs.paths == [str(good)]
    reasons = {Path(path).name: str(error).rpartition(": ")[2] for path, error in inputs.failures.items()}
    assert reasons == {
        long.name: "File name too long.",
        "locked": "Permission denied.",
        "pipe": "neither a file nor a folder.",
        "none.png": "no such file or folder.",
        "a\0b": "no possible name.",
    }


def test_a_reader_that_fails_without_foresight_costs_its_file_only(root: Path, png, monkeypatch) -> None:
    from casr_net.files import inputs as module

    png("a.png"), png("b.png")
    read = module.read_angiogram
    monkeypatch.setattr(
        module, "read_angiogram", lambda path, window: 1 / 0 if path.stem == "a" else read(path, window)
    )
    inputs = find_inputs(root)
    assert names(inputs) == ["b"]
    (error,) = inputs.failures.values()
    assert "a.png: cannot be read; --debug shows where the ZeroDivisionError comes from." in str(error)


def test_equal_names_are_refused_with_the_way_to_keep_both(tmp_path: Path, root: Path, png) -> None:
    one, two = png("d1/a.png"), png("d2/a.png")
    inputs = find_inputs([one, two])
    assert inputs.paths == [str(one)]
    assert f"give the folder that holds both, {root}, whose sub-folders are kept" in str(inputs.failures[str(two)])
    assert names(find_inputs(root)) == ["d1/a", "d2/a"]
    shutil.copy(one, root / "d1" / "a.tif")
    assert "rename one" in str(find_inputs([one, root / "d1" / "a.tif"]).failures[str(root / "d1" / "a.tif")])


def test_flat_leaves_the_folders_out(root: Path, png) -> None:
    png("d1/a.png"), png("d2/b.png"), png("d3/b.png")
    inputs = find_inputs(root, flat=True)
    assert names(inputs) == ["a", "b"]
    (error,) = inputs.failures.values()
    assert "without --flat the folders stay apart" in str(error)
