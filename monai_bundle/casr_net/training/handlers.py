"""What MONAI's engines lack for a reproducible training run that tells how it goes."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.transforms import Randomizable
from monai.utils import set_determinism

__all__ = ["CsvLog", "EpochSeed"]


class EpochSeed:
    """Seed everything random from (seed, epoch) at the start of every epoch.

    An epoch then depends on its number and on the stored weights only, so that a run resumed from the checkpoint of an
    epoch repeats the interrupted run exactly (data loaded in the main process).

    Args:
        seed: of the run.
        randomizables: transforms and data sets with their own random state, such as the training ``Compose``.
        samplers: samplers with a ``generator``, or with ``set_epoch`` (distributed).
    """

    def __init__(self, seed: int, randomizables: Iterable[Randomizable] = (), samplers: Iterable[Any] = ()) -> None:
        self.seed, self.randomizables, self.samplers = seed, list(randomizables), list(samplers)

    def attach(self, engine: Engine) -> None:
        # Priority over every other handler: the loader's iterator is made right after EPOCH_STARTED.
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        # Processes of a distributed run must not draw the same augmentations.
        value = (self.seed * 100_003 + engine.state.epoch + 7_919 * idist.get_rank()) % (2**31)
        set_determinism(seed=value)
        for randomizable in self.randomizables:
            randomizable.set_random_state(seed=value)
        for sampler in self.samplers:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(engine.state.epoch)
            elif getattr(sampler, "generator", None) is not None:
                sampler.generator.manual_seed(value)


class CsvLog:
    """Trainer handler: a row an epoch with epoch, mean loss, learning rate, seconds and latest validation metrics.

    A resumed run goes on in the same file; rows of epochs that are repeated are dropped first.

    Args:
        path: of the CSV file.
        optimizer: its first group's learning rate is logged.
        evaluator: its metrics are logged, empty until the first validation.
        metrics: names of the evaluator's metrics.
    """

    def __init__(
        self, path: str | Path, optimizer: torch.optim.Optimizer, evaluator: Engine, metrics: Sequence[str] = ()
    ) -> None:
        self.path, self.optimizer, self.evaluator, self.metrics = Path(path), optimizer, evaluator, list(metrics)
        self.losses: list[float] = []
        self.started = 0.0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._log)

    def _start(self, engine: Engine) -> None:
        self.losses, self.started = [], time.perf_counter()

    def _collect(self, engine: Engine) -> None:
        output: Any = engine.state.output
        self.losses.append(float(output[0]["loss"]))

    def _log(self, engine: Engine) -> None:
        columns = ["epoch", "loss", "learning_rate", "seconds", *self.metrics]
        rows: list[list[Any]] = []
        if self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as stream:
                rows = [row for row in list(csv.reader(stream))[1:] if int(row[0]) < engine.state.epoch]
        seen = self.evaluator.state.metrics if self.evaluator.state.iteration else {}
        rate = self.optimizer.param_groups[0]["lr"]
        loss, seconds = sum(self.losses) / max(1, len(self.losses)), time.perf_counter() - self.started
        values = [f"{seen[name]:.5f}" if name in seen else "" for name in self.metrics]
        rows.append([engine.state.epoch, f"{loss:.5f}", f"{rate:.3e}", f"{seconds:.1f}", *values])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([columns, *rows])
