"""Runs of the plan with the resident trainer, in phases and by several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from monai.bundle import ConfigParser

from casr_net.errors import DataError
from casr_net.evaluation import Workshop, run_plan
from casr_net.evaluation.plan import load_plan
from casr_net.evaluation.stages import stage_config
from casr_net.network import sha256

from .plans import training, write_plan
from .test_runner import pace_of


def resident(name: str, *stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    run = training(name, **{"trainer": "resident", **changes})
    if stages:
        run["stages"] = [{**run["stages"][0], "name": f"s{i}", **stage} for i, stage in enumerate(stages)]
    return run


def test_student_taught_by_itself_and_by_another(data: Path, tmp_path: Path) -> None:
    plan = write_plan(
        tmp_path / "plan.json",
        resident("first", {}, {"teacher": "itself"}),
        resident("second", {"teacher": "first"}, start="first"),
    )
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    run_plan(plan, shop, pace_of(shop.state))
    first, second = (json.loads(shop.result(f"{name}-fold0").read_text()) for name in ("first", "second"))
    assert first["images_seen"] == 16 and set(first["stages"]) == {"s0", "s1"}
    assert first["stages"]["s0"]["labels"] == {} and set(first["stages"]["s1"]["labels"]) == {"vessel", "unknown"}
    assert second["stages"]["s0"]["labels"] and second["metrics"]["together"]["images"] == len(second["cases"])
    assert first["weights_sha256"] == sha256(shop.weights("first-fold0")) != second["weights_sha256"]
    config = json.loads((shop.folder("first-fold0") / "s1" / "config.json").read_text())
    assert "load_partial" in json.dumps(config) and str(tmp_path) not in json.dumps(config)


def test_negatives_beside_a_teacher(data: Path, tmp_path: Path) -> None:
    negative = {"negative_count": 2, "negative_share": 0.2}
    plan = write_plan(tmp_path / "plan.json", resident("a", {}, {"teacher": "itself", "settings": negative}))
    (unit,) = load_plan(plan)
    config = ConfigParser(stage_config(unit, unit.run.stages[1], {}))
    config.update({"dataset_dir": str(data), "output_dir": str(tmp_path)})
    cases = config.get_parsed_content("train#dataset#data")
    assert [case["dataset"] for case in cases].count("negatives") == 2 and cases[-1]["dataset"] == "negatives"
    assert any(case.get("partial") for case in cases) and "fold" in cases[0]


def test_phases(data: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", resident("a"), resident("b", start="a"))
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    run_plan(plan, shop, pace_of(shop.state), phase="evaluate")
    assert not shop.state.joinpath("a-fold0").exists(), "there is nothing to evaluate"
    run_plan(plan, shop, pace_of(shop.state), phase="train")
    assert shop.trained("a-fold0") and shop.trained("b-fold0") and not shop.finished("a-fold0")
    run_plan(plan, shop, pace_of(shop.state), phase="evaluate")
    assert shop.ready("a-fold0") and shop.ready("b-fold0")


def test_processes_share_the_plan(data: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", *(resident(name) for name in "abc"))
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    shop.folder("a-fold0").mkdir(parents=True)
    command = [sys.executable, "-m", "casr_net.evaluation.crossval", "--plan", str(plan), "--data", str(data),
               "--state", str(shop.state), "--results", str(shop.results), "--shared"]  # fmt: skip
    with FileLock(shop.folder("a-fold0") / "unit.lock"):  # as another process that works on it
        processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(120) for process in processes] == [0, 0]
    assert not shop.finished("a-fold0") and shop.finished("b-fold0") and shop.finished("c-fold0")
    starts = [json.loads(shop.result(f"{name}-fold0").read_text())["usage"]["starts"] for name in "bc"]
    assert [len(start) for start in starts] == [1, 1], "no unit was done twice"


def test_training_that_starts_from_what_ships(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = training("a", folds=[-1], initial="models/model.pt", settings={"network_size": 64})
    run["stages"][0]["settings"] = {**run["stages"][0]["settings"], "crop_size": [64, 64]}
    shop = Workshop(data, tmp_path / "state", tmp_path / "results")
    run_plan(write_plan(tmp_path / "plan.json", run), shop, pace_of(shop.state))
    result = json.loads(shop.result("a-all").read_text())
    root = Path(__file__).resolve().parents[2] / "monai_bundle"
    assert result["initial_sha256"] == sha256(root / "models" / "model.pt") != result["weights_sha256"]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (resident("a", trainer="other"), "trainer is 'other'; known are bundle, resident"),
        (training("a", stages=[{"name": "s", "images": 4, "epoch_images": 4, "seconds": 3}]), "for the trainer 'resid"),
        (resident("a", {"labels": True}, labels="l"), "takes a teacher in place of labels"),
        (resident("a", {"teacher": "nobody"}), "needs nobody-fold0, which does not stand before it"),
        (training("a", initial="models/model.pt"), "models/model.pt has seen all folds"),
    ],
)
def test_plans_that_cannot_be_done(tmp_path: Path, run: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_plan(write_plan(tmp_path / "plan.json", run))
