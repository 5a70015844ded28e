"""What a long run has used, on which machine and with which code; files that a kill leaves whole."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..inference import bundle_root
from ..training import uses_bfloat16

__all__ = ["Usage", "append_line", "hardware", "read_lines", "write_json"]


class Usage:
    """Time of all starts of a unit, in ``usage.jsonl`` of its folder; a kill loses what came after the last note.

    Each start notes when it began, the code's version and commit, the hardware, and the seconds it took.

    Args:
        folder: of the unit.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "usage.jsonl"
        self._before = read_lines(self.path)
        self._wall, self._cpu = time.time(), _cpu_seconds()
        self._entry = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **_code(), **hardware()}
        self.note()

    def note(self) -> None:
        """Write the time used up to now."""
        self._entry["wall_seconds"] = round(time.time() - self._wall, 1)
        self._entry["cpu_seconds"] = round(_cpu_seconds() - self._cpu, 1)
        _replace(self.path, "".join(json.dumps(line) + "\n" for line in (*self._before, self._entry)))

    def summary(self) -> dict[str, Any]:
        """Hours of processor and clock over all starts, and the starts themselves."""
        self.note()
        starts = [*self._before, self._entry]
        hours = {
            f"{kind}_hours": round(sum(s[f"{kind}_seconds"] for s in starts) / 3600, 3) for kind in ("cpu", "wall")
        }
        return {**hours, "starts": starts}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line; a line that a kill has cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append_line(path: Path, content: Any) -> None:
    """Add one JSON object as a line of its own, also after a line that a kill has cut off."""
    with open(path, "ab+") as stream:
        cut = False
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            cut = stream.read(1) != b"\n"
        stream.write((b"\n" if cut else b"") + json.dumps(content).encode() + b"\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, json.dumps(content, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _code() -> dict[str, Any]:
    """Version of the package and, in a checkout, the commit and whether files differ from it."""
    git = ["git", "-C", str(bundle_root())]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"version": __version__}
    return {"version": __version__, "commit": commit, "changed": bool(changed.stdout.strip())}


def hardware() -> dict[str, Any]:
    """Processor, number of CPUs and threads, whether training uses bfloat16 here, version of PyTorch, GPU if any."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:  # not Linux
        pass
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": uses_bfloat16(),
        "torch": torch.__version__,
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
    }
