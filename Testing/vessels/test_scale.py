"""The size of a pixel in the patient: which attributes state it, and what is not taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from casr_net.vessels.scale import ATTRIBUTES, KINDS, Scale, pixel_aspect, pixel_size

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


@pytest.mark.parametrize("size", [20.0, 2.1, 0.019, 0.0002])
def test_sizes_that_no_pixel_can_have_are_refused(size: float) -> None:
    """As the user's own are, whatever calibration is stated."""
    found = pixel_size({"PixelSpacing": [size, size], "PixelSpacingCalibrationType": "FIDUCIAL"})
    assert found.row_mm is None and f"PixelSpacing is [{size}, {size}]; 0.02 to 2 mm are possible" in found.note
    assert pixel_size({**DETECTOR, "ImagerPixelSpacing": [size, size], "DistanceSourceToDetector": 1200,
                       "DistanceSourceToPatient": 800}).row_mm is None  # fmt: skip
    # The shape of a pixel does not hang on its unit.
    assert pixel_aspect({"ImagerPixelSpacing": [2 * size, size]}) == pytest.approx(2)


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


CATHETER = Scale(0.2, 0.2, False, "Pixel size by the catheter.", "catheter", 0.03)
GEOMETRY = {"PixelSpacing": [0.21, 0.21], "PixelSpacingCalibrationType": "GEOMETRY"}
ESTIMATE = {"ImagerPixelSpacing": [0.33, 0.33], "EstimatedRadiographicMagnificationFactor": 1.5}


def test_kinds_in_their_order() -> None:
    header = GEOMETRY | ESTIMATE
    assert pixel_size(header, (0.19, 0.19), CATHETER).kind == "user"
    found = pixel_size(header, None, CATHETER)
    assert (found.kind, found.row_mm, found.spread, found.contradictions) == ("catheter", 0.2, 0.03, ())
    assert pixel_size(header).kind == "geometry" and pixel_size(header).spread is None
    assert pixel_size(header | {"PixelSpacingCalibrationType": "FIDUCIAL"}).kind == "fiducial"
    estimate = pixel_size(ESTIMATE)
    assert estimate.kind == "magnification" and estimate.estimated and "estimated at the isocentre" in estimate.note
    assert pixel_size({"ImagerPixelSpacing": [0.3, 0.3]}).kind == "none" == KINDS[-1]
    assert not any(pixel_size(header, stated, one).estimated for stated, one in ((None, None), ((1, 1), CATHETER)))


def test_a_catheter_that_gives_nothing_is_named_and_the_next_counts() -> None:
    nothing = Scale(None, None, False, "The catheter gives no pixel size: no catheter was found among the vessels.")
    found = pixel_size(GEOMETRY, None, nothing)
    assert found.kind == "geometry" and found.row_mm == 0.21
    assert found.note.endswith("; The catheter gives no pixel size: no catheter was found among the vessels.")
    alone = pixel_size({}, None, nothing)
    assert alone.kind == "none" and alone.row_mm is None and "no catheter was found" in alone.note


@pytest.mark.parametrize(("other", "said"), [(0.239, False), (0.241, True), (0.168, False), (0.166, True)])
def test_contradictions_beyond_a_fifth_are_said(other: float, said: bool) -> None:
    header = {"PixelSpacing": [other, other], "PixelSpacingCalibrationType": "FIDUCIAL"}
    found = pixel_size(header, None, CATHETER)
    assert (found.kind, found.row_mm, len(found.contradictions)) == ("catheter", 0.2, int(said))
    for line in found.contradictions:
        assert line in found.note and "The catheter gives 0.2 mm a pixel" in line and f"{other:.3g} mm" in line
        assert "(FIDUCIAL)" in line and "The first is used, since it is measured in this image" in line


def test_every_later_source_is_compared() -> None:
    found = pixel_size(GEOMETRY | ESTIMATE, (0.4, 0.4), CATHETER)
    assert found.kind == "user" and len(found.contradictions) == 4
    for text in ("the catheter 0.2 mm", "(GEOMETRY) 0.21 mm", "isocentre 0.22 mm", "a magnification of 0.82; 1 to 5"):
        assert any(text in line for line in found.contradictions), text
    assert pixel_size(GEOMETRY | ESTIMATE).contradictions == ()
    apart = pixel_size(GEOMETRY | ESTIMATE | {"EstimatedRadiographicMagnificationFactor": 1.1})
    assert apart.kind == "geometry" and "a calibration counts before an estimate" in apart.contradictions[0]
    # What is not usable is no contradiction, and what is not used is not complained of.
    broken = pixel_size({"ImagerPixelSpacing": [0, 0], "EstimatedRadiographicMagnificationFactor": 99}, (0.4, 0.4))
    assert broken.contradictions == () and broken.note == "Pixel size as stated by the user."


def test_sizes_that_cannot_be_with_the_detector() -> None:
    for side, magnification in ((0.05, "6"), (0.4, "0.75")):
        (line,) = pixel_size({"ImagerPixelSpacing": [0.3, 0.3]}, (side, side)).contradictions
        assert f"a magnification of {magnification}; 1 to 5 is possible" in line
    (line,) = pixel_size(DETECTOR, (0.2, 0.2)).contradictions
    assert "A pixel's height over its width is 1 here and 0.833 by the file" in line


def test_shape_of_a_pixel() -> None:
    assert pixel_aspect({}) == pixel_aspect({"PixelSpacing": [0, 1], "ImagerPixelSpacing": "x"}) == 1
    assert pixel_aspect(DETECTOR) == pytest.approx(0.3 / 0.36)
    assert pixel_aspect({"PixelSpacing": "0.2\\0.4", "ImagerPixelSpacing": [1, 99]}) == 0.5
    # PS3.3 C.7.6.3.1.7: the vertical size first; it stands where no spacing does, and yields to one.
    assert pixel_aspect({"PixelAspectRatio": ["5", "4"]}) == pixel_aspect({"PixelAspectRatio": "5\\4"}) == 1.25
    assert pixel_aspect({"PixelAspectRatio": [2, 1], "PixelSpacing": [0.3, 0.3]}) == 1
    assert pixel_aspect({"PixelAspectRatio": [0, 1]}) == pixel_aspect({"PixelAspectRatio": [9, 1]}) == 1


def test_a_square_size_of_pixels_that_the_file_says_are_not_square() -> None:
    for header, said in (({"PixelAspectRatio": [5, 4]}, True), ({"PixelAspectRatio": [1, 1]}, False), ({}, False)):
        found = pixel_size(header, (0.3, 0.3))
        assert found.row_mm == 0.3 and len(found.contradictions) == int(said)
        assert ("is 1 here and 1.25 by the file; lengths in one direction are wrong" in found.note) is said
    assert pixel_size({"PixelAspectRatio": [5, 4]}, (0.375, 0.3)).contradictions == ()
