"""Time of each stage of a frame, of each runtime, and what the system's memory costs.

    python benchmarks/stages.py --output benchmarks/results/stages.json [--rounds 7] [--note TEXT] [--no-lock]

All variants are run in turns; the table has median and quartiles of wall time, processor time, the part of it in the
kernel, and page faults. ``bench.py`` runs all benchmarks.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from casr_net.files.maps import write_png
from casr_net.inference.bundle import load_parser
from casr_net.inference.runtimes.engines import OnnxEngine, OpenVINOEngine, TorchEngine, as_onnx
from casr_net.inference.runtimes.machine import bfloat16_supported
from casr_net.inference.runtimes.packages import installed_runtimes
from casr_net.network.rewrite import rewritten
from casr_net.preprocessing.load import image_tensor
from casr_net.synthetic.angiogram import make_angiogram
from common import Work, arguments, paused_training, record, summary, told, turns, write_json
from networks import eager

__all__ = ["measure", "table", "variants"]


def variants(config: list[str], network_too: bool, folder: Path) -> dict[str, Work]:
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
    found: dict[str, Work] = {
        "preprocessing": lambda: channels(dict(image)),
        "refinement": lambda: post(dict(prepared)),
        "writing": lambda: write_png(folder / "mask.png", mask),
    }
    if not network_too:
        return found
    engines: dict[str, Any] = {}
    found["torch as it is"] = functools.partial(eager, network, inputs)
    formats = [False, True] if bfloat16_supported() else [False]
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


def measure(rounds: int, config: list[str] | None = None, network_too: bool = True) -> dict[str, Any]:
    """Median and quartiles of each quantity, by stage and runtime.

    Args:
        rounds: samples of each.
        config: overlays, such as "paper".
        network_too: False leaves the network out.
    """
    with tempfile.TemporaryDirectory() as folder:
        samples = turns(variants(config or [], network_too, Path(folder)), rounds)
    return {"config": config or [], "median_and_quartiles": summary(samples)}


def table(result: dict[str, Any]) -> str:
    """All quantities of all variants."""
    lines = ["| stage or network | wall ms | CPU ms | in the kernel, ms | page faults |", "|---" * 5 + "|"]
    for name, entry in result["median_and_quartiles"].items():
        cells = (f"{q[0]:.1f} ({q[1]:.1f} to {q[2]:.1f})" for q in entry.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"A frame of 512 x 512, median and quartiles. {told(result)}"])


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--config", action="append", default=[], help="overlay, such as paper")
    parser.add_argument("--stages-only", action="store_true", help="leave the network out")
    options = parser.parse_args()
    with paused_training(options.lock):
        result = record(__doc__, options, **measure(options.rounds, options.config, not options.stages_only))
    if options.output:
        write_json(options.output, result)
    print(table(result))


if __name__ == "__main__":
    main()
