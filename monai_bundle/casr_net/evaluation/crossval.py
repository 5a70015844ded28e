"""Runs the plan of the evidence, one unit after another, at low priority, for as long as it is given.

    python -m casr_net.evaluation.crossval --minutes 170 --threads 1
    python -m casr_net.evaluation.crossval --status

It can be stopped at any time, also by ``kill -9``, and goes on where it was. Each finished unit leaves one JSON.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from ..errors import CASRError, UsageError
from ..inference import bundle_root
from .evidence import Workshop, work
from .pace import Pace, StoppedError
from .plan import Unit, load_plan
from .progress import status

__all__ = ["chosen", "main", "next_unit", "run_plan"]

logger = logging.getLogger(__name__)


def next_unit(units: Sequence[Unit], shop: Workshop) -> Unit | None:
    """First unit of the plan without a result whose needs all have their weights or labels here; None at the end.

    A unit whose need is finished, but whose files are not on this machine, is passed over: results travel with the
    repository, weights do not.
    """
    for unit in units:
        if not shop.finished(unit.name) and all(shop.ready(name) for name in unit.needs):
            return unit
    return None


def run_plan(plan: str | Path, shop: Workshop, pace: Pace, only: Sequence[str] = ()) -> None:
    """Work on the plan until it ends or ``pace`` stops it; the plan is read again after each unit.

    Args:
        plan: path of the plan.
        shop: where everything lies.
        pace: stops, pauses and slows.
        only: names of runs or units; the others are passed over. Empty takes all.

    Raises:
        UsageError: when another process works on the same state.
        CASRError: when the plan, data or weights cannot be used.
    """
    shop.state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(shop.state / "runner.lock", timeout=0):
            while True:
                units = load_plan(plan)
                unit = next_unit(chosen(units, only), shop)
                if unit is None:
                    break
                logger.info("%s: %s", unit.name, unit.run.purpose)
                work(unit, shop, pace, {other.name: other for other in units})
                logger.info("%s: finished.", unit.name)
    except Timeout as error:
        raise UsageError(f"{shop.state}: another process works on the plan here; one at a time.") from error
    except StoppedError:
        logger.info("Stopped; the next start goes on from here.")


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
    parser.add_argument("--status", action="store_true", help="print progress and time left, and do nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("casr_net").setLevel(logging.INFO)
    shop = Workshop(options.data, options.state, options.results)
    try:
        if options.status:
            print(status(chosen(load_plan(options.plan), options.only), shop))
            return 0
        os.nice(10)
        pace = Pace(shop.state / "threads", shop.state / "pause.lock", options.threads, options.minutes)
        pace.catch_signals()
        run_plan(options.plan, shop, pace, options.only)
    except CASRError as error:
        print(f"crossval: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
