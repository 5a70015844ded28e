"""Training, evaluation and inference on tiny synthetic data through MONAI's bundle machinery."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

from casr_net.errors import WeightsError
from casr_net.training import Checkpoint, ModelSelection

SMALL: dict[str, Any] = {
    "network_size": 64,
    "crop_size": [64, 64],
    "batch_size": 4,
    "samples_per_epoch": 8,
    "val_interval": 1,
    "epochs": 2,
    "limit": 4,
    "device": "$torch.device('cpu')",
}


def workflow(
    bundle: Path, names: list[str], data: Path, output: Path, kind: str = "train", **changes: Any
) -> ConfigWorkflow:
    made = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in names],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=kind,
        **{**SMALL, "bundle_root": str(bundle), "dataset_dir": str(data), "output_dir": str(output), **changes},
    )
    made.initialize()
    return made


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def trained(bundle: Path, synthetic_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    workflow(bundle, ["train", "light"], synthetic_set, output).run()
    return output


def test_training_leaves_weights_and_logs(trained: Path) -> None:
    names = {p.name for p in trained.iterdir()}
    assert {"last.pt", "model.pt", "best.pt", "log.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    rows = list(csv.DictReader((trained / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["val_dice"]) <= 1 for row in rows)
    assert all(0 <= float(row["val_cldice"]) <= 1 for row in rows)


def test_a_killed_run_resumes_exactly(bundle: Path, synthetic_set: Path, trained: Path, tmp_path: Path) -> None:
    first = workflow(bundle, ["train", "light"], synthetic_set, tmp_path)
    first.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.terminate())  # after the checkpoint
    first.run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["progress"]["epoch"] == 1
    workflow(bundle, ["train", "light"], synthetic_set, tmp_path).run()
    straight, resumed = state(trained / "last.pt"), state(tmp_path / "last.pt")
    assert resumed["progress"] == straight["progress"]
    assert resumed["selection"] == straight["selection"]
    for key, value in straight["model"].items():
        assert torch.equal(resumed["model"][key], value), key
    columns = ("epoch", "loss", "learning_rate", "val_dice")
    logs = [[[row[c] for c in columns] for row in csv.DictReader((d / "log.csv").open())] for d in (trained, tmp_path)]
    assert logs[0] == logs[1]


def test_training_changes_the_weights_and_learns(bundle: Path, synthetic_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "more"
    workflow(bundle, ["train", "light"], synthetic_set, output, epochs=6, val_interval=6, samples_per_epoch=16).run()
    losses = [float(row["loss"]) for row in csv.DictReader((output / "log.csv").open())]
    assert losses[-1] < losses[0]


def test_evaluate_overlay(bundle: Path, synthetic_set: Path, trained: Path, tmp_path: Path) -> None:
    evaluation = workflow(
        bundle,
        ["train", "light", "evaluate"],
        synthetic_set,
        tmp_path,
        kind="infer",
        weights=str(trained / "model.pt"),
        limit=None,
    )
    evaluation.run()
    raw = (tmp_path / "val_dice_raw.csv").read_text().splitlines()
    assert len(raw) == 1 + 2  # fold 0 has two of the ten cases
    assert (tmp_path / "val_cldice_raw.csv").is_file()
    assert (tmp_path / "metrics.csv").is_file()


def test_trained_weights_serve_inference(bundle: Path, synthetic_set: Path, trained: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "inference.json"),
        "--bundle_root", str(bundle), "--dataset_dir", str(synthetic_set / "synthetic" / "images"), "--output_dir",
        str(tmp_path), "--weights", str(trained / "model.pt"), "--network_size", "64",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    masks = sorted(tmp_path.glob("*_mask.png"))
    assert len(masks) == 10
    assert cv2.imread(str(masks[0]), 0).shape == (96, 96)
    assert json.loads((tmp_path / "run.json").read_text())["errors"] == {}


def test_bundle_run_fails_with_a_code_when_an_input_is_bad(
    bundle: Path, trained: Path, png: Path, tmp_path: Path
) -> None:
    (png.parent / "bad.png").write_bytes(b"bad")
    made = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"), logging_file=False, workflow_type="infer",
        bundle_root=str(bundle), dataset_dir=str(png.parent), output_dir=str(tmp_path / "o"), network_size=64,
        weights=str(trained / "model.pt"), device_name="cpu",
    )  # fmt: skip
    made.initialize()
    made.run()
    with pytest.raises(SystemExit) as error:
        made.finalize()
    assert error.value.code == 1
    assert (tmp_path / "o" / "angio_mask.png").is_file()


def test_two_processes_train_together(bundle: Path, synthetic_set: Path, tmp_path: Path) -> None:
    """The wiring of multi-GPU training, with gloo on CPUs, and a validation set that does not divide evenly."""
    overrides = {
        **SMALL,
        "validate#cases#only_folds": [0, 1],
        "limit": 3,
        "epochs": 1,
        "dataset_dir": str(synthetic_set),
        "output_dir": str(tmp_path),
        "threads": 1,
    }
    overrides.pop("device")
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", "light", "multi_gpu_train")]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle",
        "run", "--config_file", str(configs), "--bundle_root", str(bundle),
    ]  # fmt: skip
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "PYTHONPATH": str(bundle), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not any(key.startswith("module.") for key in state(tmp_path / "last.pt")["model"])
    assert (tmp_path / "log.csv").read_text().count("\n") == 2


def test_masks_of_zero_and_one_and_empty_masks_train(bundle: Path, synthetic_set: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(synthetic_set, data)
    masks = sorted((data / "synthetic" / "masks").iterdir())
    for path in masks:
        cv2.imwrite(str(path), (cv2.imread(str(path), 0) > 0).astype("uint8"))
    cv2.imwrite(str(masks[3]), 0 * cv2.imread(str(masks[3]), 0))
    made = workflow(bundle, ["train", "light"], data, tmp_path / "o", fold=-1, limit=None)
    dataset = made.parser.get_parsed_content("train#dataset")
    labels = [dataset[i]["label"] for i in range(len(dataset))]
    assert all(set(label.unique().tolist()) <= {0.0, 1.0} for label in labels)
    assert sum(bool(label.any()) for label in labels) >= 7
    assert not labels[3].any()


def test_early_stop_and_best_weights(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    selection = ModelSelection(tmp_path / "best.pt", network, "dice", patience=2)
    evaluator = Engine(lambda *_: None)
    for step, (value, exhausted) in enumerate([(0.5, False), (0.7, False), (0.6, False), (0.7, True)]):
        torch.nn.init.constant_(network.weight, step)
        evaluator.state.metrics = {"dice": value}
        selection(evaluator)
        assert selection.exhausted is exhausted
    assert state(tmp_path / "best.pt")["weight"].item() == 1
    trainer = Engine(lambda *_: None)
    Checkpoint(tmp_path / "last.pt", {"model": network}, selection=selection).attach(trainer)
    trainer.run([0], max_epochs=5)
    assert trainer.state.epoch == 1
    restored = ModelSelection(tmp_path / "best.pt", network, "dice", patience=2)
    restored.load_state_dict(state(tmp_path / "last.pt")["selection"])
    assert (restored.best, restored.waited) == (0.7, 2)


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    trainer = Engine(lambda *_: None)
    Checkpoint(tmp_path / "last.pt", {"model": torch.nn.Linear(1, 1)}).attach(trainer)
    trainer.run([0], max_epochs=1)
    other = Engine(lambda *_: None)
    Checkpoint(tmp_path / "last.pt", {"model": torch.nn.Linear(2, 2)}).attach(other)
    with pytest.raises(WeightsError, match=r"last\.pt: cannot resume"):
        other.run([0], max_epochs=2)
    anew = Engine(lambda *_: None)
    Checkpoint(tmp_path / "last.pt", {"model": torch.nn.Linear(2, 2)}, resume=False).attach(anew)
    anew.run([0], max_epochs=2)
    assert anew.state.epoch == 2
