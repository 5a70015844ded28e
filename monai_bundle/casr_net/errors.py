"""Errors that a user can act on. Their text is one line that names the file, the value and the limit."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any
from unicodedata import category

__all__ = ["CASRError", "DataError", "DiskFullError", "UsageError", "WeightsError", "on_one_line", "shown"]


class CASRError(Exception):
    """Base of all expected errors; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class DataError(CASRError):
    """An input or output file cannot be used."""


class DiskFullError(DataError):
    """There is no room left to write: what comes next would fail too."""


class WeightsError(CASRError):
    """A file of network weights is missing, damaged or belongs to another network."""


class UsageError(CASRError):
    """The command or the configuration is wrong, whatever the data."""

    exit_code = 2


def shown(value: Any, limit: int = 60) -> str:
    """A value from the header of a file as it may stand in a message: printable, on one line and not too long.

    Damaged files hold anything in place of a name or a number: control characters that a terminal would obey, halves
    of characters that it cannot print, texts of a megabyte.

    Args:
        value: numbers are given as they print, texts and bytes in quotes with escapes, several values in brackets.
        limit: characters; what is longer ends in "...".
    """
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in _text(value, limit))
    return text if len(text) <= limit else text[: max(limit - 3, 0)] + "..."


def on_one_line(text: str) -> str:
    """A message for a terminal, which obeys control characters, such as those of a file's name: they are escaped."""
    return "".join(
        ascii(letter)[1:-1] if category(letter) in ("Cc", "Zl", "Zp") and letter != "\t" else letter for letter in text
    )


def _text(value: Any, limit: int) -> str:
    if isinstance(value, (str, bytes, bytearray)):
        part = value[: limit + 1]  # so that no megabyte is escaped to be cut; the plain type drops subclasses' reprs
        return repr(str(part) if isinstance(part, str) else bytes(part))
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        return str(value.item())  # "1.5", not "np.float64(1.5)"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key, limit)}: {_text(value[key], limit)}' for key in islice(value, limit))}}}"
    if isinstance(value, Iterable):  # lists, arrays, DICOM's multiple values
        return f"[{', '.join(_text(part, limit) for part in islice(value, limit))}]"
    return str(value)
