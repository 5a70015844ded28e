"""Proves the CUDA paths on a machine with a GPU: masks, half precision, speed, memory, training step, worker, command.

    python benchmarks/gpu_check.py [--device cuda] [--output results/gpu_check.json]      # make gpu-check
    python benchmarks/gpu_check.py --device cpu                                           # a rehearsal of the script

Needs the package and this repository, no data and no network; two to three minutes on an H200. It prints one line a
check, and keeps all figures as JSON. Exit code 0: all passed; 1: something failed; 2: there is no such device, so that
nothing was checked. A rehearsal runs the same code on the CPU, with fewer frames, and says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casr_net.files.atomic import write_atomically

ROOT = Path(__file__).resolve().parent.parent
TARGET = 100.0
"""Frames a second that the network must reach in batches, in its best number format."""

PASSED, FAILED, VALUE, LEFT_OUT = "passed", "failed", "value", "left out"


@dataclass
class Check:
    """What a run of the checks shares, and what it has found.

    Attributes:
        device: "cuda", "cuda:<index>", or "cpu" for a rehearsal.
        folder: for temporary files.
        config: overlays of ``configs/inference.json``.
        frames: synthetic angiograms.
        batches: numbers of frames at once.
        seconds: for which each batch is timed.
        target: frames a second.
        size: pixels a side of the synthetic angiograms.
        lines: state, name, text and figures of each check.
        kept: what one check has loaded and others want, by device.
    """

    device: str
    folder: Path
    config: list[str] = field(default_factory=list)
    frames: int = 8
    batches: tuple[int, ...] = (1, 4, 8, 16)
    seconds: float = 1.0
    target: float = TARGET
    size: int = 512
    lines: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def rehearsal(self) -> bool:
        return not self.device.startswith("cuda")

    def say(self, name: str, text: str, passed: bool | None = None, **figures: Any) -> None:
        """Note a finding; ``passed`` None: a value that nothing is asked of."""
        self.note(VALUE if passed is None else PASSED if passed else FAILED, name, text, figures)

    def leave_out(self, name: str, why: str) -> None:
        """Note what cannot be checked here."""
        self.note(LEFT_OUT, name, why, {})

    def note(self, state: str, name: str, text: str, figures: dict[str, Any]) -> None:
        self.lines.append({"state": state, "name": name, "text": text, **figures})
        print(f"{state:<9} {name}: {text}", flush=True)


def checks() -> dict[str, Callable[[Check], None]]:
    """All checks, by name, in their order. They are imported only now, since a missing package should be told."""
    import gpu_inference
    import gpu_programs
    import gpu_tensorrt

    return {
        "masks": gpu_inference.masks,
        "half precision": gpu_inference.half_precision,
        "speed": gpu_inference.speed,
        "memory": gpu_inference.memory_ends,
        "tensorrt": gpu_tensorrt.tensorrt,
        "training": gpu_programs.training_step,
        "worker": gpu_programs.worker,
        "command": gpu_programs.command,
    }


def absent(device: str) -> str | None:
    """Why there is no such device; None where there is one."""
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    if device == "cpu":
        return None
    kind, _, index = device.partition(":")
    if kind != "cuda" or (index and not index.isdigit()):
        return f"device is {device!r}; known are cuda, cuda:<index>, and cpu for a rehearsal"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    count = torch.cuda.device_count()
    return None if int(index or 0) < count else f"torch {torch.__version__} finds {count} CUDA devices"


def run(check: Check, only: list[str] | None = None, keep: Callable[[], None] = lambda: None) -> int:
    """Do the checks; one that breaks is a failure, and the next goes on. Returns the exit code.

    ``keep`` is called after each: a run that is stopped loses only the check that it was at.
    """
    for name, work in checks().items():
        if only and name not in only:
            continue
        mark = time.monotonic()
        try:
            work(check)
        except Exception as error:  # whatever it is, the other checks may still tell something
            reason = " ".join(str(error).split())[:300]
            check.note(FAILED, name, f"{type(error).__name__}: {reason}", {})
        check.lines[-1]["check_seconds"] = round(time.monotonic() - mark, 1)
        keep()
    return 1 if any(line["state"] == FAILED for line in check.lines) else 0


def about(device: str) -> dict[str, Any]:
    """The device and what drives it."""
    import torch

    found: dict[str, Any] = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(torch.device(device))
        found |= {
            "name": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}", "cudnn": torch.backends.cudnn.version(),
            "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
        }  # fmt: skip
    return found


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:<index>, or cpu for a rehearsal (%(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "gpu_check.json")
    parser.add_argument("--only", action="append", help="this check; may be repeated")
    parser.add_argument("--config", action="append", default=[], help="overlay, such as compact")
    parser.add_argument(
        "--target", type=float, default=TARGET, help="frames a second of the network in batches (%(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, **settings: Any) -> int:
    """Run as a program; ``settings`` are further ones of :class:`Check`."""
    options = parsed(arguments)
    why = absent(options.device)
    if why is not None:
        print(f"no GPU: {why}. Nothing was checked.", file=sys.stderr)
        return 2
    began, device = time.monotonic(), about(options.device)
    print(", ".join(f"{key} {value}" for key, value in device.items()))
    with tempfile.TemporaryDirectory(prefix="casr-gpu-") as folder:
        check = Check(options.device, Path(folder), options.config, target=options.target)
        if check.rehearsal:
            print("REHEARSAL on the CPU: this shows that the checks run, and nothing about a GPU.")
            check.frames, check.batches, check.seconds, check.target = 2, (1, 2), 0.0, 0.0
        for key, value in settings.items():
            setattr(check, key, value)

        def keep(code: int | None = None) -> None:
            record = {
                "what": (__doc__ or "").splitlines()[0], "rehearsal": check.rehearsal, "about": device,
                "seconds": round(time.monotonic() - began, 1), "passed": None if code is None else code == 0,
                "checks": check.lines,
            }  # fmt: skip
            write_atomically(options.output, lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))

        code = run(check, options.only, keep)
    keep(code)
    seconds = time.monotonic() - began
    counts = {state: sum(line["state"] == state for line in check.lines) for state in (PASSED, FAILED, LEFT_OUT)}
    word = "rehearsal, " if check.rehearsal else ""
    print(f"{word}{', '.join(f'{n} {state}' for state, n in counts.items())}, {seconds:.0f} s; {options.output}")
    return code


if __name__ == "__main__":
    sys.exit(main())
