"""Running the bundle on files: MONAI's evaluator with a writer and a record attached."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents

from ..errors import CASRError, DataError, UsageError
from ..files.inputs import Inputs
from ..files.results import ResultWriter
from .record import RunReport

__all__ = ["SaveResults", "resolve_device", "run_inference", "wanted_items"]


def resolve_device(name: str = "auto") -> torch.device:
    """Device by name: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:<index>".

    Raises:
        UsageError: for another name, or a device that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"device is {name!r}; known are auto, cpu, cuda and cuda:<index>.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there; this machine has {torch.cuda.device_count()} CUDA devices.")
    return torch.device(name)


def wanted_items(inputs: Inputs, writer: ResultWriter, report: RunReport) -> list[dict[str, Any]]:
    """Frames that are to be segmented: all whose results would not replace an existing file.

    Refused files, and those whose results exist, go to the report. A file is segmented wholly or not at all.

    Raises:
        DataError: when the output folder cannot be written to.
    """
    writer.check_folder()
    for path, error in inputs.failures.items():
        report.fail(path, error)
    for item in inputs.items:
        try:
            writer.check(item)
        except CASRError as error:
            report.fail(item["path"], error)
    return [item for item in inputs.items if item["path"] not in report.failures]


class SaveResults:
    """Evaluator handler: writes each frame's results, and notes outputs, failures and seconds a stage.

    A file whose results cannot be written fails alone; the run goes on.
    """

    def __init__(self, writer: ResultWriter, report: RunReport, mask_key: str = "pred") -> None:
        self.writer, self.report, self.mask_key = writer, report, mask_key
        self._mark = 0.0

    def attach(self, engine: Engine) -> None:
        for event in (Events.GET_BATCH_STARTED, Events.ITERATION_STARTED):
            engine.add_event_handler(event, self._start)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._stop, "preprocessing")
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._stop, "network")
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._mark = time.perf_counter()

    def _stop(self, engine: Engine, stage: str) -> None:
        now = time.perf_counter()
        self.report.seconds[stage] += now - self._mark
        self._mark = now

    def _write(self, engine: Engine) -> None:
        # MONAI's own handler for postprocessing ran before this one, so that the time since the forward pass is its.
        self._stop(engine, "refinement")
        state: Any = engine.state
        for item, output in zip(state.batch, state.output, strict=True):
            path, probability = item["path"], output.get("probability")
            try:
                written = self.writer.write(
                    item, _plane(output[self.mask_key]), None if probability is None else _plane(probability)
                )
            except CASRError as error:
                self.report.fail(path, error)
            except Exception as error:  # whatever is wrong with one file must not cost the others
                self.report.fail(path, DataError(f"{path}: results cannot be made: {type(error).__name__}: {error}"))
            else:
                self.report.outputs.setdefault(path, []).extend(str(file) for file in written)
        self._stop(engine, "writing")


def _plane(image: torch.Tensor) -> np.ndarray:
    return image[0].detach().cpu().numpy()


def run_inference(evaluator: Engine | None, items: Sequence[Any], report: RunReport) -> RunReport:
    """Run the evaluator if there is anything to do (it may be None otherwise), and write the record.

    Returns:
        the report; its ``exit_code`` says whether all went well.
    """
    try:
        if evaluator is not None and items:
            evaluator.run()
    finally:
        report.write()
    done = len(report.outputs)
    logging.getLogger("casr_net").info(
        "%d of %d files segmented in %.1f s; see %s.",
        done, len({*report.outputs, *report.failures}), report.seconds["total"], report.path,
    )  # fmt: skip
    return report
