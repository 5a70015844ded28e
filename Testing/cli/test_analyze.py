"""``casr analyze`` in this process: mostly with masks of known truth, so that no network is needed."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import cv2
import numpy as np
import pydicom
import pytest
from makers import dicoms
from makers.sr_tables import problems
from pydicom.uid import generate_uid

from casr_net.cli import main
from casr_net.report.files import FILES
from casr_net.synthetic.angiogram import make_angiogram

from .conftest import files

NAMES = ("Quorble", "QRB-77", "Ref^Dr", "Acc-5")
"""What tells a patient in the files of these tests."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an angiogram, PNG and DICOM, of a patient that its header and its file's name name, and its mask."""
    folder = tmp_path_factory.mktemp("Quorble_Jane")
    angiogram = make_angiogram(3, 192)
    cv2.imwrite(str(folder / "Quorble_Jane.png"), angiogram.image)
    cv2.imwrite(str(folder / "mask.png"), angiogram.mask.astype(np.uint8) * 255)
    data = dicoms.xa(
        angiogram.image[None], StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(),
        PatientName="Quorble^Jane", PatientID="QRB-77", PatientBirthDate="19500101", PatientSex="F",
        StudyDate="20250101", StudyTime="120000", StudyID="1", AccessionNumber="Acc-5", ReferringPhysicianName="Ref^Dr",
    )  # fmt: skip
    dicoms.write(folder / "Quorble_Jane.dcm", data)
    return folder


@pytest.fixture
def analyze(tmp_path: Path) -> Iterator[Callable[..., tuple[int, Path]]]:
    def run(*inputs: object, options: tuple[object, ...] = (), quiet: bool = True) -> tuple[int, Path]:
        output = tmp_path / "out"
        command = ["analyze", *map(str, inputs), "--output", str(output), "--no-doubt"]
        return main([*command, *(["--quiet"] if quiet else []), *map(str, options)]), output

    return run


def masked(made: Path) -> tuple[object, ...]:
    return ("--mask", made / "mask.png")


def contents(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("measurements.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_report_of_a_dicom_file(analyze: Callable[..., tuple[int, Path]], made: Path) -> None:
    code, output = analyze(made / "Quorble_Jane.dcm", options=(*masked(made), "--mm-per-pixel", 0.2))
    assert code == 0
    content = contents(output)
    name = f"angiogram-{content['input']['sha256'][:12]}"
    assert files(output) == sorted(["index.html", *(f"{name}/{part}" for part in FILES)])
    assert content["scale"]["kind"] == "user" and content["paths"]
    document = pydicom.dcmread(output / name / "measurements.dcm")
    assert problems(document) == [] and document.ContentTemplateSequence[0].TemplateIdentifier == "3213"
    page = (output / name / "report.html").read_text(encoding="utf-8")
    assert "measurements.dcm: Quantitative Arterial Analysis (TID 3213)" in page
    assert f'href="{name}/report.html"' in (output / "index.html").read_text(encoding="utf-8")
    lines = (output / name / "centrelines.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + sum(len(path["points"]) for path in content["paths"])
    assert "<graphml" in (output / name / "tree.graphml").read_text(encoding="utf-8")


def test_without_scale_the_object_is_in_pixels(analyze: Callable[..., tuple[int, Path]], made: Path) -> None:
    code, output = analyze(made / "Quorble_Jane.dcm", options=masked(made))
    assert code == 0 and contents(output)["scale"]["kind"] == "none"
    document = pydicom.dcmread(next(output.rglob("measurements.dcm")))
    assert problems(document) == [] and document.ContentTemplateSequence[0].TemplateIdentifier == "1500"


def test_a_picture_has_no_dicom_object(analyze: Callable[..., tuple[int, Path]], made: Path) -> None:
    code, output = analyze(made / "Quorble_Jane.png", options=masked(made))
    assert code == 0 and not list(output.rglob("*.dcm"))
    page = next(output.rglob("report.html")).read_text(encoding="utf-8")
    assert "Not written: the input is no DICOM file" in page


def leaks(text: str) -> list[str]:
    return [name for name in NAMES if name.lower() in text.lower()]


def test_nothing_names_the_patient(
    analyze: Callable[..., tuple[int, Path]], made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = analyze(made / "Quorble_Jane.dcm", options=masked(made), quiet=False)
    said = capsys.readouterr()
    assert code == 0 and leaks(said.out + said.err) == []
    for name in files(output):
        assert leaks(name) == []
        if not name.endswith(".dcm"):
            assert leaks((output / name).read_text(encoding="utf-8")) == [], name
    uids = re.findall(r"1\.2\.\d+\.\d+[\d.]*", next(output.rglob("measurements.json")).read_text(encoding="utf-8"))
    assert uids == []
    # The standard demands them of an object of the same study; the report says so.
    assert pydicom.dcmread(next(output.rglob("*.dcm"))).PatientID == "QRB-77"
    assert "keeps what the standard demands" in next(output.rglob("report.html")).read_text(encoding="utf-8")


def test_values_that_libraries_complain_of_stay_inside(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    """pydicom warns of values that break a rule, and tells them."""
    odd = tmp_path / "odd.dcm"
    odd.write_bytes((made / "Quorble_Jane.dcm").read_bytes().replace(b"19500101", b"Quorble!"))
    code, output = analyze(odd, options=masked(made), quiet=False)
    said = capsys.readouterr()
    assert code == 0 and leaks(said.out + said.err) == []
    # Python does not show those of files that are left open, here the last one that was read.
    shown = [str(warning.message) for warning in recwarn if warning.category is not ResourceWarning]
    assert [words for words in shown if leaks(words)] == []
    assert leaks(next(output.rglob("report.html")).read_text(encoding="utf-8")) == []


def test_tracebacks_do_not_name_the_patient(
    analyze: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Quorble.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _ = analyze(path, options=("--debug",), quiet=False)
    said = capsys.readouterr().err
    assert code == 1 and "Traceback" in said and leaks(said) == []
    code, _ = analyze(path, options=("--mask", tmp_path / "Quorble_mask.png"))
    assert code == 1 and leaks(capsys.readouterr().err) == []


def test_errors_do_not_name_the_patient_either(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "Quorble_Jane_cut.dcm"
    cut.write_bytes((made / "Quorble_Jane.dcm").read_bytes()[:900])
    code, output = analyze(cut, tmp_path / "Quorble_Jane_missing.png", quiet=False)
    said = capsys.readouterr()
    assert code == 1 and not output.exists()
    assert leaks(said.out + said.err) == []
    assert "input-0001: " in said.err and "input-0002: no such file or folder" in said.err


def test_identity_is_kept_on_request(analyze: Callable[..., tuple[int, Path]], made: Path) -> None:
    code, output = analyze(made / "Quorble_Jane.dcm", options=(*masked(made), "--keep-identity"))
    content = contents(output)
    assert code == 0 and (output / "Quorble_Jane" / "report.html").is_file()
    assert content["input"]["identity"]["path"].endswith("Quorble_Jane.dcm")
    assert content["input"]["identity"]["SOPInstanceUID"].startswith("1.2")


def test_a_name_that_is_no_text(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Latin-1, as old archives have it."""
    image = tmp_path / os.fsdecode(b"lat\xe9.png")
    shutil.copy(made / "Quorble_Jane.png", image)
    for said in ("1 of 1 inputs measured", "1 of them before"):
        code, output = analyze(image, options=(*masked(made), "--keep-identity"), quiet=False)
        assert code == 0 and said in capsys.readouterr().err
    content = contents(output)
    assert content["input"]["name"] == "lat\\xe9" and content["input"]["identity"]["path"].endswith("lat\\xe9.png")
    assert 'href="lat%E9/report.html"' in (output / "index.html").read_text(encoding="utf-8")
    assert (output / os.fsdecode(unquote_to_bytes("lat%E9")) / "report.html").is_file()


def test_results_are_kept_unless_made_otherwise(
    analyze: Callable[..., tuple[int, Path]], made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, options = made / "Quorble_Jane.png", masked(made)
    assert analyze(image, options=options)[0] == 0
    code, output = analyze(image, options=options, quiet=False)
    (place,) = output.rglob("measurements.json")
    before = place.stat().st_mtime_ns
    assert code == 0 and "1 of them before" in capsys.readouterr().err
    code, _ = analyze(image, options=(*options, "--mm-per-pixel", 0.3))
    assert code == 1 and place.stat().st_mtime_ns == before
    assert "was made with other settings; --overwrite replaces it" in capsys.readouterr().err
    assert "not measured" in (output / "index.html").read_text(encoding="utf-8")
    code, _ = analyze(image, options=(*options, "--mm-per-pixel", 0.3, "--overwrite"))
    assert code == 0 and contents(output)["scale"]["row_mm"] == 0.3
    corrected = cv2.imread(str(made / "mask.png"), cv2.IMREAD_GRAYSCALE)
    corrected[:96] = 0
    cv2.imwrite(str(made / "corrected.png"), corrected)
    measured = place.read_bytes()
    assert analyze(image, options=("--mask", made / "corrected.png"))[0] == 1 and place.read_bytes() == measured
    assert "was made with other settings; --overwrite replaces it" in capsys.readouterr().err
    place.write_text("{")
    assert analyze(image, options=options)[0] == 1
    assert "is damaged; --overwrite replaces it" in capsys.readouterr().err


def test_a_run_that_was_killed_is_taken_up(analyze: Callable[..., tuple[int, Path]], made: Path) -> None:
    """The record is written last: what lacks it is made anew."""
    code, output = analyze(made / "Quorble_Jane.png", options=masked(made))
    (place,) = output.rglob("measurements.json")
    place.unlink()
    code, _ = analyze(made / "Quorble_Jane.png", options=masked(made))
    assert code == 0 and place.is_file()


@pytest.mark.parametrize("name", ["report.html", "centrelines.csv", "tree.graphml"])
def test_a_report_that_lacks_a_file_is_made_anew(
    analyze: Callable[..., tuple[int, Path]], made: Path, name: str
) -> None:
    _, output = analyze(made / "Quorble_Jane.png", options=masked(made))
    (place,) = output.rglob(name)
    whole = place.stat().st_size
    for spoil in (place.unlink, lambda: place.write_bytes(b"")):
        spoil()
        assert analyze(made / "Quorble_Jane.png", options=masked(made))[0] == 0
        assert place.stat().st_size == whole


def test_the_index_lists_earlier_reports_and_replaces_no_other_page(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "index.html").write_text("<title>mine</title>")
    assert analyze(made / "Quorble_Jane.png", options=masked(made), quiet=False)[0] == 0
    assert "index.html is no index of this program; it is kept as index_old1.html" in capsys.readouterr().err
    assert (output / "index_old1.html").read_text() == "<title>mine</title>"
    assert analyze(made / "Quorble_Jane.dcm", options=masked(made), quiet=False)[0] == 0
    assert "1 of 1 inputs measured" in capsys.readouterr().err
    page = (output / "index.html").read_text(encoding="utf-8")
    assert page.count("/report.html") == 2 and page.count('<tr><th scope="row">') == 2
    assert not (output / "index_old2.html").exists()
    # Reports whose names may be those of patients stay out of an index without them, and are in one with them.
    assert analyze(made / "Quorble_Jane.png", options=(*masked(made), "--keep-identity"))[0] == 0
    assert (output / "index.html").read_text(encoding="utf-8").count("/report.html") == 3
    assert analyze(made / "Quorble_Jane.dcm", options=masked(made))[0] == 0
    page = (output / "index.html").read_text(encoding="utf-8")
    assert page.count("/report.html") == 2 and leaks(page) == []


def test_a_batch_by_the_network(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, random_weights: Path, small_config: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Files that are called alike, one twice, and one that is damaged: each has its row, and costs no other."""
    for number in (1, 2):
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        cv2.imwrite(str(folder / "run.png"), make_angiogram(number, 96).image)
    (tmp_path / "in1" / "again.png").write_bytes((tmp_path / "in1" / "run.png").read_bytes())
    (tmp_path / "in2" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ("--weights", random_weights, "--config", small_config, "--frame", 0)
    twice = tmp_path / "in2" / "broken.png"
    code, output = analyze(tmp_path / "in1", tmp_path / "in2", twice, options=options, quiet=False)
    said = capsys.readouterr().err
    page = (output / "index.html").read_text(encoding="utf-8")
    assert code == 1 and page.count('<tr><th scope="row">') == 3
    assert "of the same content as another one, passed over" in said
    assert len(re.findall(r"not measured", page)) >= 1 and "3 inputs" in page
    assert not leaks(said)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--path", "1,2", "x"), "--path: 'x' is no point"),
        (("--path", "1,2", "3;4"), "is no point; expected column,row"),
        (("--path", "1.2.3,2", "3,4"), "is no point"),
        (("--reference", "3"), "expected a unit, such as 3.0mm"),
        (("--reference", "3mm"), "say which one"),
        (("--catheter-french", "40"), "catheter is 40.0 French; it must be 3 to 12"),
        (("--mm-per-pixel", "0"), "pixel size is 0.0 mm"),
        (("--frame", "-1"), "frames count from 0"),
        (("--window", "5", "0"), "--window 5 0"),
        (("--config", "nowhere"), "no such configuration file"),
    ],
)
def test_wrong_commands(
    analyze: Callable[..., tuple[int, Path]], made: Path, options: tuple[str, ...], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    code, output = analyze(made / "Quorble_Jane.png", options=options)
    said = capsys.readouterr().err
    assert code == 2 and words in said and len(said.strip().splitlines()) == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--path", "0,0", "1,1"), "pixels from the nearest vessel; at most 10", 2),
        (("--frame", "7"), "there is no frame 7; it has 1", 2),
    ],
)
def test_what_does_not_fit_the_image(
    analyze: Callable[..., tuple[int, Path]], made: Path, options: tuple[str, ...], words: str, code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found, _ = analyze(made / "Quorble_Jane.png", options=(*masked(made), *options))
    assert found == code and words in capsys.readouterr().err


def test_masks_that_do_not_fit(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mask in (("empty", np.zeros((192, 192))), ("small", np.eye(96)), ("inverted", 1 - np.eye(192))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask.astype(np.uint8) * 255)
    for name, words in (
        ("empty", "no vessel was found"),
        ("small", "the mask has 96 x 96"),
        ("inverted", "covers 99 %"),
    ):
        code, _ = analyze(made / "Quorble_Jane.png", options=("--mask", tmp_path / f"{name}.png"))
        assert code == 1 and words in capsys.readouterr().err, name
    code, _ = analyze(made / "Quorble_Jane.png", made / "Quorble_Jane.dcm", options=masked(made))
    assert code == 2 and "--mask belongs to one image; 2 inputs were given" in capsys.readouterr().err
    code, _ = analyze(made / "Quorble_Jane.png", options=("--mask", tmp_path / "nowhere.png"))
    assert code == 1 and "no such file" in capsys.readouterr().err


def test_a_cut_cine_is_measured_by_what_is_there(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cine whose last frames are lost is refused with one line, as everywhere, and nothing is written."""
    image = make_angiogram(3, 192).image
    whole = dicoms.write(tmp_path / "whole.dcm", dicoms.xa(np.stack([image] * 3)))
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(whole.read_bytes()[:-60_000])
    code, output = analyze(cut, options=(*masked(made), "--frame", 0))
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1 + (code == 0), said
    assert code == 1 and not output.exists()


def test_an_output_that_is_no_folder(
    analyze: Callable[..., tuple[int, Path]], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("x")
    assert analyze(made / "Quorble_Jane.png", options=masked(made))[0] == 2
    assert "exists and is no folder" in capsys.readouterr().err


def test_unexpected_errors_cost_one_input(
    analyze: Callable[..., tuple[int, Path]], made: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*arguments: object) -> None:
        raise ArithmeticError(f"odd {made / 'Quorble_Jane.png'}")

    monkeypatch.setattr("casr_net.report.batch.analyse", fail)
    code, output = analyze(made / "Quorble_Jane.png", options=masked(made))
    said = capsys.readouterr().err
    assert code == 1 and "cannot be measured: ArithmeticError: odd" in said and leaks(said) == []
    assert files(output) == ["index.html"]
    logging.getLogger("casr_net").handlers.clear()
