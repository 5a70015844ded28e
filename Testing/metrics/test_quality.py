from __future__ import annotations

import json

import numpy as np
import pytest

from casr_net.errors import DataError
from casr_net.uncertainty import (
    FEATURES,
    QualityModel,
    fit_quality,
    quality_features,
    risk_coverage,
    soft_dice_confidence,
)


def test_confidence_is_the_dice_that_calibrated_probabilities_promise() -> None:
    """Labels drawn from the probabilities have this Dice with the mask, on the mean."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.4, 1.5, (200, 200))
    mask = p >= 0.5
    dices = []
    for _ in range(20):
        label = rng.random(p.shape) < p
        dices.append(2 * (mask & label).sum() / (mask.sum() + label.sum()))
    assert soft_dice_confidence(p) == pytest.approx(np.mean(dices), abs=0.003)
    assert soft_dice_confidence(np.zeros((4, 4))) == 0 and soft_dice_confidence(np.full((4, 4), 0.4)) == 0
    assert soft_dice_confidence(np.eye(4)) == 1
    assert soft_dice_confidence(np.eye(4), np.ones((4, 4), np.uint8)) == pytest.approx(2 * 4 / (4 + 16))
    assert soft_dice_confidence(np.eye(4), np.zeros((4, 4))) == 0


def test_features() -> None:
    p = np.zeros((10, 20))
    p[:2], p[2, :5], p[3, :5] = 1.0, 0.6, 0.2
    found = dict(zip(FEATURES, quality_features(p), strict=True))
    assert found["mean_inside"] == pytest.approx((40 + 5 * 0.6) / 45) and found["unsure"] == pytest.approx(10 / 50)
    assert found["vessel_fraction"] == pytest.approx(np.log(45 / 200))
    assert found["soft_dice"] == pytest.approx(2 * 43 / (44 + 45)) and 0 < found["entropy"] < 0.3
    nothing = quality_features(np.zeros((10, 20)))
    assert np.isfinite(nothing).all() and nothing[0] == 0


def maps(number: int) -> tuple[list[np.ndarray], list[float]]:
    """Probability maps that are the surer the better: label with a blur of its certainty, and the Dice they reach."""
    rng = np.random.default_rng(2)
    found, dices = [], []
    for sure in rng.uniform(0.5, 6, number):
        logit = rng.normal(-3, 1.5, (40, 40))
        logit[10:20] += 6
        p = 1 / (1 + np.exp(-sure * logit / 3))
        label = rng.random(p.shape) < p
        mask = p >= 0.5
        found.append(p)
        dices.append(2 * (mask & label).sum() / (mask.sum() + label.sum()))
    return found, dices


def test_fit_predicts_the_dice_of_new_images() -> None:
    found, dices = maps(120)
    features = np.array([quality_features(p) for p in found])
    model = fit_quality(features[:60], dices[:60])
    predicted = [model(p) for p in found[60:]]
    assert np.corrcoef(predicted, dices[60:])[0, 1] > 0.95
    assert np.abs(np.array(predicted) - dices[60:]).mean() < 0.02
    stored = QualityModel.of_record(json.loads(json.dumps(model.record())))
    assert stored(found[0]) == pytest.approx(model(found[0]), abs=1e-4)
    assert 0 <= model(np.zeros((40, 40))) <= 1, "features beyond those of the fit count as their limits"
    assert model.of_features(features[:60].min(axis=0) - 9) == model.of_features(features[:60].min(axis=0))


def test_wrong_fits_and_records() -> None:
    with pytest.raises(DataError, match="at least 10 pairs"):
        fit_quality(np.zeros((5, len(FEATURES))), [0.5] * 5)
    with pytest.raises(DataError, match="quality model of features"):
        QualityModel.of_record({"features": ["colour"]})


def test_risk_coverage() -> None:
    coverage, risk, area = risk_coverage([0.9, 0.1, 0.5], [1.0, 0.4, 0.8])
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert risk.tolist() == pytest.approx([0, 0.1, 0.8 / 3]) and area == pytest.approx((0 + 0.1 + 0.8 / 3) / 3)
    worst = risk_coverage([0.1, 0.9, 0.5], [1.0, 0.4, 0.8])
    assert worst[1][-1] == pytest.approx(risk[-1]) and worst[2] > area
    _, flat, _ = risk_coverage([0.5] * 3, [1.0, 0.4, 0.8])
    assert flat.tolist() == pytest.approx([0.8 / 3] * 3), "one score for all tells nothing"
    with pytest.raises(DataError, match="2 scores and 1 Dice values"):
        risk_coverage([1, 2], [0.5])
