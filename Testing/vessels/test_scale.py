"""The size of a pixel in the patient: which attributes state it, and what is not taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from casr_net.vessels.scale import ATTRIBUTES, pixel_size

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = {"ImagerPixelSpacing": [0.3, 0.36]}


def test_the_extensions_copy_is_equal() -> None:
    copy = ROOT / "CASRSegmentation" / "CASRSegmentationLib" / "scale.py"
    assert copy.read_bytes() == (ROOT / "monai_bundle" / "casr_net" / "vessels" / "scale.py").read_bytes()


def test_tags_are_those_of_the_keywords() -> None:
    for keyword, tag in ATTRIBUTES.items():
        group, element = (int(part, 16) for part in tag.split(","))
        assert pydicom.datadict.tag_for_keyword(keyword) == (group << 16) + element


@pytest.mark.parametrize("kind", ["GEOMETRY", "FIDUCIAL", " fiducial "])
def test_calibrated_spacing_rows_first(kind: str) -> None:
    found = pixel_size({"PixelSpacing": [0.2, 0.25], "PixelSpacingCalibrationType": kind, **DETECTOR})
    assert (found.row_mm, found.column_mm, found.estimated) == (0.2, 0.25, False)
    assert found.pixel_area_mm2 == pytest.approx(0.05) and kind.strip().upper() in found.note


@pytest.mark.parametrize("kind", [None, "", "UNKNOWN", 7])
def test_spacing_without_a_calibration_is_none(kind: Any) -> None:
    found = pixel_size({"PixelSpacing": [0.2, 0.25], "PixelSpacingCalibrationType": kind, **DETECTOR})
    assert (found.row_mm, found.column_mm, found.pixel_area_mm2) == (None, None, None)
    assert found.note == "No calibration is stated, so that no millimetres are given: the spacing is the detector's."
    assert pixel_size({}).note == "No calibration is stated, so that no millimetres are given."


def test_estimates_by_the_factor_and_by_the_distances() -> None:
    distances = {"DistanceSourceToDetector": 1200, "DistanceSourceToPatient": 750.0}
    by_factor = pixel_size({**DETECTOR, **distances, "EstimatedRadiographicMagnificationFactor": 1.5})
    assert (by_factor.row_mm, by_factor.column_mm) == pytest.approx((0.2, 0.24))
    by_distance = pixel_size({**DETECTOR, **distances})
    assert (by_distance.row_mm, by_distance.column_mm) == pytest.approx((0.3 / 1.6, 0.36 / 1.6))
    assert by_factor.estimated and "1.5" in by_factor.note and by_distance.estimated and "1.6" in by_distance.note
    refused = pixel_size({**DETECTOR, **distances, "EstimatedRadiographicMagnificationFactor": 0})
    assert refused.row_mm == by_distance.row_mm
    assert "EstimatedRadiographicMagnificationFactor is 0, which is not usable" in refused.note


def test_the_user_comes_first() -> None:
    header = {"PixelSpacing": [0.2, 0.25], "PixelSpacingCalibrationType": "FIDUCIAL"}
    stated = pixel_size(header, stated=(0.1, 0.15))
    assert (stated.row_mm, stated.column_mm, stated.estimated) == (0.1, 0.15, False) and "user" in stated.note
    for nothing in (None, ""):
        assert pixel_size(header, nothing).row_mm == 0.2
    refused = pixel_size(header, stated="0")
    assert refused.row_mm == 0.2 and "not usable" in refused.note


@pytest.mark.parametrize(
    "value",
    [0, [0, 0.3], [0.3, 0], float("nan"), [0.3, float("nan")], [0.3, float("inf")], -1, [-0.3, -0.3], 0.3, [0.3],
     [0.3, 0.3, 0.3], "x", ["0.3", "x"], "0,3\\0,3", "0.3", b"0.3", {"a": 1}, np.array(["x", "y"])],
)  # fmt: skip
def test_nonsense_is_no_scale_and_is_said(value: Any) -> None:
    header = {
        "PixelSpacing": value,
        "PixelSpacingCalibrationType": "GEOMETRY",
        "ImagerPixelSpacing": value,
        "EstimatedRadiographicMagnificationFactor": 1.5,
    }
    found = pixel_size(header)
    assert (found.row_mm, found.column_mm, found.estimated) == (None, None, False)
    assert "PixelSpacing is " in found.note and "which is not usable" in found.note
    assert found.note.isprintable() and len(found.note) < 300


@pytest.mark.parametrize("factor", [0.5, 9, -1.5, float("nan"), [1.5, 1.5], "x"])
def test_impossible_magnifications(factor: Any) -> None:
    found = pixel_size({**DETECTOR, "EstimatedRadiographicMagnificationFactor": factor})
    assert found.row_mm is None and "EstimatedRadiographicMagnificationFactor is" in found.note
    behind = {"DistanceSourceToDetector": 700, "DistanceSourceToPatient": 1000}
    assert "DistanceSourceToPatient is 0.7, which is not usable" in pixel_size({**DETECTOR, **behind}).note


def test_control_characters_are_not_shown() -> None:
    note = pixel_size({"PixelSpacing": "\x1b[31m\n" * 50, "PixelSpacingCalibrationType": "GEOMETRY"}).note
    assert note.isprintable() and len(note) < 200


@pytest.mark.parametrize("text", ["0.2\\0.25", " 0.2 \\ 0.25 ", ["0.2", "0.25"], np.array([0.2, 0.25])])
def test_forms_of_two_numbers(text: Any) -> None:
    found = pixel_size({"PixelSpacing": text, "PixelSpacingCalibrationType": "FIDUCIAL"})
    assert (found.row_mm, found.column_mm) == (0.2, 0.25)


def test_data_set_of_pydicom() -> None:
    data = pydicom.Dataset()
    data.PixelSpacing, data.PixelSpacingCalibrationType = [0.2, 0.25], "GEOMETRY"
    assert pixel_size(data).column_mm == 0.25
    broken = pydicom.Dataset()
    broken.ImagerPixelSpacing, broken.EstimatedRadiographicMagnificationFactor = [0.3, 0.3], 1.5
    tag = pydicom.tag.Tag("ImagerPixelSpacing")  # a text where numbers belong, as a damaged file has it
    broken[tag] = pydicom.dataelem.RawDataElement(tag, "DS", 4, b"a\\b ", 0, False, True)
    assert "not usable" in pixel_size(broken).note and pixel_size(broken).row_mm is None
