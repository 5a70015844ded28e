"""Parts of the recipe that the plan's runs choose from; each is off unless a setting says so."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow

from casr_net import Segmenter
from casr_net.errors import UsageError
from casr_net.evaluation import dice, evaluate_negatives
from casr_net.network import CASRNet
from casr_net.synthetic import make_negative
from casr_net.training import (
    SKELETON,
    UNKNOWN,
    DeepSupervision,
    DiceCEclDiceLoss,
    ForgetUnknownd,
    MarkSkeletond,
    WeightAverage,
    balanced_weights,
    load_negatives,
    tubed_skeleton,
)

SMALL: dict[str, Any] = {
    "network_size": 64, "crop_size": [64, 64], "batch_size": 4, "samples_per_epoch": 8, "epochs": 2, "limit": 4,
    "device": "$torch.device('cpu')", "threads": 1, "validate#dataset#data": [],
}  # fmt: skip
ALL = {
    "skeleton_weight": 1.0, "loss#cldice_weight": 0.0, "deep_weights": [0.5, 0.25], "negative_count": 2,
    "negative_share": 0.3, "ema_decay": 0.9, "ema_warmup": True,
}  # fmt: skip


def workflow(bundle: Path, data: Path, output: Path, **changes: Any) -> ConfigWorkflow:
    made = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in ("train", "heavy")], logging_file=False,
        meta_file=str(bundle / "configs" / "metadata.json"), workflow_type="train",
        **{**SMALL, "bundle_root": str(bundle), "dataset_dir": str(data), "output_dir": str(output), **changes},
    )  # fmt: skip
    made.initialize()
    return made


def test_tubed_skeleton() -> None:
    mask = np.zeros((60, 40), bool)
    mask[10:19], mask[40:42] = True, True
    tube = tubed_skeleton(mask)
    assert not (tube & ~mask).any()
    wide = np.flatnonzero(tube[:, 20])
    assert wide[wide < 30].tolist() == [12, 13, 14, 15, 16], "five pixels in the middle of nine"
    assert tube[40:42, 5:35].all(), "a thin vessel is all skeleton"
    assert not tubed_skeleton(np.zeros((8, 8))).any()


def test_skeleton_in_labels() -> None:
    label = torch.zeros(1, 20, 30)
    label[:, 5:14] = 1
    marked = MarkSkeletond("label")({"label": label})["label"]
    assert marked.unique().tolist() == [0, 1, SKELETON] and marked.dtype == label.dtype
    assert torch.equal(marked > 0, label > 0)
    known = ForgetUnknownd("pred")({"pred": torch.ones(1, 20, 30), "label": marked})
    assert torch.equal(known["label"], label)


def test_skeleton_recall_of_known_predictions() -> None:
    """A prediction of one half everywhere covers half of the skeleton; the truth covers all of it."""
    label = torch.zeros(1, 1, 32, 32)
    label[..., 10:19, :] = 1
    marked = MarkSkeletond("label")({"label": label[0]})["label"][None]
    plain, recall = DiceCEclDiceLoss(0), DiceCEclDiceLoss(0, skeleton_weight=2.0)
    number = float((marked == SKELETON).sum())
    for logits, share in ((torch.zeros_like(label), 0.5), (40 * label - 20, 1.0)):
        expected = 2 * (1 - (share * number + 1) / (number + 1))
        assert (recall(logits, marked) - plain(logits, label)).item() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(DiceCEclDiceLoss()(40 * label - 20, marked), DiceCEclDiceLoss()(40 * label - 20, label))
    empty = torch.zeros_like(label)
    assert recall(empty, empty).item() == pytest.approx(plain(empty, empty).item()), "nothing to cover"
    hidden = torch.where(torch.arange(32) < 16, UNKNOWN, marked)
    logits = torch.zeros_like(label, requires_grad=True)
    recall(logits, hidden).backward()
    assert logits.grad is not None and not logits.grad[..., :16].any() and logits.grad[..., 16:].any()


def small_network() -> CASRNet:
    torch.manual_seed(0)
    return CASRNet("efficientnet_lite0", decoder_channels=(8, 8, 8, 8, 8), q=1)


def test_deep_supervision_adds_the_loss_of_its_heads() -> None:
    network = small_network().train()
    names, loss = set(network.state_dict()), DiceCEclDiceLoss()
    deep = DeepSupervision(loss, network, [0.5, 0.25])
    average = WeightAverage(network, 0.9)
    x, target = torch.rand(2, 3, 64, 64), (torch.rand(2, 1, 64, 64) > 0.8).float()
    logits = network(x)
    (features,) = deep._features
    assert [tuple(features[level].shape[-2:]) for level in (3, 2)] == [(32, 32), (16, 16)]
    kept = dict(features)
    average.network.eval()(x)  # validation, with the copied hooks
    value = deep(logits, target)
    expected = loss(logits, target)
    for level, weight, head in ((3, 0.5, deep.heads[0]), (2, 0.25, deep.heads[1])):
        full = torch.nn.functional.interpolate(head(kept[level]), (64, 64), mode="bilinear")
        expected = expected + weight * DiceCEclDiceLoss(0)(full, target)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    value.backward()
    assert all(p.grad is not None and p.grad.any() for p in deep.heads.parameters())
    assert set(network.state_dict()) == names == set(average.network.state_dict()), "the network gets no heads"
    assert len(deep.state_dict()) == 4


def test_no_deep_supervision() -> None:
    network, loss = torch.nn.Conv2d(3, 1, 1), DiceCEclDiceLoss()
    deep = DeepSupervision(loss, network)
    x, target = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    assert torch.equal(deep(network(x), target), loss(network(x), target)) and deep.state_dict() == {}
    with pytest.raises(UsageError, match="1 weights of deep supervision on Conv2d"):
        DeepSupervision(loss, network, [0.5])
    with pytest.raises(UsageError, match="3 weights of deep supervision on CASRNet; at most 2"):
        DeepSupervision(loss, small_network(), [1, 1, 1])


@pytest.mark.parametrize(("warm_up", "share"), [(False, 0.99**20), (True, 0.0)])
def test_first_weights_leave_a_warm_average(warm_up: bool, share: float) -> None:
    """The first step's weights are 1, all later ones 0: what is left of them after 20 more steps."""
    model = torch.nn.Linear(1, 1)
    average = WeightAverage(model, 0.99, warm_up)
    for step in range(21):
        torch.nn.init.constant_(model.weight, float(step == 0))
        average.update()
    left = average.network.weight.item()
    if warm_up:
        share = float(np.prod([(1 + n) / (10 + n) for n in range(1, 21)]))
        assert share < 1e-5
    assert left == pytest.approx(share, rel=1e-4)


def transforms(bundle: Path, part: str) -> Any:
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in ("train", "heavy")])
    parser.update({"bundle_root": str(bundle), "crop_size": [64, 64]})
    return parser.get_parsed_content(f"train#{part}")


def test_heavy_deformations_move_image_and_label_alike(bundle: Path) -> None:
    """An image that is its own label: after each deformation it still is; the unknown region goes along."""
    label = torch.zeros(1, 96, 96)
    label[:, 20:32], label[:, :, 60:70] = 1, 1
    steps = [transforms(bundle, name) for name in ("deform", "distort")]
    steps[1].prob = 1.0
    moved = 0
    for seed in range(6):
        data = {"image": label.clone(), "label": label.clone(), "unknown": label.clone()}
        for step in steps:
            step.set_random_state(seed)
            data = step(data)
        assert {tuple(data[key].shape) for key in data} == {(1, 64, 64)}
        image, result, unknown = (np.asarray(data[key][0]) > 0.5 for key in ("image", "label", "unknown"))
        assert dice(image, result) == 1 and dice(unknown, result) == 1
        moved += not np.array_equal(result, np.asarray(label[0, 16:80, 16:80]) > 0.5)
    assert moved >= 5


@pytest.mark.parametrize("name", ["histogram", "gamma", "contrast", "low_resolution", "gibbs", "blur", "noise"])
def test_heavy_grey_changes_leave_shape_and_label(bundle: Path, name: str) -> None:
    image = torch.rand(1, 96, 80)
    label = (torch.rand(1, 96, 80) > 0.9).float()
    for seed in range(3):
        step = transforms(bundle, name)
        for part in (step, *vars(step).values()):
            if hasattr(part, "prob"):
                part.prob = 1.0
        step.set_random_state(seed)
        done = step({"image": image.clone(), "label": label})
        assert done["image"].shape == image.shape and torch.isfinite(done["image"]).all()
        assert not torch.equal(done["image"], image) and done["label"] is label
        assert done["image"].min() > -0.5 and done["image"].max() < 1.5


def test_negatives_are_made_once(tmp_path: Path) -> None:
    cases = load_negatives(tmp_path / "n", 3, seed=7, size=64)
    times = {case["image"]: Path(case["image"]).stat().st_mtime_ns for case in cases}
    assert load_negatives(tmp_path / "n", 3, seed=7, size=64) == cases
    assert {path: Path(path).stat().st_mtime_ns for path in times} == times
    bytes_of = [Path(case["image"]).read_bytes() for case in cases]
    again = load_negatives(tmp_path / "other", 3, seed=7, size=64)
    assert [Path(case["image"]).read_bytes() for case in again] == bytes_of and len(set(bytes_of)) == 3
    other = load_negatives(tmp_path / "n", 1, seed=8, size=64)
    assert Path(other[0]["image"]).read_bytes() not in bytes_of
    assert load_negatives(tmp_path / "none", 0) == [] and not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="count of negatives is -1"):
        load_negatives(tmp_path, -1)


def test_share_of_the_negatives() -> None:
    cases: list[dict[str, str]] = [{"dataset": "a"}] * 16 + [{"dataset": "b"}] * 4 + [{"dataset": "negatives"}] * 7
    weights = np.array(balanced_weights(cases, 0.5, {"negatives": 0.2, "absent": 0.5}))
    shares = [weights[16:20].sum() / weights.sum(), weights[20:].sum() / weights.sum()]
    assert shares == pytest.approx([0.8 / 3, 0.2])
    assert balanced_weights(cases[:20], 0.5, {"negatives": 0.2}) == balanced_weights(cases[:20], 0.5)
    with pytest.raises(UsageError, match="shares of data sets are"):
        balanced_weights(cases, 0.5, {"negatives": 1.0})


def test_negative_holds_what_is_no_vessel() -> None:
    made, again = make_negative(3, 96), make_negative(3, 96)
    assert np.array_equal(made.image, again.image) and made.image.shape == (96, 96) and made.image.dtype == np.uint8
    assert not made.mask.any() and made.truth["branches"] == []
    assert {name for seed in range(12) for name in make_negative(seed, 64).truth["objects"]} == {
        "guide wire", "second catheter", "lead", "sternal wires",
    }  # fmt: skip


def test_false_vessels_on_negatives(tmp_path: Path) -> None:
    class Network:
        seen = 0

        def __call__(self, image: np.ndarray) -> Any:
            self.seen += 1
            mask = np.zeros(image.shape, bool)
            mask[:2, :5] = self.seen == 1
            return type("Found", (), {"mask": mask, "probability": np.full(image.shape, 0.5 * (self.seen == 2))})

    network, path = Network(), tmp_path / "negatives.jsonl"
    found = evaluate_negatives(2, network, path, lambda: None)
    assert found["count"] == 2 and found["false_pixels"] == {"refined": 5, "threshold": 512 * 512 / 2}
    assert found["images_with_vessel"] == {"refined": 0.5, "threshold": 0.5}
    assert evaluate_negatives(2, network, path, lambda: None) == found and network.seen == 2


def test_all_of_it_together_resumes_exactly(bundle: Path, synthetic_set: Path, tmp_path: Path) -> None:
    straight = tmp_path / "straight"
    workflow(bundle, synthetic_set, straight, **ALL).run()
    losses = [float(row["loss"]) for row in csv.DictReader((straight / "log.csv").open())]
    assert len(losses) == 2 and np.isfinite(losses).all()
    first = workflow(bundle, synthetic_set, tmp_path / "killed", **ALL)
    first.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.terminate())
    first.run()
    workflow(bundle, synthetic_set, tmp_path / "killed", **ALL).run()
    states = [torch.load(folder / "last.ckpt", weights_only=True) for folder in (straight, tmp_path / "killed")]
    assert states[0]["progress"] == states[1]["progress"] and set(states[0]["deep"]) == {
        f"heads.{i}.{name}" for i in (0, 1) for name in ("weight", "bias")
    }
    for part in ("model", "deep", "average"):
        for key, value in states[0][part].items():
            assert torch.equal(states[1][part][key], value), key
    published = torch.load(straight / "model.pt", weights_only=True)
    segmenter = Segmenter(device="cpu", weights=str(straight / "model.pt"), network_size=64)
    assert set(published) == set(segmenter.network.state_dict()), "what is published is the network alone"
    assert len(list((straight / "negatives").glob("negative_*.png"))) == 2
