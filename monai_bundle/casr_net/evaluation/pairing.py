"""Which frame of which file belongs to which: predicted masks and references are paired by name and frame number."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..files.kinds import is_image
from ..files.masks import open_mask
from ..files.names import is_hidden, plain_stem, suffix

__all__ = ["Frame", "Key", "Pairs", "label", "pair_frames"]

SINGLE = (".png", ".jpg", ".jpeg", ".bmp")  # formats of one frame, known without reading

Key = tuple[str, int | None]
"""Name without ending and ``_mask``, and frame number; None for plain single images."""


class Frame(NamedTuple):
    """One frame of one file of masks.

    Attributes:
        path: the file.
        position: in the file, from 0.
        chosen: the file names the frames of its source that it holds (a DICOM Segmentation), and need not hold all.
    """

    path: Path
    position: int
    chosen: bool = False


@dataclass
class Pairs:
    """What is compared, and what has no partner.

    Attributes:
        pairs: key, prediction and reference, in the predictions' order.
        predictions, references: frames without partner.
    """

    pairs: list[tuple[Key, Frame, Frame]] = field(default_factory=list)
    predictions: list[Key] = field(default_factory=list)
    references: list[Key] = field(default_factory=list)


def label(key: Key) -> str:
    """How a frame is called: ``x``, or ``x_f0007``."""
    name, number = key
    return name if number is None else f"{name}_f{number:04d}"


def pair_frames(predictions: Path, references: Path, subset: bool = False) -> Pairs:
    """Pair the frames of two files or folders, see :func:`casr_net.evaluation.evaluate_folders`.

    Args:
        predictions, references: files or folders.
        subset: leave out what has no partner.

    Raises:
        DataError: when a path does not exist, a folder holds no masks, a file cannot be opened, two have one name,
            nothing pairs, or, without ``subset``, a frame has no partner.
    """
    found, expected = _frames(predictions, is_prediction=True), _frames(references)
    single, whole = not predictions.is_dir(), not references.is_dir()
    if single and whole and len(found) == len(expected) == 1:
        (key, frame), truth = next(iter(found.items())), next(iter(expected.values()))
        return Pairs([(key, frame, truth)])
    name, stack = next(iter(found))[0], len(found) > 1
    if single and whole:  # names given by hand need not agree, frames must
        expected = {(name, number): frame for (_, number), frame in expected.items()}
    _meet(found, expected)
    if single:
        expected = {
            key: frame for key, frame in expected.items() if key in found or ((stack or subset) and key[0] == name)
        }
    result = Pairs([(key, frame, expected[key]) for key, frame in found.items() if key in expected])
    result.predictions = [key for key in found if key not in expected]
    result.references = [key for key in expected if key not in found]
    for kind, alone, here, there, folder in (
        ("reference", result.predictions, found, expected, references),
        ("prediction", result.references, expected, found, predictions),
    ):
        chosen = {key[0] for key, frame in there.items() if frame.chosen and key in here}
        for key in alone:
            if not subset and key[0] not in chosen:
                raise DataError(
                    f"{here[key].path}: no {kind} named {label(key)} or {label(key)}_mask in {folder}; "
                    "with --subset, what has no partner is left out."
                )
    if not result.pairs:
        raise DataError(f"{predictions}: none of its masks has a partner in {references}.")
    return result


def _meet(found: dict[Key, Frame], expected: dict[Key, Frame]) -> None:
    """A Segmentation may call the only frame of its image frame 0, where the other side has a plain single image."""
    for here, there in ((found, expected), (expected, found)):
        for key in [key for key, frame in here.items() if frame.chosen and key[1] == 0]:
            name = key[0]
            if key not in there and (name, None) in there and sum(other[0] == name for other in here) == 1:
                there[key] = there.pop((name, None))


def _frames(source: Path, is_prediction: bool = False) -> dict[Key, Frame]:
    """Frames of a file, or of all masks of a folder, by name and number."""
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.is_file())
        paths = [path for path in files if not is_hidden(path, source) and is_image(path)]
        if is_prediction:
            paths = [path for path in paths if not plain_stem(path).endswith(("_overlay", "_probability"))]
    elif source.exists():
        paths = [source]
    else:
        raise DataError(f"{source}: no such file or folder.")
    if not paths:
        raise DataError(f"{source}: the folder holds no masks.")
    frames: dict[Key, Frame] = {}
    for path in paths:
        stem = plain_stem(path).removesuffix("_mask")
        name = (path.relative_to(source).parent / stem).as_posix() if source.is_dir() else stem
        for key, frame in _of_file(path, name).items():
            if key in frames:
                raise DataError(f"{path}: has the same name {label(key)} as {frames[key].path}.")
            frames[key] = frame
    return frames


def _of_file(path: Path, name: str) -> dict[Key, Frame]:
    count, numbers = 1, None
    if suffix(path) not in SINGLE:
        opened = open_mask(path)
        opened.close()
        count, numbers = opened.frames, opened.numbers
    if numbers is not None:
        return {(name, number): Frame(path, index, True) for index, number in enumerate(numbers)}
    if count > 1:
        return {(name, index): Frame(path, index) for index in range(count)}
    numbered = re.fullmatch(r"(.+)_f(\d{4,})", name)
    return {(numbered[1], int(numbered[2])) if numbered else (name, None): Frame(path, 0)}
