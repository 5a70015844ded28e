"""Runs into a folder that has been used before, and what ``run.json`` keeps of them."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import torch

from casr_net.inference.record import RunReport
from casr_net.inference.runfile import RunFile
from casr_net.network.weights import sha256

from .conftest import files, record

SCHEMA = json.loads((Path(__file__).parents[2] / "monai_bundle" / "docs" / "run.schema.json").read_text())


@pytest.fixture(autouse=True)
def valid(tmp_path: Path) -> Any:
    """Whatever a test leaves in run.json follows the published schema."""
    yield
    for path in tmp_path.rglob("run.json"):
        jsonschema.validate(json.loads(path.read_text()), SCHEMA, jsonschema.Draft202012Validator)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, frame: int) -> None:
    """Ctrl-C when a frame's turn to be written has come; until the test takes it back."""
    from casr_net.files.results import ResultWriter

    write = ResultWriter.write

    def stop(self: Any, item: dict[str, Any], *rest: Any) -> Any:
        if item["frame"] == frame:
            raise KeyboardInterrupt
        return write(self, item, *rest)

    monkeypatch.setattr(ResultWriter, "write", stop)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_record_of_a_run(segment, png: Path, random_weights: Path, monkeypatch) -> None:
    monkeypatch.chdir(png.parent)
    _, output = segment("angio.png")
    found = record(output)
    (run,) = found["runs"]
    assert (run["number"], run["state"], run["summary"]) == (1, "finished", "finished, 1 of 1 frames")
    assert run["inputs"] == ["angio.png"] and run["working_directory"] == str(png.parent)
    assert run["device"] == "cpu" and run["versions"]["torch"] == torch.__version__
    assert run["weights_sha256"] == sha256(random_weights)
    assert run["frames"] == {"expected": 1, "before": 0, "done": 1, "failed": 0}
    assert {"preprocessing", "network", "refinement", "writing", "total"} <= set(run["seconds"])
    assert all(value > 0 for value in run["seconds"].values())
    (file,) = run["files"]
    assert file["path"] == "angio.png" and file["state"] == "done" and file["error"] is None
    assert (file["columns"], file["rows"], file["bytes"]) == (160, 128, png.stat().st_size)
    assert (file["grey"]["low"], file["grey"]["high"]) == (0, 255) and "8 bits" in file["grey"]["rule"]
    assert 0 < file["seconds"] < run["seconds"]["total"]
    assert set(file["quality"]) == {"0"} and 0 <= file["quality"]["0"] <= 1
    written = (output / "angio_mask.png").stat().st_size
    assert found["outputs"] == {
        "angio_mask.png": {"run": 1, "input": "angio.png", "kind": "mask", "frame": None, "bytes": written}
    }
    assert list(found["configs"]) == [run["config_sha256"]]


def test_a_plain_second_run_does_nothing_and_says_so(segment, png: Path, capsys) -> None:
    segment(png)
    _, output = segment(png)
    before = times(output)
    code, _ = segment(png, quiet=False)
    assert code == 0
    assert times(output) == before
    assert "1 done before" in capsys.readouterr().err
    runs = record(output)["runs"]
    assert [run["number"] for run in runs] == [1, 2, 3]
    assert [run["files"][0]["state"] for run in runs] == ["done", "kept", "kept"]
    assert record(output)["outputs"]["angio_mask.png"]["run"] == 1


def test_what_is_missing_is_done(segment, png: Path, cine: Path) -> None:
    _, output = segment(png, cine)
    (output / "run1_f0002_mask.png").unlink()
    (output / "angio_mask.png").unlink()
    before = times(output)
    assert segment(png, cine)[0] == 0
    after = times(output)
    assert {name for name in after if after[name] != before.get(name)} == {"run1_f0002_mask.png", "angio_mask.png"}
    second = record(output)["runs"][1]
    assert second["frames"] == {"expected": 6, "before": 4, "done": 2, "failed": 0}
    assert {file["name"]: file["wanted"] for file in second["files"]} == {"angio": 1, "run1": 1}


def test_a_further_kind_of_result_leaves_the_mask_alone(segment, png: Path) -> None:
    _, output = segment(png)
    corrected = cv2.imencode(".png", np.zeros((128, 160), np.uint8))[1].tobytes()
    (output / "angio_mask.png").write_bytes(corrected)
    assert segment(png, options=("--overlay",))[0] == 0
    assert (output / "angio_mask.png").read_bytes() == corrected
    assert {name: entry["run"] for name, entry in record(output)["outputs"].items()} == {
        "angio_mask.png": 1, "angio_overlay.png": 2
    }  # fmt: skip


def test_an_empty_result_is_none_and_a_damaged_one_is_refused(segment, png: Path, tmp_path: Path, capsys) -> None:
    """What a power cut or a full disk leaves of files that were whole once, in every format."""
    options = ("--overlay", "--probability")
    _, output = segment(png, options=options)
    (output / "angio_mask.png").write_bytes(b"")
    assert segment(png, options=options)[0] == 0
    assert cv2.imread(str(output / "angio_mask.png"), cv2.IMREAD_GRAYSCALE).shape == (128, 160)
    for name, sign in (("mask", " ("), ("probability", ": "), ("overlay", ": ")):
        words = f"angio_{name}.png: exists already and was kept, it is not as it was written{sign}"
        place = output / f"angio_{name}.png"
        whole = place.read_bytes()
        place.write_bytes(whole[: len(whole) // 2])
        assert segment(png, options=options)[0] == 1, name
        error = capsys.readouterr().err
        assert words in error and "--overwrite replaces it" in error and place.stat().st_size == len(whole) // 2
        place.write_bytes(whole)
    for ending in ("nrrd", "mha", "nii.gz"):
        options = ("--format", ending, "--output", tmp_path / ending)
        assert segment(png, options=options)[0] == 0
        place = tmp_path / ending / f"angio_mask.{ending}"
        place.write_bytes(place.read_bytes()[:-40])
        assert segment(png, options=options)[0] == 1, ending
        assert "it is not as it was written (" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["png", "nrrd"])
def test_two_runs_at_once_lose_nothing(segment, png: Path, picture, tmp_path, monkeypatch, capsys, format: str) -> None:
    """Two files of one name, by two runs that both found the folder empty: the first mask stays, the second run says
    so."""
    from casr_net.files.results import ResultWriter

    other = picture(tmp_path / "elsewhere" / "angio.png")
    options, write, made = ("--format", format), ResultWriter.write, []

    def meanwhile(self: Any, *rest: Any) -> Any:
        if not made:
            made.append(0)
            made[0] = segment(other, options=options)[0]
        return write(self, *rest)

    monkeypatch.setattr(ResultWriter, "write", meanwhile)
    code, output = segment(png, options=options)
    error = capsys.readouterr().err
    assert (code, made) == (1, [0])
    assert f"angio_mask.{format}: was made by another run meanwhile, and was kept; --overwrite replaces it." in error
    found = record(output)
    assert found["outputs"][f"angio_mask.{format}"]["input"] == str(other)
    assert sorted(run["files"][0]["state"] for run in found["runs"]) == ["done", "failed"]
    assert not list(output.glob(".part-*"))


@pytest.mark.parametrize(("options", "what"), [(("--window", 100, 90), "settings"), ("weights", "weights")])
def test_results_of_other_settings_are_kept_and_said(
    segment, png: Path, cine: Path, options: Any, what: str, tmp_path: Path, random_weights: Path, capsys
) -> None:
    _, output = segment(png)
    before = times(output)
    if options == "weights":
        weights = torch.load(random_weights, weights_only=True)
        name = next(iter(weights))
        torch.save({**weights, name: weights[name] * 1.5}, tmp_path / "other.pt")
        options = ("--weights", tmp_path / "other.pt")
    code, _ = segment(png, cine, options=options)
    assert code == 1
    error = capsys.readouterr().err
    assert f"angio_mask.png: exists already and was kept, it was made with other {what} (run 1, 20" in error
    assert "--overwrite replaces it" in error
    assert {name: time for name, time in times(output).items() if "angio" in name} == before
    assert (output / "run1_f0004_mask.png").is_file()  # the other file is done
    assert segment(png, options=(*options, "--overwrite"))[0] == 0
    found = record(output)
    assert times(output)["angio_mask.png"] != before["angio_mask.png"]
    assert found["outputs"]["angio_mask.png"]["run"] == 3
    assert len(found["configs"]) == (2 if what == "settings" else 1)


def test_a_cine_is_not_mixed_from_two_settings(segment, cine: Path) -> None:
    _, output = segment(cine)
    (output / "run1_f0003_mask.png").unlink()
    assert segment(cine, options=("--no-refine",))[0] == 1
    assert not (output / "run1_f0003_mask.png").exists()
    assert segment(cine)[0] == 0


def test_results_of_another_input_of_that_name_are_told_apart(segment, png: Path, picture, tmp_path, capsys) -> None:
    first = picture(tmp_path / "d1" / "a.png")
    second = tmp_path / "d2" / "a.png"
    second.parent.mkdir()
    cv2.imwrite(str(second), cv2.imread(str(first), 0)[::-1])
    os.utime(second, ns=(first.stat().st_mtime_ns,) * 2)
    assert segment(first)[0] == 0
    assert segment(second)[0] == 1
    assert f"a_mask.png: exists already and was kept, it was made from {first};" in capsys.readouterr().err
    # The same content in another place is the same input; other content in the same place is not.
    third = picture(tmp_path / "d3" / "a.png")
    assert segment(third)[0] == 0
    first.write_bytes(second.read_bytes())
    assert segment(first)[0] == 1
    assert "it was made from an earlier content of that file" in capsys.readouterr().err


def test_interrupted_in_a_cine_and_taken_up_again(segment, png: Path, cine: Path, monkeypatch, capsys) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        code, output = segment(cine, quiet=False)
    assert code == 130
    assert "interrupted, 3 of 5 frames; the same command goes on with what is missing" in capsys.readouterr().err
    assert files(output) == ["run.json", *(f"run1_f000{i}_mask.png" for i in range(3))]
    (run,) = record(output)["runs"]
    assert (run["state"], run["summary"]) == ("interrupted", "interrupted, 3 of 5 frames")
    assert run["files"][0]["state"] == "waiting"
    before = times(output)
    assert segment(cine)[0] == 0
    assert {name: stamp for name, stamp in times(output).items() if name in before} == before
    found = record(output)
    assert found["runs"][1]["summary"] == "finished, 5 of 5 frames"
    assert [entry["run"] for entry in found["outputs"].values()] == [1, 1, 1, 2, 2]
    assert [entry["frame"] for entry in found["outputs"].values()] == [0, 1, 2, 3, 4]


def test_an_interrupted_stack_begins_anew(segment, cine: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        code, output = segment(cine, options=("--format", "nrrd"))
    assert code == 130 and files(output) == ["run.json"]
    assert segment(cine, options=("--format", "nrrd"))[0] == 0
    assert files(output) == ["run.json", "run1_mask.nrrd"]
    assert record(output)["outputs"]["run1_mask.nrrd"] == {
        "run": 2, "input": str(cine), "kind": "mask", "frame": None, "bytes": (output / "run1_mask.nrrd").stat().st_size
    }  # fmt: skip


def test_a_killed_run_loses_little(segment, cine: Path, monkeypatch) -> None:
    """Killed when the fourth frame is written, but not in the record yet; nothing can be done any more then."""
    done = RunReport.frame_done

    def die(self: Any, item: dict[str, Any], *rest: Any) -> None:
        if item["frame"] == 3:
            raise SystemExit
        done(self, item, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(RunReport, "frame_done", die)
        patch.setattr(RunReport, "end", lambda *_: None)
        with pytest.raises(SystemExit):
            segment(cine)
    output = cine.parent.parent / "out"
    before = times(output)
    assert len(before) == 4
    assert record(output)["runs"][0]["state"] == "running"
    assert len(record(output)["outputs"]) < 4
    assert segment(cine)[0] == 0
    assert {name: stamp for name, stamp in times(output).items() if name in before} == before
    assert len(times(output)) == 5 and len(record(output)["outputs"]) == 5
    assert {made["run"] for made in record(output)["outputs"].values()} == {1, 2}


def test_a_stranger_beside_a_killed_run_is_not_taken_for_its_result(segment, cine: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        patch.setattr(RunReport, "end", lambda *_: None)
        _, output = segment(cine)
    stranger = output / "run1_f0004_mask.png"
    stranger.write_bytes(b"mine")
    os.utime(stranger, (1e9, 1e9))
    assert segment(cine)[0] == 1
    assert stranger.read_bytes() == b"mine"


def test_record_is_written_while_running(segment, cine: Path, monkeypatch) -> None:
    from casr_net.files.results import ResultWriter

    write, seen = ResultWriter.write, []

    def look(self: Any, item: dict[str, Any], *rest: Any) -> Any:
        seen.append(record(self.output_dir)["runs"][0]["summary"])
        return write(self, item, *rest)

    monkeypatch.setattr(ResultWriter, "write", look)
    monkeypatch.setattr("casr_net.inference.record.WRITING_SHARE", float("inf"))
    segment(cine)
    assert seen == [f"running, {done} of 5 frames" for done in range(5)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"finished": "2026", "config_sha256": "0", "outputs": {}}', "was written by version 0.3.0 or older"),
        ('{"format": "casr-net run record", "version": 3}', "was written by another version"),
        ('{"format": "casr-net run record", "version": 2, "runs": 7}', "is damaged"),
        ('{"format": "casr-net ru', "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"mine": 1}', "is no record of this program"),
    ],
)
def test_a_record_that_cannot_be_used_is_kept_under_another_name(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "run_old1.json").write_text("older still")
    said = RunFile(tmp_path).begin({"config_sha256": "0" * 64}, [])
    assert said == f"{tmp_path / 'run.json'}: {reason}; it is kept as run_old2.json, and a new one is begun."
    assert (tmp_path / "run_old2.json").read_text() == content
    assert (tmp_path / "run_old1.json").read_text() == "older still"
    assert len(record(tmp_path)["runs"]) == 1
    (tmp_path / "run.json").unlink()  # the schema is for whole runs


def test_a_run_goes_on_beside_a_record_of_an_older_version(segment, png: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"finished": "2026", "config_sha256": "0", "outputs": {}}')
    code, output = segment(png, quiet=False)
    assert code == 0
    assert "was written by version 0.3.0 or older; it is kept as run_old1.json" in capsys.readouterr().err
    assert files(output) == ["angio_mask.png", "run.json", "run_old1.json"]


def test_runs_at_the_same_time_keep_each_others_records(tmp_path: Path) -> None:
    run = {"config_sha256": "0" * 64}
    one, two = RunFile(tmp_path), RunFile(tmp_path)
    first, second = {**run, "state": "running"}, {**run, "state": "running"}
    one.begin(first, [1])
    two.begin(second, [1])
    assert (first["number"], second["number"]) == (1, 2)
    one.update({**first, "state": "finished"}, {"a_mask.png": {"run": 1}})
    two.update({**second, "state": "stopped"}, {"b_mask.png": {"run": 2}})
    last = RunFile(tmp_path)
    assert last.load() == ""
    assert [known["state"] for known in last.runs] == ["finished", "stopped"]
    assert set(last.outputs) == {"a_mask.png", "b_mask.png"}
    (tmp_path / "run.json").unlink()  # the schema is for whole runs


@pytest.mark.parametrize("kind", ["long", "latin"])
def test_unusual_names_are_segmented_and_stand_in_the_record(segment, picture, tmp_path, kind: str) -> None:
    name = "x" * 233 + ".png" if kind == "long" else os.fsdecode(b"caf\xe9.png")
    path = picture(tmp_path / "in" / name)
    for _ in range(2):
        code, output = segment(path.parent, options=("--overlay", "--probability"))
        assert code == 0
    stem = name.removesuffix(".png")
    assert set(os.listdir(output)) == {"run.json", *(f"{stem}_{k}.png" for k in ("mask", "overlay", "probability"))}
    runs = record(output)["runs"]
    assert [run["files"][0]["state"] for run in runs] == ["done", "kept"]
    text = "caf\\xe9" if kind == "latin" else stem
    assert runs[0]["files"][0]["name"] == text and f"{text}_mask.png" in record(output)["outputs"]


def test_a_name_too_long_for_results_is_refused_before_any_work(segment, picture, png, tmp_path, capsys) -> None:
    path = picture(tmp_path / "in" / ("x" * 250 + ".png"))
    code, output = segment(path, png)
    assert code == 1
    assert "_mask.png: cannot be written: File name too long." in capsys.readouterr().err
    assert files(output) == ["angio_mask.png", "run.json"]


@pytest.mark.parametrize("value", [3e38, 1e300])
def test_one_bad_path_does_not_cost_the_others(segment, png: Path, tmp_path: Path, capsys, value: float) -> None:
    import tifffile

    extreme = np.full((64, 64), value, np.float32 if value < 1e39 else np.float64)
    extreme[::2] *= -0.9
    tifffile.imwrite(tmp_path / "extreme.tif", extreme)
    code, output = segment("y" * 300 + ".png", tmp_path / "extreme.tif", png)
    assert code == 1
    error = capsys.readouterr().err
    assert f"extreme.tif: pixel values go up to {value:.3g}; the limit is 1e+30." in error
    assert "y.png: cannot be opened: File name too long." in error
    assert len(error.splitlines()) == 2
    states = {Path(file["path"]).name[:8]: file["state"] for file in record(output)["runs"][0]["files"]}
    assert states == {"angio.pn": "done", "yyyyyyyy": "failed", "extreme.": "failed"}


def test_places_that_meet_are_refused_before_any_work(segment, cine: Path, picture, capsys) -> None:
    picture(cine.parent / "run1_f0000.png")
    code, output = segment(cine.parent)
    assert code == 1
    error = capsys.readouterr().err
    assert f"run1_f0000.png: its result {output / 'run1_f0000_mask.png'} would be that of {cine} too" in error
    found = record(output)
    assert len(found["outputs"]) == 5 and {entry["input"] for entry in found["outputs"].values()} == {str(cine)}
    # In one stack they do not meet.
    assert segment(cine.parent, options=("--format", "nrrd"))[0] == 0
    assert {"run1_mask.nrrd", "run1_f0000_mask.nrrd"} <= set(files(output))


def test_no_input_is_replaced(segment, picture, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out"
    one, two = picture(output / "a.png"), picture(output / "a_mask.png")
    content = two.read_bytes()
    code, _ = segment(one, two, options=("--overwrite",))
    assert code == 1
    assert f"a.png: its result {two} would replace the input {two}" in capsys.readouterr().err
    assert two.read_bytes() == content
    assert (output / "a_mask_mask.png").is_file()


def test_a_missing_input_makes_no_folder_and_loads_nothing(segment, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("casr_net.inference.bundle.load_parser", None)
    code, output = segment("nothing.png", "not/there")
    assert code == 1
    assert capsys.readouterr().err.count("no such file or folder") == 2
    assert not output.exists()


def test_sub_folders_are_mirrored_or_not(segment, picture, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "sub" / "a.png")
    _, output = segment(tmp_path / "in")
    segment(tmp_path / "in", options=("--flat",))
    assert files(output) == ["a_mask.png", "run.json", "sub/a_mask.png"]


def test_writing_the_record_takes_a_small_share_of_the_time(segment, cine: Path, monkeypatch) -> None:
    update, calls, clock = RunFile.update, [], itertools.count()
    ahead = 0

    def now() -> float:  # a clock of its own, which the machine's load does not change
        return ahead + next(clock) / 1000

    def slow(self: Any, *rest: Any) -> None:
        nonlocal ahead
        calls.append(1)
        ahead += 1000
        update(self, *rest)

    monkeypatch.setattr("casr_net.inference.record.time.perf_counter", now)
    monkeypatch.setattr(RunFile, "update", slow)
    segment(cine)
    assert len(calls) == 2  # after the first frame and at the end
