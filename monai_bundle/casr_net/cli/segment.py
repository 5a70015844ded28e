"""``casr segment``: masks of angiograms and cines."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files.names import DERIVED, FORMATS
from ..inference.runtimes.packages import RUNTIMES
from .arguments import add_window, checked_window

__all__ = ["HELP", "add_arguments", "run"]

HELP = "segment angiograms and cines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("input", nargs="+", metavar="INPUT", help="image, DICOM file or folder")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results and run.json")
    parser.add_argument("--format", choices=FORMATS, default="png", help="of the masks (%(default)s)")
    parser.add_argument("--overlay", action="store_true", help="also draw the contour on the angiogram")
    parser.add_argument("--probability", action="store_true", help="also write the 8-bit probability map")
    parser.add_argument("--no-refine", action="store_true", help="leave stage 3, contour refinement, out")
    parser.add_argument(
        "--key-frames", type=int, metavar="N", help="of each cine only the N best frames, end-diastolic ones first"
    )
    parser.add_argument(
        "--tta", action="store_true", help="mean of the frame and its mirror images: steadier, four times as long"
    )
    parser.add_argument(
        "--flat", action="store_true", help="leave the sub-folders of an INPUT folder out of the output"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that exist; without it, what is missing is done"
    )
    add_window(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (%(default)s)")
    parser.add_argument("--runtime", choices=("auto", *RUNTIMES), help="what computes the network (auto: the fastest)")
    parser.add_argument("--weights", metavar="FILE", help="state dict to use in place of the shipped one")
    parser.add_argument(
        "--config", action="append", default=[], metavar="FILE", help="overlay of inference.json, path or shipped name"
    )


def run(options: argparse.Namespace) -> int:
    """Segment, and return the exit code."""
    from ..inference.bundle import config_files

    # Checked before the seconds that MONAI takes to import.
    files = config_files(options.config)
    window = checked_window(options)
    if options.key_frames is not None and options.key_frames < 1:
        raise UsageError(f"--key-frames is {options.key_frames}; at least 1 is needed.")
    if options.key_frames is not None and options.format not in ("png", *DERIVED):
        raise UsageError(
            f"--key-frames cannot be written as {options.format}: a stack of some frames would not tell which; use "
            f"--format png, {' or '.join(DERIVED)}."
        )
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: exists and is no folder.")
    logging.getLogger("casr_net").info("Loading the network ...")

    from ..inference.bundle import build, load_parser
    from ..inference.run import run_inference

    chosen: dict[str, Any] = {"weights": options.weights} if options.weights else {}
    if options.tta:  # else as the configuration has it
        chosen["tta"] = True
    if window is not None:
        chosen["window"] = window
    if options.runtime:
        chosen["runtime"] = options.runtime
    parser = load_parser(
        files[1:], inputs=options.input, output_dir=options.output, format=options.format, overlay=options.overlay,
        probability=options.probability, refine=not options.no_refine, overwrite=options.overwrite,
        device_name=options.device, flat=options.flat, key_frames=options.key_frames,
        config_overlays=files[1:], **chosen,
    )  # fmt: skip
    from tqdm import tqdm

    # Where nobody watches, in a log, there is none.
    hidden = True if options.quiet else None
    with tqdm(desc="contrast", unit="frame", disable=hidden or (None if options.key_frames else True)) as bar:
        build(parser, "select").progress = lambda path, done, total: bar.update()
        dataset = build(parser, "dataset")
    report = build(parser, "report")
    if not dataset.data:
        return int(run_inference(None, dataset, report).exit_code)
    evaluator = build(parser, "evaluator")

    with tqdm(total=len(dataset.data), desc="frames", unit="frame", disable=hidden) as bar:
        report.progress = bar.update
        return int(run_inference(evaluator, dataset, report).exit_code)
