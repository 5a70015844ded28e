"""Text files that name inputs, a line each, so that thousands can be given."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePath

from ..errors import CASRError, DataError, UsageError, shown
from .addresses import is_address
from .kinds import kind_of
from .names import plain_stem

__all__ = ["LIST", "check_given", "is_list", "name_in_list", "named_inputs", "names_addresses", "read_list"]

LIST = ".txt"
"""Ending of a list."""


def is_list(path: str | Path) -> bool:
    """Whether an input is a list of inputs: by its ending, and since its content is no image's."""
    if not str(path).lower().endswith(LIST) or os.path.isdir(path):
        return False
    try:
        kind_of(Path(path))
        with open(
            path, "rb"
        ) as stream:  # a path may begin as a BMP does, with "BM"; zeros are in the head of images alone
            return b"\0" not in stream.read(352)
    except (DataError, OSError):
        return True


def read_list(path: str | Path) -> list[str]:
    """The inputs that a list names: files, folders, addresses. A relative path starts from the working directory.

    Raises:
        DataError: when it cannot be read; UsageError: when it names nothing, or another list, or is no text.
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
        if any(unicodedata.category(letter) == "Cc" for letter in line):  # bytes of other encodings are not among them
            raise UsageError(
                f"{path}: line {number} is no path but {shown(line)}; expected a path or an address a line."
            )
        if is_list(line):
            raise UsageError(f"{path}: line {number} names another list, {line}; expected images and folders.")
    return named


def check_given(given: Sequence[str | Path]) -> None:
    """Refuse an empty path, which a shell makes of a variable that is not set: it does not mean the current folder.

    Raises:
        UsageError: for it.
    """
    if "" in given:
        raise UsageError("an input is empty; the current folder is '.'.")


def named_inputs(given: Sequence[str]) -> list[str]:
    """The inputs, in place of a list what it names; one that cannot be used stays, to be told when its turn comes.

    Raises:
        UsageError: for an empty path.
    """
    check_given(given)
    named: list[str] = []
    for path in given:
        try:
            named += read_list(path) if is_list(path) else [path]
        except CASRError:
            named.append(path)
    return named


def names_addresses(given: Sequence[str]) -> bool:
    """Whether there is an address among the inputs, or in a list among them."""
    return any(map(is_address, named_inputs(given)))


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
