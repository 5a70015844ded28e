"""``casr analyze``: widths and narrowings of the vessels, as a report."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path

from ..errors import CASRError, UsageError
from .arguments import add_network, add_output, add_window, checked_window

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "measure widths and narrowings, and write a report"
EXAMPLES = """\
  casr analyze cine.dcm -o reports                            best frame, tree, widths, narrowings; in pixels
  casr analyze cine.dcm -o reports --catheter-french 6        in millimetres, by the catheter in the image
  casr analyze cine.dcm -o reports --frame 7 --path 120,80 300,410"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("input", nargs="+", metavar="INPUT", help="image, DICOM file or folder")
    add_output(parser, "folder for index.html and a folder with each input's report")
    parser.add_argument(
        "--path", nargs=2, metavar=("X,Y", "X,Y"),
        help="measure between two points, in pixels (column,row from 0); without it the ways of the tree",
    )  # fmt: skip
    parser.add_argument(
        "--frame", type=int, metavar="N",
        help="frame to measure, from 0 as in names of files; without it the best opacified one of a cine",
    )  # fmt: skip
    parser.add_argument(
        "--catheter-french", type=float, metavar="F", help="size of the catheter in the image, that gives the scale"
    )
    parser.add_argument("--mm-per-pixel", type=float, metavar="S", help="size of a pixel in the patient")
    parser.add_argument(
        "--reference", metavar="D", help="reference diameter with its unit, such as 3.0mm or 14px; without it it is "
        "interpolated (DICOM PS3.17 T.4.2)",
    )  # fmt: skip
    parser.add_argument("--mask", metavar="FILE", help="mask of the vessels, in place of the network's; one INPUT only")
    parser.add_argument("--no-doubt", action="store_true", help="leave the intervals out, which take most of the time")
    parser.add_argument(
        "--keep-identity", action="store_true",
        help="name results by the input files, and keep path and DICOM UIDs; without it nothing names a patient but "
        "measurements.dcm, which has to",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that exist; without it, what is missing is done"
    )
    add_window(parser)
    add_network(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, and return the exit code."""
    from ..inference.bundle import config_files

    # Checked before the seconds that the network takes to load.
    config_files(options.config)
    window = checked_window(options)
    ends = None if options.path is None else (_point(options.path[0]), _point(options.path[1]))
    reference = None if options.reference is None else _diameter(options.reference)
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: exists and is no folder.")

    from ..files.atomic import check_folder
    from ..report.batch import Batch, find_files, with_mask
    from ..report.options import Options

    chosen = Options(
        frame=options.frame, ends=ends, french=options.catheter_french, mm_per_pixel=options.mm_per_pixel,
        reference=reference, window=None if window is None else (window[0], window[1]), doubt=not options.no_doubt,
        keep_identity=options.keep_identity,
    )  # fmt: skip
    files = find_files(options.input, chosen.window, options.keep_identity)
    if (options.mask or options.path) and len(files) > 1:
        name = "--mask" if options.mask else "--path"
        raise UsageError(f"{name} belongs to one image; {len(files)} inputs were given.")
    segmenter = None
    if options.mask:
        try:
            chosen = with_mask(chosen, options.mask)
        except CASRError as error:
            if options.keep_identity:
                raise
            raise type(error)(str(error).replace(options.mask, "--mask")) from None
    elif any(file.error is None for file in files):
        check_folder(output)  # before minutes of work
        logging.getLogger("casr_net").info("Loading the network ...")
        from ..inference.runtimes.buffers import share_memory

        share_memory()
        from ..inference.segmenter import Segmenter

        more = {"weights": options.weights} if options.weights else {}
        segmenter = Segmenter(options.config, options.device, **more)

    from tqdm import tqdm

    batch = Batch(output, chosen, options.overwrite)
    with tqdm(total=len(files), desc="inputs", unit="input", disable=True if options.quiet else None) as bar:
        return batch.run(files, segmenter, bar.update)


def _point(words: str) -> tuple[float, float]:
    match = re.fullmatch(r"\s*(-?[\d.]+(?:[eE][+-]?\d+)?)\s*,\s*(-?[\d.]+(?:[eE][+-]?\d+)?)\s*", words)
    try:
        if match is None:
            raise ValueError
        return float(match[1]), float(match[2])
    except ValueError as error:
        raise UsageError(f"--path: {words!r} is no point; expected column,row in pixels, such as 120.5,88.") from error


def _diameter(words: str) -> tuple[float, str]:
    match = re.fullmatch(r"\s*([\d.]+)\s*(mm|px)\s*", words)
    try:
        if match is None:
            raise ValueError
        return float(match[1]), match[2]
    except ValueError as error:
        raise UsageError(f"--reference: {words!r} is no diameter; expected a unit, such as 3.0mm or 14px.") from error
