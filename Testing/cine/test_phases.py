"""Curves with a known answer: when the contrast comes and goes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from casr_net.cine.contrast import ContrastMeter, contrast_curve
from casr_net.cine.curve import ContrastCurve
from casr_net.cine.phases import decide_phases, smoothed
from casr_net.errors import DataError
from casr_net.synthetic.angiogram import SyntheticAngiogram, make_cine

SIDE = 512.0


def phases(*lengths: float) -> list[str]:
    return list(decide_phases(np.array(lengths, float), SIDE)[0])


def test_contrast_comes_and_goes() -> None:
    found = phases(0, 0, 0, 300, 900, 1500, 1500, 1500, 1400, 800, 200, 0, 0)
    assert found == ["before"] * 3 + ["during"] * 8 + ["after"] * 2


def test_a_cine_may_begin_or_end_with_contrast() -> None:
    assert phases(1500, 1500, 1400, 1500, 900, 300, 0, 0, 0) == ["during"] * 6 + ["after"] * 3
    assert phases(0, 0, 400, 1200, 1500, 1500) == ["before"] * 2 + ["during"] * 4
    assert phases(1500, 1480, 1510, 1490, 1500) == ["during"] * 5


@pytest.mark.parametrize("level", [0.0, 60.0, 250.0, 330.0])
def test_what_is_always_there_is_no_contrast(level: float) -> None:
    """A catheter that was not told from an artery, with the network's unrest."""
    unrest = 0.2 * level * np.sin(np.arange(14))
    found, messages = decide_phases(level + unrest, SIDE)
    assert set(found) == {"before"} and "no contrast" in messages[0]


def test_a_catheter_before_the_contrast_is_no_arrival() -> None:
    assert phases(350, 340, 355, 350, 700, 1300, 1900, 1900, 1850) == ["before"] * 4 + ["during"] * 5


def test_false_pixels_in_one_frame_are_no_arrival() -> None:
    assert phases(0, 700, 0, 0, 0, 0, 600, 1400, 1500, 1500) == ["before"] * 6 + ["during"] * 4


def test_a_frame_that_the_network_missed_is_no_departure() -> None:
    assert phases(0, 0, 500, 1400, 0, 1500, 1500, 0, 1500, 1400) == ["before"] * 2 + ["during"] * 8


def test_one_frame_and_none() -> None:
    assert phases(1500) == ["during"]
    assert phases(20) == ["before"]
    assert decide_phases(np.zeros(0), SIDE) == ((), ["the cine has no frames."])


@pytest.fixture(scope="module")
def cine() -> list[SyntheticAngiogram]:
    return make_cine(3001, 12, 192)


def of(frames: list[SyntheticAngiogram]) -> ContrastCurve:
    return contrast_curve((frame.mask.T, 1 - frame.image.T / np.float32(255)) for frame in frames)


def test_arrival_in_a_synthetic_cine(cine: list[SyntheticAngiogram]) -> None:
    curve = of(cine)
    visible = next(index for index, frame in enumerate(cine) if frame.mask.any())
    assert curve.arrival is not None and abs(curve.arrival - visible) <= 1
    assert curve.departure is None and curve.best in (4, 5, 6), "later the blood washes it out"
    assert np.nanmin(curve.contrast[curve.during]) > 0.02, "vessels are darker than what lies around them"
    assert curve.opacity.max() == pytest.approx(1)


def test_departure_in_a_cine_that_runs_backwards(cine: list[SyntheticAngiogram]) -> None:
    backwards = cine[::-1]
    curve = of(backwards)
    last = max(index for index, frame in enumerate(backwards) if frame.mask.any())
    assert curve.arrival is None and curve.departure is not None and abs(curve.departure - 1 - last) <= 1
    assert "begins with contrast" in curve.messages[0]


def test_a_moving_table_moves_no_vessels(cine: list[SyntheticAngiogram]) -> None:
    frame = cine[-1]
    moved = [np.roll(frame.image, (2 * i, 3 * i), (0, 1)) for i in range(4)]
    masks = [np.roll(frame.mask, (2 * i, 3 * i), (0, 1)) for i in range(4)]
    curve = contrast_curve((m.T, 1 - g.T / np.float32(255)) for m, g in zip(masks, moved, strict=True))
    assert curve.phases == ("during",) * 4
    assert np.nanmax(curve.motion) < 0.5 and np.nanmax(np.abs(curve.spread - 1)) < 0.01


def test_a_growing_tree_is_seen(cine: list[SyntheticAngiogram]) -> None:
    import cv2

    frame, size = cine[-1], 192
    about = [cv2.getRotationMatrix2D((size / 2, size / 2), 0, 1 + 0.03 * i) for i in range(3)]
    images = [cv2.warpAffine(frame.image, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE) for matrix in about]
    masks = [cv2.warpAffine(frame.mask.astype(np.uint8), matrix, (size, size)) > 0 for matrix in about]
    curve = contrast_curve((m.T, 1 - g.T / np.float32(255)) for m, g in zip(masks, images, strict=True))
    assert curve.spread[-1] == pytest.approx(1.06, abs=0.02)


def test_a_noisy_first_frame_is_not_the_best() -> None:
    """As in the stored phantom: dim, with much noise that is found as vessels."""
    lengths, contrasts = np.array([3200.0, 2470, 2540, 2200, 2200]), np.array([0.26, 0.31, 0.31, 0.31, 0.31])
    product = smoothed(lengths) * smoothed(contrasts)
    assert int(np.argmax(product)) == 1


def test_constant_frames_and_full_masks() -> None:
    flat = np.full((64, 64), 0.5, np.float32)
    curve = contrast_curve([(np.zeros((64, 64)), flat)] * 3)
    assert curve.phases == ("before",) * 3 and curve.best is None and not curve.opacity.any()
    assert contrast_curve([(np.ones((64, 64)), flat)] * 3).phases == ("before",) * 3


def test_json_and_back(cine: list[SyntheticAngiogram]) -> None:
    curve = of(cine)
    text = json.dumps(curve.as_dict(), allow_nan=False)
    again = ContrastCurve.from_dict(json.loads(text))
    assert again.as_dict() == curve.as_dict() and again.best == curve.best


@pytest.mark.parametrize("change", [{"version": 9}, {"length": [1.0]}, {"phases": ["x"] * 12}, {"frames": None}])
def test_a_damaged_curve_is_refused(cine: list[SyntheticAngiogram], change: dict[str, object]) -> None:
    with pytest.raises(DataError, match="curve"):
        ContrastCurve.from_dict({**of(cine[:3]).as_dict(), **change})


def test_frames_that_do_not_fit_are_refused() -> None:
    meter = ContrastMeter(3)
    meter.add(1, np.zeros((40, 40)), np.zeros((40, 40)))
    with pytest.raises(DataError, match="order of time"):
        meter.add(1, np.zeros((40, 40)), np.zeros((40, 40)))
    with pytest.raises(DataError, match="pixels"):
        meter.add(2, np.zeros((40, 40)), np.zeros((40, 48)))
    with pytest.raises(DataError, match="at least one frame"):
        contrast_curve([])


def test_svg_is_xml_without_outside_references(cine: list[SyntheticAngiogram]) -> None:
    from xml.etree import ElementTree

    picture = of(cine).plot((3, 7))
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg") and "currentColor" in picture and "prefers-color-scheme:dark" in picture
    assert picture.count("http") == 1, "only the namespace"
    marks = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text") if text.get("class") == "k"]
    assert marks == ["4", "8"], "as people count, from 1"
    ElementTree.fromstring(contrast_curve([(np.zeros((64, 64)), np.zeros((64, 64)))]).plot())
