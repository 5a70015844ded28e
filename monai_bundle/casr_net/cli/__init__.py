"""Command line ``casr``. Each subcommand imports what it needs only when it runs."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import UsageError
from ..inference.bundle import config_files, expected_error

__all__ = ["main"]

EPILOG = """exit code: 0 when everything succeeded, 1 when a file could not be used, 2 when the command was wrong.
For research use only; not a medical device."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``casr`` and return its exit code."""
    options = _parser().parse_args(arguments)
    _set_up_messages()
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("casr: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        known = expected_error(error)
        if known is None:
            print(f"casr: unexpected error: {_one_line(error)} (--debug shows where)", file=sys.stderr)
            return 1
        print(f"casr: {_one_line(known)}", file=sys.stderr)
        return known.exit_code


def _set_up_messages() -> None:
    logger = logging.getLogger("casr_net")
    logger.handlers, logger.propagate = [logging.StreamHandler(sys.stderr)], False
    logger.setLevel(logging.INFO)
    # MONAI warns of a GPU decoder that is not needed here.
    logging.getLogger("monai").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="NvImgCodec.*")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="casr", description="Coronary artery segmentation in X-ray angiograms.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"casr {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    segment = commands.add_parser("segment", parents=[common], help="segment angiograms and cines", epilog=EPILOG)
    segment.add_argument("input", nargs="+", metavar="INPUT", help="image, DICOM file or folder")
    segment.add_argument("--output", required=True, metavar="DIR", help="folder for the results and run.json")
    segment.add_argument(
        "--format", choices=("png", "nrrd", "mha", "nii.gz"), default="png", help="of the masks (%(default)s)"
    )
    segment.add_argument("--overlay", action="store_true", help="also draw the contour on the angiogram")
    segment.add_argument("--probability", action="store_true", help="also write the 8-bit probability map")
    segment.add_argument("--no-refine", action="store_true", help="leave stage 3, contour refinement, out")
    segment.add_argument("--overwrite", action="store_true", help="replace results that exist")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (%(default)s)")
    segment.add_argument("--weights", metavar="FILE", help="state dict to use in place of the shipped one")
    segment.add_argument(
        "--config", action="append", default=[], metavar="FILE", help="overlay of inference.json, path or shipped name"
    )
    segment.add_argument("--quiet", action="store_true", help="no progress bar")
    segment.set_defaults(run=_segment)

    evaluate = commands.add_parser("evaluate", parents=[common], help="compare masks with references", epilog=EPILOG)
    evaluate.add_argument("predictions", metavar="PREDICTIONS", help="mask or folder of masks")
    evaluate.add_argument("references", metavar="REFERENCES", help="reference mask or folder")
    evaluate.add_argument("--json", metavar="F", help="also write all figures to this file")
    evaluate.set_defaults(run=_evaluate)

    synth = commands.add_parser("synth", parents=[common], help="generate synthetic angiograms", epilog=EPILOG)
    synth.add_argument("--output", required=True, metavar="DIR", help="folder for images, masks, truth and cases.csv")
    synth.add_argument("--count", type=int, default=10, metavar="N", help="images or cines (%(default)s)")
    synth.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal files (%(default)s)")
    synth.add_argument(
        "--frames", type=int, default=1, metavar="T", help="frames of a cine, written as DICOM (%(default)s)"
    )
    synth.add_argument("--size", type=int, default=512, metavar="PIXELS", help="rows and columns (%(default)s)")
    synth.set_defaults(run=_synth)
    return parser


def _segment(options: argparse.Namespace) -> int:
    # Checked before the seconds that MONAI takes to import.
    files = config_files(options.config)
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: exists and is no folder.")
    logging.getLogger("casr_net").info("Loading the network ...")

    from ..inference.bundle import build, load_parser
    from ..inference.run import run_inference

    chosen = {"weights": options.weights} if options.weights else {}
    parser = load_parser(
        files[1:], inputs=options.input, output_dir=options.output, format=options.format, overlay=options.overlay,
        probability=options.probability, refine=not options.no_refine, overwrite=options.overwrite,
        device_name=options.device, **chosen,
    )  # fmt: skip
    items = build(parser, "dataset").data
    report = build(parser, "report")
    evaluator = build(parser, "evaluator") if items else None
    if evaluator is not None and not options.quiet:
        from ignite.handlers.tqdm_logger import ProgressBar

        ProgressBar(desc="frames").attach(evaluator)
    return int(run_inference(evaluator, items, report).exit_code)


def _evaluate(options: argparse.Namespace) -> int:
    from ..evaluation.compare import evaluate_folders, format_report
    from ..files.atomic import write_atomically

    report = evaluate_folders(options.predictions, options.references)
    print(format_report(report))
    if options.json:
        text = json.dumps(report, indent=2, ensure_ascii=False)
        write_atomically(Path(options.json), lambda path: path.write_text(text, encoding="utf-8"))
    return 0


def _synth(options: argparse.Namespace) -> int:
    from ..synthetic.dataset import write_dataset

    written = write_dataset(options.output, options.count, options.seed, options.frames, options.size)
    print(f"{len(written)} files in {options.output}")
    return 0
