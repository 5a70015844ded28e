"""Options that several commands have."""

from __future__ import annotations

import argparse
import math

from ..errors import UsageError

__all__ = ["add_window", "checked_window"]


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
