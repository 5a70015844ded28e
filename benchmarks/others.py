"""Time of other methods for the same image, beside the light network: ridge filters, and networks of MONAI and nnU-Net.

Networks have random weights, which change nothing about the time. Each runs as its users run it, by torch as it is, and
in the runtimes that ours may take. nnU-Net's predictor comes in where ``nnunetv2`` can be imported.
"""

from __future__ import annotations

import functools
import gc
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.networks.nets as nets
import numpy as np
import torch
from skimage.filters import frangi, sato
from torch import nn

from casr_net.inference.runtimes.engines import OPSET
from casr_net.synthetic.angiogram import make_angiogram
from common import Work, median, summary, told, turns
from networks import BASE, GROUPS, eager, engines, gflop, made

__all__ = ["NETWORKS", "measure", "table"]

SIZE = 512
SIGMAS = tuple(SIZE * share for share in (0.003, 0.0045, 0.0065, 0.009, 0.0125))
"""Of the ridge filters, in pixels: about those that ``experiments/ridge_filters.py`` finds best."""

PLAIN = (32, 64, 128, 256, 512, 512, 512, 512)
"""Widths of nnU-Net's plan for images of 512 x 512."""


def _flexible() -> nn.Module:
    return nets.FlexibleUNet(3, 1, "efficientnet-b0", pretrained=False, spatial_dims=2)


def _unet() -> nn.Module:
    return nets.UNet(2, 3, 1, PLAIN, (2,) * (len(PLAIN) - 1))


def _dynunet() -> nn.Module:
    levels = len(PLAIN)
    strides = [1] + [2] * (levels - 1)
    return nets.DynUNet(2, 3, 1, [3] * levels, strides, strides[1:], filters=PLAIN)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MONAI FlexibleUNet, EfficientNet-b0": _flexible,
    "MONAI UNet, nnU-Net's widths": _unet,
    "MONAI DynUNet, nnU-Net's layout": _dynunet,
}


def nnunet_predictor(size: int = SIZE) -> tuple[nn.Module, Callable[[bool], Work]] | None:
    """nnU-Net's own network for such images, and its predictor, with mirror images or without; None where it is not."""
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    except ImportError:
        return None
    levels = len(PLAIN)
    network = PlainConvUNet(
        3, levels, PLAIN, nn.Conv2d, 3, [1] + [2] * (levels - 1), 2, 2, [2] * (levels - 1), conv_bias=True,
        norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    ).eval()  # fmt: skip
    image = torch.rand(3, 1, size, size)

    def run(mirror: bool) -> Work:
        predictor = nnUNetPredictor(
            use_mirroring=mirror, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
        )
        predictor.network, predictor.allowed_mirroring_axes = network, (0, 1) if mirror else None
        predictor.label_manager = type("Labels", (), {"num_segmentation_heads": 2})()
        predictor.configuration_manager = type("Configuration", (), {"patch_size": (size, size)})()
        return functools.partial(predictor.predict_sliding_window_return_logits, image)

    return network, run


def _as_onnx(network: nn.Module, channels: int) -> bytes:
    """An ONNX file for images of :data:`SIZE`; deep networks cannot be traced at the small size of ours."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the exporter
        path = Path(folder) / "model.onnx"
        example = torch.zeros(1, channels, SIZE, SIZE)
        torch.onnx.export(network, (example,), path, dynamo=False, opset_version=OPSET)
        return path.read_bytes()


def _filters() -> dict[str, Work]:
    grey = make_angiogram(seed=3, size=SIZE).image.astype(np.float32) / 255
    return {
        "scikit-image Sato": functools.partial(sato, grey, sigmas=SIGMAS, black_ridges=True),
        "scikit-image Frangi": functools.partial(frangi, grey, sigmas=SIGMAS, black_ridges=True),
    }


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds and ratios, by method and way."""
    light, inputs = made(GROUPS[0]), torch.rand(1, 3, SIZE, SIZE)
    base: dict[str, Work] = {BASE: functools.partial(eager, light, inputs)}
    methods: dict[str, Any] = {}

    def add(name: str, ways: dict[str, Work], about: dict[str, Any]) -> None:
        times = summary(turns({**base, **ways}, rounds))
        methods[name] = {
            **about,
            "ways": {way: {**times[way], "ratio": round(median(times, BASE) / median(times, way), 3)} for way in ways},
        }

    def of(network: nn.Module) -> tuple[dict[str, Work], dict[str, Any]]:
        ways: dict[str, Work] = {"torch as it is": functools.partial(eager, network, inputs)}
        ways |= {name: functools.partial(engine, inputs) for name, engine in engines(network, 3, _as_onnx).items()}
        size = sum(value.numel() for value in network.parameters())
        return ways, {"parameters": size, "gflop": round(gflop(network, inputs), 2)}

    for name, work in _filters().items():
        add(name, {"as it is": work}, {})
    for name, make in {"CASR-Net light": lambda: light, **NETWORKS}.items():
        torch.manual_seed(0)
        add(name, *of(make().eval()))
        gc.collect()
    own = nnunet_predictor()
    if own is not None:
        network, run = own
        ways, about = of(network)
        add("nnU-Net", {**ways, "its predictor": run(False), "its predictor, mirrored": run(True)}, about)
    return {"size": SIZE, "methods": methods, "nnunet": "measured" if own is not None else "not installed"}


def table(result: dict[str, Any]) -> str:
    """Milliseconds of each method as it is, in its fastest way, and the ratio of that."""
    lines = [
        "| method | parameters | GFLOP | as it is, ms | fastest way, ms | times light as it is |",
        "|---" * 6 + "|",
    ]
    for name, entry in result["methods"].items():
        plain, *_ = entry["ways"]
        fastest = max(entry["ways"], key=lambda way: entry["ways"][way]["ratio"])
        size = f"{entry['parameters'] / 1e6:.1f} M" if "parameters" in entry else "-"
        operations = f"{entry['gflop']:.0f}" if "gflop" in entry else "-"
        cells = [
            f"{entry['ways'][way]['wall_ms'][0]:.0f}" + (f" ({way})" if way not in (plain, "as it is") else "")
            for way in (plain, fastest)
        ]
        for way in ("its predictor", "its predictor, mirrored"):
            if way in entry["ways"]:
                cells[0] += f"; {way} {entry['ways'][way]['wall_ms'][0]:.0f}"
        ratio = entry["ways"][fastest]["ratio"]
        lines.append(f"| {name} | {size} | {operations} | {' | '.join(cells)} | {ratio:.2f} |")
    missing = "" if result["nnunet"] == "measured" else " nnU-Net itself was not installed."
    size = result["size"]
    return "\n".join([*lines, "", f"One image of {size} x {size}, without reading or writing. {told(result)}{missing}"])
