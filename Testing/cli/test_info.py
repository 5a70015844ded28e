"""``casr info``: what would be read."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from casr_net.cli import main
from casr_net.synthetic.dataset import write_dataset


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cine")
    write_dataset(folder, count=1, seed=2, frames=3, size=64)
    (path,) = folder.rglob("*.dcm")
    return path


def test_for_people(cine: Path, png: Path, capsys) -> None:
    assert main(["info", str(cine), str(png)]) == 0
    blocks = capsys.readouterr().out.split(f"{png}\n")
    dicom, picture = ({line.split()[0]: " ".join(line.split()[1:]) for line in block.splitlines()} for block in blocks)
    assert dicom["format"] == "dicom" and dicom["frames"] == "3" and dicom["size"] == "64 columns x 64 rows"
    assert "bits stored" in dicom["values"] and dicom["grid"] == "1 x 1 in the masks: as where no spacing is stated"
    assert picture["size"] == "160 columns x 128 rows" and picture["values"] == "uint8, grey"
    assert "full range of 8 bits: 0 to 255" in picture["grey"]
    assert "no millimetres" in picture["patient"]
    assert picture["grid"] == "1 x 1 in the masks: no spacing is stated", "never mm without a stated scale"


def test_for_programs(cine: Path, png: Path, capsys) -> None:
    assert main(["info", "--json", str(cine), str(png), "--window", "100", "51"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["files"]
    header = pydicom.dcmread(cine)
    assert (first["path"], first["frames"], first["columns"], first["rows"]) == (str(cine), 3, 64, 64)
    assert first["bits"] == header.BitsStored and first["values"] == "uint8"
    assert second["grey"] == {
        "rule": "window of the user", "low": 74.5, "high": 124.5, "function": "LINEAR", "inverted": False
    }  # fmt: skip
    assert second["spacing"]["grid"] == [1, 1] and second["spacing"]["patient"] is None
    assert found["errors"] == {} and found["passed_over"] == {}


def test_spacing_and_what_it_means(cine: Path, tmp_path: Path, capsys) -> None:
    data = pydicom.dcmread(cine)
    data.ImagerPixelSpacing = [0.3, 0.4]
    data.EstimatedRadiographicMagnificationFactor = "1.5"
    data.save_as(tmp_path / "scaled.dcm")
    assert main(["info", "--json", str(tmp_path / "scaled.dcm")]) == 0
    spacing = json.loads(capsys.readouterr().out)["files"][0]["spacing"]
    assert np.allclose(spacing["patient"], [0.2, 0.4 / 1.5]) and spacing["estimated"]
    assert "detector" in spacing["note"]
    assert spacing["kind"] == "magnification" and spacing["contradictions"] == []


def test_grid_of_a_stated_spacing(tmp_path: Path, capsys) -> None:
    image = nibabel.Nifti1Image(np.arange(4096, dtype=np.uint8).reshape(64, 64, 1), np.diag([0.3, 0.25, 1, 1]))
    nibabel.save(image, tmp_path / "stated.nii")
    assert main(["info", str(tmp_path / "stated.nii")]) == 0
    assert "  grid     0.25 x 0.3 mm (rows x columns) in the masks\n" in capsys.readouterr().out


def test_one_bad_file_does_not_cost_the_others(png: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    assert main(["info", str(tmp_path / "bad.png"), str(png), "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [file["path"] for file in found["files"]] == [str(png)]
    assert list(found["errors"]) == [str(tmp_path / "bad.png")]
    assert "bad.png: " in captured.err
    assert main(["info", "none.png"]) == 1
    assert "none.png: no such file or folder." in capsys.readouterr().err


def test_a_folder_is_walked(cine: Path, capsys) -> None:
    (cine.parent / "x_mask.png").write_bytes(b"")
    assert main(["info", str(cine.parent)]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == str(cine)
    assert "passed over, results of earlier runs" in captured.err
