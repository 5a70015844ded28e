"""Frames of files through the bundle: MONAI's evaluator over a dataset of frames, and the handler that writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedEvaluator
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import UsageError, shown
from ..files.images import read_angiogram
from ..files.results import ResultWriter
from ..preprocessing.base import as_numpy
from .calibrated import WeightsCalibration
from .frame_loop import FrameLoop, HasFrameLoop, frame_stages
from .pipeline import Pipeline
from .predict import postprocessed
from .record import RunReport
from .saving import FrameSaver
from .stages import FrameNetwork, loading_apart
from .threads import Shares, current_shares, planned, sharing

__all__ = ["FrameDataset", "FrameEvaluator", "SaveResults"]


class FrameDataset(IterableDataset):
    """Frames one by one, each decoded when its turn comes. One that fails is noted, and the next is taken.

    It has no length, since nobody knows how many frames will fail, and is passed through once: after an error outside
    (see :func:`run_inference`) an iteration goes on with the next frame.

    Args:
        data: frames, as :func:`wanted_items` gives them.
        transform: applied to each.
        report: takes the failures.

    Raises:
        UsageError: for anything else, such as a MONAI data list in a configuration.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Any, report: RunReport) -> None:
        self.data, self.transform, self.report = list(data), transform, report
        self.position = 0
        for item in self.data:
            if not (isinstance(item, Mapping) and {"path", "image", "frame"} <= item.keys()):
                raise UsageError(f"dataset#data: {shown(item)} is no frame of a file; files are given as inputs.")

    @property
    def current(self) -> dict[str, Any] | None:
        """The frame that was given last."""
        return self.data[self.position - 1] if self.position else None

    def items(self) -> Iterator[dict[str, Any]]:
        """The frames that are left, as they were listed."""
        while self.position < len(self.data):
            self.position += 1
            yield self.data[self.position - 1]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if get_worker_info() is not None:
            raise UsageError("dataloader#num_workers must be 0: files are read in order, by one process.")
        for item in self.items():
            try:
                ready = self.transform(dict(item))
            except Exception as error:  # whatever is wrong with one frame must not cost the others
                self.report.frame_failed(item, error)
                continue
            yield ready


class FrameEvaluator(HasFrameLoop, SupervisedEvaluator):
    """MONAI's evaluator, with several frames on their way through the stages of :mod:`casr_net.inference.stages`.

    Handlers are called in the thread that runs it, frame after frame, in order: when a frame is done, ``state.batch``
    and ``state.output`` are lists of its data. A frame that fails is noted in the dataset's report, and the next goes
    on; after an error of a handler, :meth:`run` goes on with the next frame.

    Args:
        device, network, inferer, postprocessing, val_handlers: see MONAI's.
        dataset: the frames.
        window: centre and width that files are shown with.
        pipeline: False: one frame after the other, as a debugger likes it.
        settings: further ones of MONAI's.
    """

    def __init__(
        self,
        device: torch.device,
        dataset: FrameDataset,
        network: torch.nn.Module,
        inferer: Any = None,
        postprocessing: Callable[[dict[Any, Any]], dict[Any, Any]] | None = None,
        val_handlers: Sequence[Any] | None = None,
        window: Sequence[float] | None = None,
        pipeline: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(
            device=device, val_data_loader=_Done(self), network=network, inferer=inferer, val_handlers=val_handlers,
            iteration_update=self._take, decollate=False, **settings,
        )  # fmt: skip
        self.dataset, self.steps, self.pipelined = dataset, postprocessing, pipeline
        self.window = None if window is None else (float(window[0]), float(window[1]))

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's
        """Go through the frames that are left."""
        frames = len(self.dataset.data) - self.dataset.position
        alone = Shares(current_shares().total)
        with sharing(planned(self.state.device, frames) if self.pipelined else alone):
            super().run(global_epoch)

    def done(self) -> Iterator[list[dict[Any, Any]]]:
        """The data of each frame that is done, in order; those that failed are noted."""
        if self._loop is None:
            self._loop = FrameLoop(self._begun(), self.dataset.report)
        for way in self._loop.done():
            yield [{**way.value, "seconds": way.seconds}]

    def _begun(self) -> Pipeline:
        self.network.eval()
        load, channels = loading_apart(self.dataset.transform)

        def decode(item: dict[str, Any]) -> dict[Any, Any]:
            data: dict[Any, Any] = load(dict(item))
            # Held until the frame is written: meanwhile the next files are opened.
            data["angiogram"] = read_angiogram(item["path"], self.window)
            return data

        shares = current_shares()
        network = FrameNetwork(
            self.network, self.inferer, self.state.device, shares.batch, self.dataset.report.went_to_cpu
        )
        refine = None if self.steps is None else functools.partial(postprocessed, self.steps)
        return Pipeline(
            frame_stages(decode, channels, network if shares.batch > 1 else network.one, refine, shares),
            self.dataset.items(), shares.room if self.pipelined else 1,
            lambda data: int(np.prod(data["angiogram"].size)),
        )  # fmt: skip

    def _take(self, engine: Engine, batch: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
        state: Any = engine.state
        state.output = batch
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return batch


class _Done:
    """What the engine takes for its loader: each run goes on where the last one was."""

    def __init__(self, evaluator: FrameEvaluator) -> None:
        self._evaluator = evaluator

    def __iter__(self) -> Iterator[list[dict[Any, Any]]]:
        return self._evaluator.done()


class SaveResults:
    """Evaluator handler: each frame's results, and what is to be noted, by :class:`casr_net.inference.FrameSaver`.

    Args:
        writer: of the results.
        report: takes the notes.
        mask_key: entry of the evaluator's output with the mask, (1, X, Y).
        image_key, field_key: entries of the batch with the network's input, whose first channel is the grey image in
            [-1, 1], and the exposed field, (1, X, Y) of 0 and 1.
        calibration: of the probabilities that are written.
    """

    def __init__(
        self,
        writer: ResultWriter,
        report: RunReport,
        mask_key: str = "pred",
        image_key: str = "image",
        field_key: str = "field",
        calibration: WeightsCalibration | None = None,
    ) -> None:
        self.save = FrameSaver(writer, report, calibration)
        self.mask_key, self.image_key, self.field_key = mask_key, image_key, field_key

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        state: Any = engine.state
        for batch, output in zip(state.batch, state.output, strict=True):
            probability, field = output.get("probability"), batch.get(self.field_key)
            self.save(
                batch, as_numpy(output[self.mask_key])[0], None if probability is None else as_numpy(probability)[0],
                as_numpy(batch[self.image_key])[0], None if field is None else as_numpy(field)[0],
                batch.get("angiogram"), batch.get("seconds"),
            )  # fmt: skip
