"""A run of which each file is done by a worker: who does them, and what becomes of the record."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ..errors import DataError, DiskFullError
from ..files.results import ResultWriter
from .filework import FileJob, FilePart, file_jobs
from .record import RunReport
from .run import recorded

__all__ = ["run_files"]

UNREACHABLE = 5
"""Instances after another that cannot be fetched, before the run is given up: the server is down. Our choice."""


def run_files(
    items: Sequence[dict[str, Any]],
    writer: ResultWriter,
    report: RunReport,
    through: Callable[[Sequence[FileJob]], Generator[FilePart]],
) -> RunReport:
    """Segment files one by one, and keep the record, which this process alone writes.

    A file that ends the process of its worker is tried once more, and then listed as failed. When the disk is full, or
    a server no longer answers, the run stops; the same command goes on.

    Args:
        items: frames, as :func:`casr_net.inference.wanted_items` gives them.
        writer, report: of the run.
        through: gives a part for each of the files, as they are done: see
            :func:`casr_net.inference.filework.one_by_one` and :func:`casr_net.inference.ray_engine.ray_parts`.

    Returns:
        the report.

    Raises:
        CASRError: when the run cannot go on.
    """
    jobs = file_jobs(items, writer, report)
    with recorded(report):
        begun, left, unreachable = time.time(), {job.record.path: job for job in jobs}, 0
        try:
            with contextlib.closing(through(jobs)) as parts:
                for part in parts:
                    error = part.failure if isinstance(part.failure, DiskFullError) else part.error
                    if error is not None:
                        raise error
                    _take(part, left, writer, report, begun)
                    unreachable = 0 if part.fetched else unreachable + 1
                    if unreachable >= UNREACHABLE:
                        raise DataError(
                            f"the run stops, since {unreachable} instances one after the other could not be fetched; "
                            "the same command goes on."
                        )
        finally:
            # Where the run ends before its time, what workers had in hand: whole results count.
            for job in left.values():
                _note_results(job, writer, report, begun)
    return report


def _take(part: FilePart, left: dict[str, FileJob], writer: ResultWriter, report: RunReport, begun: float) -> None:
    path = part.record.path
    job = left.pop(path)
    if part.lost:
        _note_results(job, writer, report, begun)
        report.progress(len(job.missing))
    else:
        if part.left_device and ", then cpu" not in report.run["device"]:
            report.went_to_cpu(part.left_device)
        report.take(part.record, part.outputs, part.seconds, part.used)
    if part.failure is not None:
        report.fail(path, part.failure)


def _note_results(job: FileJob, writer: ResultWriter, report: RunReport, begun: float) -> None:
    """Note the results of a file whose worker did not come to tell of them; each is whole, as all are written."""
    for item in job.items:
        places = writer.existing(item)
        made = {kind: path for kind, path in places.items() if os.lstat(path).st_mtime >= begun}
        for kind, path in made.items():
            report.wrote(item, kind, path)
        if made and places.keys() == writer.paths(item).keys():
            report.files[item["path"]].done += 1
