"""From a file to written masks: frames a second of a synthetic cine, by runtime, one after the other and as a pipeline.

    python benchmarks/cine.py --output benchmarks/results/cine.json [--frames 12] [--rounds 3] [--note TEXT]
    python benchmarks/cine.py --table benchmarks/results/cine.json [--into README.md]

All variants run in turns on the same file, so that whatever else happens on the machine meets all alike; ratios are to
"torch eager": the network as it is, in single precision, one frame after the other. Each variant has run once before.
While it runs, the training runner of ``make evidence`` waits (its pause lock is held). Say by ``--note`` what else was
running. ``--table`` prints the table of a result, or puts it between the marks ``<!-- cine -->`` of a text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from filelock import FileLock

from casr_net.inference.bundle import build, load_parser
from casr_net.inference.run import run_inference
from casr_net.inference.runtimes.machine import machine
from casr_net.inference.runtimes.packages import RUNTIMES, installed_runtimes, runtime_versions
from casr_net.synthetic.angiogram import make_cine
from casr_net.training.precision import uses_bfloat16

BASE = "torch eager, one after the other"
MARK = "<!-- cine -->"


class Variant:
    """A configured run over the file; the network stays loaded, its results are written anew each time."""

    def __init__(self, source: Path, folder: Path, runtime: str, precision: str, pipeline: bool) -> None:
        self.source, self.folder, self.pipeline = source, folder, pipeline
        self.parser = load_parser(device_name="cpu", runtime=runtime.split()[0], precision=precision)
        self.network, self.inferer = build(self.parser, "network"), build(self.parser, "inferer")
        if runtime == "torch eager":
            # A hook makes the inferer leave the network to torch as it is.
            self.network.register_forward_hook(lambda *_: None)

    def __call__(self) -> float:
        """Seconds of a run."""
        parser = load_parser(
            inputs=[str(self.source)], output_dir=str(self.folder), overwrite=True, device_name="cpu",
            pipeline=self.pipeline,
        )  # fmt: skip
        parser["network"], parser["inferer"] = self.network, self.inferer
        evaluator, report = build(parser, "evaluator"), build(parser, "report")
        mark = time.perf_counter()
        run_inference(evaluator, report)
        seconds = time.perf_counter() - mark
        assert report.exit_code == 0
        return seconds


def variants(source: Path, folder: Path) -> dict[str, Callable[[], float]]:
    """What is timed, by name."""
    found: dict[str, Callable[[], float]] = {}
    formats = ["fp32", "bf16"] if uses_bfloat16() else ["fp32"]
    for runtime in ("torch eager", *installed_runtimes()):
        for precision in formats if runtime in ("torch", "openvino") else ["fp32"]:
            for pipeline in (False, True):
                name = runtime if runtime == "torch eager" else f"{runtime} {precision}"
                way = "pipeline" if pipeline else "one after the other"
                found[f"{name}, {way}"] = Variant(source, folder / str(len(found)), runtime, precision, pipeline)
    return found


def write_cine(path: Path, frames: int) -> Path:
    """A cine of 512 x 512 as TIFF."""
    import tifffile

    tifffile.imwrite(path, np.stack([frame.image for frame in make_cine(11, frames, 512)]), photometric="minisblack")
    return path


def table(result: dict[str, Any]) -> str:
    """Ratios alone, which other work on the machine changes least."""
    lines = [
        "| runtime | one after the other | pipeline |",
        "|---|---|---|",
    ]
    ratios = {name: entry["ratio"] for name, entry in result["variants"].items()}
    for name in ratios:
        runtime, _, way = name.partition(", ")
        if way != "pipeline":
            cells = (f"{ratios[f'{runtime}, {kind}']:.2f}" for kind in ("one after the other", "pipeline"))
            lines.append(f"| {runtime} | {' | '.join(cells)} |")
    threads, note = result["machine"]["threads"], result["note"]
    size, frames = result["size"], result["frames"]
    lines.append("")
    lines.append(
        f"Frames a second, file to written mask, as multiples of torch eager one after the other; medians of "
        f"{result['rounds']} runs in turns over {frames} frames of {size} x {size}, {threads} thread(s), "
        f"{result['machine']['processor']}; {note}."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", type=Path)
    action.add_argument("--table", type=Path)
    parser.add_argument("--into", type=Path, help="text that the table is put into")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="nothing else was running")
    options = parser.parse_args()
    if options.table:
        words = table(json.loads(options.table.read_text(encoding="utf-8")))
        if options.into is None:
            print(words)
            return
        before, _, behind = options.into.read_text(encoding="utf-8").split(MARK)
        options.into.write_text(f"{before}{MARK}\n{words}\n{MARK}{behind}", encoding="utf-8")
        return
    lock = platformdirs.user_cache_path("casr-net") / "evidence" / "pause.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, FileLock(lock):
        source = write_cine(Path(name) / "cine.tif", options.frames)
        found = variants(source, Path(name))
        for turn in range(options.rounds + 1):
            for variant, run in found.items():
                taken = run()
                if turn:  # the first converts, compiles and warms up
                    seconds.setdefault(variant, []).append(taken)
    base = statistics.median(seconds[BASE])
    result = {
        "what": __doc__.splitlines()[0], "note": options.note, "rounds": options.rounds, "frames": options.frames,
        "size": 512, "machine": machine(), "load": os.getloadavg(), "platform": platform.platform(),
        "versions": runtime_versions([name for name in RUNTIMES if name in installed_runtimes()]),
        "largest_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "torch_threads": torch.get_num_threads(),
        "variants": {
            variant: {
                "seconds": {"median": statistics.median(taken), "least": min(taken), "most": max(taken)},
                "ratio": round(base / statistics.median(taken), 3),
            }
            for variant, taken in seconds.items()
        },
    }  # fmt: skip
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
