"""Whether convolutions with few channels out get faster in OpenVINO when they give several pixels at once.

python experiments/packed_convolutions.py --output experiments/results/packed_convolutions.json

A 3 x 3 convolution with stride 1 is one with stride (a, b), kernel (a + 2, b + 2) and a * b times the channels out, one
group a pixel: more products, but fuller vectors. Convolution and tanh alone; the rearrangement afterwards would come on
top. Nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from casr_net.evaluation.usage import hardware
from casr_net.inference.provenance import package_versions
from casr_net.inference.runtimes.engines import OpenVINOEngine, as_onnx

LAYERS = ((48, 16, 512), (16, 1, 512), (72, 24, 256), (48, 24, 256), (120, 40, 128))
"""Channels in and out, and side, of the light network's decoder and head."""

STRIDES = ((1, 2), (2, 1), (2, 2), (4, 4))
ROUNDS = 15


class Plain(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(x))


class Packed(nn.Module):
    """The same, (N, a * b * O, X / a, Y / b)."""

    def __init__(self, plain: Plain, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        weight, bias = plain.layer.weight.detach(), plain.layer.bias
        assert bias is not None
        outputs, inputs = weight.shape[:2]
        kernel = torch.zeros(*stride, outputs, inputs, stride[0] + 2, stride[1] + 2)
        for row in range(stride[0]):
            for column in range(stride[1]):
                kernel[row, column, :, :, row : row + 3, column : column + 3] = weight
        self.weight = nn.Parameter(kernel.flatten(0, 2))
        self.bias = nn.Parameter(bias.detach().repeat(stride[0] * stride[1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=1))


def unpacked(y: torch.Tensor, stride: tuple[int, int]) -> torch.Tensor:
    count, channels, rows, columns = y.shape
    parts = y.reshape(count, *stride, channels // (stride[0] * stride[1]), rows, columns)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(count, -1, rows * stride[0], columns * stride[1])


def milliseconds(network: nn.Module, inputs: int, side: int, bfloat16: bool) -> float:
    engine = OpenVINOEngine(as_onnx(network.eval(), inputs), bfloat16)
    x = torch.rand(1, inputs, side, side)
    times = []
    for _ in range(ROUNDS + 3):
        mark = time.perf_counter()
        engine(x)
        times.append(1000 * (time.perf_counter() - mark))
    return round(float(np.median(times[3:])), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    layers: list[dict[str, Any]] = []
    for inputs, outputs, side in LAYERS:
        plain = Plain(inputs, outputs).eval()
        x = torch.rand(1, inputs, 32, 32)
        for bfloat16 in (False, True):
            times = {"as it is": milliseconds(plain, inputs, side, bfloat16)}
            for stride in STRIDES:
                packed = Packed(plain, stride).eval()
                with torch.no_grad():
                    assert torch.allclose(unpacked(packed(x), stride), plain(x), atol=1e-5), stride
                times[f"{stride[0]} x {stride[1]}"] = milliseconds(packed, inputs, side, bfloat16)
            layers.append({"channels": [inputs, outputs], "side": side, "bfloat16": bfloat16, "ms": times})
            print(layers[-1], flush=True)
    record = {"layers": layers, "rounds": ROUNDS, "hardware": hardware(), "versions": package_versions()}
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
