"""Files one by one, each by a worker that holds the network: what a pool of processes does, and what is done with
instances of a DICOMweb server, which are there as files only while it is their turn."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..errors import CASRError, DataError, DiskFullError, UsageError
from ..files.addresses import is_address
from ..files.images import read_angiogram
from ..files.names import as_text
from ..files.results import ResultWriter
from .bundle import expected_error
from .filerecord import FileRecord
from .record import RunReport
from .run import FrameRun, run_frames

__all__ = ["FileJob", "FilePart", "FileWorker", "Network", "file_jobs", "one_by_one"]

TEMPORARY = "casr-instances-"
"""Begin of the name of the folder of fetched instances."""


class Network(Protocol):
    """What segments the frames of one file after the other, and holds the network for that."""

    @property
    def writer(self) -> ResultWriter:
        """Of the results."""

    @property
    def token_file(self) -> str | Path | None:
        """What DICOMweb servers are to be shown, see :func:`casr_net.files.find_inputs`."""

    @property
    def used(self) -> str:
        """What computed the network; empty before."""

    def frames(self, items: Sequence[dict[str, Any]], report: RunReport) -> FrameRun:
        """What goes through these frames."""


@dataclass
class FileJob:
    """A file that is to be segmented.

    Attributes:
        record: what is known of it; its path may be the address of an instance.
        missing: frames that lack a result.
        asked: all frames that results are wanted of.
        kept: results of these frames that were there before.
        again: it has been tried before, and nobody knows how far that came: all of ``missing`` are made anew.
    """

    record: FileRecord
    missing: list[int]
    asked: list[int]
    kept: set[Path] = field(default_factory=set)
    again: bool = False

    @property
    def items(self) -> list[dict[str, Any]]:
        """The missing frames, as :func:`casr_net.files.find_inputs` lists them."""
        common = {"name": self.record.name, "frames": self.record.frames}
        common |= {"image": self.record.path, "path": self.record.path}
        return [{**common, "frame": frame} for frame in self.missing]


@dataclass
class FilePart:
    """What a worker has noted of a file, for :meth:`casr_net.inference.RunReport.take`.

    Attributes:
        record, outputs, seconds, used: see there.
        failure: of the file as a whole.
        error: that ends the run, None without.
        fetched: False where the instance could not be fetched.
        lost: nothing is known of the file, since its worker has ended.
        left_device: what is to be said where the rest was computed on the CPU.
    """

    record: FileRecord
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    used: str = ""
    failure: CASRError | None = None
    error: CASRError | None = None
    fetched: bool = True
    lost: bool = False
    left_device: str = ""


def file_jobs(items: Sequence[dict[str, Any]], writer: ResultWriter, report: RunReport) -> list[FileJob]:
    """The files of the frames that :func:`casr_net.inference.wanted_items` gave, in order."""
    jobs = []
    for path, group in itertools.groupby(items, key=lambda item: item["path"]):
        missing = list(group)
        record, frames = report.files[path], [item["frame"] for item in missing]
        kept = {place for item in missing for place in writer.paths(item).values()} & writer.kept
        jobs.append(FileJob(record, frames, writer.frames.get(path) or list(range(record.frames)), kept))
    return jobs


class FileWorker:
    """Segments a file with the code that :func:`casr_net.inference.run_inference` runs.

    It writes the results, but says nothing and keeps no record: it gives what the owner of ``run.json`` takes over.

    Args:
        network: segments the frames.
    """

    def __init__(self, network: Network) -> None:
        self._network, self._writer = network, network.writer
        self._notes = _Notes(self._writer.output_dir, network)
        self._overwrite = self._writer.overwrite

    def fetch(self, job: FileJob, folder: Path) -> tuple[Path, contextlib.ExitStack]:
        """Have the instance of a job in a folder, until the stack is closed.

        Raises:
            CASRError: when that is impossible.
        """
        from ..files.archive import received

        stack = contextlib.ExitStack()
        return stack.enter_context(received(job.record.path, folder, self._network.token_file)), stack

    def __call__(self, job: FileJob, local: Path | None = None) -> FilePart:
        """Segment a file.

        Args:
            job: the file.
            local: where it lies; None: at its path.
        """
        self._notes.begin_file(job, local)
        part = FilePart(job.record)
        try:
            self._run(job, local)
        except (UsageError, DiskFullError) as error:  # the same for every file
            part.error = error
        except Exception as error:
            part.failure = expected_error(error) or DataError(
                f"{job.record.path}: results cannot be made: {type(error).__name__}: {error}"
            )
        return self._notes.put_into(part)

    def _run(self, job: FileJob, local: Path | None) -> None:
        path = job.record.path if local is None else str(local)
        items = [{**item, "image": path, "path": path} for item in job.items]
        self._writer.frames, self._writer.kept = {path: job.asked}, job.kept
        self._writer.overwrite = self._overwrite or job.again
        if local is not None:
            found = read_angiogram(local, self._writer.window).frames
            if found != job.record.frames:
                raise DataError(f"{path}: has {found} frames; the server stated {job.record.frames}.")
            self._writer.expect([{**items[0], "frame": frame} for frame in job.asked])
        run_frames(self._network.frames(items, self._notes), self._notes)


class _Notes(RunReport):
    """A report of one file at a time, which says nothing and writes nothing."""

    def __init__(self, output_dir: str | Path, network: Network) -> None:
        super().__init__(output_dir, inferer=network)
        self._path = self._local = self._left_device = ""

    def begin_file(self, job: FileJob, local: Path | None) -> None:
        self._path = job.record.path
        self._local = self._path if local is None else str(local)
        self.files = {self._local: replace(deepcopy(job.record), path=self._local)}
        self._outputs, self._left_device = {}, ""
        self.seconds.clear()

    def put_into(self, part: FilePart) -> FilePart:
        record = deepcopy(self.files[self._local])
        outputs = {key: {**made, "input": as_text(self._path)} for key, made in self._outputs.items()}
        if self._local != self._path:
            record.path = self._path
            record.failed = {frame: self._own_words(error) for frame, error in record.failed.items()}
            part.failure = part.failure and self._own_words(part.failure)
            for name in ("modified", "sha256"):  # of a file that will be gone, as this program has written it
                record.source.pop(name, None)
        part.record, part.outputs, part.seconds = record, outputs, dict(self.seconds)
        part.used, part.left_device = getattr(self._inferer, "used", ""), self._left_device
        return part

    def _own_words(self, error: CASRError) -> CASRError:
        """The error with the name that the user knows."""
        return type(error)(str(error).replace(self._local, self._path))

    def went_to_cpu(self, text: str) -> None:
        self._left_device = text

    def _conclude(self, record: FileRecord) -> None:
        pass  # the owner of run.json does


def one_by_one(worker: FileWorker, jobs: Sequence[FileJob]) -> Generator[FilePart]:
    """The files through one worker in this process. The next instance is fetched while one is in work: at most two lie
    on the disk.

    Yields:
        a part a job, in order.
    """
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder, ThreadPoolExecutor(1) as fetcher:

        def ask(job: FileJob | None) -> Future[tuple[Path, contextlib.ExitStack]] | None:
            remote = job is not None and is_address(job.record.path)
            return fetcher.submit(worker.fetch, job, Path(folder)) if job is not None and remote else None

        fetching = ask(jobs[0]) if jobs else None
        for job, following in itertools.zip_longest(jobs, jobs[1:]):
            current, local, stack = fetching, None, contextlib.ExitStack()
            try:
                if current is not None:
                    local, stack = current.result()
            except CASRError as error:
                fetching = ask(following)
                yield FilePart(job.record, failure=error, fetched=False)
                continue
            fetching = ask(following)
            with stack:
                part = worker(job, local)
            yield part
