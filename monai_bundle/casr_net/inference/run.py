"""Running the bundle on files: MONAI's evaluator over frames, with a writer and a record attached."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import CASRError, DataError, UsageError
from ..files.images import read_angiogram
from ..files.inputs import Inputs
from ..files.results import ResultWriter
from ..uncertainty.quality import soft_dice_confidence
from .origin import fingerprint
from .record import RunReport

__all__ = ["FrameDataset", "SaveResults", "run_inference", "wanted_items"]

logger = logging.getLogger("casr_net")

MUCH = 0.5
"""Share of the exposed field that may be black or white by the grey range before it is said. Our choice."""


Select = Callable[[list[dict[str, Any]], RunReport], list[dict[str, Any]]]


def wanted_items(
    inputs: Inputs, writer: ResultWriter, report: RunReport, select: Select | None = None
) -> list[dict[str, Any]]:
    """Frames that are to be segmented: all that lack a result, or all where results are to be replaced.

    Refused before any work: files that would write to the same place as another one, or over an input; and files with
    results that were made otherwise, by other settings, other weights or from another input, or nobody knows how; and
    files whose masks the format cannot hold.

    Args:
        inputs: what was found.
        writer, report: of the run.
        select: leaves some of the frames of a file, such as :class:`casr_net.cine.KeyFrameSelection`; None leaves all.
            An error of ours that it raises costs the file.

    Raises:
        DataError: when the output folder cannot be written to.
    """
    report.expect(inputs)
    if not inputs.items:
        return []
    writer.check_folder()
    report.record.load()
    taken: dict[str, str] = {}
    sources = {os.path.realpath(path): path for path in report.files}
    wanted: list[dict[str, Any]] = []
    for path, group in itertools.groupby(inputs.items, key=lambda item: item["path"]):
        items = list(group)
        try:
            _check_places(items, writer, taken, sources)
            if select is not None:
                items = select(items, report)
                report.files[path].asked = len(items)
            missing = _missing(items, writer, report)
            if missing:
                writer.expect(items)
        except CASRError as error:
            report.fail(path, error)
            continue
        report.files[path].wanted, report.files[path].before = len(missing), len(items) - len(missing)
        wanted += missing
    kept = sum(record.state == "kept" for record in report.files.values())
    if kept:
        logger.info("kept, done before with the same settings: %d of %d files.", kept, len(report.files))
    return wanted


def _check_places(
    items: Sequence[dict[str, Any]], writer: ResultWriter, taken: dict[str, str], sources: dict[str, str]
) -> None:
    """Refuse a file whose results would meet those of another, or replace an input; else note its places."""
    path = items[0]["path"]
    places = {str(place) for item in items for place in writer.paths(item).values()}
    for place in sorted(places):
        if place in taken:
            raise DataError(
                f"{path}: its result {place} would be that of {taken[place]} too; rename one, or give each an output "
                "folder of its own."
            )
        real = os.path.realpath(place)
        if real in sources:
            raise DataError(
                f"{path}: its result {place} would replace the input {sources[real]}; use another output folder."
            )
    taken.update(dict.fromkeys(places, path))


def _missing(items: Sequence[dict[str, Any]], writer: ResultWriter, report: RunReport) -> list[dict[str, Any]]:
    """The frames of a file that lack a result.

    Raises:
        DataError: when one of the results that are there was made otherwise.
    """
    existing = [writer.existing(item) for item in items]
    if writer.overwrite:
        return list(items)
    there = dict.fromkeys(place for places in existing for place in places.values())
    otherwise = report.made_otherwise(items[0]["path"], there)
    if otherwise:
        raise DataError(f"{otherwise}; --overwrite replaces it.")
    writer.check_kept(items)
    needed = writer.paths(items[0]).keys()
    if writer.stacked and writer.main not in existing[0]:
        return list(items)  # a stack needs all of its frames
    return [item for item, places in zip(items, existing, strict=True) if places.keys() != needed]


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

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if get_worker_info() is not None:
            raise UsageError("dataloader#num_workers must be 0: files are read in order, by one process.")
        while self.position < len(self.data):
            item = self.data[self.position]
            self.position += 1
            try:
                ready = self.transform(dict(item))
            except Exception as error:  # whatever is wrong with one frame must not cost the others
                self.report.frame_failed(item, error)
                continue
            yield ready


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
        self._mark = self._begun = 0.0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._stop, "preprocessing")
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._stop, "network")
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _begin(self, engine: Engine) -> None:
        self._mark = self._begun = time.perf_counter()

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
        for batch, output in zip(state.batch, state.output, strict=True):
            item = {key: batch[key] for key in ("path", "name", "frame", "frames")}
            probability = output.get("probability")
            try:
                mask = _plane(output[self.mask_key])
                levels = None if probability is None else _plane(probability)
                self.writer.write(item, mask, levels, functools.partial(self.report.wrote, item))
                self._look(item, mask, batch)
                if levels is not None:
                    self.report.files[item["path"]].quality[item["frame"]] = soft_dice_confidence(levels, mask)
            except Exception as error:  # whatever is wrong with one file must not cost the others
                self.report.frame_failed(item, error)
            else:
                self.report.frame_done(item, time.perf_counter() - self._begun)
            self._begun = time.perf_counter()
        self._stop(engine, "writing")

    def _look(self, item: dict[str, Any], mask: np.ndarray, batch: dict[str, Any]) -> None:
        """Note how the file was shown, and what looks wrong about the frame."""
        record = self.report.files[item["path"]]
        source = read_angiogram(item["path"], self.writer.window)  # open already
        columns, rows = source.size
        record.source |= {
            "format": source.format, "columns": columns, "rows": rows, "grey": source.rule.describe()
        }  # fmt: skip
        if "sha256" not in record.source:
            record.source |= fingerprint(item["path"])
        record.warnings = list(source.warnings)
        if not mask.any():
            record.empty.append(item["frame"])
        grey, field = batch[self.image_key][0], batch.get(self.field_key)
        exposed = grey[field[0] > 0] if field is not None else grey.reshape(-1)
        if exposed.numel() and float((exposed.abs() > 0.999).float().mean()) > MUCH:
            record.clipped.append(item["frame"])


def _plane(image: torch.Tensor) -> np.ndarray:
    return image[0].detach().cpu().numpy()


def run_inference(evaluator: Engine | None, dataset: FrameDataset, report: RunReport) -> RunReport:
    """Run the evaluator if there is anything to do (it may be None otherwise), and keep the record.

    An error in the network or behind it costs the frame it comes from.

    Returns:
        the report; its ``exit_code`` says whether all went well.
    """
    report.begin()
    state = "stopped"
    try:
        while evaluator is not None and dataset.position < len(dataset.data):
            try:
                evaluator.run()
            except BrokenPipeError:
                raise
            except Exception as error:
                if dataset.current is None or isinstance(error, UsageError):
                    raise
                report.frame_failed(dataset.current, error)
        state = "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        report.end(state)
        if state == "interrupted":
            logger.warning(
                "%s; the same command goes on with what is missing (a cine that becomes one stack begins anew).",
                report.summary(),
            )
    records = report.files.values()
    kept = sum(record.state == "kept" for record in records)
    logger.info(
        "%d of %d files segmented in %.1f s%s%s.",
        sum(record.state == "done" for record in records), len(records), report.seconds["total"],
        f", {kept} done before" if kept else "", f"; see {report.path}" if report.writes else "",
    )  # fmt: skip
    return report
