"""All tests, some folders or files a process: python Testing/run.py [--jobs 2] [pytest arguments]

One process for everything was ended by SIGSEGV in three of about a dozen runs, each time at another place. The one core
file says that the kernel sent it (SI_KERNEL) at an instruction that cannot fault, and no handler was called, not even
that of faulthandler; the cause is not known (2026-11-26, Linux 6.18 in a virtual machine). So a process that ends that
way, by SIGSEGV without a word of faulthandler, is said loudly, and its tests are run once more. Any other crash, or a
second such end, is a failure, as is every test that fails. Coverage of all processes is put together.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PIECES = (
    ("label/test_[a-k]*.py",),
    ("label/test_[l-z]*.py",),
    ("extension", "standins"),
    ("benchmarks", "bundle", "cine", "cli", "deploy"),
    ("evidence", "files", "fuzz", "inference"),
    ("metrics", "network", "preprocessing", "refinement", "release", "report", "site", "synthetic", "training"),
    ("vessels", "worker"),
)
"""Folders, or patterns of files, that share a process: few, since each imports and makes what its tests share anew. The
longest first."""

TOLD = b"Fatal Python error"
"""What faulthandler writes first, when a fault of this process calls it."""

NO_TESTS = 5
"""Exit status of pytest when a selection leaves none."""


def files_of(name: str) -> set[Path]:
    """Files with tests of a folder or pattern."""
    folder = ROOT / "Testing"
    return set((folder / name).rglob("test_*.py") if (folder / name).is_dir() else folder.glob(name))


def misplaced() -> dict[str, int]:
    """Files with tests that not exactly one entry of the pieces has, and how many have them."""
    times = Counter(path for piece in PIECES for name in piece for path in files_of(name))
    return {
        str(path.relative_to(ROOT)): times[path]
        for path in sorted((ROOT / "Testing").rglob("test_*.py"))
        if times[path] != 1
    }


def run_once(command: list[str], environment: dict[str, str], at_once: bool) -> tuple[int, bytes]:
    """Exit status, below 0 for a signal, and output of a process. Its output is passed on, at once or at its end."""
    kept = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as process:
        assert process.stdout is not None
        while part := process.stdout.read(4096):
            kept.append(part)
            if at_once:
                sys.stdout.buffer.write(part)
                sys.stdout.buffer.flush()
    output = b"".join(kept)
    if not at_once:
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()
    return process.returncode, output


def run_piece(number: int, words: list[str], jobs: int) -> tuple[int, float]:
    """Exit status of a piece's process, below 0 for a signal, and its seconds."""
    names = PIECES[number]
    places = [str(path) for name in names for path in (sorted(files_of(name)) if "*" in name else [f"Testing/{name}"])]
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", *places]
    command += ["--cov", "--cov-report=", "--cov-fail-under=0", "--durations=12", *words]
    environment = {**os.environ, "COVERAGE_FILE": f".coverage.piece{number}"}
    if jobs > 1:  # with all cores each, they would wait for one another at every step
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    begun = time.monotonic()
    status, output = run_once(command, environment, at_once=jobs == 1)
    if status == -signal.SIGSEGV and TOLD not in output:
        print(f"\n*** SIGSEGV ended the process of {', '.join(names)}, without a word. Once more. ***\n", flush=True)
        status, _ = run_once(command, environment, at_once=jobs == 1)
    return status, time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    options, words = parser.parse_known_args()
    if wrong := misplaced():
        told = ", ".join(f"{path} is in {times}" for path, times in wrong.items())
        print(f"Testing/run.py: each file with tests has to be in one entry of PIECES; {told}.", file=sys.stderr)
        return 2
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    with ThreadPoolExecutor(options.jobs) as pool:
        ended = list(pool.map(lambda number: run_piece(number, words, options.jobs), range(len(PIECES))))
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, check=False)
    report = subprocess.run([*coverage, "report"], cwd=ROOT, check=False).returncode
    for piece, (status, seconds) in zip(PIECES, ended, strict=True):
        what = "passed" if status == 0 else "no tests" if status == NO_TESTS else f"FAILED (status {status})"
        print(f"{what:>10} in {seconds:5.0f} s: {' '.join(piece)}")
    return 1 if any(status not in (0, NO_TESTS) for status, _ in ended) or (report and not words) else 0


if __name__ == "__main__":
    sys.exit(main())
