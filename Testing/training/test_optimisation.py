from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents

from casr_net.errors import UsageError
from casr_net.training import (
    UNKNOWN,
    Checkpoint,
    ClipGradients,
    DiceCEclDiceLoss,
    PrecisionInferer,
    UpdateAverage,
    WeightAverage,
    place_network,
    uses_bfloat16,
)


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4))


@pytest.mark.parametrize("there", [True, False])
def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: there)
    assert uses_bfloat16("auto") is there and uses_bfloat16("bf16") and not uses_bfloat16("fp32")
    seen = []

    class Probe(torch.nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    result = PrecisionInferer("auto")(torch.rand(1, 1, 8, 8), Probe(1, 1, 3))
    assert seen == [torch.bfloat16 if there else torch.float32] and result.dtype == torch.float32


def test_bfloat16_trains_in_single_precision() -> None:
    model = network()
    loss = DiceCEclDiceLoss()(
        PrecisionInferer("bf16")(torch.rand(1, 1, 16, 16), model)[:, :1], torch.ones(1, 1, 16, 16)
    )
    loss.backward()
    assert loss.dtype == torch.float32 and {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_unknown_precision() -> None:
    with pytest.raises(UsageError, match="precision is 'fp8'; known are auto, fp32, bf16"):
        PrecisionInferer("fp8")


def test_layout_changes_no_value() -> None:
    x, plain = torch.rand(2, 1, 16, 16), network().eval()
    with torch.no_grad():
        expected = plain(x)
        moved = place_network(plain, "cpu")
        assert moved is plain and moved[0].weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(moved(x), expected)


def test_average_of_weights_and_buffers() -> None:
    model = network()
    average = WeightAverage(model, 0.75)
    trainer = Engine(lambda *_: _step(model))
    UpdateAverage(average).attach(trainer)
    trainer.run([0] * 3)
    # The first step is taken as it is, each later one with a quarter.
    assert average.network is not model
    for name, start in network().state_dict().items():
        if start.is_floating_point():
            expected = start + 1 + 0.25 * 1 + (0.75 * 0.25 + 0.25) * 1
            torch.testing.assert_close(average.network.state_dict()[name], expected)


def _step(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for value in model.state_dict().values():
            value += 1


def test_no_average() -> None:
    model = network()
    average = WeightAverage(model)
    UpdateAverage(average)(Engine(lambda *_: None))
    assert average.network is model and average.state_dict() == {}
    for decay in (-0.1, 1.0):
        with pytest.raises(UsageError, match="decay of the weight average is"):
            WeightAverage(model, decay)


def test_checkpoint_keeps_and_publishes_the_average(tmp_path: Path) -> None:
    def run(epochs: int) -> WeightAverage:
        model = network()
        average = WeightAverage(model, 0.5)
        trainer = Engine(lambda *_: _step(model))
        UpdateAverage(average).attach(trainer)
        Checkpoint(
            tmp_path / "last.ckpt", {"model": model}, average=average, weights_path=tmp_path / "model.pt"
        ).attach(trainer)
        trainer.run([0], max_epochs=epochs)
        return average

    run(2)
    resumed = run(5).network.state_dict()
    (tmp_path / "last.ckpt").unlink()
    straight = run(5).network.state_dict()
    published = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert all(torch.equal(straight[name], published[name]) for name in straight)
    assert not (tmp_path / "model_previous.pt").exists(), "its own weights are no others"


def test_gradients_are_clipped_before_the_step() -> None:
    model = torch.nn.Linear(4, 1)
    norms = []

    def iteration(engine: Engine, batch: int) -> None:
        model.zero_grad()
        (1000 * model(torch.ones(1, 4))).sum().backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        norms.append(torch.stack([p.grad.norm() for p in model.parameters()]).norm().item())

    for bound, expected in ((5.0, 5.0), (0.0, 1000 * 5**0.5)):
        trainer = Engine(iteration)
        trainer.register_events(*IterationEvents)
        ClipGradients(model, bound).attach(trainer)
        trainer.run([0])
        assert norms[-1] == pytest.approx(expected, rel=1e-4)


def test_unknown_pixels_have_no_part_in_the_loss() -> None:
    torch.manual_seed(1)
    logits, target = torch.randn(2, 1, 32, 32), (torch.rand(2, 1, 32, 32) > 0.8).float()
    target[..., 8:20, :] = UNKNOWN
    other = logits.clone()
    other[..., 8:20, :] = 5 * torch.randn(2, 1, 12, 32)
    loss = DiceCEclDiceLoss()
    other.requires_grad_()
    value = loss(other, target)
    assert value.item() == pytest.approx(loss(logits, target).item(), abs=1e-6)
    value.backward()
    assert other.grad is not None and not other.grad[..., 8:20, :].any() and other.grad[..., :8, :].any()
    known = target[..., 20:, :]
    assert loss.dice_ce.dice(logits[..., 20:, :], known).item() == pytest.approx(
        loss.dice_ce.dice(
            torch.where(target == UNKNOWN, -30.0, logits)[..., 8:, :],
            torch.where(target == UNKNOWN, 0.0, target)[..., 8:, :],
        ).item(), abs=1e-6,
    )  # fmt: skip
