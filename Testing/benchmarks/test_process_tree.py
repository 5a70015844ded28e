"""The memory that a program and those that it starts hold together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

HOLD = "import sys, time; held = bytearray(b'x') * (int(sys.argv[1]) * 10**6); time.sleep(1.0); "
BOTH = f"import subprocess; {HOLD} subprocess.run([sys.executable, '-c', {HOLD!r}, '90'])"
FORKED = f"import os; {HOLD} child = os.fork(); time.sleep(1.0); child and os.wait()"


def test_what_processes_hold_counts_together_and_what_they_share_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from process_tree import peak_memory

    megabytes, seconds, code, errors = peak_memory([sys.executable, "-c", BOTH, "60"])
    assert 150 <= megabytes < 190 and seconds >= 1 and code == 0 and not errors
    assert 90 <= peak_memory([sys.executable, "-c", FORKED, "90"])[0] < 120
    assert peak_memory([sys.executable, "-c", "raise SystemExit('why')"])[2:] == (1, "why\n")
