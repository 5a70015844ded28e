"""What the server has learned: versions of the weights, which of them is used, and embeddings of the images."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.errors import UsageError
from casr_net.files.atomic import write_atomically
from casr_net.uncertainty.platt import LogitCalibration

__all__ = ["Embeddings", "StateFolder"]


@dataclass(frozen=True)
class PlattRecord:
    """The calibrations of probabilities (Platt) of a version of the weights; where nothing is known, nothing changes.

    Attributes:
        single: of the probabilities of one run of the network.
        tta: of the mean over mirrored copies.
    """

    single: LogitCalibration = field(default_factory=LogitCalibration)
    tta: LogitCalibration = field(default_factory=LogitCalibration)

    @staticmethod
    def of_record(record: Mapping[str, Any]) -> PlattRecord:
        """From what :meth:`record` gives."""
        return PlattRecord(**{kind: LogitCalibration(**record[kind]) for kind in ("single", "tta") if kind in record})

    def record(self) -> dict[str, dict[str, float]]:
        """For a JSON file, rounded."""
        return {
            kind: {"slope": round(one.slope, 4), "intercept": round(one.intercept, 4)}
            for kind, one in (("single", self.single), ("tta", self.tta))
        }


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
        platt: file with the record of version 0, as ``experiments/calibration.py`` writes it.
    """

    def __init__(self, folder: Path, platt: Path | None = None) -> None:
        self.folder = folder
        self._first = platt
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
    def platt(self) -> PlattRecord:
        """Of the version that is used."""
        number = self.current
        file = self._file(number).with_suffix(".json") if number else self._first
        if file is None or not file.is_file():
            return PlattRecord()
        return PlattRecord.of_record(json.loads(file.read_text(encoding="utf-8")).get("calibration", {}))

    def add(self, weights: Path, record: dict[str, Any]) -> int:
        """Keep weights as a new version; they are not used yet."""
        numbers = [int(path.stem) for path in self.versions.glob("*.pt")] if self.versions.is_dir() else []
        number = max(numbers, default=0) + 1
        write_atomically(self._file(number), lambda path: shutil.copyfile(weights, path), sync=True)
        content = {"version": number, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **record}
        text = json.dumps(content, indent=1)
        write_atomically(self._file(number).with_suffix(".json"), lambda path: path.write_text(text, encoding="utf-8"))
        return number

    def use(self, number: int) -> None:
        """From now on a version is used; 0 goes back to the weights of the bundle.

        Raises:
            UsageError: when there is no such version.
        """
        if number != 0 and not self._file(number).is_file():
            known = [record["version"] for record in self.history()]
            raise UsageError(f"version {number} of the weights: not there; known are 0 (the bundle's) and {known}.")
        if number == 0:
            self.published.unlink(missing_ok=True)
        else:
            write_atomically(self.published, lambda path: shutil.copyfile(self._file(number), path))
            os.utime(self.published)  # running servers load it by its time
        text = json.dumps({"version": number})
        write_atomically(self.folder / "current.json", lambda path: path.write_text(text, encoding="utf-8"))

    def _file(self, number: int) -> Path:
        return self.versions / f"{number:04d}.pt"
