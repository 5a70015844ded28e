"""Files by a pool of processes on one or many computers: Ray Data with a pool of actors that hold the network.

Ray is an optional dependency, ``pip install casr-net[ray]``. Without a cluster (environment variable ``RAY_ADDRESS``)
it is started on this computer, and ended with the run.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from ..errors import CASRError, DataError, UsageError
from ..files.addresses import is_address
from .bundle import config_files, expected_error, load_parser
from .engines import require_ray
from .filework import TEMPORARY, FileJob, FilePart, FileWorker, Network
from .plans.order import Order
from .plans.run import planned_network

__all__ = ["WORKER_MEMORY", "WorkerSettings", "ray_parts"]

WORKER_MEMORY = 1.5 * 2**30
"""Bytes of memory that there must be for each worker. Our choice: see docs/scale.md for what one needs."""

TASKS = 1
"""Files that a worker has in hand: when it dies, one alone is to blame."""

STORE = 100 * 2**20
"""Bytes of shared memory of a Ray that is started here: what goes through it is small."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""Environment of Ray, where the user has not set it."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is made from.

    Attributes:
        overlays: of ``inference.json``.
        values: of its keys, such as ``output_dir``.
        folder: working directory, which relative paths start from.
        threads: for one file.
    """

    overlays: Sequence[str] = ()
    values: dict[str, Any] = field(default_factory=dict)
    folder: str = field(default_factory=os.getcwd)
    threads: int = 1


class Actor:
    """What Ray runs in each process of the pool. No error leaves it, since Ray would only tell that there was one.

    It goes by the plan of an earlier one, without torch and MONAI, or keeps one after its first file.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._error: CASRError | None = None
        self._to_keep: Callable[[], object] | None = None
        try:
            os.chdir(settings.folder)
            self._worker = FileWorker(self._network(settings))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self._error = expected_error(error) or DataError(f"--engine ray: a worker cannot be made: {reason}")

    def _network(self, settings: WorkerSettings) -> Network:
        files, asked = config_files(settings.overlays), {**settings.values, "inputs": []}
        order = Order(files, asked, settings.threads)
        quick = planned_network(order)
        if quick is not None:
            cv2.setNumThreads(settings.threads)
            return quick
        from .configured import ConfiguredNetwork
        from .plans.making import keep_plan

        _limit_threads(settings.threads)
        network = ConfiguredNetwork(load_parser(settings.overlays, **asked))

        def keep() -> None:
            if planned_network(order) is None:  # else another worker was first
                keep_plan(files, asked, network.parser(), settings.threads)

        self._to_keep = keep
        return network

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Segment the one file of a batch."""
        job: FileJob = pickle.loads(batch["job"][0])
        part = self._part(job)
        if self._to_keep is not None and part.record.done:
            keep, self._to_keep = self._to_keep, None
            keep()
        return {"part": [pickle.dumps(part)]}

    def _part(self, job: FileJob) -> FilePart:
        if self._error is not None:
            return FilePart(job.record, error=self._error)
        if not is_address(job.record.path):
            return self._worker(job)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            try:
                local, stack = self._worker.fetch(job, Path(folder))
            except CASRError as error:
                return FilePart(job.record, failure=error, fetched=False)
            with stack:
                return self._worker(job, local)


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def ray_parts(
    settings: WorkerSettings, jobs: Sequence[FileJob], workers: int | None = None, on_gpu: bool = False
) -> Generator[FilePart]:
    """Segment files by a pool of workers.

    Args:
        settings: of the workers; device and threads are set here.
        jobs: the files.
        workers: None: as many as processors (or GPUs) and memory allow.
        on_gpu: each has a GPU of its own.

    Yields:
        a part for each job, as they are done; for those whose worker has ended twice, one that says so.

    Raises:
        CASRError: when the run cannot go on.
    """
    if not jobs:
        return
    with _cluster(workers) as ray, contextlib.redirect_stdout(io.StringIO()):  # Ray prints which worker has died
        left = {job.record.path: job for job in jobs}
        for again in (False, True):
            if again:
                for job in left.values():
                    job.again = True
            if left:
                for part in _through_pool(ray, settings, list(left.values()), workers, on_gpu):
                    del left[part.record.path]
                    yield part
        for job in left.values():
            failure = DataError(
                f"{job.record.path}: the process that segmented it ended, twice: the file makes a decoder crash, or "
                "memory does not suffice."
            )
            yield FilePart(job.record, failure=failure, lost=True)


@contextlib.contextmanager
def _cluster(workers: int | None) -> Iterator[Any]:
    """The Ray that runs already, or that of RAY_ADDRESS, or one that is started here and ended."""
    require_ray()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        import ray.data
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    started = not ray.is_initialized()
    try:
        if started:
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
            if not os.environ.get("RAY_ADDRESS"):
                options |= {"address": "local", "include_dashboard": False, "object_store_memory": STORE}
                options["num_cpus"] = max(_processors(), workers or 1)
            try:
                with _silent_process():
                    ray.init(**options)
            except Exception as error:
                raise DataError(f"--engine ray: Ray cannot be started: {_line(error)}.") from error
        yield ray
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def _silent_process() -> Iterator[None]:
    """Nothing reaches standard error: Ray's own library says there at which level it will say things."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _through_pool(
    ray: Any, settings: WorkerSettings, jobs: Sequence[FileJob], workers: int | None, on_gpu: bool
) -> Iterator[FilePart]:
    """Parts of those jobs that did not end their worker."""
    pool, threads = _pool(ray.cluster_resources(), workers, len(jobs), on_gpu)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    device = "cuda" if on_gpu else "cpu"  # of the GPUs, Ray shows each worker its own
    actor = replace(settings, values={**settings.values, "device_name": device}, threads=threads)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = ray.data.from_items([{"job": pickle.dumps(job)} for job in jobs], override_num_blocks=len(jobs))
        parts = data.map_batches(
            Actor, fn_constructor_args=(actor,), batch_size=1, num_cpus=threads, num_gpus=1 if on_gpu else None,
            compute=ray.data.ActorPoolStrategy(size=pool, max_tasks_in_flight_per_actor=TASKS),
            max_restarts=len(jobs) - 1, max_task_retries=0,
        )  # fmt: skip
        try:
            for batch in parts.iter_batches(batch_size=None, prefetch_batches=0):
                for content in batch["part"]:
                    yield pickle.loads(content)
        except CASRError:
            raise
        except Exception as error:
            raise DataError(
                f"--engine ray: the run cannot go on ({_line(error)}); the same command does what is missing."
            ) from error


def _pool(there: dict[str, float], workers: int | None, jobs: int, on_gpu: bool) -> tuple[int, int]:
    """Workers, and threads of each.

    Args:
        there: what the cluster has: CPU, GPU, memory (bytes).
        workers: that the user wants.
        jobs: files.
        on_gpu: each worker has a GPU of its own.

    Raises:
        UsageError: when the cluster is too small.
    """
    processors, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    most, kind = (gpus, "GPUs") if on_gpu else (processors, "processors")
    if most < max(1, workers or 1):
        raise UsageError(f"--workers is {workers or 1}; Ray has {most} {kind}.")
    fit = max(1, int(there.get("memory", 0) // WORKER_MEMORY))
    pool = min(workers or min(most, fit), jobs)
    return pool, max(1, processors // (workers or min(most, fit)))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _line(error: Exception) -> str:
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return (" ".join(str(root).split()) or type(root).__name__)[:200].rstrip(".")
