"""Text files that name inputs, a line each, so that thousands can be given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from ..errors import CASRError, DataError, UsageError
from .addresses import is_address
from .names import plain_stem

__all__ = ["LIST", "is_list", "name_in_list", "names_addresses", "read_list"]

LIST = ".txt"
"""Ending of a list; no image is called so."""


def is_list(path: str | Path) -> bool:
    """Whether an input is a list of inputs."""
    return str(path).lower().endswith(LIST) and not os.path.isdir(path)


def read_list(path: str | Path) -> list[str]:
    """The inputs that a list names: files, folders, addresses. A relative path starts from the working directory.

    Raises:
        DataError: when it cannot be read; UsageError: when it names nothing, or another list.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file or folder.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}.") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    named = [line for line in lines if line.strip()]
    if not named:
        raise UsageError(f"{path}: the list names nothing; expected a path or an address a line.")
    for number, line in enumerate(lines, 1):
        if is_list(line):
            raise UsageError(f"{path}: line {number} names another list, {line}; expected images and folders.")
    return named


def names_addresses(given: Sequence[str]) -> bool:
    """Whether there is an address among the inputs, or in a list among them; one that cannot be read has none."""
    for path in given:
        named = [path]
        if is_list(path):
            try:
                named = read_list(path)
            except CASRError:  # said when its turn comes
                continue
        if any(map(is_address, named)):
            return True
    return False


def name_in_list(path: Path, flat: bool) -> str:
    """Name of the results of a file that a list names, without ending: its folders are kept, since cines of many
    folders are often called alike; ``/data/a/1.dcm`` becomes ``data/a/1``. It does not depend on the other lines.

    Args:
        path: as it is named.
        flat: leave the folders out.
    """
    if flat:
        return plain_stem(path)
    pure = PurePath(os.path.abspath(path) if ".." in path.parts else path)
    folder = pure.parent.relative_to(pure.anchor) if pure.anchor else pure.parent
    return (folder / plain_stem(path)).as_posix()
