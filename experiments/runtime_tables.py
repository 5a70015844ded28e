"""Tables of docs/speed.md from the results of ``runtime_accuracy.py`` and ``instruction_sets.py``.

python experiments/runtime_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"


def change(entry: dict[str, Any]) -> str:
    low, high = entry["interval_points"]
    return f"{entry['change_points']:+.3f} ({low:+.3f} to {high:+.3f}), {entry['values']}"


def accuracy(*parts: tuple[dict[str, Any], dict[str, Any], str]) -> str:
    """Of results with their speed, and what is said after a runtime's name."""
    lines = [
        "| runtime | speed | Dice, images | clDice | crossing rate, stenoses | gate |",
        "|---|---|---|---|---|---|",
    ]
    for runtime, entry, speed, more in rows(*parts):
        ratio = f"{speed[runtime]['ratio']:.1f}" if runtime in speed else "-"
        cells = [change(entry[metric]) for metric in ("dice", "cldice", "crossing_rate")]
        verdict = "passes" if entry["passes"] else "**fails**"
        lines.append(f"| {runtime}{more} | {ratio} | {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def rows(
    *parts: tuple[dict[str, Any], dict[str, Any], str],
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], str]]:
    """Runtime, entry, speed and addition, without what an addition changes nothing about."""
    for result, speed, more in parts:
        for runtime, entry in result["summary"].items():
            if not more or "int8" in runtime:
                yield runtime, entry, speed, more


def times(entry: dict[str, Any]) -> str:
    low, high = entry["quartiles"]
    return f"{entry['ratio']:.2f} ({low:.2f} to {high:.2f})"


def sets(result: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for entry in result["sets"].values() for name in entry))
    lines = [f"| limited to | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for limit, entry in result["sets"].items():
        cells = (times(entry[name]) if name in entry else "-" for name in names)
        lines.append(f"| {limit} | {' | '.join(cells)} |")
    lines.append("")
    lines.append(
        f"Speed of the network alone as multiples of torch eager under the same limit, in processor time of one "
        f"thread; median and quartiles of {result['rounds']} frames of 512 x 512 in turns, "
        f"{result['machine']['processor']}; {result['note']}."
    )
    return "\n".join(lines)


def put(text: str, mark: str, table: str) -> str:
    before, _, rest = text.partition(f"<!-- {mark} -->")
    return f"{before}<!-- {mark} -->\n{table}\n<!-- /{mark} -->{rest.partition(f'<!-- /{mark} -->')[2]}"


def main() -> None:
    found, avx2, limits = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("runtime_accuracy", "runtime_accuracy_avx2", "instruction_sets")
    )
    parts = (found, limits["sets"]["all"], ""), (avx2, limits["sets"]["AVX2"], ", limited to AVX2")
    page = ROOT / "docs" / "speed.md"
    text = put(page.read_text(encoding="utf-8"), "accuracy", accuracy(*parts))
    page.write_text(put(text, "sets", sets(limits)), encoding="utf-8")


if __name__ == "__main__":
    main()
