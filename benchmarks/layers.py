"""Where a network's time goes in OpenVINO: by kind of layer, beside the operations that each kind does.

    python benchmarks/layers.py --output benchmarks/results/layers.json [--rounds 30] [--note TEXT] [--no-lock]

The roofline of ``networks.py`` is reached by convolutions with many channels. Those that give few channels fill one or
two vectors, depthwise ones read a value for every few operations, and what is no convolution does none that count:
their shares in the time say how near a network can come. Measured by OpenVINO's own counters, one request with all
processors, random weights. Transposed convolutions count as what they are.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from casr_net.inference.runtimes.engines import as_onnx
from casr_net.inference.runtimes.machine import bfloat16_supported
from casr_net.inference.runtimes.packages import runtime_package
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten
from common import arguments, paused_training, record, told, write_json
from networks import GROUPS, Group, made

__all__ = ["KINDS", "kind_of", "measure", "table"]

NARROW = 24
"""Most channels of a convolution's result that count as few: 16 single-precision values fill a vector of AVX512."""

FEW, MANY = f"3 x 3 and more, at most {NARROW} channels out", "3 x 3 and more, more channels out"
POINTWISE, DEPTHWISE, OTHER = "1 x 1", "depthwise", "no convolution"
KINDS = (FEW, MANY, POINTWISE, DEPTHWISE, OTHER)


def kind_of(node: Any) -> tuple[str, float]:
    """Kind of a node of the model, and its 10^9 multiplications and additions; 0 for what is no convolution.

    Args:
        node: of an ``openvino.Model`` of fixed shape.
    """
    name = node.get_type_name()
    if name not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData"):
        return OTHER, 0.0
    kernel = list(node.input(1).get_shape())  # (G, O / G, I / G, X, Y) with groups, else (O, I, X, Y)
    window = int(math.prod(kernel[-2:]))
    transposed = name == "ConvolutionBackpropData"  # (I, O, X, Y): each value that comes in meets the whole kernel
    inputs, outputs = (kernel[0], kernel[1]) if transposed else (kernel[-3], int(node.output(0).get_shape()[1]))
    values = node.input(0) if transposed else node.output(0)
    count: float = 2 * math.prod(values.get_shape()) * (outputs if transposed else inputs) * window / 1e9
    if len(kernel) == 5 and inputs == 1:
        return DEPTHWISE, count
    if window == 1:
        return POINTWISE, count
    return (FEW if outputs <= NARROW else MANY), count


def profile(model: Any, bfloat16: bool, size: int, rounds: int, threads: int) -> dict[str, Any]:
    """Milliseconds and 10^9 operations by kind, medians of the rounds."""
    runtime = runtime_package("openvino", "openvino")
    model = model.clone()
    model.reshape([1, 3, size, size])
    found = {node.get_friendly_name(): kind_of(node) for node in model.get_ops()}
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32", "ENABLE_CPU_PINNING": False, "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
    }  # fmt: skip
    request = runtime.Core().compile_model(model, "CPU", settings).create_infer_request()
    image = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    times: list[dict[str, float]] = []
    for number in range(rounds + 2):
        request.infer({0: image}, share_inputs=True)
        if number < 2:  # the first ones prepare
            continue
        spent = dict.fromkeys(KINDS, 0.0)
        for layer in request.profiling_info:
            spent[found.get(layer.node_name, (OTHER, 0.0))[0]] += layer.real_time.total_seconds() * 1000
        times.append(spent)
    work = {kind: sum(count for other, count in found.values() if other == kind) for kind in KINDS}
    return {
        kind: {
            "ms": round(float(np.median([spent[kind] for spent in times])), 3), "gflop": round(work[kind], 3),
        }
        for kind in KINDS
    }  # fmt: skip


def measure(rounds: int, threads: int, groups: tuple[Group, ...] = (GROUPS[0], GROUPS[5])) -> dict[str, Any]:
    """By network and number format."""
    runtime = runtime_package("openvino", "openvino")
    networks: dict[str, Any] = {}
    for group in groups:
        model = runtime.Core().read_model(as_onnx(rewritten(cast(CASRNet, made(group))), 3))
        formats = [False, True] if bfloat16_supported() else [False]
        networks[group.name] = {
            "bf16" if bfloat16 else "fp32": profile(model, bfloat16, group.size, rounds, threads)
            for bfloat16 in formats
        }
    return {"networks": networks}


def table(result: dict[str, Any]) -> str:
    """Share of time and GFLOP/s of each kind."""
    lines = ["| network | layers | share of the operations | share of the time | GFLOP/s |", "|---" * 5 + "|"]
    for name, formats in result["networks"].items():
        for numbers, kinds in formats.items():
            total = sum(entry["ms"] for entry in kinds.values())
            work = sum(entry["gflop"] for entry in kinds.values())
            for kind, entry in kinds.items():
                rate = f"{entry['gflop'] / entry['ms'] * 1000:.0f}" if entry["gflop"] and entry["ms"] else "-"
                shares = f"{100 * entry['gflop'] / work:.0f} % | {100 * entry['ms'] / total:.0f} %"
                lines.append(f"| {name}, {numbers} | {kind} | {shares} | {rate} |")
    return "\n".join([*lines, "", f"By OpenVINO's counters, medians. {told(result)}"])


def main() -> None:
    parser = arguments(__doc__, rounds=30)
    options = parser.parse_args()
    with paused_training(options.lock):
        import torch

        result = record(__doc__, options, **measure(options.rounds, torch.get_num_threads()))
    if options.output:
        write_json(options.output, result)
    print(table(result))


if __name__ == "__main__":
    main()
