"""Output to terminals and pipes of every kind, in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def casr(*arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "casr_net.cli", *arguments]
    return subprocess.run(command, capture_output=True, check=False, **{"env": ENVIRONMENT, **more})  # type: ignore[call-overload]


def test_a_reader_that_has_seen_enough_ends_it_quietly(png: Path) -> None:
    code = f"{sys.executable} -m casr_net.cli info angio.png | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=False, cwd=png.parent, env=ENVIRONMENT
    )
    assert done.stdout == "0\n"
    assert done.stderr == ""


def test_names_that_a_terminal_cannot_show(picture, tmp_path: Path) -> None:
    picture(tmp_path / "冠状é.png")
    picture(Path(os.fsdecode(bytes(tmp_path / "caf") + b"\xe9.png")))
    (tmp_path / "bad é.png").write_bytes(b"bad")
    done = casr("info", str(tmp_path), env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert rb"\u51a0\u72b6\xe9.png" in done.stdout and rb"caf\xe9.png" in done.stdout
    assert rb"bad \xe9.png: " in done.stderr
    assert b"Error" not in done.stderr and b"unexpected" not in done.stderr


def test_names_that_a_terminal_would_obey(picture, tmp_path: Path, capsys) -> None:
    """Line breaks and control sequences in names of files: escaped, so that a line stays one."""
    from casr_net.cli import main

    picture(tmp_path / "ok\x1b[2J.png")
    (tmp_path / "two\nlines\u2028.png").write_bytes(b"bad")
    assert main(["info", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert r"ok\x1b[2J.png" in said.out and "\x1b" not in said.out
    (line,) = (line for line in said.err.splitlines() if "bad" in line or "lines" in line)
    assert r"two\nlines\u2028.png: " in line


@pytest.mark.parametrize("command", ["segment", "analyze", "info", "evaluate"])
def test_paths_that_the_system_refuses_are_named(command: str, png: Path, tmp_path: Path, capsys) -> None:
    from casr_net.cli import main

    name = str(tmp_path / ("n" * 300))
    words = {"info": [name], "evaluate": [name, name]}.get(command, [str(png), "-o", name, "--quiet"])
    assert main([command, *words]) != 0
    error = capsys.readouterr().err
    assert f"{name}: " in error and "File name too long" in error and "unexpected" not in error


def test_a_pipe_is_no_configuration(png: Path, tmp_path: Path, capsys) -> None:
    from casr_net.cli import main

    os.mkfifo(tmp_path / "pipe")
    assert main(["segment", str(png), "-o", str(tmp_path / "out"), "-c", str(tmp_path / "pipe")]) == 2
    assert "pipe: no regular file; a configuration is read several times" in capsys.readouterr().err


def test_help_is_quick() -> None:
    """By processor time, which other work on the machine hardly changes; torch alone takes two seconds of it."""
    best = 9.0
    for _ in range(3):
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert casr("--help").returncode == 0
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime)
    assert best < 0.3


@pytest.mark.parametrize("command", ["segment", "analyze", "evaluate", "info", "synth", "doctor"])
def test_every_command_explains_itself(command: str, capsys) -> None:
    from casr_net.cli import main

    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--debug" in text and "--quiet" in text and "exit code" in text
