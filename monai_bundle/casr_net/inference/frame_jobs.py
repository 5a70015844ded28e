"""Job folders of the worker: what is to be done with which frames, read and checked; results written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, shown

__all__ = ["FrameJob", "checked_flag", "checked_threshold", "load_array", "read_job", "store_array"]


@dataclass(frozen=True)
class FrameJob:
    """A job folder.

    Attributes:
        folder: where the results go.
        frames: (N, rows, columns), grey values; mapped from the disk.
        indices: the caller's number of each frame.
        intensity_range: values of ``frames`` that become 0 and 1, the lower one first, where the user has chosen them;
            None leaves the choice to the file, or to the frames.
        source: the file that the frames come from; None where that is not known.
        source_frames: which frames of that file they are, counted from 0.
        unchanged: nobody has changed the frames since the caller has read them from ``source``.
        inverted: the user has said that the image shows bright vessels, and ``frames`` were inverted for that.
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        refine: with stage 3, the contour refinement.
        threshold: probability from which a pixel is vessel.
    """

    folder: Path
    frames: np.ndarray
    indices: tuple[int, ...]
    intensity_range: tuple[float, float] | None
    source: Path | None
    source_frames: tuple[int, ...]
    unchanged: bool
    inverted: bool
    device: str
    refine: bool
    threshold: float


def read_job(folder: Path) -> FrameJob:
    """The job in a folder.

    Raises:
        DataError: when a file is missing or damaged.
        UsageError: for an entry that makes no sense.
    """
    path = folder / "job.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}.") from error
    unknown = sorted(set(entries) - set(_ENTRIES)) if isinstance(entries, dict) else ["no object"]
    if unknown:
        raise UsageError(f"{path}: unknown entry {shown(unknown[0])}; known are {', '.join(_ENTRIES)}.")
    try:
        values = {name: check(entries.get(name, default)) for name, (default, check) in _ENTRIES.items()}
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    frames, indices = load_array(folder / "frames.npy", memory_map=True), values["indices"]
    if frames.ndim != 3 or not len(frames) == len(indices) == len(set(indices)):
        raise UsageError(f"{path}: {len(set(indices))} different indices for frames of shape {frames.shape}.")
    places = values["source_frames"]
    if values["source"] is not None and len(places) != len(indices):
        raise UsageError(f"{path}: {len(places)} source_frames for {len(indices)} indices.")
    return FrameJob(folder=folder, frames=frames, **values)


def checked_threshold(value: Any) -> float:
    """The threshold of a job or command.

    Raises:
        UsageError: for anything but a number above 0 and at most 1.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
        raise UsageError(f"threshold is {shown(value)}; expected a number above 0 and at most 1.")
    return float(value)


def checked_flag(name: str, value: Any) -> bool:
    """A switch of a job or command.

    Raises:
        UsageError: for anything but true and false.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {shown(value)}; expected true or false.")
    return value


def load_array(path: Path, memory_map: bool = False) -> np.ndarray:
    """An array of a job folder.

    Raises:
        DataError: when it is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array ({shown(str(error), 120)}).") from error


def store_array(path: Path, array: np.ndarray) -> None:
    """Write an array under a temporary name and rename it, so that nobody sees a part of it.

    Raises:
        DataError: when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror}.") from error


def _numbers(name: str) -> Callable[[Any], tuple[int, ...]]:
    def check(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list) or not all(type(i) is int and i >= 0 for i in value):
            raise UsageError(f"{name} are {shown(value)}; expected frame numbers from 0.")
        return tuple(value)

    return check


def _range(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and [type(part) in (int, float) for part in value] == [True, True]
    if not numbers or not np.isfinite(value).all() or not value[0] < value[1]:
        raise UsageError(f"intensity_range is {shown(value)}; expected two values, the lower one first.")
    return float(value[0]), float(value[1])


def _source(value: Any) -> Path | None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"source is {shown(value)}; expected the path of a file.")
    return Path(value) if value else None


def _device(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"device is {shown(value)}; expected auto, cpu, cuda or cuda:<number>.")
    return value


_ENTRIES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "indices": (None, _numbers("indices")),
    "intensity_range": (None, _range),
    "source": (None, _source),
    "source_frames": ([], _numbers("source_frames")),
    "unchanged": (False, lambda value: checked_flag("unchanged", value)),
    "inverted": (False, lambda value: checked_flag("inverted", value)),
    "device": ("auto", _device),
    "refine": (True, lambda value: checked_flag("refine", value)),
    "threshold": (0.5, checked_threshold),
}
"""Entries of job.json: value where it is absent, and what checks it."""
