"""Where the plan stands, and how much time is left."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from .evidence import Workshop
from .plan import Stage, Unit

__all__ = ["status"]


def status(units: Sequence[Unit], shop: Workshop) -> str:
    """A line a unit: its state, images seen of its budget and hours left, as text.

    Hours are those of the speed that the stage's log shows; of a stage that has not begun, the sum tells nothing.
    """
    lines = [f"{'unit':<34}{'state':<12}{'images':>16}{'hours left':>12}"]
    total, unknown = 0.0, 0
    for unit in units:
        if shop.finished(unit.name):
            lines.append(f"{unit.name:<34}{'finished':<12}{unit.run.images_seen or '':>16}{'':>12}")
            continue
        seen, left, open_stages = 0, 0.0, 0
        for stage in unit.run.stages:
            done, seconds = _logged(shop.folder(unit.name) / stage.name / "log.csv", stage)
            seen += done
            if done:
                left += seconds / done * (stage.images_seen - done)
            else:
                open_stages += 1
        begun = shop.folder(unit.name).is_dir()
        waits = [name for name in unit.needs if not shop.ready(name)]
        state = "begun" if begun else "waits" if waits else "open"
        images = f"{seen} / {unit.run.images_seen}" if unit.run.stages else ""
        hours = f"{left / 3600:.1f}" + (" + ?" if open_stages or not unit.run.stages else "")
        lines.append(f"{unit.name:<34}{state:<12}{images:>16}{hours:>12}")
        total, unknown = total + left, unknown + open_stages
    lines.append(f"left: {total / 3600:.1f} hours, and {unknown} stages that have not begun")
    return "\n".join(lines)


def _logged(path: Path, stage: Stage) -> tuple[int, float]:
    """Images seen and seconds spent on them."""
    if not path.is_file():
        return 0, 0.0
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return len(rows) * stage.epoch_images, sum(float(row["seconds"]) for row in rows)
