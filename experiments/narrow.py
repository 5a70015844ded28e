"""What it brings to write layers of few channels for the vectors of a CPU: networks with the fewest products beside it.

    python experiments/narrow.py --output experiments/results/narrow.json

Seconds are those of the processor with one thread, of the second of two frames in a row, in turns; the difference of
the logits is to the network as it is, in single precision. The light and the compact network have the shipped weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch

from casr_net.evaluation.usage import hardware
from casr_net.inference.bundle import load_parser
from casr_net.inference.provenance import package_versions
from casr_net.inference.runtimes.engines import OnnxEngine, OpenVINOEngine, TorchEngine, as_onnx
from casr_net.inference.runtimes.machine import bfloat16_supported, machine
from casr_net.inference.runtimes.trial import sample_input
from casr_net.network.casrnet import CASRNet
from casr_net.network.rewrite import rewritten

ROUNDS = 9


def engines(network: CASRNet, narrow: bool, channels: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    model = as_onnx(rewritten(network, narrow), channels)
    made: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "torch fp32": TorchEngine(rewritten(network, narrow)),
        "onnx fp32": OnnxEngine(model),
        "openvino fp32": OpenVINOEngine(model),
    }
    if bfloat16_supported():
        made |= {
            "torch bf16": TorchEngine(rewritten(network, narrow), True),
            "openvino bf16": OpenVINOEngine(model, True),
        }
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    torch.set_num_threads(1)
    rows = []
    for name, overlays in (("light", []), ("compact", ["compact"])):
        bundle = load_parser(overlays, device_name="cpu")
        network = cast(CASRNet, bundle.get_parsed_content("network")).eval()
        sample = sample_input(bundle.get_parsed_content("channels"))
        with torch.inference_mode():
            expected = network(sample)
        fewest, full = (engines(network, narrow, sample.shape[1]) for narrow in (False, True))
        for runtime in full:
            seconds: tuple[list[float], list[float]] = ([], [])
            for turn in range(ROUNDS + 1):
                for engine, times in zip((fewest[runtime], full[runtime]), seconds, strict=True):
                    engine(sample)
                    mark = time.process_time()
                    found = engine(sample)
                    if turn:  # the first compiles
                        times.append(time.process_time() - mark)
            rows.append(
                {
                    "network": name,
                    "runtime": runtime,
                    "ms_fewest_products": round(1e3 * statistics.median(seconds[0]), 1),
                    "ms_narrow": round(1e3 * statistics.median(seconds[1]), 1),
                    "ratio": round(statistics.median(b / a for a, b in zip(*seconds, strict=True)), 3),
                    "largest_difference_of_logits": float((found - expected).abs().max()),
                }
            )
            print(rows[-1])
    found_on = {"machine": machine(), "hardware": hardware(), "versions": package_versions(), "rounds": ROUNDS}
    output.write_text(json.dumps({**found_on, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
