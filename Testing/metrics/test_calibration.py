"""Calibration and its error, against data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from casr_net.errors import DataError
from casr_net.uncertainty.platt import INTERCEPTS, SLOPES, LogitCalibration, calibration_error, fit_calibration
from casr_net.uncertainty.temperature import TwoTemperatures, fit_temperatures


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that are drawn with just them: (4, 200, 200)."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2, (4, 200, 200))
    return p, rng.random(p.shape) < p


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.0), (1.0, 0.0), (2.5, 0.0), (0.7, -0.8), (1.3, 0.5)])
def test_calibration_is_found_again(drawn: tuple[np.ndarray, np.ndarray], slope: float, intercept: float) -> None:
    p, label = drawn
    spoilt = LogitCalibration(1 / slope, -intercept / slope)(p)
    found = fit_calibration(list(spoilt), list(label))
    assert found.slope == pytest.approx(slope, rel=0.05) and found.intercept == pytest.approx(intercept, abs=0.05)
    before, _ = calibration_error(spoilt, label)
    after, _ = calibration_error(found(spoilt), label)
    assert after < 0.01 and (slope == 1 or before > 3 * after)


def test_temperature_only(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    p, label = drawn
    found = fit_calibration(list(LogitCalibration(2.0)(p)), list(label), intercept=False)
    assert found.slope == pytest.approx(0.5, rel=0.05) and found.intercept == 0


def test_order_is_kept() -> None:
    p = np.linspace(0, 1, 101)
    for slope, intercept in ((0.3, 0.0), (3.0, -1.0)):
        changed = LogitCalibration(slope, intercept)(p)
        assert changed.dtype == np.float32 and (np.diff(changed) > 0).all()
    assert (LogitCalibration()(p) == p.astype(np.float32)).all()
    assert LogitCalibration(0.3)(p)[50] == pytest.approx(0.5)
    assert LogitCalibration(0.3)(p)[90] < 0.9 < LogitCalibration(3.0)(p)[90]


def test_perfect_and_hopeless_labels_stay_in_the_range() -> None:
    p = np.full((10, 10), 0.9)
    for label in (np.ones_like(p), np.zeros_like(p)):
        found = fit_calibration([p], [label])
        assert SLOPES[0] <= found.slope <= SLOPES[1] and INTERCEPTS[0] <= found.intercept <= INTERCEPTS[1]
        assert (found(p) > 0.99).all() if label.any() else (found(p) < 0.5).all()


def test_every_image_has_the_same_weight() -> None:
    small, large = np.full((4, 4), 0.9), np.full((400, 400), 0.9)
    label = np.zeros(16)
    label[:12] = 1  # three quarters of the small image, none of the large one
    found = fit_calibration([small, large], [label.reshape(4, 4), np.zeros((400, 400))])
    assert found(small).max() == pytest.approx(0.75 / 2, abs=0.01)


def test_error_of_known_maps() -> None:
    error, diagram = calibration_error(np.array([0.2, 0.2, 0.2, 0.2, 0.8]), np.array([0, 0, 0, 1, 0]))
    assert error == pytest.approx(0.8 * 0.05 + 0.2 * 0.8)
    assert np.allclose(diagram, [[0.2, 0.25, 0.8], [0.8, 0.0, 0.2]])
    assert calibration_error(np.array([1.0, 0.0]), np.array([1, 0]))[0] == 0


@pytest.mark.parametrize(("below", "above"), [(1.0, 1.0), (0.8, 0.4), (2.0, 0.5)])
def test_two_temperatures_are_found_again(drawn: tuple[np.ndarray, np.ndarray], below: float, above: float) -> None:
    p, label = drawn
    spoilt = TwoTemperatures(1 / below, 1 / above)(p)
    found = fit_temperatures(list(spoilt), list(label))
    assert found.below == pytest.approx(below, rel=0.05) and found.above == pytest.approx(above, rel=0.05)
    assert calibration_error(found(spoilt), label)[0] < 0.01


def test_two_temperatures_keep_order_and_one_half() -> None:
    p = np.linspace(0, 1, 101).astype(np.float32)
    for temperatures in (TwoTemperatures(), TwoTemperatures(0.5, 0.3), TwoTemperatures(3.0, 0.2)):
        changed = temperatures(p)
        assert changed.dtype == np.float32 and (np.diff(changed) > 0).all()
        assert np.array_equal(changed >= 0.5, p >= 0.5) and changed[50] == 0.5
    assert np.array_equal(TwoTemperatures()(p), p)
    assert TwoTemperatures(0.5, 0.3)(p)[90] < 0.9 and TwoTemperatures(0.5, 0.3)(p)[10] > 0.1


def test_one_side_alone_has_a_temperature() -> None:
    found = fit_temperatures([np.full((4, 4), 0.1), np.full((4, 4), 0.9)], [np.zeros((4, 4)), np.eye(4)])
    assert SLOPES[0] <= found.above < 1 < found.below <= SLOPES[1]
    assert fit_temperatures([np.full((4, 4), 0.1)], [np.zeros((4, 4))]).above == 1


def test_images_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="0 probability maps"):
        fit_calibration([], [])
    with pytest.raises(DataError, match="equal shapes"):
        fit_calibration([np.zeros((2, 2))], [np.zeros((2, 3))])
