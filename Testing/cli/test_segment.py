"""``casr segment`` from end to end, in this process, with weights that were never trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from casr_net.cli import main

from .conftest import files


def test_mask_has_the_rows_and_columns_of_the_source(segment, png: Path) -> None:
    code, output = segment(png)
    assert code == 0
    assert files(output) == ["angio_mask.png", "run.json"]
    mask = cv2.imread(str(output / "angio_mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (128, 160)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}


def test_every_output(segment, png: Path) -> None:
    code, output = segment(png, options=("--overlay", "--probability", "--no-refine"))
    assert code == 0
    assert files(output) == ["angio_mask.png", "angio_overlay.png", "angio_probability.png", "run.json"]
    mask, probability = (cv2.imread(str(output / f"angio_{k}.png"), 0) for k in ("mask", "probability"))
    clear = np.abs(probability.astype(int) - 127.5) > 1
    assert ((mask > 0) == (probability > 127))[clear].all()


@pytest.mark.parametrize("format", ["nrrd", "nii.gz"])
def test_formats_with_geometry(segment, format: str, tmp_path: Path, angiogram: np.ndarray) -> None:
    affine = np.diag([-0.3, -0.3, 1, 1])
    nibabel.save(nibabel.Nifti1Image(angiogram.T[:, :, None], affine), tmp_path / "x.nii")
    code, output = segment(tmp_path / "x.nii", options=("--format", format))
    assert code == 0
    assert files(output) == ["run.json", f"x_mask.{format}"]
    if format == "nii.gz":
        assert np.allclose(nibabel.load(output / "x_mask.nii.gz").affine, affine)


def test_cine_gives_a_mask_a_frame_with_one_model_load(
    segment, tmp_path: Path, angiogram: np.ndarray, monkeypatch
) -> None:
    frames = [Image.fromarray(np.roll(angiogram, 9 * i, axis=0)) for i in range(3)]
    frames[0].save(tmp_path / "cine.tif", save_all=True, append_images=frames[1:])
    loads = []
    monkeypatch.setattr(
        "casr_net.network.weights.read_state_dict", lambda p: loads.append(p) or torch.load(p, weights_only=True)
    )
    code, output = segment(tmp_path / "cine.tif")
    assert code == 0
    assert files(output) == [*(f"cine_f000{i}_mask.png" for i in range(3)), "run.json"]
    assert len(loads) == 1
    masks = [cv2.imread(str(output / f"cine_f000{i}_mask.png"), 0) for i in range(3)]
    assert (masks[0] != masks[1]).any()


def test_folder_and_non_ascii_names(segment, tmp_path: Path, angiogram: np.ndarray) -> None:
    folder = tmp_path / "Bïlder 冠状"
    (folder / "sub").mkdir(parents=True)
    for name in ("é.png", "sub/b.png"):
        (folder / name).write_bytes(cv2.imencode(".png", angiogram)[1].tobytes())
    code, output = segment(folder)
    assert code == 0
    assert files(output) == ["run.json", "sub/b_mask.png", "é_mask.png"]


def test_other_inputs_are_still_done(segment, png: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    code, output = segment(tmp_path / "bad.png", png, tmp_path / "none.png")
    assert code == 1
    assert files(output) == ["angio_mask.png", "run.json"]
    error = capsys.readouterr().err
    assert error.count(f"{tmp_path / 'bad.png'}: ") == 1
    assert error.count("none.png: no such file or folder") == 1
    assert "Traceback" not in error
    (run,) = json.loads((output / "run.json").read_text())["runs"]
    assert len(run["inputs"]) == 3
    assert [file["state"] for file in run["files"]] == ["failed", "failed", "done"]


def test_results_of_unknown_origin_are_kept_unless_told(segment, png: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "angio_mask.png").write_bytes(b"mine")
    code, output = segment(png)
    assert code == 1
    assert "exists already and was kept, no record tells how it was made; --overwrite" in capsys.readouterr().err
    assert (output / "angio_mask.png").read_bytes() == b"mine"
    assert segment(png, options=("--overwrite",))[0] == 0
    assert cv2.imread(str(output / "angio_mask.png"), 0) is not None


def test_failure_to_write_one_file_spares_the_others(segment, png: Path, tmp_path: Path, angiogram, capsys) -> None:
    cv2.imwrite(str(tmp_path / "second.png"), angiogram)
    (tmp_path / "out" / "angio_mask.png").mkdir(parents=True)  # a folder where the mask should go
    code, output = segment(png, tmp_path / "second.png", options=("--overwrite",))
    assert code == 1
    assert "angio_mask.png: cannot be written" in capsys.readouterr().err
    assert files(output) == ["run.json", "second_mask.png"]


COMMON = {
    "missing input": (["none.png"], [], 1, "none.png: no such file or folder."),
    "folder without images": (["empty"], [], 2, "empty: the folder holds no images."),
    "missing weights": (["angio.png"], ["--weights", "no.pt"], 1, "no.pt: no such weights file."),
    "damaged weights": (["angio.png"], ["--weights", "angio.png"], 1, "weights file cannot be read"),
    "unknown device": (["angio.png"], ["--device", "tpu"], 2, "device is 'tpu'; known are auto"),
    "absent device": (["angio.png"], ["--device", "cuda:9"], 2, "this machine has 0 CUDA devices"),
    "missing config": (["angio.png"], ["--config", "no.json"], 2, "no.json: no such configuration file."),
    "config is no JSON": (["angio.png"], ["--config", "angio.png"], 2, "not a JSON configuration"),
    "wrong config key": (
        ["angio.png"],
        ["--config", "key.json"],
        2,
        "has no key 'treshold'; did you mean 'threshold'?",
    ),
    "wrong nested key": (
        ["angio.png"],
        ["--config", "nested.json"],
        2,
        "'handlers#7#x': 'handlers' has 1 entries",
    ),
    "wrong argument": (["angio.png"], ["--config", "argument.json"], 2, "cannot be made: "),
    "impossible value": (["angio.png"], ["--config", "value.json"], 2, "threshold is 2; expected a number above 0"),
    "output is a file": (["angio.png"], ["--output", "angio.png"], 2, "angio.png: exists and is no folder."),
}


@pytest.mark.parametrize("case", COMMON)
def test_wrong_use_gives_one_line(
    case: str, tmp_path: Path, angiogram, capsys, monkeypatch, random_weights: Path
) -> None:
    inputs, options, code, text = COMMON[case]
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("angio.png", angiogram)
    Path("empty").mkdir()
    Path("key.json").write_text('{"treshold": 0.4}')
    Path("nested.json").write_text('{"handlers#7#x": 1}')
    Path("argument.json").write_text('{"network_def#encodr": "x"}')
    Path("value.json").write_text('{"threshold": 2}')
    command = ["segment", *inputs, "--output", "out", "--weights", str(random_weights), *options, "--quiet"]
    found = main(command)
    error = capsys.readouterr().err
    assert found == code
    assert text in error
    assert "Traceback" not in error
    assert not list(Path(".").rglob("*_mask*"))
    assert not list(Path(".").rglob(".part*"))


def test_own_results_are_no_inputs(segment, png: Path, tmp_path: Path) -> None:
    for _ in range(2):
        code, output = segment(tmp_path, options=("--overlay", "--overwrite"))
        assert code == 0
    assert files(output) == ["in/angio_mask.png", "in/angio_overlay.png", "run.json"]


def test_a_file_named_twice_is_done_once(segment, png: Path) -> None:
    code, output = segment(png, png, png.parent)
    assert code == 0
    assert files(output) == ["angio_mask.png", "run.json"]


def test_an_unforeseen_failure_spares_the_others(
    segment, png: Path, tmp_path: Path, angiogram, capsys, monkeypatch
) -> None:
    cv2.imwrite(str(tmp_path / "second.png"), angiogram)
    from casr_net.files.results import ResultWriter

    write = ResultWriter.write

    def fail_once(self, item, *args):
        if item["name"] == "angio":
            raise RuntimeError("out of ideas")
        return write(self, item, *args)

    monkeypatch.setattr(ResultWriter, "write", fail_once)
    code, output = segment(png, tmp_path / "second.png")
    assert code == 1
    assert "angio.png: results cannot be made: RuntimeError: out of ideas" in capsys.readouterr().err
    assert files(output) == ["run.json", "second_mask.png"]


def test_read_only_output_is_found_before_any_work(segment, png: Path, capsys, monkeypatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        "casr_net.files.atomic.os.replace", refuse
    )  # the tests may run as root, who may write everywhere
    monkeypatch.setattr("casr_net.network.weights.read_state_dict", lambda _: pytest.fail("the network was loaded"))
    code, output = segment(png)
    assert code == 1
    assert "cannot be written: Permission denied" in capsys.readouterr().err
    assert files(output) == []


def test_debug_shows_the_traceback(tmp_path: Path, png: Path) -> None:
    with pytest.raises(Exception, match=r"."):
        main(["segment", str(png), "--output", str(tmp_path / "o"), "--weights", "no.pt", "--quiet", "--debug"])


def test_unexpected_errors_are_one_line_too(segment, png: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("casr_net.inference.run.run_inference", lambda *_: 1 / 0)
    assert segment(png)[0] == 1
    error = capsys.readouterr().err
    assert "casr: unexpected error: division by zero (--debug shows where)" in error
    assert "Traceback" not in error


def test_help_answers_without_importing_torch() -> None:
    code = "\n".join(
        [
            "import sys, casr_net.cli as c",
            "try: c.main(['--help'])",
            "except SystemExit: pass",
            "assert 'torch' not in sys.modules",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "segment" in done.stdout


@pytest.mark.parametrize("command", ["segment", "analyze", "info"])
@pytest.mark.parametrize("beside", [False, True])
def test_an_empty_path_is_not_the_current_folder(
    command: str, beside: bool, png: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """``casr segment "$UNSET" -o out`` must not take what lies in the current folder."""
    monkeypatch.chdir(png.parent)
    output = [] if command == "info" else ["-o", str(tmp_path / "out")]
    assert main([command, "", *([str(png)] if beside else []), *output]) == 2
    assert "an input is empty; the current folder is '.'." in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or files(tmp_path / "out") == []


def test_an_empty_output_is_not_the_current_folder(png: Path, capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["segment", str(png), "-o", ""])
    assert error.value.code == 2 and "is empty; the current folder is '.'" in capsys.readouterr().err


def test_usage_errors_exit_with_two(capsys) -> None:
    with pytest.raises(SystemExit) as error:
        main(["segment"])
    assert error.value.code == 2
    assert "INPUT" in capsys.readouterr().err
