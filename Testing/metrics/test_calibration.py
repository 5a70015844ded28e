"""Temperature and calibration error, against data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from casr_net.calibration import TEMPERATURES, apply_temperature, calibration_error, fit_temperature
from casr_net.errors import DataError


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that are drawn with just them: (4, 200, 200)."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2, (4, 200, 200))
    return p, rng.random(p.shape) < p


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_found_again(drawn: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    p, label = drawn
    sharpened = apply_temperature(p, 1 / temperature)
    assert fit_temperature(list(sharpened), list(label)) == pytest.approx(temperature, rel=0.05)
    before, _ = calibration_error(sharpened, label)
    after, _ = calibration_error(apply_temperature(sharpened, temperature), label)
    assert after < 0.01 and (temperature == 1 or before > 3 * after)


def test_order_and_half_are_kept() -> None:
    p = np.linspace(0, 1, 101)
    for temperature in (0.3, 3.0):
        changed = apply_temperature(p, temperature)
        assert changed.dtype == np.float32 and (np.diff(changed) > 0).all() and changed[50] == pytest.approx(0.5)
        assert ((changed > 0.5) == (p > 0.5)).all()
    assert (apply_temperature(p, 1.0) == p.astype(np.float32)).all()
    assert apply_temperature(p, 3.0)[90] < 0.9 < apply_temperature(p, 0.3)[90]


def test_perfect_and_hopeless_labels_stay_in_the_range() -> None:
    p = np.full((10, 10), 0.9)
    assert fit_temperature([p], [np.ones_like(p)]) == pytest.approx(TEMPERATURES[0], rel=0.01)
    assert fit_temperature([p], [np.zeros_like(p)]) == pytest.approx(TEMPERATURES[1], rel=0.01)


def test_every_image_has_the_same_weight() -> None:
    sure, unsure = np.full((4, 4), 0.9), np.full((400, 400), 0.9)
    label = np.zeros(16)
    label[:12] = 1  # three quarters of the small image
    with_large = fit_temperature([sure, unsure], [label.reshape(4, 4), np.resize(label, (400, 400))])
    assert with_large == pytest.approx(fit_temperature([sure], [label.reshape(4, 4)]), rel=1e-3)


def test_error_of_known_maps() -> None:
    error, diagram = calibration_error(np.array([0.2, 0.2, 0.2, 0.2, 0.8]), np.array([0, 0, 0, 1, 0]))
    assert error == pytest.approx(0.8 * 0.05 + 0.2 * 0.8)
    assert np.allclose(diagram, [[0.2, 0.25, 0.8], [0.8, 0.0, 0.2]])
    assert calibration_error(np.array([1.0, 0.0]), np.array([1, 0]))[0] == 0


def test_images_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="0 probability maps"):
        fit_temperature([], [])
    with pytest.raises(DataError, match="equal shapes"):
        fit_temperature([np.zeros((2, 2))], [np.zeros((2, 3))])
