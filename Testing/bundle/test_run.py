"""Testing/run.py: whose processes run a second time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[1] / "run.py"

SILENT = "import signal; signal.signal(signal.SIGSEGV, signal.SIG_DFL)"
"""Stands in for a signal that calls no handler."""

DIE = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("casr_tests_run", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PIECES", (("piece",),))
    (tmp_path / "Testing" / "piece").mkdir(parents=True)
    return module


def ending(runner: ModuleType, tmp_path: Path, test: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, int]:
    """Status and number of runs of a piece with one test."""
    runs = tmp_path / "runs"
    lines = (f"open({str(runs)!r}, 'a').write('x')", f"first = len(open({str(runs)!r}).read()) == 1", test)
    file = tmp_path / "Testing" / "piece" / "test_it.py"
    file.write_text("".join(["def test_it():\n", *(f"    {line}\n" for line in lines)]))
    status, _ = runner.run_piece(0, ["-p", "no:cacheprovider"], 1)
    capfd.readouterr()
    return status, len(runs.read_text())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("test", "status", "runs"),
    [
        ("pass", 0, 1), ("assert not first", 1, 1),
        (f"if first: {SILENT}; {DIE}", 0, 2), (f"{SILENT}; {DIE}", -11, 2), (f"if first: {DIE}", -11, 1),
    ],
    ids=["passes", "fails", "silent death once", "silent death twice", "crash that is told"],
)  # fmt: skip
def test_only_silent_deaths_run_again(
    runner: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], test: str, status: int, runs: int
) -> None:
    assert ending(runner, tmp_path, test, capfd) == (status, runs)


def test_every_file_has_one_process(
    monkeypatch: pytest.MonkeyPatch, runner: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    assert runner.misplaced() == {}
    monkeypatch.setattr(runner, "PIECES", (*runner.PIECES[1:], ("worker/test_[a-z]*.py",)))
    wrong = runner.misplaced()
    assert wrong["Testing/label/test_access.py"] == 0 and "Testing/label/test_server.py" not in wrong
    assert {times for path, times in wrong.items() if "/worker/" in path} == {2}
    monkeypatch.setattr(sys, "argv", ["run.py"])
    assert runner.main() == 2 and "Testing/label/test_access.py is in 0" in capfd.readouterr().err


def test_pattern_takes_its_files_alone(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "z"):
        file = tmp_path / "Testing" / "piece" / f"test_{name}.py"
        file.write_text(f"def test_{name}():\n    open({str(tmp_path / name)!r}, 'w').close()\n")
    monkeypatch.setattr(runner, "PIECES", (("piece/test_[a-m]*.py",), ("piece/test_[n-z]*.py",)))
    assert runner.run_piece(0, ["-p", "no:cacheprovider"], 1)[0] == 0
    capfd.readouterr()
    assert (tmp_path / "a").is_file() and not (tmp_path / "z").is_file()
