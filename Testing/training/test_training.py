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
from monai.optimizers import WarmupCosineSchedule

from casr_net import Segmenter
from casr_net.errors import WeightsError
from casr_net.network.weights import state_digest
from casr_net.training import Checkpoint, ModelSelection, load_cases

SMALL: dict[str, Any] = {
    "network_size": 64,
    "crop_size": [64, 64],
    "batch_size": 4,
    "samples_per_epoch": 8,
    "val_interval": 1,
    "epochs": 2,
    "limit": 4,
    "device": "$torch.device('cpu')",
    "threads": 1,
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
    workflow(bundle, ["train"], synthetic_set, output).run()
    return output


def test_training_leaves_weights_and_logs(trained: Path) -> None:
    names = {p.name for p in trained.iterdir()}
    assert {"last.ckpt", "model.pt", "best.ckpt", "log.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    rows = list(csv.DictReader((trained / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["loss"]) > 0 and 0 <= float(row["val_dice"]) <= 1 for row in rows)
    assert all(0 <= float(row["val_cldice"]) <= 1 for row in rows)


def test_a_killed_run_resumes_exactly(bundle: Path, synthetic_set: Path, trained: Path, tmp_path: Path) -> None:
    first = workflow(bundle, ["train"], synthetic_set, tmp_path)
    first.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.terminate())  # after the checkpoint
    first.run()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["progress"]["epoch"] == 1
    workflow(bundle, ["train"], synthetic_set, tmp_path).run()
    straight, resumed = state(trained / "last.ckpt"), state(tmp_path / "last.ckpt")
    assert resumed["progress"] == straight["progress"]
    assert resumed["selection"] == straight["selection"]
    for key, value in straight["model"].items():
        assert torch.equal(resumed["model"][key], value), key
    columns = ("epoch", "loss", "learning_rate", "val_dice")
    logs = [[[row[c] for c in columns] for row in csv.DictReader((d / "log.csv").open())] for d in (trained, tmp_path)]
    assert logs[0] == logs[1]


def test_training_changes_the_weights_and_learns(bundle: Path, synthetic_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "more"
    workflow(bundle, ["train"], synthetic_set, output, epochs=6, val_interval=6, samples_per_epoch=16).run()
    losses = [float(row["loss"]) for row in csv.DictReader((output / "log.csv").open())]
    assert losses[-1] < losses[0]


def test_evaluate_overlay(bundle: Path, synthetic_set: Path, trained: Path, tmp_path: Path) -> None:
    evaluation = workflow(
        bundle,
        ["train", "evaluate"],
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
    (run,) = json.loads((tmp_path / "run.json").read_text())["runs"]
    assert run["state"] == "finished"


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
        "validate#dataset#data#only_folds": [0, 1],
        "limit": 3,
        "epochs": 1,
        "dataset_dir": str(synthetic_set),
        "output_dir": str(tmp_path),
        "initial_weights": str(bundle / "models" / "model.pt"),
    }
    overrides.pop("device")
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle",
        "run", "--config_file", str(configs), "--bundle_root", str(bundle),
    ]  # fmt: skip
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "PYTHONPATH": str(bundle), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert not any(key.startswith("module.") for key in checkpoint["model"])
    assert checkpoint["origin"]["weights"] == state_digest(Segmenter(device="cpu").network.state_dict())
    assert (tmp_path / "log.csv").read_text().count("\n") == 2


def test_masks_of_zero_and_one_and_empty_masks_train(bundle: Path, synthetic_set: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(synthetic_set, data)
    masks = sorted((data / "synthetic" / "masks").iterdir())
    for path in masks:
        cv2.imwrite(str(path), (cv2.imread(str(path), 0) > 0).astype("uint8"))
    cv2.imwrite(str(masks[3]), 0 * cv2.imread(str(masks[3]), 0))
    made = workflow(bundle, ["train"], data, tmp_path / "o", fold=-1, limit=None)
    dataset = made.parser.get_parsed_content("train#dataset")
    labels = [dataset[i]["label"] for i in range(len(dataset))]
    assert all(set(label.unique().tolist()) <= {0.0, 1.0} for label in labels)
    assert sum(bool(label.any()) for label in labels) >= 7
    assert not labels[3].any()


def test_early_stop_and_best_weights(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    selection = ModelSelection(tmp_path / "best.ckpt", network, "dice", patience=2)
    evaluator = Engine(lambda *_: None)
    for step, (value, exhausted) in enumerate([(0.5, False), (0.7, False), (0.6, False), (0.7, True)]):
        torch.nn.init.constant_(network.weight, step)
        evaluator.state.metrics = {"dice": value}
        selection(evaluator)
        assert selection.exhausted is exhausted
    assert state(tmp_path / "best.ckpt")["weight"].item() == 1
    trainer = Engine(lambda *_: None)
    Checkpoint(tmp_path / "last.ckpt", {"model": network}, selection=selection).attach(trainer)
    trainer.run([0], max_epochs=5)
    assert trainer.state.epoch == 1
    restored = ModelSelection(tmp_path / "best.ckpt", network, "dice", patience=2)
    restored.load_state_dict(state(tmp_path / "last.ckpt")["selection"])
    assert (restored.best, restored.waited) == (0.7, 2)


def run(checkpoint: Checkpoint, epochs: int, change: float = 0.0) -> Engine:
    """A run of some epochs that add a number to all weights, and so "train" them."""
    network = checkpoint.objects["model"]

    def step(*_: Any) -> None:
        with torch.no_grad():
            for value in network.parameters():
                value += change

    trainer = Engine(step)
    checkpoint.attach(trainer)
    trainer.run([0], max_epochs=epochs)
    return trainer


def line(value: float) -> torch.nn.Linear:
    """A network of one weight."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, value)
    return network


def weight(path: Path) -> float:
    content = state(path)
    return float(content.get("model", content)["weight"])


def rates(path: Path, epochs: int, start: float = 1e-3) -> list[float]:
    """Learning rates of the steps of a run of one step an epoch, which goes on where a checkpoint lies."""
    network = line(1)
    optimizer = torch.optim.SGD(network.parameters(), lr=start)
    scheduler = WarmupCosineSchedule(optimizer, warmup_steps=0, t_total=epochs, cycles=0.5)
    found: list[float] = []

    def step(*_: Any) -> None:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()

    trainer = Engine(step)
    objects = {"model": network, "optimizer": optimizer, "lr_scheduler": scheduler}
    Checkpoint(path, objects).attach(trainer)
    trainer.run([0], max_epochs=epochs)
    return found


def test_a_run_of_more_epochs_stretches_its_schedule(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The cosine of the first two epochs, begun a second time, would rise to the highest rate at the end."""
    straight = rates(tmp_path / "straight.ckpt", 4)
    first = rates(tmp_path / "last.ckpt", 2)
    assert len(first) == 2 and first[0] == straight[0]
    rest = rates(tmp_path / "last.ckpt", 4)
    assert len(rest) == 2 and rest[1] == pytest.approx(straight[3]) and rest[1] < straight[2]
    assert "goes on with another schedule (t_total 2, now 4)" in caplog.text
    caplog.clear()
    assert rates(tmp_path / "straight.ckpt", 4) == [] and "schedule" not in caplog.text
    rates(tmp_path / "straight.ckpt", 5, 1e-4)
    assert "base_lrs [0.001], now [0.0001]" in caplog.text


def test_run_from_other_weights_starts_anew_and_keeps_the_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log.csv"
    for number in range(3):
        run(Checkpoint(tmp_path / "last.ckpt", {"model": line(10 * number)}, files=[log]), 2, 1)
        assert not log.exists(), "the log of another run is not gone on with"
        log.write_text(str(number))
    assert weight(tmp_path / "last.ckpt") == 22
    assert weight(tmp_path / "last_previous.ckpt") == 12 and (tmp_path / "log_previous.csv").read_text() == "1"
    assert weight(tmp_path / "last_previous_1.ckpt") == 2 and (tmp_path / "log_previous_1.csv").read_text() == "0"
    assert "last.ckpt: a new run; of the earlier one (it began from other weights) are kept: last_prev" in caplog.text


def test_run_goes_on_after_its_last_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}), 2, 1)
    longer = run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}), 5, 1)
    assert longer.state.epoch == 5 and weight(tmp_path / "last.ckpt") == 5
    assert "nothing is left" not in caplog.text
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}), 5, 1)
    assert weight(tmp_path / "last.ckpt") == 5 and "this run had ended; nothing is left to do" in caplog.text
    anew = run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, resume=False), 1, 1)
    assert anew.state.epoch == 1 and weight(tmp_path / "last_previous.ckpt") == 5


def test_run_on_other_data_starts_anew(tmp_path: Path) -> None:
    case = {"image": tmp_path / "image.png", "label": tmp_path / "label.png"}
    for path in case.values():
        path.write_bytes(b"1")
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, cases=[case]), 2, 1)
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, cases=[case]), 3, 1)
    assert weight(tmp_path / "last.ckpt") == 3
    case["label"].write_bytes(b"2")  # the same name, corrected by a user
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, cases=[case]), 1, 1)
    assert weight(tmp_path / "last.ckpt") == 1 and weight(tmp_path / "last_previous.ckpt") == 3


def test_weights_are_written_at_the_end_and_those_of_others_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    torch.save(line(7).state_dict(), target)
    seen = []
    first = Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, weights_path=target)
    trainer = Engine(lambda *_: seen.append(weight(target)))
    first.attach(trainer)
    trainer.run([0], max_epochs=2)
    assert seen == [7, 7] and weight(target) == 0 and weight(tmp_path / "model_previous.pt") == 7
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, weights_path=target), 4, 1)
    assert weight(target) == 2 and weight(tmp_path / "model_previous.pt") == 7, (
        "its own weights of epoch 2 are no others"
    )
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(2)}, weights_path=target), 1, 1)
    assert weight(target) == 3 and weight(tmp_path / "model_previous.pt") == 2
    assert weight(tmp_path / "model_previous_1.ckpt") == 7, "not offered by a label server, but not lost"
    target.write_bytes(b"something else")
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(5)}, weights_path=target), 1, 1)
    assert weight(target) == 6 and (tmp_path / "model_previous.pt").read_bytes() == b"something else"
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


def test_own_weights_are_known_after_a_kill(tmp_path: Path) -> None:
    """A run ends, goes on with more epochs, is killed, and goes on again: all of model.pt was its own."""
    target = tmp_path / "model.pt"
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, weights_path=target), 1, 1)
    killed = Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, weights_path=target)
    killed.publish = lambda engine: None  # type: ignore[method-assign]
    run(killed, 2, 1)
    assert weight(target) == 1 and weight(tmp_path / "last.ckpt") == 2
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}, weights_path=target), 3, 1)
    assert weight(target) == 3 and not (tmp_path / "model_previous.pt").exists()


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    run(Checkpoint(path, {"model": line(0)}), 1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"last\.ckpt: cannot resume"):
        run(Checkpoint(path, {"model": line(0)}), 2)
    run(Checkpoint(path, {"model": line(0)}, resume=False), 2)
    assert (tmp_path / "last_previous.ckpt").read_bytes() == content[: len(content) // 2]


def test_checkpoint_without_what_the_run_needs_is_refused(tmp_path: Path) -> None:
    run(Checkpoint(tmp_path / "last.ckpt", {"model": line(0)}), 1)
    network = line(0)
    more = {"model": network, "optimizer": torch.optim.AdamW(network.parameters())}
    with pytest.raises(WeightsError, match=r"last\.ckpt: cannot resume .*'optimizer'"):
        run(Checkpoint(tmp_path / "last.ckpt", more), 2)


@pytest.mark.parametrize("run_id", ["run", ""])
def test_what_a_label_server_overrides(bundle: Path, synthetic_set: Path, tmp_path: Path, run_id: str) -> None:
    """MONAI Label gives cases of image and label only, and no folder of data. 3D Slicer's run id is empty, by which
    MONAI resolves every entry of the configuration."""
    (tmp_path / "models").mkdir()
    shutil.copy(bundle / "models" / "model.pt", tmp_path / "models")
    cases = [{key: case[key] for key in ("image", "label")} for case in load_cases(synthetic_set, limit=2)]
    made = ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.json"), logging_file=False, workflow_type="train", run_id=run_id,
        network_size=64, crop_size=[32, 32], batch_size=4, bundle_root=str(tmp_path), device="cpu", threads=1,
        **{"train#dataset#data": cases, "validate#dataset#data": [], "train#trainer#max_epochs": 3},
        initial_weights=str(bundle / "models" / "model.pt"),
    )  # fmt: skip
    made.initialize()
    made.run()
    rows = list(csv.DictReader((tmp_path / "models" / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["learning_rate"]) > 5e-4 and float(rows[-1]["learning_rate"]) == 0, "the schedule fits"
    assert made.parser.get_parsed_content("samples_per_epoch") == 16
    assert (tmp_path / "models" / "model_previous.pt").stat().st_size == (bundle / "models" / "model.pt").stat().st_size
