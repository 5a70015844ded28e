"""One stage of a training of the plan: its configuration, and the trainer that does it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow

from ..errors import DataError
from ..inference import bundle_root, expected_error
from ..network import save_weights
from ..training import PseudoLabelRule, train_resident
from .pace import Pace
from .plan import ITSELF, Stage, Unit, unit_name
from .usage import Usage
from .workshop import Workshop

__all__ = ["stage_config", "train_by_bundle", "train_by_resident"]

STATE = "state.pt"
"""Beside the configuration of a stage that the resident trainer has not ended: what it goes on from."""


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
        own, *others = parser["train#dataset#data#lists"]
        parser.update({"train#dataset#data#lists": [own, partial, *others]})
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


def train_by_bundle(
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


def train_by_resident(
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
        config.with_name(STATE),
    )
    save_weights(network, config.with_name("model.pt"), torch.float32)
    config.with_name(STATE).unlink(missing_ok=True)
    return note


def _encoder_weights(package: str) -> str:
    found = importlib.util.find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    files = [path for folder in folders for path in Path(folder).rglob("*.pth")]
    if len(files) != 1:
        raise DataError(f"Python package {package!r}: {len(files)} files of weights (*.pth) found; 1 is needed.")
    return str(files[0])
