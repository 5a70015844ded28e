"""All tests, a few folders a process: python Testing/run.py [--jobs 2] [pytest arguments]

One process for everything was ended by SIGSEGV in three of about a dozen runs, each time at another place. The one core
file says that the kernel sent it (SI_KERNEL) at an instruction that cannot fault, and no handler was called, not even
that of faulthandler; the cause is not known (2026-11-26, Linux 6.18 in a virtual machine). So a process that a signal
ends is said loudly, and its folders are run once more. A second such end is a failure, as is every test that fails.
Coverage of all processes is put together.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PIECES = (
    ("label",),
    ("extension", "standins"),
    ("benchmarks", "bundle", "cine", "cli", "deploy"),
    ("evidence", "files", "fuzz", "inference"),
    ("metrics", "network", "preprocessing", "refinement", "release", "report", "site", "synthetic", "training"),
    ("vessels", "worker"),
)
"""Folders that share a process: few, since each imports and makes what its tests share anew. The longest first."""

NO_TESTS = 5
"""Exit status of pytest when a selection leaves none."""


def missing() -> list[str]:
    """Folders with tests that no piece has."""
    folders = {path.parent.relative_to(ROOT / "Testing").parts[0] for path in (ROOT / "Testing").rglob("test_*.py")}
    return sorted(folders - {name for piece in PIECES for name in piece})


def run_piece(number: int, words: list[str], jobs: int) -> tuple[int, float]:
    """Exit status of a piece's process, below 0 for a signal, and its seconds. Of several jobs, printed at its end."""
    folders = [f"Testing/{name}" for name in PIECES[number]]
    command = [sys.executable, "-m", "pytest", *folders, "--cov", "--cov-report=", "--cov-fail-under=0", *words]
    environment = {**os.environ, "COVERAGE_FILE": f".coverage.piece{number}"}
    if jobs > 1:  # with all cores each, they would wait for one another at every step
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    begun = time.monotonic()
    for attempt in (1, 2):
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE if jobs > 1 else None,
            stderr=subprocess.STDOUT if jobs > 1 else None,
        )  # fmt: skip
        if jobs > 1:
            sys.stdout.buffer.write(done.stdout)
        if done.returncode >= 0:
            break
        name = signal.Signals(-done.returncode).name
        again = "They are run once more." if attempt == 1 else "That was the second time."
        print(f"\n*** {name} ended the process of {', '.join(folders)}. {again} ***\n", flush=True)
        if done.returncode in (-signal.SIGINT, -signal.SIGTERM):
            break
    return done.returncode, time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    options, words = parser.parse_known_args()
    if forgotten := missing():
        print(
            f"Testing/run.py: no process has the tests of {', '.join(forgotten)}; add them to PIECES.", file=sys.stderr
        )
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
