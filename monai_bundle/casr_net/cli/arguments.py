"""Options that several commands have."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..errors import UsageError

__all__ = ["CommandParser", "add_network", "add_output", "add_window", "checked_window"]


class CommandParser(argparse.ArgumentParser):
    """The parser of a command. An option with choices that may stand alone, as ``--overlay``, takes the next word only
    where it is one of them: an input after it stays one."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse has it."""
        words = list(sys.argv[1:] if args is None else args)
        alone = {
            name: action
            for action in self._actions
            if action.nargs == "?" and action.choices
            for name in action.option_strings
        }
        for place, (word, following) in enumerate(pairwise([*words, ""])):
            if word in alone and following not in (alone[word].choices or ()):
                words[place] = f"{word}={alone[word].const}"
        return super().parse_known_args(words, namespace)


def _folder(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("is empty; the current folder is '.'")
    return value


def add_output(parser: argparse.ArgumentParser, help: str) -> None:
    """Declare ``--output``."""
    parser.add_argument("-o", "--output", required=True, type=_folder, metavar="DIR", help=help)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Declare the options of commands that run the network."""
    parser.add_argument("-d", "--device", default="auto", help="auto, cpu, cuda or cuda:<index> (%(default)s)")
    parser.add_argument("-w", "--weights", metavar="FILE", help="state dict to use in place of the shipped one")
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="FILE",
        help="overlay of inference.json, path or shipped name",
    )  # fmt: skip


def add_window(parser: argparse.ArgumentParser) -> None:
    """Declare ``--window``."""
    parser.add_argument(
        "--window", nargs=2, type=float, metavar=("CENTRE", "WIDTH"),
        help="grey values to show, in place of those that the file states or the percentiles (DICOM PS3.3 C.11.2)",
    )  # fmt: skip


def checked_window(options: argparse.Namespace) -> list[float] | None:
    """Centre and width, None where the user gave none.

    Raises:
        UsageError: for a width that is not above 1 (PS3.3 C.11.2.1.2), or numbers that are not finite.
    """
    if options.window is None:
        return None
    centre, width = options.window
    if not math.isfinite(centre) or not math.isfinite(width) or width <= 1:
        raise UsageError(f"--window {centre:g} {width:g}: expected a finite centre, and a finite width above 1.")
    return [centre, width]
