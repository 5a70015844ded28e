"""Labels that clients send: of one frame, of several, or of a whole cine, brought to the frames of their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from casr_net.errors import DataError, UsageError
from casr_net.files.dicom_seg import parse_segmentation
from casr_net.files.images import Angiogram
from casr_net.files.masks import read_mask

from .requests import frame_choice

__all__ = ["FrameLabel", "labelled_frames", "received_label"]


@dataclass(frozen=True)
class FrameLabel:
    """A label as it is to be stored.

    Attributes:
        masks: bool (X, Y, frames of the image).
        frames: which of them somebody has labelled, from 0, in rising order; the others are not known to be empty.
        as_received: whether the file itself holds just that, and may be stored as it came.
    """

    masks: np.ndarray
    frames: list[int]
    as_received: bool


def received_label(
    file: Path, source: Angiogram, info: Mapping[str, Any], before: tuple[np.ndarray, Sequence[int]] | None
) -> FrameLabel:
    """Read what a client has sent.

    A single-frame image takes a mask of its size. A cine takes a stack of all its frames, of which those count as
    labelled that are not empty, or that ``frames`` names; or the mask of one frame, which ``frame`` names, or those of
    several, which ``frames`` names; they are put into what was there before. A DICOM Segmentation says itself where it
    belongs.

    Args:
        file: any mask that :func:`casr_net.files.read_mask` knows, a DICOM Segmentation (``.dcm``), or ``.bin`` as OHIF
            sends it: unsigned bytes, the columns running fastest.
        source: the image.
        info: of the label: ``frame``, ``frames``, or ``params`` with ``frames``, as an inference gives them.
        before: masks (X, Y, frames) and labelled frames of the label that is replaced.

    Raises:
        DataError: when the file is no mask, or of another size than the image, or a stack with nothing in it;
        UsageError: for a frame that is not there.
    """
    columns, rows = source.size
    if file.suffix.lower() == ".dcm":
        found = parse_segmentation(file)
        wanted = source.header.get("SOPInstanceUID")
        if wanted and found.source_instance != wanted:
            raise DataError(f"{file}: a segmentation of image {found.source_instance}; this one is {wanted}.")
        _check_size(file, found.masks.shape, source)
        return FrameLabel(found.stack(source.frames), found.frames, False)
    masks = _raw(file, source) if file.suffix.lower() == ".bin" else read_mask(file, source.frames > 1)
    _check_size(file, masks.shape, source)
    params = info.get("params")
    named = info.get("frames", params.get("frames") if isinstance(params, Mapping) else None)
    if masks.shape[2] == source.frames:
        if source.frames == 1:
            frames = [0]
        elif named:
            frames = sorted({frame_choice(frame, source.frames, file.name)[0] for frame in _list(named)})
        else:
            frames = [int(i) for i in np.flatnonzero(masks.any(axis=(0, 1)))]
        if not frames:
            raise DataError(f"{file}: empty in all {source.frames} frames; 'frames' must say which of them are meant.")
        # A volume of slices is stored as a stack of frames, so that everybody reads it as one.
        return FrameLabel(masks, frames, source.frames == 1 and file.suffix.lower() != ".bin")
    if masks.shape[2] != 1 and masks.shape[2] != len(_list(named or [])):
        raise DataError(f"{file}: {masks.shape[2]} frames; the image has {source.frames}.")
    chosen = _list(info.get("frame", named) if masks.shape[2] == 1 else named)[: masks.shape[2]]
    if any(one is None or one in ("", "all") for one in chosen) or not chosen:
        raise UsageError(f"{file}: one frame; the image has {source.frames}, and 'frame' must say which: from 0.")
    frames = [frame_choice(one, source.frames, file.name)[0] for one in chosen]
    whole, known = (
        (before[0].copy(), set(before[1])) if before else (np.zeros((columns, rows, source.frames), bool), set())
    )
    whole[..., frames] = masks
    return FrameLabel(whole, sorted(known | set(frames)), False)


def labelled_frames(info: Mapping[str, Any], masks: np.ndarray) -> list[int]:
    """Labelled frames of a stored label: those that its info names, else (a file put there by hand) those not empty."""
    if isinstance(info.get("frames"), list):
        return [int(frame) for frame in info["frames"]]
    return [0] if masks.shape[2] == 1 else [int(i) for i in np.flatnonzero(masks.any(axis=(0, 1)))]


def _raw(file: Path, source: Angiogram) -> np.ndarray:
    columns, rows = source.size
    there = file.stat().st_size
    frames, rest = divmod(there, columns * rows)
    if rest or not 1 <= frames <= source.frames:
        raise DataError(
            f"{file}: {there} bytes; the image has {columns} x {rows} pixels, one byte each, {source.frames} frame(s)."
        )
    values = np.fromfile(file, np.uint8)
    return values.reshape(frames, rows, columns).transpose(2, 1, 0) != 0


def _check_size(file: Path, shape: Sequence[int], source: Angiogram) -> None:
    columns, rows = source.size
    if tuple(shape[:2]) != (columns, rows):
        raise DataError(f"{file}: {shape[0]} x {shape[1]} pixels; the image has {columns} x {rows}.")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
