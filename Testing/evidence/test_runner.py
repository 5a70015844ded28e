"""Whole runs of the plan with a tiny network: killed, paused, stopped, finished."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from filelock import FileLock
from ignite.engine import Engine

from casr_net.errors import DataError, UsageError
from casr_net.evaluation import Pace, StoppedError, Workshop, run_plan
from casr_net.evaluation import pace as pace_module
from casr_net.evaluation.crossval import main
from casr_net.network import state_digest

from .plans import training, write_plan


def pace_of(folder: Path, **changes: Any) -> Pace:
    return Pace(folder / "threads", folder / "pause.lock", **changes)


def digest(path: Path) -> str:
    return state_digest(torch.load(path, weights_only=True))


def test_killed_run_goes_on_exactly(data: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", training("a", images=80))
    straight = Workshop(data, tmp_path / "straight", tmp_path / "results")
    run_plan(plan, straight, pace_of(tmp_path / "straight", threads=1))

    killed = Workshop(data, tmp_path / "killed", tmp_path / "results_killed")
    command = [
        sys.executable, "-m", "casr_net.evaluation.crossval", "--plan", str(plan), "--data", str(data), "--state",
        str(killed.state), "--results", str(killed.results), "--threads", "1",
    ]  # fmt: skip
    log = killed.folder("a-fold0") / "crops" / "log.csv"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not log.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    epochs = len(list(csv.DictReader(log.open())))
    assert 1 <= epochs < 20 and not killed.result("a-fold0").exists()

    run_plan(plan, killed, pace_of(killed.state))
    assert digest(killed.weights("a-fold0")) == digest(straight.weights("a-fold0"))
    first, second = (json.loads(shop.result("a-fold0").read_text()) for shop in (straight, killed))
    assert first["cases"] == second["cases"] and first["config_sha256"] == second["config_sha256"]
    assert len(first["usage"]["starts"]) == 1 and len(second["usage"]["starts"]) == 2


def test_result_of_a_training(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(tmp_path / "plan.json", training("a", folds=[1], exclude_folds=[2], stenoses="arcade"))
    options = ["--plan", str(plan), "--data", str(data), "--state", str(tmp_path / "s"), "--results", str(tmp_path)]
    assert main([*options, "--status"]) == 0
    assert "a-fold1" in capsys.readouterr().out
    shop = Workshop(data, tmp_path / "s", tmp_path)
    run_plan(plan, shop, pace_of(shop.state))
    result = json.loads(shop.result("a-fold1").read_text())
    assert (result["name"], result["fold"], result["seed"], result["images_seen"]) == ("a-fold1", 1, 1, 8)
    assert result["plan"]["purpose"] == "test of a" and set(result["config_sha256"]) == {"crops"}
    (start,) = result["usage"]["starts"]
    assert {"version", "commit", "changed", "cpu", "threads", "bfloat16", "torch", "cpu_seconds"} <= set(start)
    assert result["usage"]["cpu_hours"] == pytest.approx(start["cpu_seconds"] / 3600, abs=1e-3)
    assert len(result["cases"]) == 2 == result["metrics"]["together"]["images"]
    for kind in ("refined", "threshold"):
        assert {"dice", "iou", "cldice"} <= set(result["metrics"]["synthetic"][kind]["mean"])
        assert {"dice", "iou", "cldice"} <= set(result["metrics"]["synthetic"][kind]["pooled"])
        assert {"dice", "iou", "cldice", "counts"} <= set(result["cases"][0][kind])
    assert result["crossing"]["stenoses"] == 2 and 0 <= result["crossing"]["rate"]["refined"] <= 1
    config = json.loads((shop.folder("a-fold1") / "crops" / "config.json").read_text())
    assert config["exclude_folds"] == [1, 2] and str(tmp_path) not in json.dumps(config)

    written = shop.result("a-fold1").stat().st_mtime_ns
    run_plan(plan, shop, pace_of(shop.state))
    assert shop.result("a-fold1").stat().st_mtime_ns == written, "finished work is not repeated"
    capsys.readouterr()
    assert main([*options, "--status"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["a-fold1", "finished", "8", "/", "8"]


def test_teacher_labels_and_student(data: Path, tmp_path: Path) -> None:
    """A student on own and pseudo-labelled images, then on own ones alone, from its own weights."""
    student = training("student", labels="labels")
    stage = student["stages"][0]
    student["stages"] = [{**stage, "labels": True}, {**stage, "name": "own"}]
    labels = {"name": "labels", "purpose": "p", "kind": "labels", "teacher": "teacher"}
    plan = write_plan(tmp_path / "plan.json", training("teacher"), labels, student)
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    run_plan(plan, shop, pace_of(shop.state))
    names = sorted(path.name for path in (shop.folder("labels-fold0") / "labels").iterdir())
    assert names == ["syntax_train_0.png", "syntax_train_1.png", "syntax_train_2.png"], "the val split is left alone"
    result = json.loads(shop.result("labels-fold0").read_text())
    assert result["images"] == 3 and 0 <= result["mean_share"]["unknown"] <= 1
    assert result["teacher_sha256"] == json.loads(shop.result("teacher-fold0").read_text())["weights_sha256"]
    configs = [json.loads((shop.folder("student-fold0") / n / "config.json").read_text()) for n in ("crops", "own")]
    assert "load_pseudo_labels" in json.dumps(configs[0]) and "load_pseudo_labels" not in json.dumps(configs[1])
    assert digest(shop.folder("student-fold0") / "own" / "model.pt") == digest(shop.weights("student-fold0"))


def test_published_splits(data: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", training("benchmark", data="arcade", folds=[-1]))
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    run_plan(plan, shop, pace_of(shop.state))
    result = json.loads(shop.result("benchmark-all").read_text())
    assert [case["name"] for case in result["cases"]] == ["arcade/syntax_val_3.jpg", "arcade/syntax_val_4.jpg"]


def test_time_to_stop(data: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", training("a"))
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    run_plan(plan, shop, pace_of(shop.state, minutes=0))
    assert not shop.finished("a-fold0")
    with FileLock(shop.state / "runner.lock"), pytest.raises(UsageError, match="another process works on the plan"):
        run_plan(plan, shop, pace_of(shop.state))


def test_epoch_that_cannot_end_in_time_is_not_begun(tmp_path: Path) -> None:
    pace = pace_of(tmp_path, minutes=0.5 / 60)
    trainer = Engine(lambda *_: time.sleep(0.3))
    pace.attach(trainer)
    with pytest.raises(StoppedError):
        trainer.run([0], max_epochs=3)
    assert trainer.state.epoch == 2 and trainer.state.iteration == 1


def test_signal_ends_at_the_next_step(tmp_path: Path) -> None:
    pace = pace_of(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        pace.catch_signals()
        pace()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            pace()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_pause_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pace = pace_of(tmp_path)
    pace()
    monkeypatch.setattr(pace_module, "LOCK_SECONDS", 0.0)  # not only once a second
    passed = threading.Event()
    with FileLock(tmp_path / "pause.lock"):
        worker = threading.Thread(target=lambda: (pace(), passed.set()))
        worker.start()
        assert not passed.wait(0.3), "it waits while another one holds the lock"
    assert passed.wait(5)
    worker.join()


def test_number_of_threads_is_read_while_it_runs(tmp_path: Path) -> None:
    pace = pace_of(tmp_path, threads=1)
    assert torch.get_num_threads() == 1
    (tmp_path / "threads").write_text("2\n")
    pace()
    assert torch.get_num_threads() == 2 == cv2.getNumThreads()
    pace_of(tmp_path)
    assert torch.get_num_threads() == 2, "what stands there holds"
    (tmp_path / "threads").write_text("many")
    with pytest.raises(DataError, match="threads: number of threads is 'many'; 1 or more"):
        pace()
