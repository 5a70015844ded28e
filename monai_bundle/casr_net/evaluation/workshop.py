"""Where the runs of the plan keep what they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import Segmenter
from .plan import Run

__all__ = ["Workshop"]


@dataclass(frozen=True)
class Workshop:
    """Where everything lies.

    Attributes:
        data: folder of ``cases.csv``; other sets are folders in it.
        state: checkpoints and whatever else lets a run go on; one folder a unit.
        results: one JSON a finished unit.
        settings: of ``train.json`` for every training, over those of the plan (tests make everything small with it).
        inference: likewise of ``inference.json``.
        device: that evaluates, and that the resident trainer works on.
        processes: that read images at the same time, for the resident trainer.
    """

    data: Path
    state: Path
    results: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    processes: int = 0

    def folder(self, unit: str) -> Path:
        """What a unit keeps while it is worked on, and its weights or labels afterwards."""
        return self.state / unit

    def result(self, unit: str) -> Path:
        return self.results / f"{unit}.json"

    def weights(self, unit: str) -> Path:
        """Final weights of a finished training."""
        return self.folder(unit) / "model.pt"

    def finished(self, unit: str) -> bool:
        return self.result(unit).is_file()

    def trained(self, unit: str) -> bool:
        """Its weights or labels are on this machine, evaluated or not; files of labels come one by one."""
        return self.weights(unit).is_file() or (self.finished(unit) and (self.folder(unit) / "labels").is_dir())

    def ready(self, unit: str) -> bool:
        """Finished, and what it has made is on this machine."""
        return self.finished(unit) and self.trained(unit)

    def segmenter(self, run: Run, weights: Path, settings: Mapping[str, Any] | None = None) -> Segmenter:
        """The bundle's inference with the network of a run; ``settings`` go over those of the run."""
        # By torch in single precision, so that figures of different machines compare; the network once, as it is.
        plain = {"runtime": "torch", "precision": "fp32", "tta": False}
        return Segmenter(
            list(run.network),
            device=self.device,
            weights=str(weights),
            **{**plain, **run.settings, **(settings or {}), **self.inference},
        )
