"""The report on calibration and quality, of images whose truth is drawn from known probabilities."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from casr_net.evaluation import dice
from casr_net.uncertainty import quality_features, soft_dice_confidence

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module("trust")


def test_report_of_an_overconfident_network(module: Any, tmp_path: Path) -> None:
    """The network's logits are twice too large and one too high: slope 0.5, intercept -0.5."""
    rng = np.random.default_rng(1)
    images = []
    for number in range(40):
        logit = rng.normal(-2, 1.5, (60, 60)) - rng.uniform(0, 2)
        logit[20:30] += rng.uniform(3, 6)
        label = rng.random(logit.shape) < 1 / (1 + np.exp(-logit))
        p = (1 / (1 + np.exp(-(2 * logit + 1)))).astype(np.float32)
        mask = p >= 0.5
        images.append(
            module.Seen(f"s/{number}", f"g{number // 2}", p, label, mask, dice(mask, label),
                        soft_dice_confidence(p, mask), quality_features(p))
        )  # fmt: skip
    fit = module.fitted(images[:20])
    assert fit.platt.slope == pytest.approx(0.5, abs=0.03) and fit.platt.intercept == pytest.approx(-0.5, abs=0.06)
    record = {"report": module.report([(images[20:], fit)])}
    errors = {name: record["report"]["calibration"][name]["ece"] for name in module.KINDS}
    assert errors["platt"] < 0.01 < errors["temperature"] < errors["before"]
    assert errors["sides"] < errors["temperature"]
    quality = record["report"]["quality"]
    assert record["report"]["images"] == 20 == len(quality["images"])
    assert quality["spearman"]["predicted Dice"] > 0.8
    areas = quality["area_under_risk_coverage"]
    assert areas["best possible"] <= areas["predicted Dice"] < areas["no score"]
    assert quality["mean_absolute_error"] < quality["mean_absolute_error_of_the_mean"]
    _, how = module.crossed({3: images})
    assert how.startswith("fitted on half of fold 3's patient groups")
    pairs, how = module.crossed({0: images[:20], 1: images[20:]})
    assert how.startswith("fitted on all but one of the folds 0, 1")
    assert [own for own, _ in pairs] == [images[:20], images[20:]]
    assert pairs[1][1].platt == fit.platt  # that of the other fold
    pytest.importorskip("matplotlib")
    module.picture(record, tmp_path / "trust.png")
    assert (tmp_path / "trust.png").stat().st_size > 5000
