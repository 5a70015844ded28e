"""How fast the runtimes are with fewer instructions: this machine limited to AVX2, AVX2-VNNI and AVX512-VNNI.

    python experiments/instruction_sets.py --int8 FILE --output experiments/results/instruction_sets.json [--note TEXT]

oneDNN, in torch and in OpenVINO, keeps to ONEDNN_MAX_CPU_ISA, torch's own kernels to ATEN_CPU_CAPABILITY. That is no
machine of that kind, whose caches, clock and units are others: an approximation. ONNX Runtime cannot be limited, and is
left out. One process an instruction set; in it the runtimes take turns with one frame of 512 x 512 and one thread, and
seconds are those of the processor, so that waiting for it does not count. Ratios are to "torch eager", the network as
it is, of the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from casr_net.inference.bundle import load_parser
from casr_net.inference.runtimes.engines import OpenVINOEngine, TorchEngine, as_onnx
from casr_net.inference.runtimes.machine import LIMIT, bfloat16_supported, machine
from casr_net.inference.runtimes.packages import runtime_versions
from casr_net.inference.runtimes.quantised import read_quantised
from casr_net.inference.runtimes.trial import sample_input
from casr_net.network.rewrite import rewritten

SETS = {
    "AVX2": ("AVX2", "avx2"),
    "AVX2-VNNI": ("AVX2_VNNI", "avx2"),
    "AVX512-VNNI": ("AVX512_CORE_VNNI", "avx512"),
    "all": ("", ""),
}
"""By name: values of ONEDNN_MAX_CPU_ISA and ATEN_CPU_CAPABILITY; neither is set where nothing is limited ("default" of
the latter would leave torch's own kernels without AVX)."""

ROUNDS = 7


def measure(int8: Path) -> dict[str, list[float]]:
    """Processor seconds of each frame by runtime, in this process."""
    torch.set_num_threads(1)
    parser = load_parser(device_name="cpu")
    network = parser.get_parsed_content("network")
    fast = rewritten(network)
    sample = sample_input(parser.get_parsed_content("channels"))
    model = as_onnx(fast, sample.shape[1])
    quantised = read_quantised(int8)

    def eager(inputs: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(inputs)

    engines: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "torch eager": eager,
        "torch fp32": TorchEngine(fast),
        "openvino fp32": OpenVINOEngine(model),
        "openvino int8": OpenVINOEngine(quantised.model, weights=quantised.weights),
    }
    if bfloat16_supported():
        engines |= {
            "torch bf16": TorchEngine(fast, True),
            "openvino bf16": OpenVINOEngine(model, True),
            "openvino int8+bf16": OpenVINOEngine(quantised.model, True, quantised.weights),
        }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(ROUNDS + 1):
        for name, engine in engines.items():
            mark = time.process_time()
            engine(sample)
            if turn:  # the first compiles
                seconds[name].append(time.process_time() - mark)
    return seconds


def limited(name: str, int8: Path) -> dict[str, Any]:
    """What another process measures that is limited to an instruction set."""
    isa, capability = SETS[name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for variable, value in ((LIMIT, isa), ("ATEN_CPU_CAPABILITY", capability)):
        environment.pop(variable, None)
        if value:
            environment[variable] = value
    done = subprocess.run(
        [sys.executable, __file__, "--here", "--int8", str(int8)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    seconds = json.loads(done.stdout.splitlines()[-1])
    found = {}
    for runtime, times in seconds.items():
        ratios = [base / value for base, value in zip(seconds["torch eager"], times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        found[runtime] = {
            "milliseconds": round(1000 * statistics.median(times), 1),
            "ratio": round(middle, 2), "quartiles": [round(low, 2), round(high, 2)],
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", type=Path)
    action.add_argument("--here", action="store_true", help="measure in this process")
    parser.add_argument("--int8", type=Path, required=True, help="file of experiments/quantise.py")
    parser.add_argument("--note", default="nothing else was running")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.int8)))
        return
    result = {
        "what": __doc__.splitlines()[0], "note": options.note, "rounds": ROUNDS, "threads": 1,
        "machine": machine(), "platform": platform.platform(),
        "versions": runtime_versions(["torch", "openvino"]),
        "sets": {name: limited(name, options.int8) for name in SETS},
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["sets"], indent=1))


if __name__ == "__main__":
    main()
