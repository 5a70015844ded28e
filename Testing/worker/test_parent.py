"""A worker whose parent has gone ends, in both modes. [real processes]"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from casr_net.inference import parent

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "monai_bundle")}

# A worker that is busy for a minute: with a job, or with a command. What it has to do does not matter here.
BUSY = """
import sys, time
import casr_net.worker as worker
worker.FrameWorker.segment = lambda self, folder: (self._send(event="busy"), time.sleep(60))
sys.exit(worker.main(sys.argv[1:]))
"""
# A parent that starts it, passes its messages on and lives for a minute. Its own standard input stays open elsewhere.
STARTER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {busy!r}, *{arguments!r}], stdin=subprocess.PIPE)
child.stdin.write(b'{{"command": "segment", "folder": "x"}}\\n')
child.stdin.flush()
time.sleep(60)
"""


def worker_of(starter: subprocess.Popen[str]) -> psutil.Process:
    """The worker, once it works."""
    assert starter.stdout is not None
    for line in starter.stdout:
        if '"busy"' in line:
            (child,) = psutil.Process(starter.pid).children()
            return child
    raise AssertionError("the worker did not start")


@pytest.mark.parametrize("arguments", [[], ["folder"]], ids=["serving", "one job"])
def test_worker_ends_with_its_parent(arguments: list[str]) -> None:
    code = STARTER.format(busy=BUSY, arguments=arguments)
    starter = subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    child = worker_of(starter)
    starter.kill()
    starter.wait()
    started = time.monotonic()
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - started < 40, "the orphan lives on"
        time.sleep(0.05)


def test_worker_ends_with_the_process_that_is_named_rather_than_with_the_launcher() -> None:
    slicer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    worker = subprocess.Popen(
        [sys.executable, "-c", BUSY, "folder"], env={**ENVIRONMENT, parent.PARENT: str(slicer.pid)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None and "hello" in worker.stdout.readline()
    assert worker.poll() is None
    slicer.kill()
    slicer.wait()
    assert worker.wait(timeout=40) == 3
    worker.stdout.close()


class Kernel:
    """Windows' functions for two processes, of which one ends after a while."""

    def __init__(self, there: set[int], ends: int = 0) -> None:
        self.there, self.ends, self.asked = there, ends, 0
        self.error = 0

    def OpenProcess(self, access: int, inherit: bool, pid: int) -> int:  # noqa: N802
        self.error = 0 if pid in self.there else 87
        return pid if pid in self.there else 0

    def GetLastError(self) -> int:  # noqa: N802
        return self.error

    def WaitForSingleObject(self, handle: int, milliseconds: int) -> int:  # noqa: N802
        self.asked += 1
        return 0 if handle == self.ends and self.asked > 4 else 258


@pytest.mark.parametrize("ends", [11, 22])
def test_windows_waits_for_either(ends: int) -> None:
    """[double of the kernel: this was never run on Windows]"""
    kernel = Kernel({11, 22}, ends)
    assert parent._wait_windows(11, 22, 0.1, kernel) and kernel.asked > 4


def test_windows_process_that_is_gone_already() -> None:
    assert parent._wait_windows(11, 22, 0.1, Kernel({11}))


def test_windows_process_that_may_not_be_watched() -> None:
    kernel = Kernel(set())
    kernel.GetLastError = lambda: 5  # type: ignore[method-assign]
    assert not parent._wait_windows(11, None, 0.1, kernel)
