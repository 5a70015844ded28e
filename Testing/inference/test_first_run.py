"""The first run of ``casr segment``: another process makes the plan, and the run itself does without torch."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import tifffile
from makers.alone import start_alone

from casr_net.cli import main
from casr_net.inference.bundle import config_files
from casr_net.inference.plans import apart
from casr_net.inference.plans.order import Order
from casr_net.inference.plans.plan import KIND, NO_PLAN
from casr_net.inference.plans.run import planned_run
from casr_net.inference.runtimes import choice, packages, prepared
from casr_net.synthetic.angiogram import make_cine

RUNTIMES = [name for name in ("onnx", "openvino") if name in packages.installed_runtimes()]
needs_runtime = pytest.mark.skipif(not RUNTIMES, reason="neither ONNX Runtime nor OpenVINO is installed")


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    path = tmp_path / "cine.tif"
    tifffile.imwrite(path, [frame.image for frame in make_cine(2, 3, 128)], photometric="minisblack")
    return path


@pytest.fixture
def files(small_config: Path) -> list[str]:
    return config_files([small_config])


@needs_runtime
def test_first_run_imports_no_torch_and_gives_what_the_ordinary_way_gives(
    weights: Path, small_config: Path, cine: Path, tmp_path: Path
) -> None:
    words = ["segment", str(cine), "-c", str(small_config), "--runtime", RUNTIMES[0], "-p", "--overwrite", "-w"]
    first, ordinary = tmp_path / "first", tmp_path / "ordinary"
    other = tmp_path / "other" / "model.pt"
    other.parent.mkdir()
    shutil.copyfile(weights, other)
    for damaged in (False, True):
        if damaged:  # the other process makes it anew, and what it says is said, once
            (kept,) = weights.parent.glob(".runtimes/onnx-*.zip")
            kept.write_bytes(b"PK")
        run = start_alone([*words, str(weights), "-o", str(first)])
        out, errors = run.communicate(timeout=300)
        assert json.loads(out.splitlines()[-1]) == [0, []], errors
        assert errors.count("damaged, or of something else; made anew") == damaged
        assert len(list(weights.parent.glob(".runtimes/plan-*.zip"))) == 1
    assert main([*words, str(other), "-o", str(ordinary)]) == 0
    names = sorted(path.name for path in first.glob("*.png"))
    assert len(names) == 6 and names == sorted(path.name for path in ordinary.glob("*.png"))
    assert all((first / name).read_bytes() == (ordinary / name).read_bytes() for name in names)
    runs = [json.loads((folder / "run.json").read_text())["runs"][-1] for folder in (first, ordinary)]
    assert runs[0]["config_sha256"] == runs[1]["config_sha256"] and runs[0]["runtime"] == runs[1]["runtime"]


@needs_runtime
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_other_process_ends_with_the_run(
    number: int, weights: Path, small_config: Path, cine: Path, tmp_path: Path
) -> None:
    words = ["segment", str(cine), "-c", str(small_config), "--runtime", RUNTIMES[0], "-w", str(weights), "-o"]
    run = start_alone([*words, str(tmp_path / "out")])
    parent, others = psutil.Process(run.pid), []
    while not others and run.poll() is None:
        others = [child for child in parent.children() if "casr_net.inference.plans.apart" in child.cmdline()]
        time.sleep(0.02)
    (other,) = others
    other.suspend()  # it must not be done before the signal comes
    os.kill(run.pid, number)
    out, errors = run.communicate(timeout=30)
    if number == signal.SIGINT:
        assert errors.splitlines()[-1] == "casr: interrupted" and json.loads(out)[0] == 130
    else:
        other.resume()
    other.wait(30)
    assert not other.is_running() and not (tmp_path / "out").exists()


@needs_runtime
def test_what_goes_wrong_there_is_left_to_the_ordinary_way(
    weights: Path, files: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"weights": str(weights), "runtime": RUNTIMES[0]}
    weights.write_bytes(b"no weights")
    assert apart.plan_apart(files, asked) == [] and not caplog.records
    assert not list(weights.parent.glob(".runtimes/*"))
    weights.unlink()
    assert apart.plan_apart(files, asked) is None


@needs_runtime
def test_only_what_may_have_a_plan_gets_another_process(
    weights: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(*_: Any, **__: Any) -> None:
        started.append(1)
        raise BrokenPipeError

    monkeypatch.setattr(apart.subprocess, "Popen", start)
    monkeypatch.delenv("CASR_RUNTIME")
    usual = {"weights": str(weights), "runtime": RUNTIMES[0], "device_name": "cpu"}

    def is_started(**others: Any) -> bool:
        started.clear()
        told = apart.plan_apart(files, {**usual, **others})
        assert told == ([] if started else None)
        return bool(started)

    assert is_started() and is_started(runtime="auto") and is_started(refine=False) and is_started(tta=True)
    for others in (
        {"runtime": "torch"}, {"key_frames": 2}, {"device_name": "cuda"}, {"weights": "missing.pt"},
    ):  # fmt: skip
        assert not is_started(**others), others
    with monkeypatch.context() as change:  # a folder that cannot be written to; whoever runs the tests may be root
        change.setattr(apart.os, "access", lambda *_: False)
        assert not is_started()
    monkeypatch.setattr(apart, "graphics", lambda: ["/dev/nvidia0"])
    assert is_started() and not is_started(device_name="auto")
    monkeypatch.setenv("CASR_RUNTIME", "torch")
    assert is_started() and not is_started(runtime="auto")
    monkeypatch.delenv("CASR_RUNTIME")
    monkeypatch.setattr(apart, "installed_runtimes", lambda: ["torch"])
    assert not is_started() and not is_started(runtime="auto")


@needs_runtime
def test_that_there_is_no_plan_is_found_out_once(
    weights: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where torch is the fastest, a run does not look for that again."""
    monkeypatch.delenv("CASR_RUNTIME")
    monkeypatch.setattr(prepared, "fastest", lambda times: "torch")
    asked = {"weights": str(weights), "runtime": "auto", "device_name": "cpu"}
    apart._make(files, asked)
    order = Order(files, asked)
    assert order.store.kept(KIND, order.key()) == NO_PLAN
    assert planned_run(files, asked) is None and apart.plan_apart(files, asked) is None


def test_nothing_is_said_twice(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("casr_net")
    with apart.without_repetition(["kept in /a."]):
        logger.warning("kept in %s.", "/a")
        logger.warning("kept in %s.", "/b")
    logger.warning("kept in %s.", "/a")
    assert [record.getMessage() for record in caplog.records] == ["kept in /b.", "kept in /a."]


def test_measurements_are_brought_to_one_speed() -> None:
    """The machine had half its speed in the second."""
    times = choice.chained({}, {"torch": 100.0, "openvino": 60.0})
    assert times == {"torch": 100.0, "openvino": 60.0}
    assert choice.chained(times, {"openvino": 120.0, "onnx": 160.0}) == {"onnx": 80.0, "openvino": 60.0, "torch": 100.0}


def test_monai_without_what_segmenting_does_not_need() -> None:
    """The packages are there for others."""
    code = (
        "import sys; from casr_net.inference.lean import import_monai; import_monai(); import monai.transforms;"
        "print(sorted({'matplotlib', 'pandas', 'scipy.signal', 'tensorboard'} & set(sys.modules)));"
        "import scipy.signal"
    )
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert done.stdout.strip() == "[]"
