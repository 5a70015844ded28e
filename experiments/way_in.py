"""The way in as a newcomer walks it: what is downloaded, and README's first commands, literally, in an empty folder.

    python experiments/way_in.py [--threads N] [--note TEXT]

Builds the wheel, downloads it and all that it needs (torch without CUDA, as pip.conf or PIP_FIND_LINKS offer it, else
from the address that README names), installs into a new environment, runs the commands that stand between the markers
of README, and writes ``results/way_in.json`` and README's lines about size and time.

    python experiments/way_in.py --text

only writes README's lines anew, from the JSON that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib
from pathlib import Path
from typing import Any

from casr_net.files.atomic import write_atomically
from tables import ROOT, fill

RESULT = ROOT / "experiments" / "results" / "way_in.json"
README = ROOT / "README.md"
EXTRAS = ("openvino", "video")
TORCH = "https://download.pytorch.org/whl/cpu"


def first_steps(readme: str) -> list[str]:
    """The commands between the markers."""
    found = re.search(r"<!-- first steps -->\n(.*?)<!-- /first steps -->", readme, flags=re.S)
    if found is None:
        raise SystemExit("README.md: no markers for the first steps")
    return [line.strip() for line in found[1].splitlines() if line.startswith("    ")]


def sentence(record: dict[str, Any]) -> str:
    """README's lines."""
    size, frames = record["download_mb"], record["milliseconds_a_frame"]
    commands = record["seconds"]
    return textwrap.fill(
        f"Download: {size['total']} MB without CUDA (torch {size['torch']} MB, casr-net with its weights "
        f"{size['casr-net']} MB), {record['installed_mb']} MB on the disk; torch with CUDA is larger. Time: "
        f"{frames['processor'] / 1000:.2f} s of one core's time for a frame of 512 x 512 (first `casr doctor` "
        f"{commands[0]['seconds']:.0f} s, since it measures which runtime is the fastest). Measured by "
        f"`experiments/way_in.py` on {record['machine']}, {record['note']}.",
        120, break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def walk(folder: Path, threads: int, note: str) -> dict[str, Any]:
    """Download, install, run."""
    wheels, venv, home = folder / "wheels", folder / "venv", folder / "empty"
    python = venv / "bin" / "python"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    run([sys.executable, "-m", "venv", str(venv)])
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "-w", str(wheels), str(ROOT)])
    own = next(wheels.glob("casr_net-*.whl"))
    limits = ["--constraint", str(ROOT / "constraints.txt")]
    wanted = f"casr-net[{','.join(EXTRAS)}] @ {own.as_uri()}"
    run([*pip, "download", "--only-binary", ":all:", "-d", str(wheels), torch, "--extra-index-url", TORCH])
    run([*pip, "download", "-d", str(wheels), "--find-links", str(wheels), *limits, wanted])
    sizes = {path.name.split("-")[0].replace("_", "-"): path.stat().st_size for path in wheels.iterdir()}
    run([*pip, "install", "--no-index", "--find-links", str(wheels), wanted])
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CASR_RUNTIME")}
    environment |= {"PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": str(threads)}
    seconds = []
    for command in first_steps(README.read_text(encoding="utf-8")):
        mark = time.perf_counter()
        done = run(["sh", "-c", command], cwd=home, env=environment)
        seconds.append({"command": command, "seconds": round(time.perf_counter() - mark, 1)})
        print(f"{seconds[-1]['seconds']:6.1f} s  {command}\n{done.stdout}{done.stderr}")
    record = json.loads((home / "results" / "run.json").read_text(encoding="utf-8"))["runs"][-1]
    versions = json.loads(run([str(python), "-m", "pip", "list", "--format", "json"]).stdout)
    installed = sum(path.stat().st_size for path in venv.rglob("*") if path.is_file() and not path.is_symlink())
    mb = {name: round(sizes[name] / 1e6) for name in ("torch", "casr-net")}
    return {
        "what": __doc__.splitlines()[0] if __doc__ else "",
        "version": project.get("version") or own.name.split("-")[1],
        "extras": list(EXTRAS),
        "download_mb": {"total": round(sum(sizes.values()) / 1e6), **mb},
        "installed_mb": round(installed / 1e6),
        "seconds": seconds,
        "milliseconds_a_frame": {"processor": frame_cost(python, home, environment)},
        "runtime": record["runtime"],
        "results": sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()),
        "machine": f"{processor()}, {threads} thread{'s' if threads > 1 else ''}",
        "platform": platform.platform(),
        "packages": {row["name"]: row["version"] for row in versions},
        "note": note,
    }


COST = """
import statistics, sys, time
from casr_net import Segmenter
from casr_net.files.images import read_angiogram
cine, segmenter = read_angiogram(sys.argv[1]), Segmenter()
times = []
for frame in range(cine.frames):
    mark = time.process_time()
    segmenter.of(cine, frame)
    times.append(1000 * (time.process_time() - mark))
print(round(statistics.median(times[1:]), 1))
"""


def frame_cost(python: Path, home: Path, environment: dict[str, str]) -> float:
    """Median milliseconds of processor time of a frame of the first steps' cine, all stages, without the first."""
    cine = next((home / "try" / "synthetic" / "images").iterdir())
    return float(run([str(python), "-c", COST, str(cine)], cwd=home, env=environment).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", default="nothing else was running")
    parser.add_argument("--text", action="store_true")
    options = parser.parse_args()
    if options.text:
        fill(README, sentence(json.loads(RESULT.read_text(encoding="utf-8"))), "way in")
        return
    with tempfile.TemporaryDirectory(prefix="way-in-") as folder:
        record = walk(Path(folder), options.threads, options.note)
    data = json.dumps(record, indent=1).encode()
    write_atomically(RESULT, lambda path: path.write_bytes(data))
    fill(README, sentence(record), "way in")


if __name__ == "__main__":
    main()
