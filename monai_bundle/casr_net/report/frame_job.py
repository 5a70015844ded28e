"""Measuring one frame that a program in front of the worker shows, such as 3D Slicer's module.

A folder holds a job of one frame (:mod:`casr_net.inference.frame_jobs`), and beside it

- ``measure.json``: ``ends`` ([[x, y], [x, y]], pixels of the frame as it is shown, or null for the ways of the tree),
  ``french`` (the catheter's size, or null), ``mm_per_pixel`` (as the user states it, or null), ``reference`` ([value,
  "px" or "mm"], or null), ``doubt`` (give intervals);
- ``mask.npy``: uint8 (rows, columns), vessels where not 0, if they are known; without it the network finds them.

The answer is :meth:`casr_net.report.Analysis.as_dict`, in pixels of the frame as it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, UsageError, shown
from ..inference.frame_greys import FrameGreys
from ..inference.frame_jobs import FrameJob, checked_flag, load_array
from .analyse import analyse
from .options import Options

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

__all__ = ["ENTRIES", "checked_options", "measure_frame", "read_options"]

ENTRIES = ("ends", "french", "mm_per_pixel", "reference", "doubt")


def measure_frame(job: FrameJob, segmenter: Callable[[], Segmenter]) -> dict[str, Any]:
    """Measure the frame of a job.

    Args:
        job: of one frame.
        segmenter: called where no mask is there.

    Returns:
        the analysis, ready for JSON; warnings of reading the frame are among its own.

    Raises:
        CASRError: when the folder makes no sense, or nothing can be measured.
    """
    if len(job.indices) != 1:
        raise UsageError(f"{job.folder}: {len(job.indices)} frames; one is measured at a time.")
    options, mask = read_options(job.folder), _mask(job)
    greys = FrameGreys(job)
    angiogram, number = greys.angiogram(0)
    found = analyse(
        angiogram, None if mask is not None else segmenter(), Options(**options, frame=number, mask=mask)
    ).as_dict()  # fmt: skip
    found["warnings"] = list(dict.fromkeys([*greys.warnings, *found["warnings"]]))
    return found


def read_options(folder: Path) -> dict[str, Any]:
    """Entries of ``measure.json`` as arguments of :class:`casr_net.report.Options`; without the file, none.

    Raises:
        DataError: when it is damaged.
        UsageError: for an entry that makes no sense.
    """
    path = folder / "measure.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {shown(str(error), 120)}.") from error
    if not isinstance(entries, dict) or set(entries) - set(ENTRIES):
        raise UsageError(f"{path}: expected an object with {', '.join(ENTRIES)}.")
    try:
        return checked_options(entries)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def checked_options(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :class:`casr_net.report.Options` from values of JSON, as ``measure.json`` holds them.

    Args:
        entries: any of :data:`ENTRIES`.

    Raises:
        UsageError: for a value that makes no sense.
    """
    found = {name: _number(name, entries.get(name)) for name in ("french", "mm_per_pixel")}
    return {
        **found, "ends": _ends(entries.get("ends")), "reference": _reference(entries.get("reference")),
        "doubt": checked_flag("doubt", entries.get("doubt", True)),
    }  # fmt: skip


def _mask(job: FrameJob) -> np.ndarray | None:
    path = job.folder / "mask.npy"
    if not path.exists():
        return None
    mask = load_array(path)
    if mask.shape != job.frames.shape[1:]:
        raise DataError(f"{path}: a mask of shape {shown(mask.shape)} for a frame of {shown(job.frames.shape[1:])}.")
    return np.ascontiguousarray(mask.T > 0)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and bool(np.isfinite(value))


def _number(name: str, value: Any) -> float | None:
    if value is not None and not _is_number(value):
        raise UsageError(f"{name} is {shown(value)}; expected a number.")
    return None if value is None else float(value)


def _ends(value: Any) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if value is None:
        return None
    points = value if isinstance(value, list) and len(value) == 2 else []
    if not points or not all(
        isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in points
    ):
        raise UsageError(f"ends are {shown(value)}; expected two points [x, y].")
    return (float(points[0][0]), float(points[0][1])), (float(points[1][0]), float(points[1][1]))


def _reference(value: Any) -> tuple[float, str] | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and _is_number(value[0]) and value[1] in ("px", "mm")):
        raise UsageError(f'reference is {shown(value)}; expected a number and "px" or "mm".')
    return float(value[0]), str(value[1])
