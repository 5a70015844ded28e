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
from .mirrored import is_mirrored

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
        tta: whether probabilities are means over mirror images; "auto": those of files of one frame.
    """

    def __init__(self, weights: str | Path, tta: bool | str = False) -> None:
        self.weights, self.tta = Path(weights), tta
        self._tables: dict[str, np.ndarray] = {}

    def fit(self, frames: int | None = None) -> TwoTemperatures | None:
        """What holds for a frame; None where there is none for the weights.

        Args:
            frames: of its file; None counts as a cine.

        Raises:
            DataError: when a file cannot be read, has another form, or a value outside its range.
        """
        return self._fits.get(self._kind(frames))

    def _kind(self, frames: int | None) -> str:
        return "tta" if is_mirrored(self.tta, frames) else "single"

    @cached_property
    def _fits(self) -> dict[str, TwoTemperatures]:
        """By their kind."""
        try:
            digest = sha256(self.weights)
        except OSError:  # whoever loads them says what is wrong
            return {}
        folders = dict.fromkeys([self.weights.resolve().parent, bundle_root() / "models"])
        for path in (folder / FILE for folder in folders):
            entry = _entries(path).get(digest) if path.is_file() else None
            if entry is not None:
                return {kind: _fit(entry, kind, path) for kind in {self._kind(1), self._kind(None)}}
        return {}

    def __call__(self, probability: np.ndarray, frames: int | None = None) -> np.ndarray:
        """Calibrated probabilities, float32, of those in [0, 1] of any shape; their order is kept.

        They are looked up in a table, which takes a fraction of the time and is off by less than a level of 8 bits.

        Args:
            probability: of a frame, or of several.
            frames: of their file; None: one where the map has two axes, else a cine.
        """
        frames = (1 if probability.ndim == 2 else None) if frames is None else frames
        fit, kind = self.fit(frames), self._kind(frames)
        if fit is None:
            return probability
        if kind not in self._tables:
            self._tables[kind] = fit((np.arange(LEVELS) + 0.5) / LEVELS)
        return self._tables[kind][np.minimum(probability * LEVELS, LEVELS - 1).astype(np.uint16)]

    def record(self) -> dict[str, Any] | None:
        """For ``run.json``: of frames of cines, and beside them of images of one frame, where those are others."""
        cine, single = (self.fit(frames) for frames in (None, 1))
        if cine is None or single is None:
            return None
        return dataclasses.asdict(cine) | ({} if single == cine else {"single_image": dataclasses.asdict(single)})


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
