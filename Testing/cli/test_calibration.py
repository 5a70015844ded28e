"""Probability maps are calibrated where the weights have a calibration; masks are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from casr_net.files.digest import sha256
from casr_net.inference import WeightsCalibration
from casr_net.inference.runtimes.packages import installed_runtimes
from casr_net.uncertainty import TwoTemperatures, soft_dice_confidence

ONE, MEAN = {"below": 4.0, "above": 5.0}, {"below": 6.0, "above": 3.0}
"""Strong ones: a network that was never trained gives nearly the same everywhere."""


@pytest.fixture
def own(random_weights: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    return Path(shutil.copy(random_weights, folder / "own.pt"))


def calibrate(weights: Path, **entry: Any) -> None:
    """Write the calibration of a file of weights beside it."""
    content = {"weights": {sha256(weights): {"single": ONE, "tta": MEAN, **entry}}}
    (weights.parent / "calibration.json").write_text(json.dumps(content))


def maps(output: Path) -> tuple[np.ndarray, np.ndarray, Any]:
    """Mask, probability map, and what run.json says of the last run's calibration."""
    mask, probability = (cv2.imread(str(output / f"angio_{kind}.png"), 0) for kind in ("mask", "probability"))
    return mask, probability, json.loads((output / "run.json").read_text())["runs"][-1].get("calibration", "absent")


@pytest.mark.parametrize("runtime", ["torch", *installed_runtimes()[-1:]])
@pytest.mark.parametrize("tta", [False, True, None])
def test_maps_are_calibrated_and_masks_are_not(
    segment: Callable[..., Any], png: Path, own: Path, mirrored_config: Path, runtime: str, tta: bool | None
) -> None:
    options = ["--weights", own, "--runtime", runtime, "--probability", "--no-refine", "--overwrite"]
    options += {True: ["--tta"], False: ["--no-tta"], None: ["--config", mirrored_config]}[tta]
    results = []
    for known in (False, True, True):  # the third run of a runtime goes by its plan
        if known:
            calibrate(own)
        code, output = segment(png, options=options)
        assert code == 0
        results.append(maps(output))
    (mask, plain, said), *later = results
    assert said is None
    values = ONE if tta is False else MEAN  # without a word a single image has its mirror images
    expected = 255 * TwoTemperatures(**values)(plain / 255)
    assert np.abs(expected - plain).max() > 8
    for other, calibrated, record in later:
        assert record == (ONE | {"single_image": MEAN} if tta is None else values) and np.array_equal(other, mask)
        assert np.abs(calibrated - expected).max() <= 4  # 8 bits were rounded before they were multiplied


def test_promised_dice_is_of_the_calibrated_map(segment: Callable[..., Any], png: Path, own: Path) -> None:
    promised = []
    for known in (False, True):
        if known:
            calibrate(own)
        code, output = segment(png, options=("--weights", own, "--overwrite", "--probability", "--no-refine"))
        mask, probability, record = maps(output)
        (file,) = json.loads((output / "run.json").read_text())["runs"][-1]["files"]
        promised.append(file["quality"]["0"])
        assert code == 0 and record == (ONE if known else None)
        assert promised[-1] == pytest.approx(soft_dice_confidence(probability / 255, mask), rel=0.02)
    assert abs(promised[1] / promised[0] - 1) > 0.05


def test_table_is_as_good_as_8_bits(own: Path) -> None:
    values = {"below": 0.69, "above": 0.47}
    calibrate(own, single=values)
    p = np.random.default_rng(0).beta(0.2, 0.2, 100_000).astype(np.float32)
    p[:4] = 0, 1, 0.5, np.nextafter(np.float32(0.5), np.float32(0))
    looked_up, exact = WeightsCalibration(own)(p), TwoTemperatures(**values)(p)
    assert looked_up.dtype == np.float32 and np.abs(looked_up - exact).max() < 1 / 255
    assert np.array_equal(looked_up >= 0.5, p >= 0.5)
    assert (np.diff(looked_up[np.argsort(p)]) >= 0).all()


def test_other_weights_beside_the_file_have_none(own: Path, tmp_path: Path) -> None:
    calibrate(own)
    assert WeightsCalibration(own).fit(1) == TwoTemperatures(**ONE)
    assert WeightsCalibration(own, tta=True).fit(None) == TwoTemperatures(**MEAN)
    auto, image = WeightsCalibration(own, "auto"), np.full((4, 4), 0.3, np.float32)
    assert [auto.fit(frames) for frames in (1, 2, None)] == [TwoTemperatures(**MEAN)] + 2 * [TwoTemperatures(**ONE)]
    assert (auto(image) == auto(image, 1)).all() and (auto(image[None]) == auto(image, 2)[None]).all()
    assert (auto(image, 1) != auto(image, 2)).all()
    other = own.with_name("other.pt")
    other.write_bytes(b"other weights")
    probability = np.array([0.0, 0.3, 1.0], np.float32)
    assert WeightsCalibration(other).fit() is None and WeightsCalibration(other)(probability) is probability


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "is damaged; bring it again, or delete it"),
        (b'{"weights": []}', "is damaged; bring it again, or delete it"),
        ({"single": {"below": 1.0}}, "no temperatures of 'single' for these weights"),
        ({"single": {"below": 1.0, "above": "warm"}}, "no temperatures of 'single' for these weights"),
        ({"single": {"below": 0.0, "above": 1.0}}, "below of 'single' is 0.0; it must be above 0"),
        ({"single": {"below": 1.0, "above": float("nan")}}, "above of 'single' is nan; it must be above 0"),
    ],
)
def test_bad_file_is_one_clear_error(
    segment: Callable[..., Any], png: Path, own: Path, capsys: pytest.CaptureFixture[str], content: Any, text: str
) -> None:
    if isinstance(content, dict):
        calibrate(own, **content)
    else:
        (own.parent / "calibration.json").write_bytes(content)
    code, output = segment(png, options=("--weights", own))
    assert code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "calibration.json" in line]
    assert text in line
    assert not list(output.glob("*.png"))
