"""Peak memory of a program and all processes that it starts, at the same moment (Linux)."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

import psutil

__all__ = ["peak_memory"]

SECONDS = 0.05
"""Between two looks. A look at 1 GB takes about 20 ms."""

MAPPING = re.compile(r"([0-9a-f]+-[0-9a-f]+) \S+ ([0-9a-f]+) \S+ (\d+)\s*(.*)")
COUNTED = ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")


def peak_memory(command: list[str]) -> tuple[float, float, int, str]:
    """Run a program.

    Returns:
        the most memory that its processes held together, MB (1e6 bytes), no less than the system tells of the largest
        of them; seconds; exit code; what it wrote to standard error.
    """
    mark = time.perf_counter()
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(program.stderr.read() if program.stderr else ""))
    reader.start()
    root = psutil.Process(program.pid)
    most = 0
    while program.poll() is None:
        try:
            tree = [root.pid, *(child.pid for child in root.children(recursive=True))]
        except psutil.Error:
            break
        most = max(most, _held(tree), *map(_high_water, tree))
        time.sleep(SECONDS)
    code = program.wait()
    reader.join()
    return round(most / 1e6, 1), round(time.perf_counter() - mark, 1), code, "".join(errors)


def _held(pids: list[int]) -> int:
    """Bytes that processes hold together: what one has alone, and once what several of them have in common, as the
    pages of a library. What they share with programs outside counts in full."""
    alone = 0
    common: defaultdict[tuple[str, str], int] = defaultdict(int)
    for pid in pids:
        key = ("", "")
        shared: defaultdict[tuple[str, str], int] = defaultdict(int)
        for line in _lines(pid, "smaps"):
            name, _, value = line.partition(":")
            if name in COUNTED:
                size = 1024 * int(value.split()[0])
                if name.startswith("Private"):
                    alone += size
                else:
                    shared[key] += size
            elif (found := MAPPING.match(line)) is not None:
                places, offset, inode, path = found.groups()
                key = (path, offset) if inode != "0" else ("", places)  # a forked process has the same places
        for key, size in shared.items():
            common[key] = max(common[key], size)
    return alone + sum(common.values())


def _high_water(pid: int) -> int:
    """Largest memory of one process until now, in bytes."""
    for line in _lines(pid, "status"):
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def _lines(pid: int, name: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # it has ended
        return []
