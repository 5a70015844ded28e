"""What a run is to segment: files and folders given by the user, checked one by one before the network is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CASRError, DataError, UsageError
from .images import read_angiogram
from .kinds import is_image
from .names import is_hidden, plain_stem

__all__ = ["Inputs", "find_inputs"]


@dataclass
class Inputs:
    """Frames to segment, and files that cannot be.

    Attributes:
        items: a dictionary a frame: image and path (both the file; a transform replaces the first), name (relative
            output name without ending), frame (index from 0) and frames (count in the file). A file's are consecutive.
        failures: path to error, for files that were refused.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, CASRError] = field(default_factory=dict)


def find_inputs(paths: str | Path | Sequence[str | Path], output_dir: str | Path | None = None) -> Inputs:
    """List every frame of every readable file; a folder is walked, its sub-folders are kept in the output names.

    Files of a folder that are no images are passed over silently; a file that the user names is always looked at. A bad
    file goes to ``failures`` and the others are still listed.

    Args:
        paths: files and folders.
        output_dir: where results go. Results in it are passed over when the folder that is walked is, or holds, it.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    inputs = Inputs()
    names: dict[str, Path] = {}
    for path, name in _walk(given, inputs, None if output_dir is None else Path(output_dir).resolve()):
        try:
            if name in names and names[name].resolve() == path.resolve():
                continue  # named twice, or named beside its folder
            if name in names:
                raise DataError(f"{path}: would be written under the same name {name!r} as {names[name]}.")
            frames = read_angiogram(path).frames
        except CASRError as error:
            inputs.failures[str(path)] = error
            continue
        names[name] = path
        common = {"image": str(path), "path": str(path), "name": name, "frames": frames}
        inputs.items += [{**common, "frame": i} for i in range(frames)]
    return inputs


def _walk(paths: Iterable[str | Path], inputs: Inputs, output: Path | None) -> Iterable[tuple[Path, str]]:
    for given in map(Path, paths):
        if not given.is_dir():
            if not given.exists():
                inputs.failures[str(given)] = UsageError(f"{given}: no such file or folder.")
                continue
            yield given, plain_stem(given)
            continue
        found = sorted(
            path for path in given.rglob("*") if path.is_file() and not is_hidden(path, given) and is_image(path)
        )
        found = [path for path in found if not _is_result(path, output)]
        if not found:
            inputs.failures[str(given)] = UsageError(f"{given}: the folder holds no images.")
        for path in found:
            yield path, (path.relative_to(given).parent / plain_stem(path)).as_posix()


def _is_result(path: Path, output: Path | None) -> bool:
    kinds = ("_mask", "_probability", "_overlay")
    return output is not None and output in path.resolve().parents and plain_stem(path).endswith(kinds)
