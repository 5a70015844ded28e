"""How sure a difference between two networks is: the bootstrap over patients, paired.

Images of one patient resemble each other, so whole groups are drawn with replacement (cluster bootstrap: Field and
Welsh, J. R. Statist. Soc. B 69:369, 2007), and both networks are compared on the same draw. Intervals are percentiles.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import DataError

__all__ = ["Difference", "case_values", "paired_difference"]

SAMPLES, LEVEL, SEED = 10_000, 0.95, 0
"""Our choice."""

BLOCK = 500  # draws at a time, which bounds the memory


@dataclass(frozen=True)
class Difference:
    """Mean difference with its interval.

    Attributes:
        mean: second minus first, over all cases.
        low, high: interval.
        below: share of the draws whose difference is below 0, those at 0 counting half.
        cases, groups: how many there were.
    """

    mean: float
    low: float
    high: float
    below: float
    cases: int
    groups: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON, rounded to 5 digits."""
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}


def paired_difference(
    first: Mapping[str, float | Sequence[float]],
    second: Mapping[str, float | Sequence[float]],
    groups: Mapping[str, Hashable] | None = None,
    samples: int = SAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Difference:
    """Difference of the means of two sets of values on the same cases.

    Args:
        first, second: value of each case, by its name; a case may have several (the stenoses of an image), which all
            count alike in the mean.
        groups: what is drawn together (the patient), by the case's name; None draws the cases.
        samples: number of draws.
        level: of the interval.
        seed: equal seeds give equal intervals.

    Raises:
        DataError: when the cases or their numbers of values differ, there is none, or one has no group.
    """
    if first.keys() != second.keys():
        strange = min(first.keys() ^ second.keys())
        raise DataError(f"{strange}: only one of both results has this case; pairs are needed.")
    sums: dict[Hashable, float] = {}
    counts: dict[Hashable, int] = {}
    for name, value in first.items():
        one, other = (np.atleast_1d(np.asarray(v, np.float64)) for v in (value, second[name]))
        if one.shape != other.shape:
            raise DataError(f"{name}: {one.size} values in one result and {other.size} in the other.")
        if groups is not None and name not in groups:
            raise DataError(f"{name}: belongs to no group.")
        group = name if groups is None else groups[name]
        sums[group] = sums.get(group, 0.0) + float((other - one).sum())
        counts[group] = counts.get(group, 0) + one.size
    total, number = np.array([*sums.values()]), np.array([*counts.values()], np.float64)
    if not number.sum():
        raise DataError("0 values to compare; at least 1 is needed.")
    rng = np.random.default_rng(seed)
    draws: list[np.ndarray] = []
    for begin in range(0, samples, BLOCK):
        drawn = rng.integers(len(total), size=(min(BLOCK, samples - begin), len(total)))
        weight = number[drawn].sum(axis=1)
        # A draw of groups without any value (images without a stenosis) says nothing.
        draws.append(total[drawn].sum(axis=1)[weight > 0] / weight[weight > 0])
    values = np.concatenate(draws)
    tail = 50 * (1 - level)
    low, high = np.percentile(values, [tail, 100 - tail])
    below = float((values < 0).mean() + (values == 0).mean() / 2)
    return Difference(float(total.sum() / number.sum()), float(low), float(high), below, int(number.sum()), len(total))


def case_values(
    results: Sequence[Mapping[str, Any]], metric: str, kind: str = "refined", dataset: str | None = None
) -> dict[str, float]:
    """One metric of every case of some results of the plan, such as one run's on two folds.

    Args:
        results: contents of ``experiments/results/evidence/UNIT.json``.
        metric: of :func:`casr_net.evaluation.image_metrics`, such as "dice".
        kind: "refined" or "threshold".
        dataset: only its cases; None takes all.

    Raises:
        DataError: when a case stands in two of the results.
    """
    values: dict[str, float] = {}
    for result in results:
        for case in result.get("cases", []):
            if dataset in (None, case["dataset"]):
                if case["name"] in values:
                    raise DataError(f"{case['name']}: stands in two of the results.")
                values[case["name"]] = float(case[kind][metric])
    return values
