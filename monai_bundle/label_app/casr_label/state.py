"""What the server has learned: versions of the weights, which of them is used, and embeddings of the images."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.errors import UsageError
from casr_net.files.atomic import write_atomically
from casr_net.inference.calibrated import WeightsCalibration
from casr_net.uncertainty.platt import LogitCalibration
from casr_net.uncertainty.temperature import TwoTemperatures

__all__ = ["Calibrations", "Embeddings", "StateFolder"]

KINDS = ("single", "tta")


@dataclass(frozen=True)
class Calibrations:
    """The calibrations of probabilities of a version of the weights; where nothing is known, nothing changes.

    Attributes:
        single: of the probabilities of one run of the network.
        tta: of the mean over mirrored copies.
    """

    single: TwoTemperatures | LogitCalibration = field(default_factory=TwoTemperatures)
    tta: TwoTemperatures | LogitCalibration = field(default_factory=TwoTemperatures)

    @staticmethod
    def of_record(record: Mapping[str, Any]) -> Calibrations:
        """From what :meth:`record` gives; versions of before 0.10 have a slope and an intercept."""
        return Calibrations(
            **{
                kind: (LogitCalibration if "slope" in record[kind] else TwoTemperatures)(**record[kind])
                for kind in KINDS
                if kind in record
            }
        )

    @staticmethod
    def of_bundle(weights: Path) -> Calibrations:
        """What the bundle knows of a file of weights.

        Raises:
            DataError: when its file is damaged.
        """
        fits = (WeightsCalibration(weights, tta=kind == "tta").fit() for kind in KINDS)
        return Calibrations(*(TwoTemperatures() if fit is None else fit for fit in fits))

    def of(self, mirrored: bool) -> TwoTemperatures | LogitCalibration:
        """Of a mean over mirrored copies, or of one run."""
        return self.tta if mirrored else self.single

    def record(self) -> dict[str, dict[str, float]]:
        """For a JSON file, rounded."""
        return {kind: {name: round(value, 4) for name, value in asdict(getattr(self, kind)).items()} for kind in KINDS}


class Embeddings:
    """One vector an image, from the encoder's last feature map.

    Args:
        folder: made when the first one is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, image_id: str, vector: np.ndarray) -> None:
        """Keep a vector, float32 (n,)."""
        write_atomically(self._file(image_id), lambda path: np.save(path, vector.astype(np.float32)))

    def load(self, image_id: str) -> np.ndarray | None:
        """The vector, or None if there is none."""
        try:
            return np.load(self._file(image_id), allow_pickle=False)
        except (OSError, ValueError):
            return None

    def _file(self, image_id: str) -> Path:
        return self._folder / f"{image_id}.npy"


class StateFolder:
    """Versions are numbered from 1; 0 are the weights of the bundle.

    ``versions/0001.pt`` and ``0001.json`` (Dice before and after, number of labels, time), ``published.pt``: a copy of
    the version that is used, absent for 0.

    Args:
        folder: made when something is learned.
        weights: of version 0, whose calibrations the bundle has.
    """

    def __init__(self, folder: Path, weights: Path | None = None) -> None:
        self.folder = folder
        self._weights = weights
        self.published = folder / "published.pt"
        self.versions = folder / "versions"
        self.run = folder / "run"
        self.embeddings = Embeddings(folder / "embeddings")

    def history(self) -> list[dict[str, Any]]:
        """Records of all versions, oldest first."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.versions.glob("*.json"))]

    @property
    def current(self) -> int:
        """Number of the version that is used."""
        try:
            return int(json.loads((self.folder / "current.json").read_text(encoding="utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    @property
    def calibrations(self) -> Calibrations:
        """Of the version that is used.

        Raises:
            DataError: when the bundle's file is damaged.
        """
        number = self.current
        if not number:
            return self._first
        file = self._file(number).with_suffix(".json")
        if not file.is_file():
            return Calibrations()
        return Calibrations.of_record(json.loads(file.read_text(encoding="utf-8")).get("calibration", {}))

    @cached_property
    def _first(self) -> Calibrations:
        return Calibrations() if self._weights is None else Calibrations.of_bundle(self._weights)

    def add(self, weights: Path, record: dict[str, Any]) -> int:
        """Keep weights as a new version; they are not used yet."""
        numbers = [int(path.stem) for path in self.versions.glob("*.pt")] if self.versions.is_dir() else []
        number = max(numbers, default=0) + 1
        write_atomically(self._file(number), lambda path: shutil.copyfile(weights, path), sync=True)
        content = {"version": number, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **record}
        text = json.dumps(content, indent=1)
        write_atomically(self._file(number).with_suffix(".json"), lambda path: path.write_text(text, encoding="utf-8"))
        return number

    def require(self, number: int) -> None:
        """Refuse a version that is not there.

        Raises:
            UsageError: naming those that are.
        """
        if number != 0 and not self._file(number).is_file():
            known = [record["version"] for record in self.history()]
            raise UsageError(f"version {number} of the weights: not there; known are 0 (the bundle's) and {known}.")

    def use(self, number: int) -> None:
        """From now on a version is used; 0 goes back to the weights of the bundle.

        Raises:
            UsageError: when there is no such version.
        """
        self.require(number)
        if number == 0:
            self.published.unlink(missing_ok=True)
        else:
            write_atomically(self.published, lambda path: shutil.copyfile(self._file(number), path))
            os.utime(self.published)  # running servers load it by its time
        text = json.dumps({"version": number})
        write_atomically(self.folder / "current.json", lambda path: path.write_text(text, encoding="utf-8"))

    def _file(self, number: int) -> Path:
        return self.versions / f"{number:04d}.pt"
