"""DICOM SR of the measurements: against the templates' tables, dciodvfy and highdicom."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from makers import dicoms
from makers.analyses import make_analysis
from makers.sr_tables import below, code_of, concept_of, problems
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from casr_net.errors import DataError
from casr_net.report.measurements import Analysis
from casr_net.report.sr import make_sr, write_sr
from casr_net.vessels.scale import Scale


@pytest.fixture(scope="module")
def source() -> Dataset:
    frames = np.zeros((8, 192, 192), np.uint8)
    return dicoms.xa(
        frames, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), PatientName="Doe^Jane",
        PatientID="77", PatientBirthDate="19500101", PatientSex="F", StudyDate="20250101", StudyTime="120000",
        StudyID="1", AccessionNumber="A1", ReferringPhysicianName="Ref^Dr",
    )  # fmt: skip


@pytest.fixture(scope="module")
def calibrated() -> Analysis:
    return make_analysis(0.25)


def find(item: Dataset, *concept: str) -> list[Dataset]:
    """All items below with a concept, in order."""
    found = [child for child in below(item) if concept_of(child) == concept]
    return found + [hit for child in below(item) for hit in find(child, *concept)]


def value_of(item: Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


@pytest.mark.parametrize("millimetres", [0.25, None])
def test_it_follows_its_template(source: Dataset, millimetres: float | None) -> None:
    made = make_sr(make_analysis(millimetres), source)
    assert made.ContentTemplateSequence[0].TemplateIdentifier == ("1500" if millimetres is None else "3213")
    assert problems(made) == []


def test_catheter_names_the_calibration_object(source: Dataset, calibrated: Analysis) -> None:
    by_catheter = replace(calibrated, scale=Scale(0.2, 0.2, False, "", kind="catheter"), settings={"french": 6.0})
    made = make_sr(by_catheter, source)
    assert problems(made) == []
    size = find(made, "122423", "DCM")[0]
    assert value_of(size) == 6 and code_of(size.MeasuredValueSequence[0].MeasurementUnitsCodeSequence) == (
        "[Ch]", "UCUM",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["user", "geometry", "fiducial", "magnification"])
def test_every_kind_of_scale_has_a_method(source: Dataset, calibrated: Analysis, kind: str) -> None:
    made = make_sr(replace(calibrated, scale=Scale(0.2, 0.3, False, "", kind=kind)), source)
    assert problems(made) == []
    assert [value_of(find(made, code, "DCM")[0]) for code in ("111026", "111066")] == [0.3, 0.2]


def test_numbers_are_those_of_the_analysis(source: Dataset, calibrated: Analysis) -> None:
    made = make_sr(calibrated, source)
    path, lesion = calibrated.lesions[0]
    segment = find(made, "59776-5", "LN")[0]
    entry = find(segment, "52988006", "SCT")[0]
    assert find(entry, "121151", "DCM")[0].TextValue == "1"
    width, stenosis = find(entry, "397413000", "SCT")[0], find(entry, "408715008", "SCT")[0]
    assert value_of(width) == pytest.approx(0.25 * lesion.mld, rel=1e-5)
    assert value_of(stenosis) == 50
    upper, lower = (value_of(find(stenosis, code, "SCT")[0]) for code in ("371886008", "371885007"))
    assert (upper, lower) == (8, 12)  # 38 to 58
    assert value_of(find(segment, "122510", "DCM")[0]) == pytest.approx(0.25 * path.length, rel=1e-3)
    deepest = min(value_of(item) for item in find(segment, "397413000", "SCT"))
    assert deepest <= value_of(width)
    unsure = [item.TextValue for item in find(made, "121106", "DCM")]
    assert unsure == ["Unsure: crossing"]


def test_contours_lie_on_the_frame_that_was_measured(source: Dataset, calibrated: Analysis) -> None:
    made = make_sr(calibrated, source)
    widths = calibrated.paths[0].widths
    for concept, points in (("122507", widths.left), ("122508", widths.right)):
        line = find(made, concept, "DCM")[0]
        told = np.array(line.GraphicData).reshape(-1, 2)
        # The standard counts from the corner of the first pixel, this package from its centre.
        assert np.abs(told - points - 0.5).max() < 1e-3
        image = below(line)[0].ReferencedSOPSequence[0]
        assert image.ReferencedFrameNumber == calibrated.frame.number + 1
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_a_single_image_is_named_without_a_frame(source: Dataset, calibrated: Analysis) -> None:
    single = copy.deepcopy(source)
    del single.NumberOfFrames
    made = make_sr(calibrated, single)
    assert "ReferencedFrameNumber" not in find(made, "121112", "DCM")[0].ReferencedSOPSequence[0]


def test_patient_and_study_are_those_of_the_source(source: Dataset, calibrated: Analysis) -> None:
    made = make_sr(calibrated, source)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        assert made[keyword].value == source[keyword].value, keyword
    assert made.SeriesInstanceUID != source.SeriesInstanceUID and made.Modality == "SR"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_nothing_is_made_up(source: Dataset, calibrated: Analysis, keyword: str) -> None:
    nameless = copy.deepcopy(source)
    delattr(nameless, keyword)
    with pytest.raises(DataError, match=f"has no {keyword}"):
        make_sr(calibrated, nameless)


def test_without_a_width_there_is_no_report(source: Dataset, calibrated: Analysis) -> None:
    path = calibrated.paths[0]
    nothing = replace(path, widths=replace(path.widths, diameter=np.full(len(path.widths.diameter), np.nan)))
    with pytest.raises(DataError, match="no width was measured"):
        make_sr(replace(calibrated, paths=(nothing,)), source)


def test_samples_without_a_width_are_left_out(source: Dataset, calibrated: Analysis) -> None:
    path = calibrated.paths[0]
    diameter, left = path.widths.diameter.copy(), path.widths.left.copy()
    diameter[:7], left[7] = np.nan, np.nan
    gap = replace(path, widths=replace(path.widths, diameter=diameter, left=left))
    made = make_sr(replace(calibrated, paths=(gap,)), source)
    assert problems(made) == []
    sizes = {len(find(made, concept, "DCM")[0].GraphicData) for concept in ("122507", "122508")}
    assert sizes == {2 * (len(diameter) - 8)}


def drop(concept: str, scheme: str) -> Callable[[Dataset], None]:
    def change(document: Dataset) -> None:
        def prune(item: Dataset) -> None:
            if "ContentSequence" in item:
                item.ContentSequence = [c for c in item.ContentSequence if concept_of(c) != (concept, scheme)]
                for child in item.ContentSequence:
                    prune(child)

        prune(document)

    return change


def pixels_as_unit(document: Dataset) -> None:
    find(document, "122510", "DCM")[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "{pixels}"


def twice(document: Dataset) -> None:
    segment = find(document, "59776-5", "LN")[0]
    segment.ContentSequence = [*segment.ContentSequence[:3], segment.ContentSequence[2], *segment.ContentSequence[3:]]


def wrong_order(document: Dataset) -> None:
    segment = find(document, "59776-5", "LN")[0]
    segment.ContentSequence = [*segment.ContentSequence[1:], segment.ContentSequence[0]]


def other_image(document: Dataset) -> None:
    find(document, "121112", "DCM")[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def odd_line(document: Dataset) -> None:
    find(document, "122507", "DCM")[0].GraphicData = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("122505", "DCM"), "TID 3214 row 4 is missing"),
        (drop("363698007", "SCT"), "TID 3214 row 2 is missing"),
        (drop("122508", "DCM"), "TID 3214 row 9 is missing"),
        (drop("111026", "DCM"), "TID 3205 row 9 is missing"),
        (drop("122516", "DCM"), "TID 3218 row 4 is missing"),
        (drop("122405", "DCM"), "TID 3213 row 7 is missing"),
        (drop("121049", "DCM"), "TID 1204 row 1 is missing"),
        (drop("59776-5", "LN"), "TID 3213 row 8 is missing"),
        (pixels_as_unit, "expected one of"),
        (twice, "TID 3214 row 4 is there 2 times"),
        (wrong_order, "comes too late"),
        (other_image, "an image that is no evidence"),
        (odd_line, "no polyline"),
    ],
)
def test_the_checker_notices(source: Dataset, calibrated: Analysis, change: Any, words: str) -> None:
    made = make_sr(calibrated, source)
    change(made)
    assert any(words in line for line in problems(made)), problems(made)


@pytest.mark.parametrize("millimetres", [0.25, None])
def test_others_read_it(tmp_path: Path, source: Dataset, millimetres: float | None) -> None:
    path = tmp_path / "measurements.dcm"
    write_sr(path, make_analysis(millimetres), source)
    assert problems(pydicom.dcmread(path)) == []
    document = highdicom.sr.srread(path)
    assert isinstance(document, highdicom.sr.ComprehensiveSR)
    if millimetres is None:
        groups = document.content.get_image_measurement_groups()
        assert [group.tracking_identifier for group in groups] == [
            "Path 1", "Path 1, narrowing 1", "Path 2", "Path 2, narrowing 2",
        ]  # fmt: skip
        assert {str(m.unit.value) for group in groups for m in group.get_measurements()} == {"{pixels}", "%"}
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert "ComprehensiveSR" in lines
    # It does not know codes of our own, which are declared in the object.
    odd = [line for line in lines if "rror" in line or ("Warning" in line and "<99CASR>" not in line)]
    assert [line for line in odd if "DICOMDIR" not in line] == []
