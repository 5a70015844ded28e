from __future__ import annotations

import numpy as np
import pytest

from casr_net.errors import DataError
from casr_net.evaluation import case_values, paired_difference


def named(values: np.ndarray) -> dict[str, float]:
    return {f"c{i:04}": float(value) for i, value in enumerate(values)}


def test_interval_is_that_of_the_normal_distribution() -> None:
    """Independent cases: mean +- 1.96 standard errors."""
    rng = np.random.default_rng(3)
    first, gain = rng.normal(0.8, 0.1, 400), rng.normal(0.01, 0.05, 400)
    found = paired_difference(named(first), named(first + gain))
    error = gain.std() / 20
    assert found.mean == pytest.approx(gain.mean()) and (found.cases, found.groups) == (400, 400)
    assert found.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.1 * error)
    assert found == paired_difference(named(first), named(first + gain)), "equal seeds, equal intervals"
    narrow = paired_difference(named(first), named(first + gain), level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.674 * error, rel=0.05)


def test_images_of_a_patient_are_no_independent_witnesses() -> None:
    """Ten copies of each image: the interval of groups is that of the 40 images, the one of cases far too narrow."""
    gain = np.random.default_rng(4).normal(0.0, 0.05, 40)
    copies = np.repeat(gain, 10)
    zeros = named(np.zeros(400))
    groups = {name: i // 10 for i, name in enumerate(zeros)}
    honest, naive = paired_difference(zeros, named(copies), groups), paired_difference(zeros, named(copies))
    single = paired_difference(named(np.zeros(40)), named(gain))
    assert honest.groups == 40 and honest.high - honest.low == pytest.approx(single.high - single.low, rel=0.05)
    assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(10**0.5, rel=0.1)


def test_coverage_of_the_interval() -> None:
    """Of 95 % intervals about 95 in 100 hold the truth: patients with their own effect, 1 to 6 images each."""
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(200):
        sizes = rng.integers(1, 7, 60)
        gain = np.repeat(rng.normal(0.02, 0.03, 60), sizes) + rng.normal(0, 0.02, sizes.sum())
        values, zeros = named(gain), named(np.zeros(len(gain)))
        groups = dict(zip(zeros, np.repeat(np.arange(60), sizes).tolist(), strict=True))
        found = paired_difference(zeros, values, groups, samples=500, seed=trial)
        held += found.low <= 0.02 <= found.high
    assert 180 <= held <= 198


def test_no_difference() -> None:
    found = paired_difference(named(np.ones(5)), named(np.ones(5)))
    assert (found.mean, found.low, found.high, found.below) == (0, 0, 0, 0.5) and not found.clear
    clear = paired_difference(named(np.zeros(9)), named(np.linspace(0.1, 0.2, 9)))
    assert clear.clear and clear.below == 0
    assert clear.as_dict()["mean"] == 0.15 and clear.as_dict()["groups"] == 9


def test_several_values_a_case() -> None:
    """Crossings of the stenoses of an image: each stenosis counts, images are drawn; one image has none."""
    first = {"a": [1, 0], "b": [0], "c": [], "d": [0, 0, 0]}
    second = {"a": [1, 1], "b": [0], "c": [], "d": [1, 1, 0]}
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(3 / 6) and (found.cases, found.groups) == (6, 4)
    assert found.low == 0 and found.high == pytest.approx(2 / 3)


def test_values_that_are_no_pairs() -> None:
    with pytest.raises(DataError, match="b: only one of both results has this case"):
        paired_difference({"a": 1}, {"a": 1, "b": 2})
    with pytest.raises(DataError, match="a: 1 values in one result and 2 in the other"):
        paired_difference({"a": 1}, {"a": [1, 2]})
    with pytest.raises(DataError, match="a: belongs to no group"):
        paired_difference({"a": 1}, {"a": 1}, {})
    with pytest.raises(DataError, match="0 values to compare"):
        paired_difference({}, {})


def test_values_of_results() -> None:
    def case(name: str, dataset: str, value: float) -> dict:
        return {"name": name, "dataset": dataset, "refined": {"dice": value}, "threshold": {"dice": value - 0.1}}

    folds = [{"cases": [case("s/a", "s", 0.8)]}, {"cases": [case("s/b", "s", 0.9), case("t/a", "t", 0.7)]}]
    assert case_values(folds, "dice") == {"s/a": 0.8, "s/b": 0.9, "t/a": 0.7}
    assert case_values(folds, "dice", "threshold", "t") == pytest.approx({"t/a": 0.6})
    with pytest.raises(DataError, match="s/a: stands in two of the results"):
        case_values([folds[0], folds[0]], "dice")
