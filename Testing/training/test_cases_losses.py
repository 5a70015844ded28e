from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import SoftclDiceLoss

from casr_net.errors import DataError, UsageError
from casr_net.training.cases import balanced_weights, cases_digest, load_cases
from casr_net.training.losses import DiceCEclDiceLoss


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [("big", f"b{i}.png", i % 5) for i in range(16)] + [("small", f"s{i}.png", i % 5) for i in range(4)]
    for dataset, file, _ in rows:
        for kind in ("images", "masks"):
            path = tmp_path / dataset / kind / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    with open(tmp_path / "cases.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("dataset", "file", "fold"), *rows])
    return tmp_path


def test_folds(table: Path) -> None:
    everything = load_cases(table)
    train, held_out = load_cases(table, exclude_folds=[0]), load_cases(table, only_folds=[0])
    assert len(everything) == 20
    assert {c["name"] for c in train} | {c["name"] for c in held_out} == {c["name"] for c in everything}
    assert {c["fold"] for c in held_out} == {0}
    assert 0 not in {c["fold"] for c in train}
    assert load_cases(table, exclude_folds=[-1]) == everything


def test_a_training_on_all_folds_validates_on_the_lowest(table: Path) -> None:
    """Whatever the numbers that the user's folds have."""
    text = (table / "cases.csv").read_text()
    for folds in (range(5), range(1, 6)):
        renamed = [line.rpartition(",") for line in text.splitlines()[1:]]
        lines = ["dataset,file,fold", *(f"{name},{folds[int(fold)]}" for name, _, fold in renamed)]
        (table / "cases.csv").write_text("\n".join(lines))
        kept = load_cases(table, only_folds=[-1])
        assert {case["fold"] for case in kept} == {folds[0]} and len(kept) == 5


def test_a_table_of_a_spreadsheet(table: Path) -> None:
    """ "CSV UTF-8" begins with a mark."""
    everything = load_cases(table)
    (table / "cases.csv").write_text((table / "cases.csv").read_text(), encoding="utf-8-sig")
    assert load_cases(table) == everything
    assert len(load_cases(table, exclude_folds=[-1])) == 20
    assert everything[0]["label"] == str(table / "big" / "masks" / "b0.png")


def test_limit_spreads_over_the_list(table: Path) -> None:
    assert [c["name"] for c in load_cases(table, limit=4)] == ["big/b0.png", "big/b5.png", "big/b10.png", "big/b15.png"]


@pytest.mark.parametrize(("power", "share"), [(1.0, 0.2), (0.5, 1 / 3), (0.0, 0.5)])
def test_balance(table: Path, power: float, share: float) -> None:
    cases = load_cases(table)
    weights = np.array(balanced_weights(cases, power))
    small = np.array([c["dataset"] == "small" for c in cases])
    assert weights[small].sum() / weights.sum() == pytest.approx(share)


def test_cases_of_a_label_server_are_one_data_set() -> None:
    assert balanced_weights([{"image": "a", "label": "b"}] * 3, 0.5) == [3**-0.5] * 3
    with pytest.raises(UsageError, match="0 cases to train on; at least 1"):
        balanced_weights([])


def test_digest_is_that_of_the_contents(table: Path, tmp_path: Path) -> None:
    cases = load_cases(table)
    for number, case in enumerate(cases):
        Path(case["image"]).write_text(f"image {number}")
        Path(case["label"]).write_text(f"label {number}")
    digest = cases_digest(cases)
    moved = [
        {"image": str(tmp_path / "moved" / Path(c["image"]).relative_to(table)), "label": c["label"]} for c in cases
    ]
    for case, other in zip(cases, moved, strict=True):
        Path(other["image"]).parent.mkdir(parents=True, exist_ok=True)
        Path(other["image"]).write_bytes(Path(case["image"]).read_bytes())
    assert cases_digest(moved) == digest
    assert cases_digest(cases[::-1]) != digest != cases_digest(cases[:-1])
    Path(cases[3]["label"]).write_text("corrected")
    assert cases_digest(cases) != digest


def test_real_folds_do_not_share_patients(real_data: Path) -> None:
    rows = list(csv.DictReader((real_data / "cases.csv").open()))
    assert len(load_cases(real_data)) == len(rows) == 588
    folds_of_group: dict[str, set[str]] = {}
    for row in rows:
        folds_of_group.setdefault(row["group"], set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in folds_of_group.values())


def test_bad_tables(table: Path) -> None:
    with pytest.raises(DataError, match=r"cases\.csv: no such file"):
        load_cases(table / "big")
    with pytest.raises(UsageError, match="no case left"):
        load_cases(table, only_folds=[7])
    text = (table / "cases.csv").read_text()
    (table / "cases.csv").write_text(text.replace("b3.png,3", "b3.png,x"))
    with pytest.raises(DataError, match=r"line 5: fold is 'x'"):
        load_cases(table)
    (table / "cases.csv").write_text(text.replace("b3.png,3", "none.png,3"))
    with pytest.raises(DataError, match=r"line 5: .*none\.png does not exist"):
        load_cases(table)
    (table / "cases.csv").write_text("dataset,file\n")
    with pytest.raises(DataError, match="column 'fold' is missing"):
        load_cases(table)


def test_loss_prefers_the_truth_and_connected_vessels() -> None:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 14:18, :] = 1
    broken = truth.clone()
    broken[..., 15:17] = 0
    other = truth.clone()  # as many pixels wrong, but at the rim of the vessel instead of across it
    other[..., 14, 12:20] = 0
    loss, no_cldice = DiceCEclDiceLoss(), DiceCEclDiceLoss(cldice_weight=0)
    logits = {name: 12 * m - 6 for name, m in (("truth", truth), ("broken", broken), ("other", other))}
    assert loss(logits["truth"], truth) < 0.1
    assert loss(logits["broken"], truth) > loss(logits["other"], truth)
    assert no_cldice(logits["broken"], truth) == pytest.approx(no_cldice(logits["other"], truth).item(), abs=1e-6)


def test_loss_of_empty_truth_is_finite_and_has_gradients() -> None:
    logits = torch.zeros(2, 1, 16, 16, requires_grad=True)
    DiceCEclDiceLoss()(logits, torch.zeros(2, 1, 16, 16)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


def test_cldice_is_that_of_monai() -> None:
    torch.manual_seed(0)
    logits = (4 * torch.randn(3, 1, 20, 28)).requires_grad_()
    truth = torch.zeros(3, 1, 20, 28)
    truth[:2, :, 6:12] = 1  # the third image has no vessel
    values = [
        DiceCEclDiceLoss(cldice_weight=1)(logits, truth) - DiceCEclDiceLoss(cldice_weight=0)(logits, truth),
        SoftclDiceLoss(iter_=5, smooth=1e-5, sigmoid=True)(logits, truth),
    ]
    ours, monai = (torch.autograd.grad(value, logits)[0] for value in values)
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(ours, monai, atol=1e-7, rtol=1e-3)
