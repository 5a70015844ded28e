"""Runs with nothing left to segment, before there is a plan: no network is converted, tried or measured for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from casr_net.cli import main
from casr_net.files.inputs import find_inputs
from casr_net.files.results import ResultWriter
from casr_net.inference.bundle import config_files
from casr_net.inference.plans.idle import idle_report, keep_settings
from casr_net.inference.plans.look import FirstLook
from casr_net.inference.plans.order import Order
from casr_net.inference.record import RunReport
from casr_net.inference.run import may_have_work, recorded, wanted_items
from casr_net.inference.runtimes.packages import installed_runtimes

RUNTIMES = [name for name in ("onnx", "openvino") if name in installed_runtimes()]
needs_runtime = pytest.mark.skipif(not RUNTIMES, reason="neither ONNX Runtime nor OpenVINO is installed")

COUNTING = """\
import json, signal, sys
started = []
sys.addaudithook(lambda event, args: event == "subprocess.Popen" and started.append(args[1][1:]))
from casr_net.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, started.count(["-m", "casr_net.inference.plans.apart"]), "torch" in sys.modules]))
"""


def counted(words: list[str]) -> tuple[int, int, bool, str]:
    """A command as a process: its exit code, the processes that it started for a plan, whether it has imported torch,
    and its messages."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, json.dumps(words)], capture_output=True, text=True, check=True, env=variables
    )
    code, started, torch = json.loads(done.stdout.splitlines()[-1])
    return code, started, torch, done.stderr


@needs_runtime
def test_process_for_a_plan_starts_only_when_a_file_is_left(
    weights: Path, small_config: Path, png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, kept = tmp_path / "out", weights.parent / ".runtimes"
    words = ["segment", str(png.parent), "-c", str(small_config), "--runtime", RUNTIMES[0], "-w", str(weights), "-o"]
    words.append(str(output))
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 0
    ordinary = capsys.readouterr().err
    shutil.rmtree(kept)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    code, started, _, errors = counted(words)
    assert (code, started) == (0, 0) and not list(kept.glob("plan-*.zip"))
    assert "0 of 1 files segmented in" in errors and len(errors.splitlines()) == len(ordinary.splitlines())
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.name != "run.json"} == {
        name: content for name, content in before.items() if name != "run.json"
    }
    assert record["outputs"] == json.loads(before["run.json"])["outputs"]
    changing = {"number", "started", "finished", "seconds"}
    same = [{key: value for key, value in run.items() if key not in changing} for run in record["runs"][1:]]
    assert same[0] == same[1] and same[0]["files"][0]["state"] == "kept"

    # From then on without torch, with the same messages and record.
    code, started, torch, again = counted(words)
    assert (code, started, torch) == (0, 0, False) and len(again.splitlines()) == len(errors.splitlines())
    run = json.loads((output / "run.json").read_text(encoding="utf-8"))["runs"][-1]
    assert {key: value for key, value in run.items() if key not in changing} == same[1]

    # Results that were made otherwise are refused, as ever, and no network is needed for that.
    code, started, _, errors = counted([*words, "--no-refine"])
    assert (code, started) == (1, 0) and "it was made with other settings (run 1, " in errors
    assert ": reconnect true, now false; remove_components true, now false); --overwrite replaces it." in errors

    cv2.imwrite(str(png.parent / "new.png"), cv2.imread(str(png))[::-1])
    assert counted(words)[:3] == (0, 1, False)
    assert len(list(kept.glob("plan-*.zip"))) == 1


def test_no_torch_is_needed_with_nothing_left_where_torch_computes(
    weights: Path, small_config: Path, png: Path, tmp_path: Path
) -> None:
    words = ["segment", str(png.parent), "-c", str(small_config), "--runtime", "torch", "-w", str(weights), "-o"]
    words.append(str(tmp_path / "out"))
    assert counted(words)[:3] == (0, 0, True)
    code, started, torch, errors = counted(words)
    assert (code, started, torch) == (0, 0, False) and "0 of 1 files segmented in" in errors
    runs = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["runs"]
    assert runs[0]["config_sha256"] == runs[1]["config_sha256"] and runs[1]["files"][0]["state"] == "kept"


class Made:
    """An input folder with a picture and a cine of three frames, and an output folder with their results."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.output, self.weights = folder / "in", folder / "out", folder / "model.pt"
        self.inputs.mkdir(parents=True)
        self.weights.write_bytes(b"some")
        grey = np.random.default_rng(3).integers(0, 255, (80, 96), np.uint8)
        cv2.imwrite(str(self.inputs / "a.png"), grey)
        tifffile.imwrite(self.inputs / "cine.tif", np.stack([grey] * 3), photometric="minisblack")
        report, writer = self.report(), ResultWriter(self.output)
        items = wanted_items(find_inputs(self.inputs), writer, report)
        assert len(items) == 4
        with recorded(report):
            for item in items:
                writer.write(
                    item, np.ones((96, 80)), None, lambda kind, path, item=item: report.wrote(item, kind, path)
                )
                report.frame_done(item)

    def report(self, **others: Any) -> RunReport:
        return RunReport(self.output, "cpu", self.weights, **others)


def other_content(made: Made) -> None:
    (made.output / "cine_f0001_mask.png").unlink()
    path = made.inputs / "cine.tif"
    path.write_bytes(path.read_bytes() + b"\0")


def other_weights(made: Made) -> None:
    (made.output / "cine_f0001_mask.png").unlink()
    made.weights.write_bytes(b"other")


def damaged(made: Made) -> None:
    (made.inputs / "bad.png").write_bytes(b"no picture")


def nothing_else(made: Made) -> None:
    shutil.rmtree(made.inputs)
    made.inputs.mkdir()
    damaged(made)


def too_long_a_name(made: Made) -> None:
    cv2.imwrite(str(made.inputs / f"{'n' * 250}.png"), np.zeros((80, 96), np.uint8))  # its result has too long a name


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (lambda made: None, {}, 0),
        (lambda made: None, {"overwrite": True}, 4),
        (lambda made: None, {"probability": True}, 4),
        (lambda made: None, {"overlay": "sheet"}, 4),
        (lambda made: None, {"format": "nrrd"}, 4),
        (lambda made: (made.output / "cine_f0001_mask.png").unlink(), {}, 1),
        (lambda made: (made.output / "a_mask.png").unlink(), {}, 1),
        (lambda made: (made.output / "run.json").unlink(), {}, 0),
        (lambda made: made.weights.write_bytes(b"other"), {}, 0),
        (lambda made: shutil.copy(made.inputs / "a.png", made.inputs / "b.png"), {}, 1),
        (lambda made: shutil.rmtree(made.output), {}, 4),
        (other_content, {}, 0),
        (other_weights, {}, 0),
        (damaged, {}, 0),
        (nothing_else, {"overwrite": True}, 0),
        (too_long_a_name, {}, 0),
    ],
)
def test_what_is_told_before_settings_are_known_is_what_is_done(
    change: Callable[[Made], object], options: dict[str, Any], expected: int, tmp_path: Path
) -> None:
    made = Made(tmp_path)
    change(made)
    inputs, writer = find_inputs(made.inputs), ResultWriter(made.output, **options)
    there = sorted(tmp_path.rglob("*"))
    assert may_have_work(inputs, writer, made.weights) == (expected > 0)
    assert sorted(tmp_path.rglob("*")) == there
    assert len(wanted_items(inputs, writer, made.report())) == expected


def test_other_settings_are_work_only_for_what_is_not_whole(tmp_path: Path) -> None:
    """They are not known yet, so that a cine of which a part is there may be work."""
    made = Made(tmp_path)
    writer = ResultWriter(made.output)
    for missing, told in (([], False), (["cine_f0001_mask.png"], True)):
        for name in missing:
            (made.output / name).unlink()
        inputs = find_inputs(made.inputs)
        assert may_have_work(inputs, writer, made.weights) == told
        assert wanted_items(inputs, writer, made.report(components=[{"other": 1}])) == []


def asked_of(made: Made, **others: Any) -> dict[str, Any]:
    """As the command line asks."""
    return {
        "inputs": [str(made.inputs)], "output_dir": str(made.output), "format": "png", "overlay": False,
        "probability": False, "overwrite": False, "flat": True, "areas": False, "weights": str(made.weights), **others,
    }  # fmt: skip


def test_inputs_are_looked_for_as_the_run_does(tmp_path: Path) -> None:
    made = Made(tmp_path)
    overlay = tmp_path / "overlay.json"
    for stated, given, window in (
        ({}, {}, None), ({"window": [90, 60]}, {}, (90, 60)), ({"window": [90, 60]}, {"window": (7.0, 5.0)}, (7, 5)),
        ({"window": "@network_size"}, {}, None),
    ):  # fmt: skip
        overlay.write_text(json.dumps(stated), encoding="utf-8")
        look = FirstLook()
        assert look.work is None and not look.finds_work(Order(config_files([overlay]), asked_of(made, **given)))
        assert look.work is False and look.inputs is not None
        assert look.inputs.window == window and len(look.inputs.items) == 4


def test_settings_are_kept_for_the_next_run(tmp_path: Path) -> None:
    made, files = Made(tmp_path), config_files()

    def states(**others: Any) -> list[str] | None:
        found = idle_report(files, asked_of(made, **others), find_inputs(made.inputs))
        return None if found is None else [record.state for record in found.files.values()]

    keep_settings(files, asked_of(made), RunReport(made.output, "cuda:0", made.weights))
    assert states() is None
    keep_settings(files, asked_of(made), made.report())
    assert states() == ["kept", "kept"] and states(refine=False) is None and states(window=(90.0, 60.0)) is None
    assert states(probability=True) is None  # not without work
    keep_settings(files, asked_of(made, refine=False), made.report(components=[{"other": 1}]))
    assert states(refine=False) == ["failed", "failed"]
    made.weights.write_bytes(b"other")
    assert states() is None
    made.weights.write_bytes(b"some")
    for path in tmp_path.glob(".runtimes/settings-*.zip"):
        path.write_bytes(path.read_bytes()[:50])
    assert states() is None
