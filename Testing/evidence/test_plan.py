from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from casr_net.errors import DataError, UsageError
from casr_net.evaluation import Workshop, chosen, load_plan, next_unit, status
from casr_net.evaluation.stages import stage_config
from casr_net.inference import check_keys

from .plans import training, write_plan


def shop_of(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "data", tmp_path / "state", tmp_path / "results")


def finish(shop: Workshop, unit: str, weights: bool = True) -> None:
    """Leave what a finished unit leaves."""
    shop.results.mkdir(exist_ok=True)
    shop.result(unit).write_text("{}")
    if weights:
        shop.folder(unit).mkdir(parents=True)
        shop.weights(unit).touch()


def test_units_are_taken_in_order_and_after_what_they_need(tmp_path: Path) -> None:
    labels = {"name": "labels", "purpose": "p", "kind": "labels", "teacher": "a", "folds": [0, 1]}
    plan = write_plan(tmp_path / "plan.json", training("a", folds=[0, 1]), labels, training("b", labels="labels"))
    units, shop = load_plan(plan), shop_of(tmp_path)
    assert [unit.name for unit in units] == ["a-fold0", "a-fold1", "labels-fold0", "labels-fold1", "b-fold0"]
    order = []
    while (unit := next_unit(units, shop)) is not None:
        order.append(unit.name)
        finish(shop, unit.name)
    assert order == [unit.name for unit in units]


def test_unit_waits_for_weights_that_are_on_another_machine(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", training("a"), training("b", start="a"), training("c"))
    units, shop = load_plan(plan), shop_of(tmp_path)
    finish(shop, "a-fold0", weights=False)
    unit = next_unit(units, shop)
    assert unit is not None and unit.name == "c-fold0"
    text = status(units, shop)
    assert [line.split()[:2] for line in text.splitlines()[1:4]] == [
        ["a-fold0", "finished"], ["b-fold0", "waits"], ["c-fold0", "open"],
    ]  # fmt: skip


def test_time_left_is_that_of_the_same_network(tmp_path: Path) -> None:
    """200 of 400 images in 100 s; the same network with crops of four times the pixels; another network."""
    half, other = training("a", images=400), training("c", configs=["compact"])
    large = training("b", images=480)
    large["stages"][0]["settings"] = {"crop_size": [64, 64]}
    units, shop = load_plan(write_plan(tmp_path / "plan.json", half, large, other)), shop_of(tmp_path)
    log = shop.folder("a-fold0") / "crops" / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,seconds\n" + "".join(f"{epoch},2\n" for epoch in range(1, 51)))
    lines = [line.split() for line in status(units, shop).splitlines()]
    assert lines[1][1:] == ["begun", "200", "/", "400", f"{100 / 3600:.1f}"]
    assert lines[2][-1] == f"{480 * 4 * 0.5 / 3600:.1f}" == "0.3" and lines[3][-1] == "?"
    assert " ".join(lines[4]) == "left: 0.3 hours, and 1 units of unknown speed"


def test_choice_of_runs(tmp_path: Path) -> None:
    units = load_plan(write_plan(tmp_path / "plan.json", training("a", folds=[0, 3, -1]), training("b")))
    assert [unit.name for unit in chosen(units, ["a"])] == ["a-fold0", "a-fold3", "a-all"]
    assert [unit.name for unit in chosen(units, ["a-all", "b"])] == ["a-all", "b-fold0"]
    assert chosen(units, []) == units
    with pytest.raises(UsageError, match="run 'd' is not in the plan; there are a"):
        chosen(units, ["d"])


def test_some_units_come_first(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", training("a", folds=[0, 1]), training("b", folds=[1]), first=["b-fold1"])
    assert [unit.name for unit in load_plan(plan)] == ["b-fold1", "a-fold0", "a-fold1"]
    with pytest.raises(DataError, match="first: there is no unit 'c'"):
        load_plan(write_plan(tmp_path / "plan.json", training("a"), first=["c"]))


def test_needs_on_another_fold(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.json", training("a"), training("b", start="a-fold0", folds=[-1]))
    assert load_plan(plan)[1].needs == ["a-fold0"]


def test_what_is_held_out_was_not_seen_by_a_teacher(tmp_path: Path) -> None:
    labels = {"name": "labels", "purpose": "p", "kind": "labels", "teacher": "a-fold1"}
    with pytest.raises(DataError, match="labels-fold0 holds out fold 0, which what it needs has seen"):
        load_plan(write_plan(tmp_path / "plan.json", training("a", folds=[1]), labels))
    with pytest.raises(DataError, match="b-fold0 holds out fold 2"):
        load_plan(write_plan(tmp_path / "plan.json", training("a"), training("b", start="a", exclude_folds=[2])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "A b"}, "name of a run is 'A b'"),
        ({"name": "a-fold3"}, "name of a run is 'a-fold3'; it does not end in a fold"),
        ({"kind": "guess"}, "kind is 'guess'; known are train, labels"),
        ({"stages": []}, "a training has stages"),
        ({"teacher": "x"}, "a training has stages and no teacher"),
        ({"folds": [-2]}, r"folds are \[-2\]"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"start": "x"}, "a-fold0 needs x-fold0, which does not stand before it"),
        ({"stages": [{"name": "s", "images": 4, "epoch_images": 8}]}, "epoch_images is 8; 1 to 4 are possible"),
        ({"stages": [{"name": "s", "images": 4}]}, "missing 1 required"),
        ({"stages": [{"name": "s", "images": 4, "epoch_images": 4, "labels": True}]}, "names no 'labels'"),
    ],
)
def test_wrong_plans_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_plan(write_plan(tmp_path / "plan.json", training("a") | changes))


def test_plans_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(DataError, match=r"plan\.json: plan cannot be read"):
        load_plan(path)
    path.write_text("{")
    with pytest.raises(DataError, match="plan is no JSON"):
        load_plan(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="no list 'runs'"):
        load_plan(path)
    with pytest.raises(DataError, match="a-fold0 stands twice"):
        load_plan(write_plan(path, training("a"), training("a")))
    with pytest.raises(DataError, match="needs a-fold0, which is of kind 'train'"):
        load_plan(write_plan(path, training("a"), training("b", labels="a")))


def test_shipped_plan_fits_the_shipped_configurations(bundle: Path) -> None:
    """Settings of every run are known to ``train.json`` and, where both share them, ``inference.json``."""
    inference = json.loads((bundle / "configs" / "inference.json").read_text())
    units = load_plan(bundle.parent / "experiments" / "plan.json")
    for unit in units:
        check_keys(unit.run.settings, inference, unit.name, "inference.json")
        for stage in unit.run.stages:
            config = stage_config(unit, stage, {})
            check_keys(stage.settings, config, unit.name, "train.json")
            assert unit.fold in config["exclude_folds"] or unit.fold == -1
            assert config["samples_per_epoch"] % config["batch_size"] == 0, "all images of the budget are seen"
            assert not config["validate"]["dataset"]["data"]
        assert unit.run.purpose
