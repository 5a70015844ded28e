"""Which weights lose by 8 bits: those of one part of the network at a time are rounded, all else stays as it is.

    python experiments/quantise_layers.py --data DIR --weights STATE/light-teacher-fold0/model.pt --exclude-fold 0 \\
        --output experiments/results/quantise_layers.json

Rounding is what NNCF does: symmetric, a scale for each output channel. Masks before stage 3, of training images alone,
against those in single precision. The choice of what ``quantise.py`` keeps rests on it.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from pathlib import Path
from typing import Any

import numpy as np

from casr_net import Segmenter
from casr_net.evaluation.metrics import dice
from casr_net.inference.runtimes.engines import as_onnx
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import runtime_versions
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases
from probabilities import spread
from quantise import network_input

logger = logging.getLogger("experiments")

LEVELS = 127
"""Largest whole number of a symmetric weight of 8 bits."""

OUTPUTS = {"Convolution": 0, "GroupConvolution": 0, "ConvolutionBackpropData": 1}
"""Axis of the output channels in the constants of OpenVINO's operations; that of a group comes before a Reshape."""

PARTS = {
    "all": ("",),
    "encoder": ("/encoder/",),
    "encoder, stem": ("/encoder/stem",),
    **{f"encoder, level {i}": (f"/encoder/levels.{i}",) for i in range(5)},
    "decoder": ("/decoder", "ConvolutionBackpropData"),
    "head": ("/head",),
}
"""By name, what the names of the operations of a part begin with."""


def rounded(weights: np.ndarray, outputs: int) -> np.ndarray:
    """Weights as 8 bits give them back; ``outputs`` is the axis that has scales of its own."""
    others = tuple(axis for axis in range(weights.ndim) if axis != outputs)
    scale = np.abs(weights).max(axis=others, keepdims=True) / LEVELS
    scale[scale == 0] = 1
    return np.asarray(np.round(weights / scale) * scale, np.float32)


def with_rounded(model: Any, starts: tuple[str, ...]) -> tuple[Any, int]:
    """A copy of a model with rounded weights in a part of it, and how many operations that part has."""
    import openvino

    copied, count = model.clone(), 0
    for node in copied.get_ordered_ops():
        outputs = OUTPUTS.get(node.get_type_name())
        if outputs is None or not node.get_friendly_name().startswith(starts):
            continue
        place = node.input(1)
        while place.get_source_output().get_node().get_type_name() != "Constant":
            place = place.get_source_output().get_node().input(0)
        weights = np.array(place.get_source_output().get_node().data, np.float32)
        place.replace_source_output(openvino.op.Constant(rounded(weights, outputs)).output(0))
        count += 1
    return copied, count


def masks(model: Any, images: list[np.ndarray]) -> list[np.ndarray]:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return [np.array(request.infer({0: image})[0]) > 0 for image in images]


def main() -> None:
    import openvino

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--exclude-fold", type=int, action="append", default=[])
    parser.add_argument("--count", type=int, default=8, help="images of each data set (%(default)s)")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    segmenter = Segmenter(device="cpu", weights=str(options.weights), runtime="torch", precision="fp32")
    network = segmenter.network
    assert isinstance(network, CASRNet)
    cases = spread(load_cases(options.data, exclude_folds=options.exclude_fold), options.count)
    images = [network_input(segmenter, case) for case in cases]
    onnx = as_onnx(rewritten(network, narrow=False), int(str(network.settings["in_channels"])))
    model = openvino.Core().read_model(onnx)
    exact = masks(model, images)
    parts = {}
    for name, starts in PARTS.items():
        changed, count = with_rounded(model, starts)
        scores = [dice(mask, truth) for mask, truth in zip(masks(changed, images), exact, strict=True)]
        parts[name] = {"operations": count, "dice": round(float(np.mean(scores)), 5), "least": round(min(scores), 5)}
        logger.info("%s: %s", name, parts[name])
    result = {
        "what": __doc__.splitlines()[0], "weights_sha256": sha256(options.weights),
        "excluded_folds": options.exclude_fold, "images": [case["name"] for case in cases],
        "machine": machine(), "platform": platform.platform(), "versions": runtime_versions(["openvino"]),
        "parts": parts,
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
