"""Running the bundle on files: which frames are wanted, and the run itself with its record."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import CASRError, DataError, DiskFullError, UsageError
from ..files.addresses import is_address
from ..files.digest import sha256
from ..files.inputs import Inputs
from ..files.moving import ENDINGS
from ..files.results import ResultWriter
from .bundle import expected_error
from .calibrated import WeightsCalibration
from .origin import difference
from .record import RunReport
from .runfile import RunFile

__all__ = ["FrameRun", "may_have_work", "recorded", "run_frames", "run_inference", "wanted_items"]

logger = logging.getLogger("casr_net")

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
        DataError: when the output folder cannot be written to, or the calibration of the weights not be read.
    """
    report.expect(inputs)
    if not inputs.items:
        return []
    writer.check_folder()
    report.run["calibration"] = WeightsCalibration(report.weights, report.tta).record()
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
            if missing and not is_address(path):  # what is fetched is looked at when it is there
                writer.expect(items)
        except CASRError as error:
            report.fail(path, error)
            continue
        report.files[path].wanted, report.files[path].before = len(missing), len(items) - len(missing)
        wanted += missing
    single = sum(item["frames"] == 1 for item in wanted)
    if single and ENDINGS.get(writer.overlay, "png") != "png":
        logger.info("overlay %s is for cines: %d single image(s) get a picture (PNG).", writer.overlay, single)
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
    for item, places in zip(items, existing, strict=True):
        report.adopt(item, places)
    lacking = _lacking(items, existing, writer)
    frames = {item["frame"] for item in lacking}
    writer.kept |= {place for item, places in zip(items, existing, strict=True) if item["frame"] in frames
                    for place in places.values()}  # fmt: skip
    return lacking


def _lacking(
    items: Sequence[dict[str, Any]], existing: Sequence[dict[str, Path]], writer: ResultWriter
) -> list[dict[str, Any]]:
    """The frames of a file that have to be segmented, when these of their results are there."""
    needed = writer.paths(items[0]).keys()
    if writer.whole(items[0]) - existing[0].keys():
        return list(items)  # a stack and a video need all of their frames
    return [item for item, places in zip(items, existing, strict=True) if places.keys() != needed]


def may_have_work(inputs: Inputs, writer: ResultWriter, weights: str | Path) -> bool:
    """Whether :func:`wanted_items` may give any frames, told before a run's settings are known; nothing is written.

    Where all results are there, it gives none, whatever the settings: results that were made otherwise are refused, and
    not replaced. Settings count only where some results of a file are there and some are not: then they are taken to be
    the same.

    Args:
        inputs: what was found.
        writer: of the run.
        weights: of the network.

    Raises:
        OSError: when the weights cannot be read.
    """
    record, run = RunFile(writer.output_dir), {"weights_sha256": sha256(weights)}
    taken: dict[str, str] = {}
    sources = {os.path.realpath(path): path for path in (*inputs.paths, *inputs.failures)}
    for path, group in itertools.groupby(inputs.items, key=lambda item: item["path"]):
        items = list(group)
        try:
            _check_places(items, writer, taken, sources)
            existing = [writer.existing(item) for item in items]
            there = dict.fromkeys(place for places in existing for place in places.values())
            if writer.overwrite or not there:
                return True
            if _lacking(items, existing, writer):
                record.load()
                if not difference(record, there, path, run)[0]:
                    return True
        except CASRError:  # the run refuses the file, and says why
            continue
    return False


class FrameRun(Protocol):
    """What goes through the frames of a run: :class:`casr_net.inference.FrameEvaluator`, or a planned run."""

    @property
    def finished(self) -> bool:
        """Whether all frames were tried."""

    @property
    def current(self) -> dict[str, Any] | None:
        """The frame, as listed, that was given last."""

    def run(self) -> None:
        """Go through the frames that are left."""

    def close(self) -> None:
        """End the threads, also when frames are left."""


def run_inference(evaluator: FrameRun | None, report: RunReport) -> RunReport:
    """Run the evaluator if there is anything to do (it may be None otherwise), and keep the record.

    An error costs the frame it comes from.

    Returns:
        the report; its ``exit_code`` says whether all went well.
    """
    with recorded(report):
        if evaluator is not None:
            run_frames(evaluator, report)
    return report


def run_frames(evaluator: FrameRun, report: RunReport) -> None:
    """Run the evaluator to its end, and close it; an error costs the frame it comes from, unless the disk is full."""
    try:
        while not evaluator.finished:
            try:
                evaluator.run()
            except BrokenPipeError:
                raise
            except Exception as error:
                if evaluator.current is None or isinstance(error, UsageError):
                    raise
                full = expected_error(error)
                if isinstance(full, DiskFullError):
                    raise full from error
                report.frame_failed(evaluator.current, error)
    finally:
        evaluator.close()


@contextlib.contextmanager
def recorded(report: RunReport) -> Iterator[None]:
    """What happens inside is a run, with its begin and its end in ``run.json``, and said to the user."""
    report.begin()
    state = "stopped"
    try:
        try:
            yield
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
    except DiskFullError as error:  # of a result, or of the record itself
        raise DiskFullError(
            f"{str(error).removesuffix('.')}; the run stops. With room on the disk, the same command goes on."
        ) from error
    records = report.files.values()
    kept = sum(record.state == "kept" for record in records)
    logger.info(
        "%d of %d files segmented in %.1f s%s%s.",
        sum(record.state == "done" for record in records), len(records), report.seconds["total"],
        f", {kept} done before" if kept else "", f"; see {report.path}" if report.writes else "",
    )  # fmt: skip
