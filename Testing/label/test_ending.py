"""How a server ends: asked to, interrupted, or killed, with a training that runs in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from .conftest import Server, full_mask, png

LONG = {"max_epochs": 60, "samples_per_epoch": 4, "batch_size": 2, "crop_size": 64, "learning_rate": 1e-5}


def wait_for(what: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.1)
    found = what()
    assert found
    return found


def trainings(server: Server) -> list[psutil.Process]:
    assert server.process is not None
    return [one for one in psutil.Process(server.process.pid).children() if "train" in one.cmdline()]


@pytest.fixture
def labelled(start: Callable[..., Server], studies: Path, tmp_path: Path) -> Server:
    """A server with three labels, whose temporary files lie in a folder of the test."""
    (tmp_path / "temporary").mkdir()
    server = start(studies, environment={"TMPDIR": str(tmp_path / "temporary")})
    for number in range(3):
        server.label(f"frame{number}", "x.png", png(full_mask()))
    return server


def test_training_ends_with_its_server(labelled: Server, studies: Path, tmp_path: Path) -> None:
    server = labelled
    assert server.post("/train/casr_net", LONG).status == 200
    (child,) = wait_for(lambda: trainings(server))
    second = server.post("/train/casr_net", LONG)
    assert second.status == 429 and second.detail == "Train Task is Already Running"
    wait_for(lambda: (studies / ".casr" / "run" / "last.ckpt").is_file())
    assert child.is_running() and server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)  # the server alone
    server.process.wait()
    wait_for(lambda: not child.is_running(), 30)

    server.start()
    said = server.get("/page/training").json
    assert said["task"] is None and said["interrupted"], "the page tells that it can go on"
    for number, ended in ((signal.SIGTERM, (128 + signal.SIGTERM,)), (signal.SIGINT, (0, 128 + signal.SIGINT))):
        assert server.post("/train/casr_net", LONG).status == 200
        (child,) = wait_for(lambda: trainings(server))
        process: subprocess.Popen[bytes] = server.process
        os.killpg(process.pid, number)  # Ctrl-C reaches all of a terminal's processes
        assert process.wait(90) in ended
        wait_for(lambda one=child: not one.is_running(), 30)
        left = [path.name for path in (tmp_path / "temporary").iterdir() if path.name.startswith("casr-label-")]
        assert left == [], "of the killed one and of this one"
        server.process = None
        if number == signal.SIGTERM:
            server.start()
    log = server.log.read_text(errors="replace")
    assert f"casr_label: opening {studies}" in log and f"casr_label: ready: open http://127.0.0.1:{server.port}/" in log


def test_training_in_a_folder_where_another_runs(labelled: Server, studies: Path) -> None:
    """Two servers with one folder would write the same files."""
    (studies / ".casr").mkdir(exist_ok=True)
    with FileLock(studies / ".casr" / "train.lock"):
        answer = labelled.post("/train/casr_net?run_sync=true", {"rollback": 0})
        assert answer.status == 429 and "another training is running" in answer.detail
    assert labelled.post("/train/casr_net?run_sync=true", {"rollback": 0}).json == {"version": 0}
