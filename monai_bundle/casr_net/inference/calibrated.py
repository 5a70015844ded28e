"""The calibration that belongs to a file of weights: with it, of the pixels at 0.7 seven in ten are vessel."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files.digest import sha256
from ..uncertainty.temperature import TwoTemperatures
from .bundle import bundle_root

__all__ = ["FILE", "WeightsCalibration"]

FILE = "calibration.json"
"""Beside weights: by the digest of a file of weights, temperatures for one run of the network ("single") and for the
mean over mirror images ("tta"), as ``experiments/shipped_calibration.py`` fits them."""

LEVELS = 1 << 16
"""Of the table; an even number, so that one half is a border between two of them."""


class WeightsCalibration:
    """Makes probabilities of what a network gives, see :class:`casr_net.uncertainty.TwoTemperatures`.

    Temperatures are looked up in :data:`FILE` beside the weights, then in the bundle's models. Weights that neither
    names have none: what their network gives stays as it is. Masks do not depend on it.

    Args:
        weights: file of the network's weights.
        tta: whether probabilities are means over mirror images.
    """

    def __init__(self, weights: str | Path, tta: bool = False) -> None:
        self.weights, self.kind = Path(weights), "tta" if tta else "single"

    @cached_property
    def fit(self) -> TwoTemperatures | None:
        """None where there is none for the weights.

        Raises:
            DataError: when a file cannot be read, has another form, or a value outside its range.
        """
        try:
            digest = sha256(self.weights)
        except OSError:  # whoever loads them says what is wrong
            return None
        folders = dict.fromkeys([self.weights.resolve().parent, bundle_root() / "models"])
        for path in (folder / FILE for folder in folders):
            entry = _entries(path).get(digest) if path.is_file() else None
            if entry is not None:
                return _fit(entry, self.kind, path)
        return None

    @cached_property
    def _table(self) -> np.ndarray:
        assert self.fit is not None
        return self.fit((np.arange(LEVELS) + 0.5) / LEVELS)

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32, of those in [0, 1] of any shape; their order is kept.

        They are looked up in a table, which takes a fraction of the time and is off by less than a level of 8 bits.
        """
        if self.fit is None:
            return probability
        return self._table[np.minimum(probability * LEVELS, LEVELS - 1).astype(np.uint16)]

    def record(self) -> dict[str, float] | None:
        """For ``run.json``."""
        return None if self.fit is None else dataclasses.asdict(self.fit)


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_bytes())["weights"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged; bring it again, or delete it.") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path}: is damaged; bring it again, or delete it.")
    return entries


def _fit(entry: Any, kind: str, path: Path) -> TwoTemperatures:
    try:
        values = {name: float(entry[kind][name]) for name in ("below", "above")}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no temperatures of {kind!r} for these weights.") from error
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise DataError(f"{path}: {name} of {kind!r} is {value}; it must be above 0.")
    return TwoTemperatures(**values)
