"""Where the plan stands, and how much time is left."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from .plan import Stage, Unit
from .workshop import Workshop

__all__ = ["status"]


@dataclass
class _Work:
    """Images seen and to see of one stage, the seconds spent, and the pixels of an image."""

    kind: tuple[str, ...]
    seen: int
    left: int
    seconds: float
    pixels: int


def status(units: Sequence[Unit], shop: Workshop) -> str:
    """A line a unit: its state, images seen of its budget and hours left, as text.

    Hours left are those at the speed so far of the same stage, else of other stages of the same network, by the pixels
    of their crops; "?" where none has run yet. Evaluations and labels (minutes each) are not in them.
    """
    work = {unit.name: [_work(unit, stage, shop) for stage in unit.run.stages] for unit in units}
    speeds: dict[tuple[str, ...], tuple[float, float]] = {}
    for stages in work.values():
        for stage in stages:
            seconds, pixels = speeds.get(stage.kind, (0.0, 0.0))
            speeds[stage.kind] = (seconds + stage.seconds, pixels + stage.seen * stage.pixels)
    lines = [f"{'unit':<34}{'state':<10}{'images seen':>16}{'hours left':>12}"]
    total, unknown = 0.0, 0
    for unit in units:
        name, stages = unit.name, work[unit.name]
        hours = [_hours(stage, speeds[stage.kind]) for stage in stages]
        known = sum(value for value in hours if value is not None)
        images = f"{sum(stage.seen for stage in stages)} / {unit.run.images_seen}" if stages else "-"
        if shop.finished(name):
            lines.append(f"{name:<34}{'finished':<10}{images:>16}")
            continue
        waits = any(not shop.ready(need) for need in unit.needs)
        state = "begun" if shop.folder(name).is_dir() else "waits" if waits else "open"
        left = "?" if None in hours else f"{known:.1f}" if stages else "-"
        lines.append(f"{name:<34}{state:<10}{images:>16}{left:>12}")
        total, unknown = total + known, unknown + (None in hours)
    end = f", and {unknown} units of unknown speed" if unknown else ""
    return "\n".join([*lines, f"left: {total:.1f} hours{end}"])


def _hours(stage: _Work, speed: tuple[float, float]) -> float | None:
    seconds, pixels = (stage.seconds, stage.seen * stage.pixels) if stage.seen else speed
    if not stage.left:
        return 0.0
    return stage.left * stage.pixels * seconds / pixels / 3600 if pixels else None


def _work(unit: Unit, stage: Stage, shop: Workshop) -> _Work:
    path = shop.folder(unit.name) / stage.name / "log.csv"
    rows = []
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    seen = len(rows) * stage.epoch_images
    finished = shop.finished(unit.name)  # its log may lie on another machine
    height, width = stage.settings.get("crop_size", (224, 224))
    return _Work(
        kind=unit.run.configs,
        seen=stage.images_seen if finished else seen,
        left=0 if finished else stage.images_seen - seen,
        seconds=sum(float(row["seconds"]) for row in rows),
        pixels=int(height) * int(width) if rows or not finished else 0,
    )
