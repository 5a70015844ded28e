"""One unit of the plan from start to result: training in stages, pseudo-labels, evaluation on what was held out."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow

from .. import Segmenter
from ..errors import DataError
from ..inference import bundle_root, expected_error
from ..network import save_weights, sha256
from ..training import PseudoLabelRule, load_cases, load_split, train_resident, write_pseudo_labels
from .heldout import MASKS, evaluate_cases, evaluate_negatives, evaluate_stenoses, summarise
from .pace import Pace
from .plan import ALL, ITSELF, Run, Stage, Unit, unit_name
from .usage import Usage, write_json

__all__ = ["Workshop", "stage_config", "work"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """Where everything lies.

    Attributes:
        data: folder of ``cases.csv``; other sets are folders in it.
        state: checkpoints and whatever else lets a run go on; one folder a unit.
        results: one JSON a finished unit.
        settings: of ``train.json`` for every training, over those of the plan (tests make everything small with it).
        inference: likewise of ``inference.json``.
        device: that evaluates, and that the resident trainer works on.
        processes: that read images at the same time, for the resident trainer.
    """

    data: Path
    state: Path
    results: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    processes: int = 0

    def folder(self, unit: str) -> Path:
        """What a unit keeps while it is worked on, and its weights or labels afterwards."""
        return self.state / unit

    def result(self, unit: str) -> Path:
        return self.results / f"{unit}.json"

    def weights(self, unit: str) -> Path:
        """Final weights of a finished training."""
        return self.folder(unit) / "model.pt"

    def finished(self, unit: str) -> bool:
        return self.result(unit).is_file()

    def trained(self, unit: str) -> bool:
        """Its weights or labels are on this machine, evaluated or not; files of labels come one by one."""
        return self.weights(unit).is_file() or (self.finished(unit) and (self.folder(unit) / "labels").is_dir())

    def ready(self, unit: str) -> bool:
        """Finished, and what it has made is on this machine."""
        return self.finished(unit) and self.trained(unit)

    def segmenter(self, run: Run, weights: Path, settings: Mapping[str, Any] | None = None) -> Segmenter:
        """The bundle's inference with the network of a run; ``settings`` go over those of the run."""
        # By torch in single precision, so that figures of different machines compare.
        plain = {"runtime": "torch", "precision": "fp32"}
        return Segmenter(
            list(run.network),
            device=self.device,
            weights=str(weights),
            **{**plain, **run.settings, **(settings or {}), **self.inference},
        )


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


def stage_config(unit: Unit, stage: Stage, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's whole training configuration without the paths of this machine; a resumed stage takes the stored one.

    Args:
        unit: of the plan.
        stage: of the unit's run.
        settings: over those of the plan.

    Raises:
        DataError: when the package of the encoder's weights is not there.
    """
    run = unit.run
    configs = bundle_root() / "configs"
    parser = ConfigParser()
    names = ["train", *run.configs, *(["selftraining"] if stage.labels else [])]
    parser.read_config([str(configs / f"{name}.json") for name in names])
    if run.trainer == "resident" and stage.teacher is not None:
        partial = {"_target_": "casr_net.training.load_partial", "folder": f"$@dataset_dir + '/{run.images}'"}
        own = parser["train#dataset#data#lists"][:1]
        parser.update({"train#dataset#data#lists": [*own, partial]})
    elif run.data != "own":
        cases = {
            "_target_": "casr_net.training.load_split",
            "folder": f"$@dataset_dir + '/{run.data}'",
            "limit": "@limit",
        }
        joined = {"_target_": "casr_net.training.join_cases", "lists": [cases, "@train#negatives"]}
        parser.update({"train#dataset#data": joined})
    parser.update(
        {
            "fold": unit.fold,
            "exclude_folds": unit.excluded,
            "seed": run.seed,
            "samples_per_epoch": stage.epoch_images,
            "epochs": stage.epochs,
            # Nothing is chosen by validation: what is held out is looked at once, at the end.
            "validate#dataset#data": [],
            **run.settings,
            **stage.settings,
            **settings,
        }
    )
    return parser.get()


def _training(unit: Unit, shop: Workshop, pace: Pace, usage: Usage, units: Mapping[str, Unit]) -> dict[str, Any]:
    hashes, seen = {}, {}
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
        result, note = config.with_name("model.pt"), config.with_name("resident.json")
        if not result.is_file():
            logger.info("%s, %s: %d images.", unit.name, stage.name, stage.images_seen)
            if unit.run.trainer == "resident":
                write_json(note, _train_resident(unit, stage, config, weights, shop, pace, units))
            else:
                _train(unit, stage, config, weights, shop, pace, usage)
        if note.is_file():
            seen[stage.name] = json.loads(note.read_text(encoding="utf-8"))
        weights = result
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


def _train(
    unit: Unit, stage: Stage, config: Path, weights: Path | None, shop: Workshop, pace: Pace, usage: Usage
) -> None:
    paths = _paths(unit, config, weights, shop)
    if stage.labels:
        paths["pseudo_labels"] = str(shop.folder(unit.labels))
    workflow = ConfigWorkflow(
        config_file=str(config),
        meta_file=str(bundle_root() / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        **paths,
    )
    workflow.initialize()
    pace.attach(workflow.trainer)
    workflow.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: usage.note())
    try:
        workflow.run()
    except Exception as error:  # MONAI wraps what happens inside
        known = expected_error(error)
        if known is None:
            raise
        raise known from error
    workflow.finalize()


def _paths(unit: Unit, config: Path, weights: Path | None, shop: Workshop) -> dict[str, Any]:
    """What a stage's configuration has of this machine."""
    pretrained = unit.run.pretrained if weights is None else None
    return {
        "bundle_root": str(bundle_root()),
        "dataset_dir": str(shop.data),
        "output_dir": str(config.parent),
        "initial_weights": None if weights is None else str(weights),
        "pretrained": None if pretrained is None else _encoder_weights(pretrained),
    }


def _train_resident(
    unit: Unit,
    stage: Stage,
    config: Path,
    weights: Path | None,
    shop: Workshop,
    pace: Pace,
    units: Mapping[str, Unit],
) -> dict[str, Any]:
    parser = ConfigParser(json.loads(config.read_text(encoding="utf-8")))
    device = {"device": f"$torch.device('{shop.device}')"}
    parser.update({**_paths(unit, config, weights, shop), **device})
    teacher = weights
    if stage.teacher not in (None, ITSELF):
        name = unit_name(str(stage.teacher), unit.fold)
        teacher = shop.weights(name)
        judge = stage_config(units[name], units[name].run.stages[-1], shop.settings)["network_def"]
        # Its encoder's first weights, which it names, are not needed: those of the teacher replace them.
        parser.update({"teacher_def": {key: None if key == "pretrained" else value for key, value in judge.items()}})
    network, note = train_resident(
        parser,
        stage.images_seen,
        stage.seconds,
        None if stage.teacher is None else teacher,
        PseudoLabelRule(**unit.run.rule),
        shop.state / "resident",
        shop.processes,
        pace,
    )
    save_weights(network, config.with_name("model.pt"), torch.float32)
    return note


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


def _encoder_weights(package: str) -> str:
    found = importlib.util.find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    files = [path for folder in folders for path in Path(folder).rglob("*.pth")]
    if len(files) != 1:
        raise DataError(f"Python package {package!r}: {len(files)} files of weights (*.pth) found; 1 is needed.")
    return str(files[0])
