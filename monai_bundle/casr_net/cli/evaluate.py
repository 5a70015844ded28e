"""``casr evaluate``: figures of masks against references."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["HELP", "add_arguments", "run"]

HELP = "compare masks with references"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("predictions", metavar="PREDICTIONS", help="mask or folder of masks")
    parser.add_argument("references", metavar="REFERENCES", help="reference mask or folder")
    parser.add_argument("--subset", action="store_true", help="compare what has a partner, and leave out what has none")
    parser.add_argument("--json", metavar="F", help="also write all figures to this file")


def run(options: argparse.Namespace) -> int:
    """Compare, print a table, and return the exit code."""
    from ..evaluation.compare import evaluate_folders, format_report
    from ..files.atomic import write_atomically

    report = evaluate_folders(options.predictions, options.references, subset=options.subset)
    if options.json:  # first: nobody need read the table
        data = json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
        write_atomically(Path(options.json), lambda path: path.write_bytes(data))
    print(format_report(report))
    return 0
