"""Training with all images in memory: what is read, augmented, labelled and averaged, and that it learns."""

from __future__ import annotations

import copy
import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.optimizers import WarmupCosineSchedule
from monai.transforms import Compose
from torch import nn

from casr_net.errors import UsageError, WeightsError
from casr_net.inference import bundle_root
from casr_net.preprocessing.batched import BatchedChannels
from casr_net.training.augment import BatchAugment
from casr_net.training.cases import load_cases
from casr_net.training.losses import UNKNOWN
from casr_net.training.memory import ResidentCases, label_cases
from casr_net.training.optimisation import WeightAverage
from casr_net.training.resident import _Average, learning_rate_share, mirrored_probability, train_resident
from casr_net.training.resident_state import ResidentState

OFF = {f"train#{name}#prob": 0.0 for name in ("gamma", "contrast", "low_resolution", "blur", "noise")}
STILL = {
    "train#deform#magnitude_range": [0, 0],
    "train#deform#rotate_range": 0.0,
    "train#deform#scale_range": [[0.0, 0.0], [0.0, 0.0]],
    "train#deform#translate_range": [0, 0],
}
TINY = {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 1, "features": [4] * 6}


def config(data: Path | None = None, **changes: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(bundle_root() / "configs" / "train.json"))
    base = {"network_def": TINY, "device": "$torch.device('cpu')", "network_size": 64, "crop_size": [64, 64],
            "batch_size": 4, "exclude_folds": [0], "dataset_dir": str(data), "precision": "fp32"}  # fmt: skip
    parser.update({**base, **changes})
    return parser


def reader(parser: ConfigParser) -> Compose:
    return Compose([*parser.get_parsed_content("train#load"), *parser.get_parsed_content("train#scale")])


def augment(seed: int = 1, **changes: Any) -> BatchAugment:
    return BatchAugment(config(**changes).get(), torch.Generator().manual_seed(seed))


def blob(count: int = 4) -> torch.Tensor:
    """Grey values with a dark square off the centre, (N, 1, 64, 64)."""
    grey = torch.linspace(0.4, 0.9, 64)[None, None, :, None].repeat(count, 1, 1, 64)
    grey[:, :, 10:22, 30:38] = 0.05
    return grey


def test_without_chance_a_view_is_one_of_the_eight_symmetries() -> None:
    grey = blob(8)
    planes = (grey < 0.1).float()
    image, warped = augment(**OFF, **STILL)(grey, None, planes)
    plain = BatchedChannels()(grey)
    seen = set()
    for one, mask in zip(image, warped, strict=True):
        views = {
            (turned, *axes): (torch.flip(x, axes), torch.flip(p, axes))
            for turned, x, p in ((0, plain[0], planes[0]), (1, plain[0].mT, planes[0].mT))
            for n in range(3)
            for axes in itertools.combinations((1, 2), n)
        }
        errors = {key: float((one - x).abs().max()) for key, (x, _) in views.items()}
        best = min(errors, key=lambda key: errors[key])
        assert errors[best] < 1e-3 and float((mask - views[best][1]).abs().max()) < 1e-3
        seen.add(best)
    assert len(seen) > 2


def test_image_and_mask_move_together_and_the_seed_decides() -> None:
    grey = blob(16)
    planes = (grey < 0.1).float()
    image, warped = augment(seed=5, channel_names=["grey"], **OFF)(grey, None, planes)
    inside, outside = warped > 0.99, warped < 0.01
    assert inside.any() and float(image[inside].max()) < -0.85 < -0.25 < float(image[outside].min())
    again, _ = augment(seed=5, channel_names=["grey"], **OFF)(grey, None, planes)
    other, _ = augment(seed=6, channel_names=["grey"], **OFF)(grey, None, planes)
    assert torch.equal(image, again) and not torch.allclose(image, other)
    assert len({float(one.sum()) for one in warped}) > 8, "each image has a view of its own"


@pytest.mark.parametrize("part", ["gamma", "contrast", "low_resolution", "blur", "noise"])
def test_each_change_of_grey_values(part: str) -> None:
    grey = blob(8) + 0.02 * torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    grey = grey.clamp(0, 1)
    made = augment(**{**OFF, f"train#{part}#prob": 1.0})._appearance(grey)
    assert made.shape == grey.shape and 0 <= float(made.min()) <= float(made.max()) <= 1
    change = (made - grey).abs().mean((1, 2, 3))
    assert float(change.min()) > 1e-4 and len(set(change.tolist())) == 8
    assert float((augment(**OFF)._appearance(grey) - grey).abs().max()) < 1e-5


@pytest.mark.parametrize("cycles", [0.25, 0.5])
def test_learning_rate_is_that_of_monai(cycles: float) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    schedule = WarmupCosineSchedule(
        torch.optim.SGD([parameter], lr=1.0), 10, 200, cycles=cycles, warmup_multiplier=0.01
    )
    for step in (0, 5, 10, 60, 199):
        assert learning_rate_share(step / 200, 10 / 200, cycles) == pytest.approx(schedule.lr_lambda(step), abs=1e-6)


def test_average_is_that_of_the_other_trainer() -> None:
    for warm_up in (False, True):
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        mine, theirs = _Average(network, 0.7, warm_up), WeightAverage(network, 0.7, warm_up)
        for _ in range(6):
            with torch.no_grad():
                for value in network.parameters():
                    value.add_(torch.randn_like(value))
            network(torch.randn(2, 1, 8, 8))
            mine.update()
            theirs.update()
        for (name, value), (_, other) in zip(
            mine.network.state_dict().items(), theirs.network.state_dict().items(), strict=True
        ):
            if value.is_floating_point():
                torch.testing.assert_close(value, other, msg=name)


def test_reading_pads_marks_and_keeps(synthetic_set: Path, tmp_path: Path) -> None:
    cases = [dict(case) for case in load_cases(synthetic_set, limit=3)]
    cases[1]["partial"] = True
    cases[2] = {"image": cases[2]["image"], "partial": True}
    parser = config(synthetic_set, network_size=64)
    resident = ResidentCases.read(cases, reader(parser), 80, cache=tmp_path / "kept")
    assert resident.grey.shape == (3, 1, 80, 80) and resident.grey.dtype == torch.uint8
    assert resident.partial.tolist() == [False, True, True] and not resident.full.any()
    assert not resident.field[:, :, 64:].any() and (resident.label[:, :, 64:] == UNKNOWN).all()
    inner = resident.label[:, :, :64, :64]
    assert set(inner[0].unique().tolist()) == {0, 1} and set(inner[1].unique().tolist()) == {1, UNKNOWN}
    assert set(inner[2].unique().tolist()) == {UNKNOWN}
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 3

    def unused(_: Any) -> Any:
        raise AssertionError("what was read is kept")

    again = ResidentCases.read(cases, unused, 80, cache=tmp_path / "kept")
    assert torch.equal(again.grey, resident.grey) and torch.equal(again.label, resident.label)


def test_a_teacher_completes_partial_labels_only() -> None:
    label = torch.full((2, 1, 4, 4), UNKNOWN, dtype=torch.uint8)
    label[0] = 0
    label[1, 0, 0] = 1  # marked by hand
    everywhere = torch.ones_like(label, dtype=torch.bool)
    grey = torch.zeros_like(label)
    resident = ResidentCases(grey, everywhere, label.clone(), torch.tensor([False, True]), torch.tensor([True, True]))
    found = torch.tensor([[0.1, 0.3, 0.6, 0.9]]).repeat(4, 1)[None, None]
    shares = label_cases(resident, lambda grey, field: found)
    assert torch.equal(resident.label[0], label[0])
    # Marked: believed from 0.15 on; elsewhere vessel from 0.5 on, background below 0.2.
    assert resident.label[1, 0].tolist() == [[UNKNOWN, 1, 1, 1]] + [[0, UNKNOWN, 1, 1]] * 3
    assert shares == {"vessel": pytest.approx(9 / 16), "unknown": pytest.approx(4 / 16)}


def test_probability_is_the_mean_of_mirror_images() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 3, padding=1).eval()
    grey = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    probability = mirrored_probability(network, ["grey"], "cpu")
    with torch.no_grad():
        found = probability(grey, None)
        assert torch.allclose(probability(grey.flip(-1), None).flip(-1), found, atol=5e-3)
        assert not torch.allclose(found, torch.sigmoid(network(grey * 2 - 1)), atol=1e-2)


def test_it_learns_and_ends_in_time(synthetic_set: Path, tmp_path: Path) -> None:
    parser = config(synthetic_set, learning_rate=0.01, ema_decay=0.9, ema_warmup=True, clip_norm=5.0, **OFF)
    network, note = train_resident(parser, images=240, cache=tmp_path / "kept")
    assert note["images_seen"] == 240 and not network.training
    resident = ResidentCases.read(load_cases(synthetic_set, exclude_folds=[0]), reader(parser), 64)
    with torch.no_grad():
        logits = network(BatchedChannels()(resident.grey.float() / 255))
    vessel = resident.label == 1
    assert float(logits[vessel].mean()) > float(logits[~vessel].mean()) + 1

    parser = config(synthetic_set)
    _, note = train_resident(parser, images=10**9, seconds=0.5, cache=tmp_path / "kept")
    assert 0 < note["images_seen"] < 10**6 and note["seconds"] < 20


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_it_goes_on_exactly_where_it_was(
    synthetic_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Weights, average, optimizer, random numbers of all kinds: to the last bit. A kill costs what came since the state
    was kept last."""

    def train(**more: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
        torch.manual_seed(123)  # a parser gives the same network each time
        parser = config(synthetic_set, ema_decay=0.9, ema_warmup=True, network_def={**TINY, "dropout": 0.3})
        return train_resident(parser, images=80, cache=tmp_path / "kept", **more)

    wanted, _ = train()
    state, calls, write = tmp_path / "state.pt", [0], ResidentState.keep
    monkeypatch.setattr("casr_net.training.resident.ResidentState", functools.partial(ResidentState, seconds=0.0))

    def stop() -> None:
        calls[0] += 1
        if calls[0] in (9, 14):
            raise StopHereError

    if way == "killed":  # nothing is kept then, but two states of before are, which waited for no line of the log
        monkeypatch.setattr(ResidentState, "keep", lambda self: write(self) if calls[0] in (6, 12) else None)
    for _ in range(2):
        with pytest.raises(StopHereError):
            train(step=stop, kept=state)
    found, note = train(step=stop, kept=state)
    # 20 steps, two calls that stopped, and the steps that were lost: 7, 8 and 10.
    assert note["images_seen"] == 80 and calls[0] == (22 if way == "stopped" else 25)
    for name, value in wanted.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"state\.pt: the training cannot go on from it \(.+\); delete it"):
        train(kept=state)


def test_a_loss_that_is_not_finite_is_said(synthetic_set: Path, tmp_path: Path) -> None:
    parser = config(synthetic_set, learning_rate=float("inf"))
    with pytest.raises(UsageError, match="loss is nan after"):
        train_resident(parser, images=40, cache=tmp_path / "kept")


def test_weights_on_which_it_goes_on(synthetic_set: Path, tmp_path: Path) -> None:
    parser = config(synthetic_set)
    network = parser.get_parsed_content("network_def")
    start = copy.deepcopy(network.state_dict())
    torch.save(start, tmp_path / "start.pt")
    parser = config(synthetic_set, initial_weights=str(tmp_path / "start.pt"), learning_rate=0.0, weight_decay=0.0)
    trained, _ = train_resident(parser, images=8, cache=tmp_path / "kept")
    for name, value in trained.named_parameters():
        np.testing.assert_allclose(value.detach().numpy(), start[name].numpy(), err_msg=name)
