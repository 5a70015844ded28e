"""Frames of files through the bundle: MONAI's evaluator over a dataset of frames, and the handler that writes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedEvaluator
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import UsageError
from ..files.images import Angiogram, read_angiogram
from ..files.results import ResultWriter
from ..uncertainty.quality import soft_dice_confidence
from .origin import fingerprint
from .pipeline import Pipeline
from .record import RunReport
from .stages import FrameNetwork, frame_stages, loading_apart
from .threads import Shares, current_shares, planned, sharing

__all__ = ["FrameDataset", "FrameEvaluator", "SaveResults"]

MUCH = 0.5
"""Share of the exposed field that may be black or white by the grey range before it is said. Our choice."""


class FrameDataset(IterableDataset):
    """Frames one by one, each decoded when its turn comes. One that fails is noted, and the next is taken.

    It has no length, since nobody knows how many frames will fail, and is passed through once: after an error outside
    (see :func:`run_inference`) an iteration goes on with the next frame.

    Args:
        data: frames, as :func:`wanted_items` gives them.
        transform: applied to each.
        report: takes the failures.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Any, report: RunReport) -> None:
        self.data, self.transform, self.report = list(data), transform, report
        self.position = 0

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


class FrameEvaluator(SupervisedEvaluator):
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
        self.finished = False
        self.current: dict[str, Any] | None = None
        self._ways: Pipeline | None = None

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's
        """Go through the frames that are left."""
        frames = len(self.dataset.data) - self.dataset.position
        alone = Shares(current_shares().total)
        with sharing(planned(self.state.device, frames) if self.pipelined else alone):
            super().run(global_epoch)

    def close(self) -> None:
        """End the threads, also when frames are left."""
        if self._ways is not None:
            self._ways.close()

    def done(self) -> Iterator[list[dict[Any, Any]]]:
        """The data of each frame that is done, in order; those that failed are noted."""
        if self._ways is None:
            self._ways = self._begun()
        for way in self._ways:
            self.current = way.item
            if way.error is None:
                yield [{**way.value, "seconds": way.seconds}]
                continue
            if isinstance(way.error, UsageError) and way.stage in ("network", "refinement"):
                raise way.error  # the same for every frame
            assert isinstance(way.error, Exception)
            self.dataset.report.frame_failed(way.item, way.error)
        self.finished = True

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
        return Pipeline(
            frame_stages(decode, channels, network, self.steps, shares), self.dataset.items(),
            shares.room if self.pipelined else 1, lambda data: int(np.prod(data["angiogram"].size)),
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
    """Evaluator handler: writes each frame's results, and notes outputs, failures and seconds a stage.

    A file whose results cannot be written fails alone; the run goes on. Notes too what looks wrong: a frame without
    any vessel, or one whose exposed field is black or white by more than half.

    Args:
        writer: of the results.
        report: takes the notes.
        mask_key: entry of the evaluator's output with the mask, (1, X, Y).
        image_key, field_key: entries of the batch with the network's input, whose first channel is the grey image in
            [-1, 1], and the exposed field, (1, X, Y) of 0 and 1.
    """

    def __init__(
        self,
        writer: ResultWriter,
        report: RunReport,
        mask_key: str = "pred",
        image_key: str = "image",
        field_key: str = "field",
    ) -> None:
        self.writer, self.report = writer, report
        self.mask_key, self.image_key, self.field_key = mask_key, image_key, field_key

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        state: Any = engine.state
        for batch, output in zip(state.batch, state.output, strict=True):
            begun = time.perf_counter()
            stages: dict[str, float] = batch.get("seconds", {})
            item = {key: batch[key] for key in ("path", "name", "frame", "frames")}
            source: Angiogram = batch.get("angiogram") or read_angiogram(item["path"], self.writer.window)
            probability = output.get("probability")
            try:
                mask = _plane(output[self.mask_key])
                levels = None if probability is None else _plane(probability)
                self.writer.write(item, mask, levels, functools.partial(self.report.wrote, item), source)
                self._look(item, source, mask, batch)
                if levels is not None:
                    self.report.files[item["path"]].quality[item["frame"]] = soft_dice_confidence(levels, mask)
            except Exception as error:  # whatever is wrong with one file must not cost the others
                self.report.frame_failed(item, error)
            else:
                self.report.frame_done(item, sum(stages.values()) + time.perf_counter() - begun)
            for stage, seconds in {**stages, "writing": time.perf_counter() - begun}.items():
                self.report.seconds[stage] += seconds

    def _look(self, item: dict[str, Any], source: Angiogram, mask: np.ndarray, batch: dict[str, Any]) -> None:
        """Note how the file was shown, and what looks wrong about the frame."""
        record = self.report.files[item["path"]]
        columns, rows = source.size
        record.source |= {
            "format": source.format, "columns": columns, "rows": rows, "grey": source.rule.describe()
        }  # fmt: skip
        if "sha256" not in record.source:
            record.source |= fingerprint(item["path"])
        record.warnings = list(source.warnings)
        record.area[item["frame"]] = int(np.count_nonzero(mask))
        if not mask.any():
            record.empty.append(item["frame"])
        grey, field = batch[self.image_key][0], batch.get(self.field_key)
        exposed = grey[field[0] > 0] if field is not None else grey.reshape(-1)
        if exposed.numel() and float((exposed.abs() > 0.999).float().mean()) > MUCH:
            record.clipped.append(item["frame"])


def _plane(image: torch.Tensor) -> np.ndarray:
    return image[0].detach().cpu().numpy()
