"""Errors that a user can act on. Their text is one line that names the file, the value and the limit."""

from __future__ import annotations

__all__ = ["CASRError", "DataError", "UsageError", "WeightsError"]


class CASRError(Exception):
    """Base of all expected errors; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class DataError(CASRError):
    """An input or output file cannot be used."""


class WeightsError(CASRError):
    """A file of network weights is missing, damaged or belongs to another network."""


class UsageError(CASRError):
    """The command or the configuration is wrong, whatever the data."""

    exit_code = 2
