"""Time of each stage of a frame, of each runtime, and what the system's memory costs.

    python benchmarks/stages.py --output benchmarks/results/stages.json [--rounds 7] [--note TEXT]

All variants are run in turns, so that whatever else happens on the machine meets all alike; the table has median and
quartiles of wall time, processor time, the part of it in the kernel, and page faults. While it runs, the training
runner of ``make evidence`` waits (its pause lock is held). Say by ``--note`` what else was running.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from filelock import FileLock

from casr_net.files.maps import write_png
from casr_net.inference.bundle import load_parser
from casr_net.inference.runtimes.engines import OnnxEngine, OpenVINOEngine, TorchEngine, as_onnx
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions
from casr_net.network.rewrite import rewritten
from casr_net.preprocessing.load import image_tensor
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.training.precision import uses_bfloat16


def variants(config: list[str], network_too: bool, folder: Path) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    parser = load_parser(config, device_name="cpu", runtime="torch", precision="fp32")
    channels, post = (parser.get_parsed_content(name) for name in ("channels", "postprocessing"))
    grey = make_angiogram(seed=3, size=512).image.T.astype(np.float32) / 255
    image = {"image": image_tensor(grey, np.eye(4))}
    prepared = channels(dict(image))
    network = parser.get_parsed_content("network")
    inputs = prepared["image"].as_tensor()[None]
    with torch.no_grad():
        prepared["pred"] = network(inputs)[0]
    mask = (np.asarray(post(dict(prepared))["pred"][0]) > 0).T.astype(np.uint8) * 255
    found: dict[str, Callable[[], Any]] = {
        "preprocessing": lambda: channels(dict(image)),
        "refinement": lambda: post(dict(prepared)),
        "writing": lambda: write_png(folder / "mask.png", mask),
    }
    if not network_too:
        return found
    engines: dict[str, Any] = {}
    found["torch as it is"] = functools.partial(_eager, network, inputs)
    formats = [False, True] if uses_bfloat16() else [False]
    for way, net in (("", network), (" rewritten", rewritten(network))):
        for bfloat16 in formats:
            engines[f"torch {'bf16' if bfloat16 else 'fp32'}{way}"] = TorchEngine(net, bfloat16)
        model = as_onnx(net, inputs.shape[1]) if len(installed_runtimes()) > 1 else b""
        if "onnx" in installed_runtimes():
            engines[f"onnx fp32{way}"] = OnnxEngine(model)
        if "openvino" in installed_runtimes():
            for bfloat16 in formats:
                engines[f"openvino {'bf16' if bfloat16 else 'fp32'}{way}"] = OpenVINOEngine(model, bfloat16)
    return found | {name: (lambda engine=engine: engine(inputs)) for name, engine in engines.items()}


def _eager(network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = network(inputs)
        return result


def run(found: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Samples by variant and quantity: milliseconds, and page faults."""
    samples: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds + 1):
        for name, work in found.items():
            before, mark = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            work()
            wall, after = time.perf_counter() - mark, resource.getrusage(resource.RUSAGE_SELF)
            kernel = after.ru_stime - before.ru_stime
            entry = {
                "wall_ms": 1000 * wall, "cpu_ms": 1000 * (after.ru_utime - before.ru_utime + kernel),
                "kernel_ms": 1000 * kernel, "page_faults": float(after.ru_minflt - before.ru_minflt),
            }  # fmt: skip
            if number:  # the first round warms up
                for key, value in entry.items():
                    samples.setdefault(name, {}).setdefault(key, []).append(value)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--config", action="append", default=[], help="overlay, such as paper")
    parser.add_argument("--stages-only", action="store_true", help="leave the network out")
    parser.add_argument("--note", default="nothing else was running")
    options = parser.parse_args()
    lock = platformdirs.user_cache_path("casr-net") / "evidence" / "pause.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = variants(options.config, not options.stages_only, Path(folder))
        with FileLock(lock):
            samples = run(found, options.rounds)
    summary = {
        name: {key: [round(float(q), 2) for q in np.percentile(values, (50, 25, 75))] for key, values in entry.items()}
        for name, entry in samples.items()
    }
    result = {
        "what": __doc__.splitlines()[0], "note": options.note, "rounds": options.rounds, "config": options.config,
        "machine": machine(), "platform": platform.platform(),
        "versions": runtime_versions([name for name in RUNTIMES if name in installed_runtimes()]),
        "median_and_quartiles": summary,
    }  # fmt: skip
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("| variant | wall ms | CPU ms | kernel ms | page faults |", "|---|---|---|---|---|", sep="\n")
    for name, entry in summary.items():
        cells = (f"{q[0]:.1f} ({q[1]:.1f} to {q[2]:.1f})" for q in entry.values())
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
