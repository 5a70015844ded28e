"""``casr synth``: synthetic angiograms with known truth."""

from __future__ import annotations

import argparse

from .arguments import add_output

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "generate synthetic angiograms"
EXAMPLES = """\
  casr synth -o data -n 100 --seed 1                          100 images with masks, truth and cases.csv
  casr synth -o cines -n 5 --frames 30                        five DICOM cines"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_output(parser, "folder for images, masks, truth and cases.csv")
    parser.add_argument("-n", "--count", type=int, default=10, metavar="N", help="images or cines (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal files (%(default)s)")
    parser.add_argument(
        "--frames", type=int, default=1, metavar="T", help="frames of a cine, written as DICOM (%(default)s)"
    )
    parser.add_argument("--size", type=int, default=512, metavar="PIXELS", help="rows and columns (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Write them, and return the exit code."""
    from ..synthetic.dataset import write_dataset

    written = write_dataset(options.output, options.count, options.seed, options.frames, options.size)
    print(f"{len(written)} files in {options.output}")
    return 0
