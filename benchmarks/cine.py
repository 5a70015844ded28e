"""From a file to written masks: frames a second of a synthetic cine, by runtime, one after the other and as a pipeline.

    python benchmarks/cine.py --output benchmarks/results/cine.json [--frames 48] [--rounds 3] [--note TEXT] [--no-lock]

All variants run in turns on the same file; ratios are to "torch eager": the network as it is, in single precision, one
frame after the other. Of the network with the paper's encoder ("compact") only that and the fastest of torch and
OpenVINO are run, with ratios of its own. Each variant has run once before. ``bench.py`` runs all benchmarks.

With ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2 torch and OpenVINO compute as on a processor with no more, and
ONNX Runtime, which cannot be limited, is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from casr_net.inference.bundle import build, load_parser
from casr_net.inference.run import run_inference
from casr_net.inference.runtimes.machine import LIMIT, bfloat16_supported
from casr_net.inference.runtimes.packages import installed_runtimes
from casr_net.synthetic.angiogram import make_cine
from common import Work, arguments, median, paused_training, record, summary, told, turns, write_json
from networks import GROUPS, eight_bits

__all__ = ["BASE", "Variant", "measure", "measure_limited", "table", "variants", "write_cine"]

BASE = "torch eager, one after the other"
OTHER = "compact"
WAYS = ("one after the other", "pipeline")


class Variant:
    """A configured run over the file; the network stays loaded, its results are written anew each time."""

    def __init__(
        self, source: Path, folder: Path, runtime: str, precision: str, pipeline: bool, config: Sequence[str] = ()
    ) -> None:
        self.source, self.folder, self.pipeline, self.config = source, folder, pipeline, list(config)
        self.parser = load_parser(self.config, device_name="cpu", runtime=runtime.split()[0], precision=precision)
        self.network, self.inferer = build(self.parser, "network"), build(self.parser, "inferer")
        if runtime == "torch eager":
            # A hook makes the inferer leave the network to torch as it is.
            self.network.register_forward_hook(lambda *_: None)

    def __call__(self) -> float:
        """Seconds of a run."""
        parser = load_parser(
            self.config, inputs=[str(self.source)], output_dir=str(self.folder), overwrite=True, device_name="cpu",
            pipeline=self.pipeline,
        )  # fmt: skip
        parser["network"], parser["inferer"] = self.network, self.inferer
        evaluator, report = build(parser, "evaluator"), build(parser, "report")
        mark = time.perf_counter()
        run_inference(evaluator, report)
        seconds = time.perf_counter() - mark
        assert report.exit_code == 0
        return seconds


def variants(source: Path, folder: Path) -> dict[str, Work]:
    """What is timed, by name."""
    found: dict[str, Work] = {}
    formats = ["fp32", "bf16"] if bfloat16_supported() else ["fp32"]
    smallest = ["int8"] if eight_bits(GROUPS[0], torch.rand(1, 3, 64, 64)) else []
    kinds = {"torch": formats, "openvino": [*formats, *smallest]}
    limited = LIMIT in os.environ
    for runtime in ("torch eager", *(name for name in installed_runtimes() if not (limited and name == "onnx"))):
        for precision in kinds.get(runtime, ["fp32"]):
            for pipeline, way in enumerate(WAYS):
                name = runtime if runtime == "torch eager" else f"{runtime} {precision}"
                found[f"{name}, {way}"] = Variant(source, folder / str(len(found)), runtime, precision, bool(pipeline))
    fastest = "openvino" if "openvino" in installed_runtimes() else "torch"
    for runtime, precision in () if limited else (("torch eager", "fp32"), (fastest, formats[-1])):
        for pipeline, way in enumerate(WAYS):
            name = f"{OTHER} {runtime if runtime == 'torch eager' else f'{runtime} {precision}'}, {way}"
            found[name] = Variant(source, folder / str(len(found)), runtime, precision, bool(pipeline), [OTHER])
    return found


def _base(variant: str) -> str:
    return f"{OTHER} {BASE}" if variant.startswith(OTHER) else BASE


def write_cine(path: Path, frames: int) -> Path:
    """A cine of 512 x 512 as TIFF."""
    import tifffile

    tifffile.imwrite(path, np.stack([frame.image for frame in make_cine(11, frames, 512)]), photometric="minisblack")
    return path


def measure(rounds: int, frames: int) -> dict[str, Any]:
    """Seconds, frames a second and ratios, by runtime and way."""
    with tempfile.TemporaryDirectory() as name:
        source = write_cine(Path(name) / "cine.tif", frames)
        times = summary(turns(variants(source, Path(name)), rounds, lambda run: {"seconds": run()}), 4)
    return {
        "frames": frames, "size": 512, "variants": {
            variant: {
                **entry, "frames_a_second": round(frames / median(times, variant, "seconds"), 2),
                "ratio": round(median(times, _base(variant), "seconds") / median(times, variant, "seconds"), 3),
            }
            for variant, entry in times.items()
        },
    }  # fmt: skip


def measure_limited(rounds: int, frames: int) -> dict[str, Any]:
    """As :func:`measure`, by a process that is limited to AVX2; what it says of its machine takes the place of ours."""
    environment = {**os.environ, LIMIT: "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "cine.json"
        command = [sys.executable, __file__, "--no-lock", "--output", str(path), "--rounds", str(rounds)]
        subprocess.run([*command, "--frames", str(frames)], env=environment, check=True, stdout=subprocess.DEVNULL)
        result = json.loads(path.read_text(encoding="utf-8"))
    return {name: result[name] for name in ("machine", "load", "frames", "size", "variants")}


def table(result: dict[str, Any]) -> str:
    """Frames a second, and ratios, which other work on the machine changes least."""
    found = result["variants"]
    lines = ["| runtime | one after the other | pipeline |", "|---" * 3 + "|"]
    for runtime in dict.fromkeys(name.partition(", ")[0] for name in found):
        entries = (found[f"{runtime}, {way}"] for way in WAYS)
        cells = (f"{entry['frames_a_second']:.1f} ({entry['ratio']:.2f} x)" for entry in entries)
        lines.append(f"| {runtime} | {' | '.join(cells)} |")
    size, frames = result["size"], result["frames"]
    foot = (
        f"Frames a second, file to written mask, and that as a multiple of torch eager one after the other with the "
        f"same network; {_networks(found)}; medians over {frames} frames of {size} x {size}. {told(result)}"
    )
    return "\n".join([*lines, "", foot])


def _networks(found: dict[str, Any]) -> str:
    if any(name.startswith(OTHER) for name in found):
        return f"{OTHER} has the paper's encoder, the other rows are of the light network"
    return "the light network"


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--frames", type=int, default=48)
    options = parser.parse_args()
    with paused_training(options.lock):
        result = record(__doc__, options, **measure(options.rounds, options.frames))
    if options.output:
        write_json(options.output, result)
    print(table(result))


if __name__ == "__main__":
    main()
