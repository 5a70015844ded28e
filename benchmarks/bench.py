"""All benchmarks in one run: stages, networks, other methods, scaling, a cine, the start; tables and the plot.

    python benchmarks/bench.py [--note TEXT] [--only PART ...]      # make bench; about ten minutes on two processors
    python benchmarks/bench.py --quick --no-lock --output results/bench   # a rehearsal, whose figures count nothing
    python benchmarks/bench.py --tables                             # tables and plot anew from what is measured

While it runs, the training runner of ``make evidence`` waits (its pause lock is held). Say by ``--note`` what else was
running. Tables go between their marks in docs/speed.md and README.md, unless the figures go elsewhere by ``--output``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cine
import networks
import others
import pareto
import scaling
import stages
import start
from common import arguments, paused_training, put_table, record, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
GUIDE, README, PLOT = ROOT / "docs" / "speed.md", ROOT / "README.md", ROOT / "docs" / "pareto.png"

PICTURE = (
    "![Dice on fold 0 against the network's milliseconds, by widths, order of the decoder, size of the input, runtime]"
    "(pareto.png)\n\nAll points: [pareto.json](../benchmarks/results/pareto.json)."
)


class Part(NamedTuple):
    """A benchmark: what it measures, how in full and as a rehearsal, its tables by their marks in docs/speed.md, and
    by what the number of rounds is divided, as it takes long."""

    what: str | None
    measure: Callable[[int], dict[str, Any]]
    rehearse: Callable[[int], dict[str, Any]]
    tables: dict[str, Callable[[dict[str, Any]], str]]
    divisor: int = 1


PARTS = {
    "stages": Part(stages.__doc__, stages.measure, stages.measure, {"stages": stages.table}),
    "networks": Part(
        networks.__doc__, networks.measure, lambda rounds: networks.measure(rounds, networks.GROUPS[:3:2]),
        {"networks": networks.table, "roofline": networks.shares_table},
    ),
    "others": Part(others.__doc__, others.measure, others.measure, {"others": others.table}, 2),
    "scaling": Part(
        scaling.__doc__, scaling.measure, lambda rounds: scaling.measure(rounds, (256, 512), (1, 2)),
        {"scaling": scaling.table}, 2,
    ),
    "cine": Part(
        cine.__doc__, lambda rounds: cine.measure(rounds, 48), lambda rounds: cine.measure(rounds, 2),
        {"cine": cine.table}, 2,
    ),
    "cine_avx2": Part(
        cine.__doc__, lambda rounds: cine.measure_limited(rounds, 48), lambda rounds: cine.measure_limited(rounds, 2),
        {"cine_avx2": cine.table}, 2,
    ),
    "start": Part(start.__doc__, start.measure, start.measure, {"start": start.table}, 3),
}  # fmt: skip


def run(options: argparse.Namespace, folder: Path) -> None:
    """Measure the parts that are wanted; each is kept as soon as it is measured."""
    with paused_training(options.lock):
        for name in options.only or PARTS:
            part, mark = PARTS[name], time.monotonic()
            rounds = options.rounds if options.quick else max(2, options.rounds // part.divisor)
            figures = (part.rehearse if options.quick else part.measure)(rounds)
            seconds = round(time.monotonic() - mark, 1)
            result = record(part.what, options, rounds=rounds, rehearsal=options.quick, seconds=seconds, **figures)
            write_json(folder / f"{name}.json", result)
            print(f"{name}: {seconds:.0f} s", flush=True)


def tables(folder: Path, guide: Path | None, readme: Path | None, picture: Path) -> None:
    """Tables and plot of all that is measured.

    Args:
        folder: with the figures.
        guide, readme: texts with the marks; None prints the tables.
        picture: the plot.
    """
    for name, part in PARTS.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        for mark, words in part.tables.items():
            _show(guide, mark, words(result))
        if name == "cine":
            _show(readme, "speed", cine.table(result))
        if name == "networks":
            points = pareto.collect(result["networks"], ROOT / "experiments" / "results")
            write_json(folder / "pareto.json", {"what": pareto.__doc__, **points})
            pareto.plot(points, picture)
            _show(guide, "pareto", f"{pareto.table(points)}\n\n{PICTURE}")


def _show(text: Path | None, mark: str, words: str) -> None:
    if text is None:
        print(f"\n{mark}\n{words}")
    else:
        put_table(text, mark, words)


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.set_defaults(output=RESULTS)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a small part of each, to see that it works")
    parser.add_argument("--tables", action="store_true", help="measure nothing; tables and plot from --output")
    options = parser.parse_args()
    folder = options.output.resolve()
    if options.quick:
        options.note = f"a rehearsal, whose figures count nothing; {options.note}"
    if not options.tables:
        run(options, folder)
    ours = folder == RESULTS
    tables(folder, GUIDE if ours else None, README if ours else None, PLOT if ours else folder / "pareto.png")


if __name__ == "__main__":
    main()
