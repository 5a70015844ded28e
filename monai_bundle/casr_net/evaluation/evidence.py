"""One unit of the plan from start to result: training in stages, pseudo-labels, evaluation on what was held out."""

from __future__ import annotations

import json
import logging
import os
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..inference import bundle_root
from ..network import sha256
from ..training import PseudoLabelRule, load_cases, load_split, write_pseudo_labels
from .heldout import MASKS, evaluate_cases, evaluate_negatives, evaluate_stenoses, summarise
from .pace import Pace
from .plan import ALL, Unit
from .stages import stage_config, train_by_bundle, train_by_resident
from .usage import Usage, write_json
from .workshop import Workshop

__all__ = ["work"]

logger = logging.getLogger(__name__)


def work(
    unit: Unit, shop: Workshop, pace: Pace, units: Mapping[str, Unit], evaluate: bool = True
) -> dict[str, Any] | None:
    """Do one unit of the plan, from wherever it was stopped, and write its result.

    Args:
        unit: to do.
        shop: where everything lies.
        pace: stops, pauses and slows.
        units: of the plan, by name.
        evaluate: False leaves a training at its weights: its evaluation, and the result, are for another call.

    Returns:
        the result; None without evaluation.

    Raises:
        StoppedError: when ``pace`` says so; the next call goes on.
        CASRError: when data or weights cannot be used.
    """
    folder = shop.folder(unit.name)
    folder.mkdir(parents=True, exist_ok=True)
    usage = Usage(folder)
    try:
        if unit.run.kind == "labels":
            result = _labels(unit, shop, pace, units)
        else:
            result = _training(unit, shop, pace, usage, units)
            if not evaluate:
                return None
            result |= _evaluation(unit, shop, pace)
    finally:
        usage.note()
    record = {
        "name": unit.name,
        "purpose": unit.run.purpose,
        "fold": unit.fold,
        "seed": unit.run.seed,
        "images_seen": unit.run.images_seen,
        **result,
        "plan": asdict(unit.run),
        "usage": usage.summary(),
    }
    write_json(shop.result(unit.name), record)
    return record


def _training(unit: Unit, shop: Workshop, pace: Pace, usage: Usage, units: Mapping[str, Unit]) -> dict[str, Any]:
    hashes: dict[str, str] = {}
    seen: dict[str, Any] = {}
    weights = None if unit.start is None else shop.weights(unit.start)
    if unit.run.initial is not None:
        weights = shop.folder(unit.name) / "initial.pt"
        if not weights.is_file():  # what ships may change before the training ends
            _copy(bundle_root() / unit.run.initial, weights)
    first = weights
    for stage in unit.run.stages:
        config = shop.folder(unit.name) / stage.name / "config.json"
        if not config.is_file():  # later changes of the shipped files do not touch a stage that has begun
            write_json(config, stage_config(unit, stage, shop.settings))
        hashes[stage.name] = sha256(config)
        made, note = config.with_name("model.pt"), config.with_name("resident.json")
        if not made.is_file():
            logger.info("%s, %s: %d images.", unit.name, stage.name, stage.images_seen)
            if unit.run.trainer == "resident":
                write_json(note, train_by_resident(unit, stage, config, weights, shop, pace, units))
            else:
                train_by_bundle(unit, stage, config, weights, shop, pace, usage)
        if note.is_file():
            seen[stage.name] = json.loads(note.read_text(encoding="utf-8"))
        weights = made
    assert weights is not None, "a training has stages"
    final = shop.weights(unit.name)
    if not final.is_file():
        _copy(weights, final)
    result: dict[str, Any] = {"config_sha256": hashes, "weights_sha256": sha256(final)}
    if unit.run.initial is not None and first is not None:
        result["initial_sha256"] = sha256(first)
    if seen:
        result |= {"images_seen": sum(stage["images_seen"] for stage in seen.values()), "stages": seen}
    return result


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def _labels(unit: Unit, shop: Workshop, pace: Pace, units: Mapping[str, Unit]) -> dict[str, Any]:
    weights = shop.weights(unit.teacher)
    segmenter = shop.segmenter(units[unit.teacher].run, weights, unit.run.settings)
    rows = []
    rule = PseudoLabelRule(**unit.run.rule)
    for row in write_pseudo_labels(shop.data / unit.run.images, shop.folder(unit.name), segmenter, rule):
        rows.append(row)
        pace()
    shares = {name: round(statistics.fmean(row[name] for row in rows), 5) for name in ("vessel", "unknown")}
    return {"teacher_sha256": sha256(weights), "rule": asdict(rule), "images": len(rows), "mean_share": shares}


def _evaluation(unit: Unit, shop: Workshop, pace: Pace) -> dict[str, Any]:
    run, folder = unit.run, shop.folder(unit.name)
    result: dict[str, Any] = {}
    segmenter = shop.segmenter(run, shop.weights(unit.name))
    if run.data != "own":
        cases: Any = load_split(shop.data / run.data, "val")
    else:
        cases = [] if unit.fold == ALL else load_cases(shop.data, only_folds=[unit.fold])
    if cases:
        rows = evaluate_cases(cases, segmenter, folder / "evaluation.jsonl", pace)
        result |= {"metrics": summarise(rows), "cases": rows}
    if run.negatives:
        result["negatives"] = evaluate_negatives(run.negatives, segmenter, folder / "negatives.jsonl", pace)
    if run.stenoses is not None:
        crossings = evaluate_stenoses(shop.data / run.stenoses, segmenter, folder / "stenoses.jsonl", pace)
        rates = {kind: [value for row in crossings for value in row[kind]] for kind in MASKS}
        result["crossing"] = {
            "stenoses": len(rates[MASKS[0]]),
            "rate": {kind: round(statistics.fmean(values), 5) for kind, values in rates.items()},
            "images": crossings,
        }
    return result
