"""``casr evaluate``: figures of masks against references."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "compare masks with references"
EXAMPLES = """\
  casr evaluate results references                            a table
  casr evaluate results references --csv images.csv           and a row an image, for a spreadsheet
  casr evaluate results references --subset --json all.json   only what has a partner"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("predictions", metavar="PREDICTIONS", help="mask or folder of masks")
    parser.add_argument("references", metavar="REFERENCES", help="reference mask or folder")
    parser.add_argument("--subset", action="store_true", help="compare what has a partner, and leave out what has none")
    parser.add_argument("--json", metavar="F", help="also write all figures to this file")
    parser.add_argument("--csv", metavar="F", help="also write the figures of each image to this file, a row an image")


def run(options: argparse.Namespace) -> int:
    """Compare, print a table, and return the exit code."""
    from ..evaluation.compare import evaluate_folders, format_report, image_table
    from ..files.atomic import write_atomically

    report = evaluate_folders(options.predictions, options.references, subset=options.subset)
    if options.json:  # first: nobody need read the table
        data = json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
        write_atomically(Path(options.json), lambda path: path.write_bytes(data))
    if options.csv:
        table = image_table(report).encode("utf-8", "backslashreplace")
        write_atomically(Path(options.csv), lambda path: path.write_bytes(table))
    print(format_report(report))
    return 0
