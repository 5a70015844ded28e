"""One process that segments frames for a program in front of it, such as the 3D Slicer extension.

``python -m casr_net.worker FOLDER`` does one job and ends; without a folder it serves commands, one JSON object a line
on standard input, until that is closed. A job folder holds

- ``job.json``: ``indices`` (the caller's number of each frame), ``source`` and ``source_frames`` (the file that they
  come from, and which of its frames they are; null where that is not known), ``unchanged`` (nobody has changed them
  since they were read from there), ``inverted`` (the user says that the image
  shows bright vessels, and ``frames.npy`` was inverted for that), ``intensity_range`` ([low, high], values of
  ``frames.npy`` that become 0 and 1, where the user has chosen them, else null), ``device``, ``refine``, ``threshold``;
- ``frames.npy``: (N, rows, columns), grey values, vessels dark.

Where the frames show the pixels of their source, the file itself is read, so that the result is that of the command
line; else their own values count, as those of an array (:mod:`casr_net.inference.frame_greys`).

For each frame ``mask_<index>.npy`` (uint8, 0 or 1) and ``probability_<index>.npy`` (float32, before refinement) of
shape (rows, columns) are written there under a temporary name and renamed, and then a message goes to standard output.
Messages are JSON objects, one a line, with the key ``event``: hello (with ``protocol``, the number that the caller
compares with its own), loaded, warning, rule (how grey values are made), frame (with ``error`` and ``kind`` if that
frame failed; the others go on), refined, measured, done, error (that command has come to nothing). Whatever libraries
print, and tracebacks, go to standard error. Commands: ``segment`` (folder), ``refine`` (folder, index, threshold,
refine: the mask anew from the stored probability map; the network is not needed), ``measure`` (folder with one frame,
see :mod:`casr_net.report.frame_job`; the answer ``measured`` holds the ``analysis``), ``quit``; an ``id`` in a command
comes back in its messages.

Exit code 0: done, single frames may have failed; 1: data, 2: usage, as everywhere; 3: the parent has gone, or the
process that the environment variable CASR_PARENT_PID names.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from . import __version__
from .errors import DataError, UsageError, shown
from .inference.bundle import expected_error
from .inference.failures import told
from .inference.frame_jobs import checked_flag, checked_threshold, load_array, read_job, store_array

if TYPE_CHECKING:
    from .inference.frame_greys import FrameGreys
    from .inference.segmenter import Segmentation, Segmenter
    from .refinement.contours import RefinementParameters

__all__ = ["PROTOCOL", "FrameWorker", "main"]

PROTOCOL = 2
"""Number of the protocol above; 0.3.0 and before had none. A change that an older caller cannot read takes the next."""


class FrameWorker:
    """Does jobs and answers with messages; the network is loaded for the first job and kept.

    Args:
        send: takes each message.
        make_segmenter: called with ``device=...``; None: :class:`casr_net.Segmenter`, imported when it is needed, since
            that takes seconds.
    """

    def __init__(
        self, send: Callable[[dict[str, Any]], None], make_segmenter: Callable[..., Segmenter] | None = None
    ) -> None:
        self._send_message = send
        self._make_segmenter = make_segmenter
        self._segmenter: Segmenter | None = None
        self._asked_device = ""
        self._shipped: RefinementParameters | None = None
        self._id: Any = None

    def serve(self, lines: Iterable[str]) -> None:
        """Do one command after another; what is wrong with one is answered, and the next is taken."""
        for line in lines:
            self._id = None
            try:
                command = _command(line)
                self._id = command.get("id")
                if command["command"] == "quit":
                    return
                self._do(command)
            except Exception as error:
                self._send(event="error", **told(error))

    def _do(self, command: dict[str, Any]) -> None:
        folder = command.get("folder")
        if not isinstance(folder, str):
            raise UsageError(f"command {shown(command['command'])}: folder is {shown(folder)}; expected a path.")
        if command["command"] == "segment":
            self.segment(Path(folder))
        elif command["command"] == "refine":
            self.refine(Path(folder), command.get("index"), command.get("threshold"), command.get("refine"))
        elif command["command"] == "measure":
            self.measure(Path(folder))
        else:
            raise UsageError(f"command is {shown(command['command'])}; known are segment, refine, measure, quit.")

    def segment(self, folder: Path) -> None:
        """Do the job in a folder. A frame that fails, for whatever reason, costs no other.

        Raises:
            CASRError: when the job cannot be read or the network cannot be loaded.
        """
        started = time.perf_counter()
        job = read_job(folder)
        segmenter = self._loaded(job.device)
        segmenter.refinement = self._refinement(job.threshold, job.refine)
        from .inference.frame_greys import FrameGreys
        from .inference.segmenter import segment_each

        greys = FrameGreys(job)
        failed = 0

        def load(place: int) -> tuple[np.ndarray, str | None]:
            try:
                return greys.frame(place)
            finally:
                news[place] = _news(greys)

        news: dict[int, list[dict[str, Any]]] = {}
        places = range(len(job.indices))
        run = functools.partial(self._segment_frame, segmenter, frames=greys.file_frames)
        for way in segment_each(segmenter, places, load, run):
            mark, index = time.perf_counter(), job.indices[way.item]
            entries: dict[str, Any] = {"index": index, "number": way.item + 1, "count": len(job.indices)}
            try:
                if way.error is not None:
                    raise way.error
                result, source = way.value
                store_array(folder / f"probability_{index:05d}.npy", result.probability.astype(np.float32, copy=False))
                store_array(folder / f"mask_{index:05d}.npy", result.mask.astype(np.uint8))
                entries |= {
                    "seconds": round(sum(way.seconds.values()) + time.perf_counter() - mark, 4),
                    "device": str(segmenter.device), "runtime": segmenter.inferer.used, "source": source,
                    "pixels": int(result.mask.sum()), "warnings": [] if result.mask.any() else ["no vessel was found"],
                }  # fmt: skip
            except Exception as error:
                failed += 1
                reason = told(error)
                entries |= {"error": reason.pop("text"), **reason}
            for message in news.pop(way.item, []):
                self._send(**message)
            self._send(event="frame", **entries)
        self._send(event="done", seconds=round(time.perf_counter() - started, 4), failed=failed)

    def refine(self, folder: Path, index: Any, threshold: Any, refine: Any) -> None:
        """Make a mask anew from a stored probability map, with another threshold.

        Raises:
            CASRError: when there is no such map, or a value is out of its range.
        """
        from .refinement.contours import refine as refined

        mark = time.perf_counter()
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise UsageError(f"refine: index is {shown(index)}; expected a frame number from 0.")
        parameters = self._refinement(checked_threshold(threshold), checked_flag("refine", refine))
        path = folder / f"probability_{index:05d}.npy"
        try:
            mask = refined(load_array(path).T, parameters).T
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        store_array(folder / f"mask_{index:05d}.npy", mask.astype(np.uint8))
        self._send(
            event="refined", index=index, threshold=threshold, refine=refine, pixels=int(mask.sum()),
            seconds=round(time.perf_counter() - mark, 4),
        )  # fmt: skip

    def measure(self, folder: Path) -> None:
        """Measure the vessels of one frame.

        Raises:
            CASRError: when the folder makes no sense, or nothing can be measured.
        """
        from .report.frame_job import measure_frame

        mark = time.perf_counter()
        job = read_job(folder)

        def segmenter() -> Segmenter:
            loaded = self._loaded(job.device)
            loaded.refinement = self._refinement(job.threshold, job.refine)
            return loaded

        analysis = measure_frame(job, segmenter)
        self._send(event="measured", analysis=analysis, seconds=round(time.perf_counter() - mark, 4))

    def _loaded(self, device: str) -> Segmenter:
        if self._segmenter is None or device != self._asked_device:
            mark = time.perf_counter()
            if self._make_segmenter is None:
                from .inference.segmenter import Segmenter

                self._make_segmenter = Segmenter
            self._segmenter = self._make_segmenter(device=device)
            self._asked_device = device
            seconds = round(time.perf_counter() - mark, 4)
            self._send(event="loaded", device=str(self._segmenter.device), seconds=seconds)
        return self._segmenter

    def _refinement(self, threshold: float, refine: bool) -> RefinementParameters:
        if self._shipped is None:
            from .inference.shipped import shipped_refinement

            self._shipped = shipped_refinement() or self._loaded(self._asked_device or "cpu").refinement
        chosen = replace(self._shipped, threshold=threshold)
        return chosen if refine else chosen.threshold_only()

    def _segment_frame(self, segmenter: Segmenter, grey: np.ndarray, frames: int | None) -> Segmentation:
        """One frame; when the GPU's memory does not suffice, the CPU does this one and all that follow."""
        import torch

        try:
            return segmenter.grey(grey, frames=frames)
        except torch.cuda.OutOfMemoryError as error:
            if segmenter.device.type == "cpu":
                raise
            reason = str(error).partition("\n")[0]
        segmenter.to("cpu")  # one thread works with a GPU
        torch.cuda.empty_cache()
        self._send(event="warning", text=f"The GPU's memory did not suffice; going on with the CPU ({reason}).")
        return segmenter.grey(grey, frames=frames)

    def _send(self, **message: Any) -> None:
        self._send_message(message if self._id is None else {**message, "id": self._id})


def _news(greys: FrameGreys) -> list[dict[str, Any]]:
    """What a frame has made known, as messages."""
    found = [{"event": "warning", "text": text} for text in greys.warnings]
    found += [{"event": "rule", **rule} for rule in greys.rules]
    greys.warnings.clear()
    greys.rules.clear()
    return found


def _command(line: str) -> dict[str, Any]:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"no command: {shown(line.strip(), 200)} is not JSON.") from error
    if not isinstance(command, dict) or not isinstance(command.get("command"), str):
        raise UsageError(f"no command: {shown(line.strip(), 200)} has no entry 'command'.")
    return command


def _channel() -> TextIO:
    """Standard output for the messages alone: file descriptor 1 becomes standard error for everything else."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return channel


def main(arguments: list[str] | None = None) -> int:
    """Run as a process; returns the exit code."""
    from .inference.parent import watch_parent
    from .inference.runtimes.buffers import share_memory

    share_memory()
    watch_parent(lambda: os._exit(3))
    arguments = sys.argv[1:] if arguments is None else arguments
    channel = _channel()

    def send(message: dict[str, Any]) -> None:
        try:
            channel.write(json.dumps(message) + "\n")
            channel.flush()
        except BrokenPipeError:  # nobody is listening any more: the program in front has ended
            os._exit(3)

    send({"event": "hello", "protocol": PROTOCOL, "pid": os.getpid(), "version": __version__})
    worker = FrameWorker(send)
    try:
        if len(arguments) > 1:
            raise UsageError(f"{len(arguments)} arguments; expected one job folder, or none to serve commands.")
        if arguments:
            worker.segment(Path(arguments[0]))
        else:
            worker.serve(sys.stdin)
    except Exception as error:
        send({"event": "error", **told(error)})
        known = expected_error(error)
        return 1 if known is None else known.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
