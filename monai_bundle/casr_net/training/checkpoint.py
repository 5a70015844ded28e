"""Checkpoints that let a run go on exactly, and the choice of the best weights."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from ..errors import WeightsError
from ..network.weights import read_state_dict, state_digest
from .cases import cases_digest
from .optimisation import WeightAverage

__all__ = ["Checkpoint", "ModelSelection"]

logger = logging.getLogger(__name__)

SCHEDULE = ("t_total", "warmup_steps", "cycles", "base_lrs")
"""Of a scheduler's state, what the options of a run say; the rest says how far it is."""


def _write(state: Mapping[str, Any], path: Path) -> None:
    """Write a state dict under a temporary name and rename it, so that a kill leaves the old file or the new one.

    Of the processes of a distributed run only the first writes.
    """
    if idist.get_rank() > 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _keep(path: Path, copy: bool = False) -> Path:
    """Rename, or copy, a file to ``<stem>_previous``; one that has this name already gets the first free number too.

    MONAI Label offers every ``.pt`` of the folder to its users: only the latest of the old weights keeps that ending,
    the others get ``.ckpt``.

    Returns:
        the new name.
    """
    kept = path.with_stem(f"{path.stem}_previous")
    if kept.exists():
        ending = ".ckpt" if kept.suffix == ".pt" else kept.suffix
        names = (kept.with_name(f"{kept.stem}_{number}{ending}") for number in itertools.count(1))
        os.replace(kept, next(name for name in names if not name.exists()))
    if copy:
        source, path = path, path.with_name(f".{kept.name}.part")
        shutil.copy2(source, path)
    os.replace(path, kept)
    return kept


class ModelSelection:
    """Validation handler: keep the weights of the best epoch and say when there has been no gain for too long.

    MONAI's ``CheckpointSaver`` and ``EarlyStopHandler`` forget their best value when a run is resumed; this one's state
    is part of the checkpoint.

    Args:
        path: of the best weights, a state dict.
        network: whose weights are kept.
        metric: name of the evaluator's metric; higher is better.
        patience: validations without gain before the run stops; 0 never stops it.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module, metric: str, patience: int = 0) -> None:
        self.path, self.network, self.metric, self.patience = Path(path), network, metric, patience
        self.best, self.waited = float("-inf"), 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        value = float(engine.state.metrics[self.metric])
        if value > self.best:
            self.best, self.waited = value, 0
            _write(self.network.state_dict(), self.path)
        else:
            self.waited += 1

    @property
    def exhausted(self) -> bool:
        return 0 < self.patience <= self.waited

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = float(state["best"]), int(state["waited"])


class Checkpoint:
    """Write everything a run needs to go on at the end of each epoch, and go on from it when the run starts again.

    MONAI's ``CheckpointSaver`` cannot be given the trainer itself from a configuration, since the trainer holds its
    handlers; without it, the epoch and the best metric are lost. The file is replaced in one step, so that a kill at
    any time leaves a whole checkpoint.

    A run goes on only if it began from the same weights and the same training data. Otherwise it is another run: it
    starts anew, and the files of the earlier one are kept under other names (:func:`_keep`).

    Args:
        path: of the checkpoint; a state dict of tensors and numbers under the keys given.
        objects: name to anything with ``state_dict`` and ``load_state_dict``; "model" is the network.
        resume: go on from ``path`` when it exists; False starts anew in any case.
        weights_path: the network alone is written there when the run ends, for inference. Other weights that are there
            then are kept as ``<stem>_previous``. While a run lasts the file stays as it was, so that a server neither
            uses weights that are half trained, nor starts from them when a killed run is started again.
        selection: its state is kept too, and it ends the run when it is exhausted.
        average: of the weights; its state is kept too, and it is what is written to ``weights_path``.
        cases: training data, dictionaries with the paths of image and label.
        files: what else a run writes; kept beside the checkpoint when another run starts.

    Raises:
        WeightsError: when the checkpoint to resume from is damaged or belongs to another configuration.
    """

    def __init__(
        self,
        path: str | Path,
        objects: Mapping[str, Any],
        resume: bool = True,
        weights_path: str | Path | None = None,
        selection: ModelSelection | None = None,
        average: WeightAverage | None = None,
        cases: Sequence[Mapping[str, Any]] = (),
        files: Sequence[str | Path] = (),
    ) -> None:
        # What has no state, such as deep supervision without heads, is no part of the file.
        self.objects = {name: item for name, item in objects.items() if item.state_dict()}
        self.path, self.resume = Path(path), resume
        self.selection = selection
        if selection is not None:
            self.objects["selection"] = selection
        self.average = average
        if average is not None and average.average is not None:
            self.objects["average"] = average
        self.weights_path = None if weights_path is None else Path(weights_path)
        self.cases, self.files = cases, [Path(file) for file in files]
        self.origin: dict[str, str] = {}
        self.own_weights = ""  # digest of what this run has written to weights_path

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.publish)

    def save(self, engine: Engine) -> None:
        state = {name: item.state_dict() for name, item in self.objects.items()}
        scaler: Any = getattr(engine, "scaler", None)  # of MONAI's trainer, with mixed precision
        if scaler is not None:
            state["scaler"] = scaler.state_dict()
        state["progress"] = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        state |= {"origin": self.origin, "own_weights": self.own_weights}
        _write(state, self.path)
        if self.selection is not None and self.selection.exhausted:
            logger.info("No gain for %d validations: the run ends.", self.selection.waited)
            engine.terminate()

    def load(self, engine: Engine) -> None:
        weights = state_digest(self.objects["model"].state_dict())
        self.origin = {"weights": weights, "training data": cases_digest(self.cases)}
        state = self._read() if self.resume and self.path.is_file() else {}
        known = state.get("origin", {})
        other = [name for name, digest in self.origin.items() if known.get(name) != digest]
        idist.barrier()  # no process looks for the file while the first one renames it
        if other:
            kept = [_keep(path) for path in (self.path, *self.files) if path.is_file() and idist.get_rank() == 0]
            if kept:
                reason = f"it began from other {' and '.join(other)}" if state else "not to go on"
                logger.warning("%s: a new run; of the earlier one (%s) are kept: %s.", self.path, reason,
                               ", ".join(path.name for path in kept))  # fmt: skip
            return
        try:
            for name, item in self.objects.items():
                item.load_state_dict(self._planned(item, state[name]) if name == "lr_scheduler" else state[name])
            scaler: Any = getattr(engine, "scaler", None)
            if scaler is not None and "scaler" in state:
                scaler.load_state_dict(state["scaler"])
            engine.state.epoch, engine.state.iteration = state["progress"]["epoch"], state["progress"]["iteration"]
            written = state_digest(self._published())
            self.own_weights = written if self._digest_of_file() == written else state["own_weights"]
        except Exception as error:
            raise WeightsError(f"{self.path}: cannot resume from this checkpoint ({error}).") from error
        exhausted = self.selection is not None and self.selection.exhausted
        if exhausted:
            engine.terminate()
        logger.info("Resumed from %s after epoch %d.", self.path, engine.state.epoch)
        if exhausted or engine.state.epoch >= (engine.state.max_epochs or 0):
            logger.warning("%s: this run had ended; nothing is left to do.", self.path)

    def _planned(self, scheduler: Any, state: dict[str, Any]) -> dict[str, Any]:
        """The state of a scheduler, with the schedule as it is wanted now: a run that is given more epochs stretches
        it, and does not begin a second cycle with a rising rate."""
        wanted = {key: value for key, value in scheduler.state_dict().items() if key in SCHEDULE and key in state}
        changed = [f"{key} {state[key]}, now {value}" for key, value in wanted.items() if value != state[key]]
        if changed:
            logger.warning("%s: goes on with another schedule (%s).", self.path, "; ".join(changed))
        return {**state, **wanted}

    def publish(self, engine: Engine) -> None:
        """Write the network's weights, and keep those of others that are there."""
        if self.weights_path is None or idist.get_rank() > 0:
            return
        state = self._published()
        if self.weights_path.is_file() and self._digest_of_file() not in (self.own_weights, state_digest(state)):
            kept = _keep(self.weights_path, copy=True)  # a server always finds weights there, also after a kill
            logger.warning("%s: the weights that were there are kept as %s.", self.weights_path, kept.name)
        _write(state, self.weights_path)

    def _published(self) -> dict[str, torch.Tensor]:
        network: torch.nn.Module = self.objects["model"] if self.average is None else self.average.network
        return network.state_dict()

    def _read(self) -> dict[str, Any]:
        try:
            return dict(torch.load(self.path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise WeightsError(f"{self.path}: cannot resume from this checkpoint ({error}).") from error

    def _digest_of_file(self) -> str:
        """Of the weights that lie at ``weights_path``."""
        try:
            return state_digest(read_state_dict(self.weights_path or ""))
        except WeightsError:
            return "none that can be read"
