"""One process that segments frames for a program in front of it, such as the 3D Slicer extension.

``python -m casr_net.worker FOLDER`` does one job and ends; without a folder it serves commands, one JSON object a line
on standard input, until that is closed. A job folder holds

- ``job.json``: ``indices`` (the caller's number of each frame), ``intensity_range`` ([low, high], grey values that
  become 0 and 1, or null: chosen from all frames of the job), ``device``, ``refine``, ``threshold``;
- ``frames.npy``: (N, rows, columns), grey values, vessels dark.

For each frame ``mask_<index>.npy`` (uint8, 0 or 1) and ``probability_<index>.npy`` (float32, before refinement) of
shape (rows, columns) are written there under a temporary name and renamed, and then a message goes to standard output.
Messages are JSON objects, one a line, with the key ``event``: hello, loaded, warning, frame, refined, done, error.
Whatever libraries print goes to standard error. Commands: ``segment`` (folder), ``refine`` (folder, index, threshold,
refine: the mask anew from the stored probability map), ``quit``; an ``id`` in a command comes back in its messages.

Exit code 0: done, single frames may have failed; 1: data, 2: usage, as everywhere.
"""

from __future__ import annotations

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
from .errors import CASRError, DataError, UsageError

if TYPE_CHECKING:
    from .inference.segmenter import Segmentation, Segmenter

__all__ = ["FrameWorker", "main"]


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
            except CASRError as error:
                self._send(event="error", kind=type(error).__name__, text=str(error))

    def _do(self, command: dict[str, Any]) -> None:
        folder = command.get("folder")
        if not isinstance(folder, str):
            raise UsageError(f"command {command['command']!r}: folder is {folder!r}; expected a path.")
        if command["command"] == "segment":
            self.segment(Path(folder))
        elif command["command"] == "refine":
            self.refine(Path(folder), command.get("index"), command.get("threshold"), command.get("refine"))
        else:
            raise UsageError(f"command is {command['command']!r}; known are segment, refine, quit.")

    def segment(self, folder: Path) -> None:
        """Do the job in a folder.

        Raises:
            CASRError: when the job cannot be read or the network cannot be loaded.
        """
        started = time.perf_counter()
        job, frames = _read_job(folder)
        segmenter = self._loaded(job["device"])
        self._set_refinement(segmenter, job["threshold"], job["refine"])
        # One for all frames, so that the brightness of a cine does not jump.
        window = job["intensity_range"] or _window(frames)
        failed = 0
        for number, (index, frame) in enumerate(zip(job["indices"], frames, strict=True), start=1):
            mark = time.perf_counter()
            place: dict[str, Any] = {"event": "frame", "index": index, "number": number, "count": len(frames)}
            try:
                result = self._segment_frame(segmenter, np.asarray(frame), window)
            except DataError as error:
                failed += 1
                self._send(**place, error=str(error))
                continue
            _store(folder / f"probability_{index:05d}.npy", result.probability.astype(np.float32, copy=False))
            _store(folder / f"mask_{index:05d}.npy", result.mask.astype(np.uint8))
            self._send(
                **place, seconds=round(time.perf_counter() - mark, 4), device=str(segmenter.device),
                pixels=int(result.mask.sum()), warnings=[] if result.mask.any() else ["no vessel was found"],
            )  # fmt: skip
        self._send(event="done", seconds=round(time.perf_counter() - started, 4), failed=failed)

    def refine(self, folder: Path, index: Any, threshold: Any, refine: Any) -> None:
        """Make a mask anew from a stored probability map, with another threshold.

        Raises:
            CASRError: when there is no such map, or a value is out of its range.
        """
        mark = time.perf_counter()
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise UsageError(f"refine: index is {index!r}; expected a frame number from 0.")
        path = folder / f"probability_{index:05d}.npy"
        probability = _load(path)
        segmenter = self._loaded(self._asked_device or "cpu")
        self._set_refinement(segmenter, _threshold(threshold), _flag("refine", refine))
        try:
            mask = segmenter.refined(probability)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        _store(folder / f"mask_{index:05d}.npy", mask.astype(np.uint8))
        self._send(
            event="refined", index=index, threshold=threshold, refine=refine, pixels=int(mask.sum()),
            seconds=round(time.perf_counter() - mark, 4),
        )  # fmt: skip

    def _loaded(self, device: str) -> Segmenter:
        if self._segmenter is None or device != self._asked_device:
            mark = time.perf_counter()
            if self._make_segmenter is None:
                from .inference.segmenter import Segmenter

                self._make_segmenter = Segmenter
            self._segmenter = self._make_segmenter(device=device)
            self._shipped_refinement = self._segmenter.refinement
            self._asked_device = device
            seconds = round(time.perf_counter() - mark, 4)
            self._send(event="loaded", device=str(self._segmenter.device), seconds=seconds)
        return self._segmenter

    def _set_refinement(self, segmenter: Segmenter, threshold: float, refine: bool) -> None:
        off = {} if refine else {"reconnect": False, "fill_pinholes": False, "remove_components": False}
        try:
            segmenter.refinement = replace(self._shipped_refinement, threshold=threshold, **off)
        except ValueError as error:
            raise UsageError(f"threshold is {threshold}: {error}") from error

    def _segment_frame(
        self, segmenter: Segmenter, frame: np.ndarray, window: tuple[float, float] | None
    ) -> Segmentation:
        """One frame; when the GPU's memory does not suffice, the CPU does this one and all that follow."""
        import torch

        try:
            return segmenter.frame(frame, window)
        except torch.cuda.OutOfMemoryError as error:
            if segmenter.device.type == "cpu":
                raise
            reason = str(error).partition("\n")[0]
        segmenter.to("cpu")
        torch.cuda.empty_cache()
        self._send(event="warning", text=f"The GPU's memory did not suffice; going on with the CPU ({reason}).")
        return segmenter.frame(frame, window)

    def _send(self, **message: Any) -> None:
        self._send_message(message if self._id is None else {**message, "id": self._id})


def _command(line: str) -> dict[str, Any]:
    try:
        command = json.loads(line)
    except ValueError as error:
        raise UsageError(f"no command: {line.strip()[:200]!r} is not JSON ({error}).") from error
    if not isinstance(command, dict) or not isinstance(command.get("command"), str):
        raise UsageError(f"no command: {line.strip()[:200]!r} has no entry 'command'.")
    return command


def _read_job(folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    path = folder / "job.json"
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}.") from error
    defaults = {"indices": None, "intensity_range": None, "device": "auto", "refine": True, "threshold": 0.5}
    unknown = sorted(set(job) - set(defaults)) if isinstance(job, dict) else ["no object"]
    if unknown:
        raise UsageError(f"{path}: unknown entry {unknown[0]!r}; known are {', '.join(defaults)}.")
    job = defaults | job
    frames = _load(folder / "frames.npy", memory_map=True)
    indices, window = job["indices"], job["intensity_range"]
    if not isinstance(indices, list) or not all(type(i) is int and i >= 0 for i in indices):
        raise UsageError(f"{path}: indices are {indices!r}; expected frame numbers from 0.")
    if frames.ndim != 3 or len(frames) != len(indices) or len(set(indices)) != len(indices):
        raise UsageError(f"{path}: {len(set(indices))} different indices for frames of shape {frames.shape}.")
    if window is not None:
        numbers = isinstance(window, list) and [type(value) in (int, float) for value in window] == [True, True]
        if not numbers or not np.isfinite(window).all() or not window[0] < window[1]:
            raise UsageError(f"{path}: intensity_range is {window!r}; expected two values, the lower one first.")
        job["intensity_range"] = (float(window[0]), float(window[1]))
    _threshold(job["threshold"])
    _flag("refine", job["refine"])
    return job, frames


def _window(frames: np.ndarray) -> tuple[float, float] | None:
    """Grey values of a cine that become 0 and 1; None, the choice of each frame, if a value is not finite."""
    from .files.intensity import percentile_range

    window = (0.0, 255.0) if frames.dtype == np.uint8 else percentile_range(np.asarray(frames))
    return window if np.isfinite(window).all() else None


def _threshold(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
        raise UsageError(f"threshold is {value!r}; expected a number above 0 and at most 1.")
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}; expected true or false.")
    return value


def _load(path: Path, memory_map: bool = False) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array: {error}") from error


def _store(path: Path, array: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}.") from error


def _channel() -> TextIO:
    """Standard output for the messages alone: file descriptor 1 becomes standard error for everything else."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return channel


def main(arguments: list[str] | None = None) -> int:
    """Run as a process; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    channel = _channel()

    def send(message: dict[str, Any]) -> None:
        try:
            channel.write(json.dumps(message) + "\n")
            channel.flush()
        except BrokenPipeError:  # nobody is listening any more: the program in front has ended
            os._exit(1)

    send({"event": "hello", "pid": os.getpid(), "version": __version__})
    worker = FrameWorker(send)
    try:
        if len(arguments) > 1:
            raise UsageError(f"{len(arguments)} arguments; expected one job folder, or none to serve commands.")
        if arguments:
            worker.segment(Path(arguments[0]))
        else:
            worker.serve(sys.stdin)
    except CASRError as error:
        send({"event": "error", "kind": type(error).__name__, "text": str(error)})
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
