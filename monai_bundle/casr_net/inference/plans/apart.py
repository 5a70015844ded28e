"""The plan of a first run, made in a process of its own.

Conversion, trial and measurement of the runtimes need torch, MONAI and several networks at once. In a process that ends
before the frames are gone through, they hold no memory meanwhile: the run itself goes by the plan.

Whatever goes wrong in that process, or where there can be no plan, the run takes the ordinary way, as if there had been
no process: errors are found and told there.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..parent import watch_parent
from ..runtimes.buffers import share_memory
from ..runtimes.packages import installed_runtimes
from .order import DECIDING, Order, graphics
from .plan import KIND, NO_PLAN

__all__ = ["plan_apart", "without_repetition"]

logger = logging.getLogger("casr_net")

PASSED_ON = (*DECIDING, "key_frames", "token_file")
"""What is asked for that says whether there is a plan, and which."""


def plan_apart(
    files: Sequence[str | Path], asked: Mapping[str, Any], is_needed: Callable[[Order], bool] = lambda order: True
) -> list[str] | None:
    """Let another process make the plan of a command that has none, and wait for it. It is ended when this one is
    interrupted, or gone.

    Args:
        files: the base configuration and overlays, checked.
        asked: values by key of ``inference.json``.
        is_needed: asked where a plan could be kept, before it is looked whether there may be one; False: it is not
            worth its time. May raise OSError for weights that cannot be read.

    Returns:
        what it has told the user; None where there can be no plan, or is no need for one, and nothing was done.

    Raises:
        CASRError: as ``is_needed`` does.
    """
    order = Order([str(file) for file in files], asked)
    try:
        if not _may_be_kept(order) or not is_needed(order) or not _is_worthwhile(order):
            return None
    except OSError:  # the ordinary way tells what is wrong with the weights
        return None
    debug = logger.isEnabledFor(logging.DEBUG)
    passed_on = {name: asked[name] for name in PASSED_ON if name in asked}
    told: list[str] = []
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL, encoding="utf-8", env=_variables(),
        )  # fmt: skip
        with _ending(child):
            _send(child.stdin, {"files": order.files, "asked": passed_on, "debug": debug})
            for line in child.stdout or ():
                message = json.loads(line)
                told.append(message["text"])
                logger.log(message["level"], "%s", message["text"])
            child.wait()
    except (OSError, ValueError):  # it cannot be started, has ended before it listened, or was ended in a line
        logger.debug("another process cannot make the plan", exc_info=True)
    return told


@contextmanager
def _ending(child: subprocess.Popen[str]) -> Iterator[None]:
    """The process does not outlive the block, whatever happens in it."""
    try:
        yield
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _send(stream: IO[str] | None, request: dict[str, Any]) -> None:
    assert stream is not None
    with stream:
        json.dump(request, stream)


def _may_be_kept(order: Order) -> bool:
    """Whether an order is for the CPU, hangs on what can be told, and what is found out for it can be kept; no network
    library is imported for that."""
    if not order.plain or order.device not in ("cpu", "auto") or (order.device == "auto" and graphics()):
        return False
    folder = order.store.folder
    return os.access(next(place for place in (folder, *folder.parents) if place.exists()), os.W_OK)


def _is_worthwhile(order: Order) -> bool:
    """Whether there may be a plan that no process has looked for in vain.

    Raises:
        OSError: when the weights cannot be read.
    """
    others = [name for name in installed_runtimes() if name != "torch"]
    if not sys.executable or (order.runtime not in others and (order.runtime != "auto" or not others)):
        return False
    return order.store.kept(KIND, order.key()) != NO_PLAN


@contextmanager
def without_repetition(told: Sequence[str]) -> Iterator[None]:
    """Meanwhile nothing is said that the other process has said already: the ordinary way tries again what it tried."""
    left = set(told)

    def is_new(record: logging.LogRecord) -> bool:
        return record.getMessage() not in left

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def _variables() -> dict[str, str]:
    """Environment in which this package is found as here, however it was found."""
    places = [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


class _Relay(logging.Handler):
    """Messages as lines of JSON, for the process that waits."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        print(json.dumps({"level": record.levelno, "text": record.getMessage()}), file=self._stream, flush=True)


def _make(files: Sequence[str], asked: Mapping[str, Any]) -> None:
    """Make the plan; where there can be none, the next run is told so."""
    from ..lean import import_monai

    import_monai(read=False)
    import torch

    from ..bundle import build, load_parser
    from ..configured import ConfiguredNetwork
    from ..threads import planned, sharing
    from .making import keep_plan, run_on_sample

    parser = load_parser(files[1:], **asked)
    device = build(parser, "device")
    if device == torch.device("cpu"):
        network = ConfiguredNetwork(parser)
        network.frames([], build(parser, "report"))
        with sharing(planned(device)):  # as a cine is computed
            run_on_sample(network.parser())
            if keep_plan(files, asked, network.parser(), last=True):
                return
    order = Order(files, asked)
    order.store.put(KIND, order.key(), NO_PLAN)


def main() -> int:
    """The other process: reads what is asked for from standard input, and says messages on standard output."""
    watch_parent(lambda: os._exit(1))
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as stream:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print
        request = json.load(sys.stdin)
        logger.handlers, logger.propagate = [_Relay(stream)], False
        logger.setLevel(logging.DEBUG if request["debug"] else logging.INFO)
        share_memory()
        try:
            _make(request["files"], request["asked"])
        except Exception:
            logger.debug("no plan was made", exc_info=True)
            return 1
    return 0


if __name__ == "__main__":
    os._exit(main())  # at once: what torch tidies up takes longer than a frame
