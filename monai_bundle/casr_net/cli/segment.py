"""``casr segment``: masks of angiograms and cines."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..files.addresses import is_address
from ..files.lists import is_list, named_inputs, names_addresses
from ..files.names import DERIVED, FORMATS, OVERLAYS
from ..inference.engines import ENGINES, require_ray
from ..inference.runtimes.packages import GPU_RUNTIMES, PRECISIONS, RUNTIMES, checked_runtime
from .arguments import add_network, add_output, add_window, checked_window

if TYPE_CHECKING:
    from ..inference.filework import FileJob, FilePart, Network
    from ..inference.plans.look import FirstLook
    from ..inference.record import RunReport

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "segment angiograms and cines"
EXAMPLES = """\
  casr segment angiogram.png -o results                       angiogram_mask.png
  casr segment folder -o results --overlay                    masks and pictures of all images below a folder
  casr segment cine.dcm -o results --overlay video            a video of the contours, at the cine's own rate
  casr segment cine.dcm -o results -f seg                     a DICOM Segmentation
  casr segment cine.dcm -o results --key-frames 2             the two best frames only
  casr segment cines.txt -o results --engine ray              a list of cines, by several processes or computers
  casr segment "https://pacs/dicom-web?PatientID=7&Modality=XA" -o results -f seg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "input", nargs="+", metavar="INPUT",
        help="image, DICOM file or folder; a text file (.txt) with a path a line; a search of a DICOMweb server",
    )  # fmt: skip
    add_output(parser, "folder for the results and run.json")
    parser.add_argument("-f", "--format", choices=FORMATS, default="png", help="of the masks (%(default)s)")
    parser.add_argument(
        "--overlay", nargs="?", choices=OVERLAYS, const=OVERLAYS[0],
        help="also draw the contour on the angiogram: a picture a frame, or of each cine a video (WebM), an animation "
        "(WebP) or one sheet",
    )  # fmt: skip
    parser.add_argument("--areas", action="store_true", help="also areas.csv: a row a frame, the vessels' area in it")
    parser.add_argument(
        "-p", "--probability", action="store_true", help="also write the 8-bit probability map, calibrated"
    )
    parser.add_argument("--no-refine", action="store_true", help="leave stage 3, contour refinement, out")
    parser.add_argument(
        "--key-frames", type=int, metavar="N", help="of each cine only the N best frames, end-diastolic ones first"
    )
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="mean of the frame and its mirror images: better, four times as long (default: for single images, not for "
        "cines)",
    )
    parser.add_argument(
        "--flat", action="store_true", help="leave the folders of an INPUT folder or list out of the output"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that exist; without it, what is missing is done"
    )
    add_window(parser)
    add_network(parser)
    parser.add_argument("--runtime", choices=("auto", *RUNTIMES), help="what computes the network (auto: the fastest)")
    parser.add_argument("--precision", choices=PRECISIONS, help="in which number format (auto: the fastest of those)")
    parser.add_argument(
        "--engine", choices=ENGINES, default="local",
        help="this process, or a pool of processes by Ray, on this computer or on those of RAY_ADDRESS (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes of --engine ray (as many as processors)")
    parser.add_argument(
        "--token-file", metavar="FILE", help="a DICOMweb server's bearer token, else that in CASR_DICOMWEB_TOKEN"
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
    if options.key_frames is not None and options.overlay in ("video", "animation"):
        raise UsageError("--key-frames cannot be shown as a cine, which needs every frame; use --overlay sheet.")
    _check_engine(options)
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: exists and is no folder.")
    if _nothing_is_there(options.input):
        return 1
    logging.getLogger("casr_net").info("Loading the network ...")
    from ..inference.runtimes.buffers import share_memory

    share_memory()

    asked: dict[str, Any] = {
        "inputs": options.input, "output_dir": options.output, "format": options.format,
        "overlay": options.overlay or False, "areas": options.areas, "probability": options.probability,
        "refine": not options.no_refine, "overwrite": options.overwrite, "device_name": options.device,
        "flat": options.flat, "key_frames": options.key_frames, "config_overlays": files[1:],
    }  # fmt: skip
    if options.weights:
        asked["weights"] = options.weights
    if options.tta is not None:  # else as the configuration has it
        asked["tta"] = options.tta
    if window is not None:
        asked["window"] = window
    if options.runtime:
        asked["runtime"] = options.runtime
    if options.precision:
        asked["precision"] = options.precision
    if options.token_file:
        asked["token_file"] = options.token_file

    from ..inference.files_run import run_files
    from ..inference.plans.apart import plan_apart, without_repetition
    from ..inference.plans.idle import idle_report
    from ..inference.plans.look import FirstLook
    from ..inference.plans.run import planned_run
    from ..inference.run import run_inference

    quick, told, look = None, None, FirstLook()
    if "torch" not in sys.modules:  # else nothing is to be gained
        quick = planned_run(files, asked)
        if quick is None:
            told = plan_apart(files, asked, look.finds_work)
            quick = None if told is None else planned_run(files, asked, look.inputs)
    if quick is None and look.inputs is not None and look.work is False:
        idle = idle_report(files, asked, look.inputs)
        if idle is not None:
            return int(run_inference(None, idle).exit_code)
    if quick is None:
        with without_repetition(told or ()):
            return _configured(files, asked, options, look)
    with _bar(options.quiet, total=len(quick.items), desc="frames") as quick.report.progress:
        if _are_apart(options) and quick.items:
            through = _through(options, files, asked, quick.report, quick.network)
            return int(run_files(quick.items, quick.network.writer, quick.report, through).exit_code)
        return int(run_inference(quick.frames(), quick.report).exit_code)


def _configured(files: Sequence[str], asked: dict[str, Any], options: argparse.Namespace, look: FirstLook) -> int:
    """Segment by the configuration's own objects, and return the exit code.

    Args:
        files: the base configuration and overlays.
        asked: values by key of ``inference.json``.
        options: of the command.
        look: what was found already, which is taken where it was looked at with the configuration's window.
    """
    from ..inference.lean import import_monai
    from ..inference.plans.order import Order

    if Order([str(file) for file in files], asked).transforms_are_shipped:  # others may need anything
        import_monai()
    from ..inference.bundle import build, load_parser
    from ..inference.files_run import run_files
    from ..inference.plans.idle import keep_settings
    from ..inference.plans.making import keep_plan
    from ..inference.run import run_inference

    parser = load_parser(files[1:], **asked)
    if look.inputs is not None:
        window = build(parser, "window")
        if look.inputs.window == (None if window is None else (window[0], window[1])):
            parser["found"] = look.inputs
    with _bar(options.quiet or asked["key_frames"] is None, desc="contrast") as update:
        build(parser, "select").progress = lambda path, done, total: update(1)
        items = build(parser, "dataset").data
    report = build(parser, "report")
    if not items:
        code = int(run_inference(None, report).exit_code)
        if look.work is not None:
            keep_settings(files, asked, report)
        return code
    if _are_apart(options):
        from ..inference.configured import ConfiguredNetwork

        writer = build(parser, "writer")
        network = ConfiguredNetwork(parser) if options.engine == "local" else None
        through = _through(options, files, asked, report, network)
        with _bar(options.quiet, total=len(items), desc="frames") as report.progress:
            code = int(run_files(items, writer, report, through).exit_code)
        if network is not None:
            keep_plan(files, asked, network.parser(), last=True)
        return code
    evaluator = build(parser, "evaluator")

    with _bar(options.quiet, total=len(items), desc="frames") as report.progress:
        code = int(run_inference(evaluator, report).exit_code)
    if not keep_plan(files, asked, parser, last=True) and look.work is not None:
        keep_settings(files, asked, report)
    return code


def _through(
    options: argparse.Namespace, files: Sequence[str], asked: dict[str, Any], report: RunReport, network: Network | None
) -> Callable[[Sequence[FileJob]], Generator[FilePart]]:
    """The way of files through their workers: one in this process, or Ray's pool."""
    if options.engine == "local":
        from ..inference.filework import FileWorker, one_by_one

        assert network is not None
        return functools.partial(one_by_one, FileWorker(network))
    from ..inference.ray_engine import WorkerSettings, ray_parts

    on_gpu = str(report.run["device"]).startswith("cuda")
    return functools.partial(ray_parts, WorkerSettings(files[1:], asked), workers=options.workers, on_gpu=on_gpu)


@contextmanager
def _bar(hidden: bool, desc: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """A bar that is moved on by a number of frames. Where nobody watches, in a log, there is none."""
    if hidden or not sys.stderr.isatty():
        yield lambda frames: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=desc, unit="frame") as bar:
        yield bar.update


def _nothing_is_there(inputs: Sequence[str]) -> bool:
    """Whether no input is there at all, which is then said of each; with one that is, the others are failures of the
    run."""
    if any((os.path.lexists(path) and not is_list(path)) or is_address(path) for path in named_inputs(inputs)):
        return False
    from ..files.inputs import find_inputs

    for failure in find_inputs(inputs).failures.values():
        logging.getLogger("casr_net").error("%s", failure)
    return True


def _are_apart(options: argparse.Namespace) -> bool:
    """Whether files are done one by one, each by a worker."""
    return bool(options.engine != "local" or names_addresses(options.input))


def _check_engine(options: argparse.Namespace) -> None:
    """Refuse what does not go together, before the seconds that loading takes."""
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers is {options.workers}; at least 1 is needed.")
    if options.workers is not None and options.engine == "local":
        raise UsageError("--workers is for --engine ray; the local engine uses all processors by itself.")
    if options.key_frames is not None and (options.engine != "local" or names_addresses(options.input)):
        raise UsageError("--key-frames looks at all frames before; give files, and leave --engine ray out.")
    if options.runtime in GPU_RUNTIMES and options.device == "cpu":
        raise UsageError(f"--runtime {options.runtime} is for NVIDIA's GPUs; leave --device cpu out, or take auto.")
    if options.runtime or options.precision:
        from ..inference.plans.order import graphics

        if options.device == "cpu" or (options.device == "auto" and not graphics()):  # a GPU has torch for most
            checked_runtime(options.runtime or "auto", options.precision or "auto")
    if options.engine == "ray":
        require_ray()
