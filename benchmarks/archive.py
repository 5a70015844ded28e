"""Many cines: what a list of files takes, by the local engine and by Ray, and what follows for an archive.

    python benchmarks/archive.py --output benchmarks/results/archive.json [--rounds 2] [--note TEXT] [--no-lock]
    python benchmarks/archive.py --table benchmarks/results/archive.json [--into docs/scale.md]

Each run is the command ``casr segment LIST`` with a folder of its own; engines and lists go in turns. Processor
seconds, memory and bytes are those of all of its processes, looked at every tenth of a second. Three lists tell apart
what the start, a frame and a file take: few cines, many, and as many frames in shorter cines. What an archive takes is
computed from that and from the assumptions below, which stand in the result; it was not run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile

from casr_net.files.inputs import find_inputs
from casr_net.synthetic.angiogram import make_cine
from common import arguments, median, paused_training, put_table, record, summary, told, turns, write_json

__all__ = ["ENGINES", "LISTS", "Assumptions", "Watched", "archive", "measure", "parts", "table"]

SIZE = 512
LISTS = {"few": (4, 8), "many": (12, 8), "short": (32, 3)}
"""Cines, and frames of each. "many" and "short" have the same number of frames."""

ENGINES = {"local": [], "ray, 1 worker": ["--workers", "1"], "ray, 2 workers": ["--workers", "2"]}

LOOK = 0.1
"""Seconds between two looks at the processes."""


@dataclass(frozen=True)
class Assumptions:
    """What the figures for an archive rest on beside what was measured. None of it is measured.

    Attributes:
        cines: in the archive.
        frames: a cine; about 5 s at 15 frames a second.
        cores: that work at once.
        price: of a core-hour, US dollars; the order of what clouds ask for virtual processors.
        memory: bytes that the process with the record may take.
        record: bytes that ``run.json`` may have, which is written whole each time.
    """

    cines: int = 1_000_000
    frames: int = 80
    cores: int = 64
    price: float = 0.04
    memory: float = 8e9
    record: float = 1e8


class Watched:
    """A command, and what its processes have used by its end: Ray's are descendants of the one that starts it."""

    def __init__(self, words: list[str]) -> None:
        begun = time.perf_counter()
        command = subprocess.Popen([sys.executable, "-m", "casr_net.cli", *words], stdout=subprocess.DEVNULL)
        self._seen: dict[int, dict[str, float]] = {}
        root = psutil.Process(command.pid)
        while command.poll() is None:
            for process in [root, *_below(root)]:
                self._look(process)
            time.sleep(LOOK)
        self.seconds = time.perf_counter() - begun
        if command.returncode:
            raise RuntimeError(f"casr {' '.join(words)}: ended with {command.returncode}")
        self.driver = self._seen[command.pid]

    def _look(self, process: psutil.Process) -> None:
        try:
            with process.oneshot():
                times, io = process.cpu_times(), process.io_counters()
                now = {
                    "processor": times.user + times.system, "memory": float(process.memory_info().rss),
                    "read": float(io.read_chars), "written": float(io.write_chars),
                    "worker": float(any("MapWorker" in word for word in process.cmdline())),
                }  # fmt: skip
        except psutil.Error:  # it has ended
            return
        before = self._seen.get(process.pid, {})
        self._seen[process.pid] = {key: max(value, before.get(key, 0.0)) for key, value in now.items()}

    @property
    def used(self) -> dict[str, float]:
        """Seconds, processor seconds of all processes, largest memory of a worker, bytes read and written by them."""
        workers = [one for one in self._seen.values() if one["worker"]] or [self.driver]
        return {
            "seconds": self.seconds,
            "processor_seconds": sum(one["processor"] for one in self._seen.values()),
            "worker_memory_mb": max(one["memory"] for one in workers) / 2**20,
            "all_memory_mb": sum(one["memory"] for one in self._seen.values()) / 2**20,
            "read_mb": sum(one["read"] for one in workers) / 1e6,
            "written_mb": sum(one["written"] for one in workers) / 1e6,
        }


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def write_lists(folder: Path) -> dict[str, Path]:
    """The lists and their cines, which all differ: uncompressed TIFF, 8 bit."""
    frames = np.stack([frame.image for frame in make_cine(11, max(frames for _, frames in LISTS.values()), SIZE)])
    found = {}
    for name, (cines, length) in LISTS.items():
        (folder / name).mkdir()
        paths = [folder / name / f"{number}.tif" for number in range(cines)]
        for number, path in enumerate(paths):
            tifffile.imwrite(path, np.roll(frames[:length], 16 * number, axis=2), photometric="minisblack")
        found[name] = folder / f"{name}.txt"
        found[name].write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")
    return found


def measure(rounds: int) -> dict[str, Any]:
    """What each engine takes for each list, and what the record and the listing of files take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = write_lists(folder)
        count = 0

        def run(engine: str, path: Path) -> dict[str, float]:
            nonlocal count
            count += 1
            output = folder / f"out{count}"
            words = ["segment", str(path), "-o", str(output), "--flat", "-q", "-d", "cpu"]
            words += ["--engine", engine.split(",")[0], *ENGINES[engine]]
            entry = Watched(words).used
            masks = list(output.glob("*_mask.png"))
            entry["results_mb"] = sum(mask.stat().st_size for mask in masks) / 1e6
            entry["record_mb"] = (output / "run.json").stat().st_size / 1e6
            return entry

        found = {
            f"{engine}: {listed}": (lambda engine=engine, path=path: run(engine, path))
            for engine in ENGINES
            for listed, path in lists.items()
        }
        samples = summary(turns(found, rounds, lambda work: work()), 4)
        mark = time.perf_counter()
        inputs = find_inputs([str(lists["short"])], flat=True)
        listing = (time.perf_counter() - mark) / len(inputs.paths)
    item = sys.getsizeof(inputs.items[0]) + sum(sys.getsizeof(inputs.items[0][key]) for key in ("frame", "frames"))
    return {
        "size": SIZE, "lists": LISTS, "runs": samples, "listing_seconds_a_file": round(listing, 5),
        "bytes_a_listed_frame": item + 8,
        "parts": {engine: parts(samples, engine) for engine in ENGINES},
    }  # fmt: skip


def parts(samples: dict[str, dict[str, list[float]]], engine: str) -> dict[str, dict[str, float]]:
    """What the start, a file and a frame take of each quantity: the line through the three lists.

    Where the machine was busy, small ones may come out below zero; they are given as they are.
    """
    found: dict[str, dict[str, float]] = {}
    matrix = np.array([[1, cines, cines * frames] for cines, frames in LISTS.values()], float)
    for quantity in ("seconds", "processor_seconds", "results_mb", "record_mb", "read_mb", "written_mb"):
        values = [median(samples, f"{engine}: {listed}", quantity) for listed in LISTS]
        start, file, frame = np.linalg.solve(matrix, values)
        found[quantity] = {"start": float(start), "file": float(file), "frame": float(frame)}
    found["memory_mb"] = {
        "worker": max(median(samples, f"{engine}: {listed}", "worker_memory_mb") for listed in LISTS),
        "all": max(median(samples, f"{engine}: {listed}", "all_memory_mb") for listed in LISTS),
    }
    return found


def archive(found: dict[str, Any], assumed: Assumptions, engine: str = "ray, 1 worker") -> dict[str, float]:
    """What an archive takes, computed.

    Args:
        found: of :func:`measure`.
        assumed: see there.
        engine: whose figures of one worker count.
    """
    entry = found["parts"][engine]

    def a_cine(quantity: str) -> float:
        return max(entry[quantity]["file"], 0.0) + assumed.frames * entry[quantity]["frame"]

    core_seconds = a_cine("processor_seconds")
    core_hours = assumed.cines * core_seconds / 3600
    cine_bytes = assumed.frames * found["size"] ** 2
    listed = assumed.frames * found["bytes_a_listed_frame"]
    return {
        "core_seconds_a_cine": core_seconds,
        "frames_a_core_second": assumed.frames / core_seconds,
        "core_hours": core_hours,
        "hours": core_hours / assumed.cores,
        "dollars": core_hours * assumed.price,
        "memory_gb": assumed.cores * entry["memory_mb"]["worker"] / 1024,
        "source_tb": assumed.cines * cine_bytes / 1e12,
        "network_mb_a_second": assumed.cores * cine_bytes / core_seconds / 1e6,
        "results_tb": assumed.cines * a_cine("results_mb") / 1e6,
        "result_files": float(assumed.cines * assumed.frames),
        "listing_hours": assumed.cines * found["listing_seconds_a_file"] / 3600,
        "listing_gb": assumed.cines * listed / 1e9,
        "record_gb": assumed.cines * a_cine("record_mb") / 1e3,
        "cines_until_memory": assumed.memory / listed,
        "cines_until_record": assumed.record / 1e6 / a_cine("record_mb"),
    }


def table(result: dict[str, Any]) -> str:
    """What was measured, and what follows."""
    words = (
        "| engine | start, core-s | a file, core-s | a frame, core-s | frames a core-second | start, s | memory of a "
        "worker, MB |"
    )
    lines = [words, "|---" * 7 + "|"]
    for engine, entry in result["parts"].items():
        used, waited = entry["processor_seconds"], entry["seconds"]
        lines.append(
            f"| {engine} | {used['start']:.1f} | {used['file']:.2f} | {used['frame']:.3f} | {1 / used['frame']:.1f} | "
            f"{waited['start']:.0f} | {entry['memory_mb']['worker']:.0f} |"
        )
    assumed, found = result["assumptions"], result["archive"]
    lists = ", ".join(f"{cines} x {frames}" for cines, frames in result["lists"].values())
    size, count = result["size"], f"{assumed['cines']:,} cines of {assumed['frames']} frames"
    lines += [
        "",
        f"`casr segment LIST` of synthetic cines ({lists} frames) of {size} x {size}, file to mask. Medians. A "
        f"core-second is a second of one processor. {told(result)}",
        "",
        f"For {count} on {assumed['cores']} cores at {assumed['price']:.2f} dollars a core-hour (all four are "
        "assumptions; computed, not run):",
        "",
        "| | |",
        "|---|---|",
        f"| processor time | {found['core_seconds_a_cine']:.1f} s a cine, {found['core_hours']:,.0f} core-hours |",
        f"| duration | {found['hours']:,.0f} hours |",
        f"| cost of the processors | {found['dollars']:,.0f} dollars |",
        f"| memory of the workers | {found['memory_gb']:.0f} GB |",
        f"| to read, uncompressed | {found['source_tb']:.1f} TB, {found['network_mb_a_second']:.0f} MB a second |",
        f"| masks as PNG | {found['results_tb']:.2f} TB in {found['result_files'] / 1e6:,.0f} million files |",
        f"| listing all files before | {found['listing_hours']:.1f} hours, {found['listing_gb']:.0f} GB of memory |",
        f"| `run.json` of one run | {found['record_gb']:.1f} GB |",
        f"| cines a list until `run.json` has {assumed['record'] / 1e6:.0f} MB | {found['cines_until_record']:,.0f} |",
        f"| cines a list until the list fills {assumed['memory'] / 1e9:.0f} GB | {found['cines_until_memory']:,.0f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, rounds=2)
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of a result")
    parser.add_argument("--into", type=Path, metavar="TEXT", help="with --table: put them between the text's marks")
    options = parser.parse_args()
    if options.table:
        words = table(json.loads(options.table.read_text(encoding="utf-8")))
        if options.into:
            put_table(options.into, "archive", words)
        else:
            print(words)
        return
    with paused_training(options.lock):
        found = measure(options.rounds)
    assumed = Assumptions()
    result = record(__doc__, options, **found, assumptions=asdict(assumed), archive=archive(found, assumed))
    if options.output:
        write_json(options.output, result)
    print(table(result))


if __name__ == "__main__":
    main()
