from __future__ import annotations

import pytest
import torch
from torch import nn

from casr_net.network.selfonn import SelfONN2d


def test_first_order_is_exactly_a_convolution() -> None:
    layer, conv = SelfONN2d(3, 5, 3, 1, q=1), nn.Conv2d(3, 5, 3, padding=1)
    layer.load_state_dict(conv.state_dict())
    x = torch.randn(2, 3, 9, 7)
    assert torch.equal(layer(x), conv(x))


def test_output_is_the_sum_of_convolutions_of_powers() -> None:
    torch.manual_seed(0)
    layer = SelfONN2d(2, 4, 3, 1, q=3)
    x = torch.rand(1, 2, 8, 8) * 2 - 1
    expected = layer.bias.view(1, -1, 1, 1) + sum(
        nn.functional.conv2d(x**p, layer.weight[:, 2 * (p - 1) : 2 * p], padding=1) for p in (1, 2, 3)
    )
    torch.testing.assert_close(layer(x), expected)


def test_gradients() -> None:
    torch.manual_seed(0)
    layer = SelfONN2d(2, 2, 3, 1, q=3).double()
    x = (torch.rand(1, 2, 4, 4, dtype=torch.double) * 2 - 1).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))


def test_initialisation_has_tanh_gain() -> None:
    torch.manual_seed(0)
    layer = SelfONN2d(16, 32, 3, 1, q=3)
    bound = (5 / 3) * (6 / (9 * (48 + 32))) ** 0.5
    assert 0.98 * bound < layer.weight.abs().max() <= bound
    assert layer.bias.abs().max() <= 1 / (48 * 9) ** 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_powers_are_taken_in_single_precision_under_autocast(dtype: torch.dtype) -> None:
    layer = SelfONN2d(1, 1, 1, 0, q=3, bias=False)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 2] = 1.0
    x = torch.full((1, 1, 1, 1), 0.99609375).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained, y = layer(x), layer.eval()(x)
    assert y.float().item() == pytest.approx(float(x.float() ** 3), rel=4e-3)
    # Training may round the square and the cube in bfloat16, each to 8 bits.
    assert trained.float().item() == pytest.approx(float(x.float() ** 3), rel=2 * 2**-8)
    # Without autocast nothing is rounded at all, whatever the type of the input.
    for mode in (True, False):
        assert layer.train(mode)(x).item() == pytest.approx(float(x.double() ** 3), rel=1e-6)


def test_training_in_bfloat16_gives_the_same_up_to_rounding() -> None:
    """Narrow layers take a convolution a power there."""
    torch.manual_seed(0)
    layer = SelfONN2d(8, 16, 3, 1, q=3)
    x = torch.rand(2, 8, 12, 12) * 2 - 1
    expected, kernel = layer(x), layer.weight
    (gradient,) = torch.autograd.grad(expected.square().mean(), kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer(x.bfloat16())
    (rounded,) = torch.autograd.grad(result.float().square().mean(), kernel)
    assert result.dtype == torch.bfloat16
    assert (result - expected).norm() < 0.01 * expected.norm()
    assert (rounded - gradient).norm() < 0.02 * gradient.norm()


def test_torchscript_gives_the_same() -> None:
    layer = SelfONN2d(2, 3, 3, 1, q=3).eval()
    x = torch.rand(1, 2, 8, 8)
    assert (torch.jit.script(layer)(x) - layer(x)).abs().max() < 1e-5


def test_onnx_gives_the_same(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    layer = SelfONN2d(2, 3, 3, 1, q=3).eval()
    x = torch.rand(1, 2, 8, 8)
    torch.onnx.export(layer, (x,), tmp_path / "layer.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "layer.onnx"))
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert abs(y - layer(x).detach().numpy()).max() < 1e-5


@pytest.mark.parametrize(("kwargs", "text"), [({"q": 0}, "q is 0"), ({"in_channels": 0}, "0 in")])
def test_impossible_arguments(kwargs: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SelfONN2d(**{"in_channels": 1, "out_channels": 1, **kwargs})
