"""Runs the plan of the evidence, one unit after another, at low priority, for as long as it is given.

    python -m casr_net.evaluation.crossval --minutes 170 --threads 1
    python -m casr_net.evaluation.crossval --status
    python -m casr_net.evaluation.crossval --device cuda --processes 8 --shared --phase train    # and others beside it

It can be stopped at any time, also by ``kill -9``, and goes on where it was. Each finished unit leaves one JSON.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from ..errors import CASRError, UsageError
from ..inference import bundle_root
from .evidence import work
from .pace import Pace, StoppedError
from .plan import Unit, load_plan
from .progress import status
from .workshop import Workshop

__all__ = ["chosen", "main", "next_unit", "run_plan"]

logger = logging.getLogger(__name__)
PHASES = ("all", "train", "evaluate")


def next_unit(units: Sequence[Unit], shop: Workshop, phase: str = "all") -> Unit | None:
    """First unit of the plan without a result whose needs all have their weights or labels here; None at the end.

    A unit whose need is finished, but whose files are not on this machine, is passed over: results travel with the
    repository, weights do not.

    Args:
        units: in the order of the plan.
        shop: where everything lies.
        phase: of :data:`PHASES`: "train" passes over what has weights already, and wants no results of the needs;
            "evaluate" passes over what has none.
    """
    for unit in units:
        if shop.finished(unit.name) or (phase != "all" and (phase == "evaluate") != shop.trained(unit.name)):
            continue
        if phase == "evaluate" or all(map(shop.ready if phase == "all" else shop.trained, unit.needs)):
            return unit
    return None


def run_plan(
    plan: str | Path, shop: Workshop, pace: Pace, only: Sequence[str] = (), phase: str = "all", shared: bool = False
) -> None:
    """Work on the plan until it ends or ``pace`` stops it; the plan is read again after each unit.

    Args:
        plan: path of the plan.
        shop: where everything lies.
        pace: stops, pauses and slows.
        only: names of runs or units; the others are passed over. Empty takes all.
        phase: of :data:`PHASES`, see :func:`next_unit`.
        shared: let several processes work on the state at the same time, each on units of its own; they end when
            nothing is left that no other has.

    Raises:
        UsageError: when another process works on the same state.
        CASRError: when the plan, data or weights cannot be used.
    """
    shop.state.mkdir(parents=True, exist_ok=True)
    try:
        with nullcontext() if shared else FileLock(shop.state / "runner.lock", timeout=0):
            while True:
                units = load_plan(plan)
                with _claimed(chosen(units, only), shop, phase) as unit:
                    if unit is None:
                        break
                    logger.info("%s: %s", unit.name, unit.run.purpose)
                    work(unit, shop, pace, {other.name: other for other in units}, phase != "train")
                    logger.info("%s: finished.", unit.name)
    except Timeout as error:
        raise UsageError(f"{shop.state}: another process works on the plan here; one at a time.") from error
    except StoppedError:
        logger.info("Stopped; the next start goes on from here.")


@contextmanager
def _claimed(units: Sequence[Unit], shop: Workshop, phase: str) -> Iterator[Unit | None]:
    """The next unit, which no other process then takes."""
    left = list(units)
    while (unit := next_unit(left, shop, phase)) is not None:
        shop.folder(unit.name).mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(shop.folder(unit.name) / "unit.lock", timeout=0):
                if next_unit([unit], shop, phase) is not None:  # another may have finished it meanwhile
                    yield unit
                    return
        except Timeout:
            pass
        left.remove(unit)
    yield None


def chosen(units: Sequence[Unit], only: Sequence[str]) -> list[Unit]:
    """Units whose name, or whose run's name, is in ``only``; all where it is empty.

    Raises:
        UsageError: for a name that the plan does not have.
    """
    names = {name for unit in units for name in (unit.name, unit.run.name)}
    unknown = sorted(set(only) - names)
    if unknown:
        raise UsageError(f"run {unknown[0]!r} is not in the plan; there are {', '.join(sorted(names))}.")
    return [unit for unit in units if not only or {unit.name, unit.run.name} & set(only)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; gives the exit code."""
    root = bundle_root().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=root / "experiments" / "plan.json")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CASR_DATA", root.parent / "shared" / "data")))
    state = os.environ.get("CASR_RUNS") or platformdirs.user_cache_path("casr-net") / "evidence"
    parser.add_argument("--state", type=Path, default=Path(state), help="checkpoints (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=root / "experiments" / "results" / "evidence")
    parser.add_argument("--minutes", type=float, help="stop after so long; the default is to go on to the plan's end")
    parser.add_argument("--threads", type=int, help="written to STATE/threads, which is read again while it runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="RUN", help="these runs of the plan alone")
    parser.add_argument("--phase", choices=PHASES, default="all", help="train, evaluate what is trained, or both")
    parser.add_argument("--shared", action="store_true", help="several processes at the same state, a unit each")
    parser.add_argument("--device", default="cpu", help="of evaluation and resident trainer (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=0, help="that read images, for the resident trainer")
    parser.add_argument("--status", action="store_true", help="print progress and time left, and do nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("casr_net").setLevel(logging.INFO)
    shop = Workshop(options.data, options.state, options.results, device=options.device, processes=options.processes)
    try:
        if options.status:
            print(status(chosen(load_plan(options.plan), options.only), shop))
            return 0
        os.nice(10)
        pace = Pace(shop.state / "threads", shop.state / "pause.lock", options.threads, options.minutes)
        pace.catch_signals()
        run_plan(options.plan, shop, pace, options.only, options.phase, options.shared)
    except CASRError as error:
        print(f"crossval: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
