"""Command line ``casr``: one module a command. Each imports what it needs only when it runs."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from .. import __version__
from ..errors import CASRError, DataError, on_one_line
from .arguments import CommandParser

__all__ = ["COMMANDS", "main"]

COMMANDS = ("segment", "analyze", "evaluate", "info", "synth", "doctor")
"""Names of the commands, and of the modules beside this one."""

EXAMPLES = """\
  casr segment angiogram.png cine.dcm -o results --overlay    masks, and pictures of them
  casr analyze cine.dcm -o reports                            widths and narrowings, as a page
  casr synth -o data -n 20                                    angiograms to try it with
  casr doctor                                                 what is installed, and what is missing"""

EPILOG = """\
exit code: 0 when everything succeeded, 1 when a file could not be used, 2 when the command was wrong.
For research use only; not a medical device."""

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``casr`` and return its exit code."""
    _set_up_streams()
    try:
        parser = _parser(COMMANDS)
    except ModuleNotFoundError as error:  # whatever is missing, the command that tells what is works
        print(f"casr: the package {error.name} is missing; casr doctor tells what else is.", file=sys.stderr)
        parser = _parser(("doctor",))
    options = parser.parse_args(arguments)
    _set_up_messages(options)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("casr: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as ``head`` has. Python would try again to write the rest when it ends.
        _silence(sys.stdout)
        return 0
    except Exception as error:
        if options.debug:
            raise
        known = _expected(error)
        if known is None:
            print(f"casr: unexpected error: {_one_line(error)} (--debug shows where)", file=sys.stderr)
            return 1
        print(f"casr: {_one_line(known)}", file=sys.stderr)
        return known.exit_code


def _set_up_streams() -> None:
    # A terminal that cannot show a letter of a file's name gets it escaped.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _set_up_messages(options: argparse.Namespace) -> None:
    logger = logging.getLogger("casr_net")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG if options.debug else logging.ERROR if options.quiet else logging.INFO)
    # MONAI warns of a GPU decoder that is not needed here; what ignite says of an error, or of Ctrl-C, is said anyway.
    logging.getLogger("monai").setLevel(logging.ERROR)
    logging.getLogger("ignite").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="NvImgCodec.*")


class _OneLine(logging.Formatter):
    """Messages on one line, whatever the names in them; where an error comes from stands below (--debug)."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return on_one_line(super().formatMessage(record))


def _silence(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):  # no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _expected(error: BaseException) -> CASRError | None:
    from ..inference.bundle import expected_error

    known = expected_error(error)
    if known is None and isinstance(error, OSError) and error.filename is not None:
        known = DataError(f"{error.filename}: {error.strerror or error}.")  # the system refuses it, wherever it is met
    return known


def _one_line(error: BaseException) -> str:
    return on_one_line(" ".join(str(error).split())) or type(error).__name__


def _parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    common = CommandParser(add_help=False)
    common.add_argument("-q", "--quiet", action="store_true", help="say errors only, and show no progress bar")
    common.add_argument("--debug", action="store_true", help="show where errors come from, also those of single files")
    parser = argparse.ArgumentParser(
        prog="casr", description="Coronary artery segmentation in X-ray angiograms.", epilog=_epilog(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("-V", "--version", action="version", version=f"casr {__version__}")
    group = parser.add_subparsers(
        title="commands (casr COMMAND --help tells more)", required=True, metavar="COMMAND", parser_class=CommandParser
    )
    for name in commands:
        module = importlib.import_module(f".{name}", __name__)
        command = group.add_parser(
            name, parents=[common], help=module.HELP, description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=_epilog(module.EXAMPLES), formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _epilog(examples: str) -> str:
    return f"examples:\n{examples}\n\n{EPILOG}"
