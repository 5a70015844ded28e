"""``casr segment --key-frames``: what is written, said and kept. The network that finds the contrast is replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from casr_net.cli import main
from casr_net.synthetic.angiogram import make_cine

pytestmark = pytest.mark.usefixtures("surveyor")
FRAMES = 8


@pytest.fixture(scope="module")
def cine() -> list[Any]:
    return make_cine(3001, FRAMES, 96)


@pytest.fixture
def surveyor(monkeypatch: pytest.MonkeyPatch, cine: list[Any]) -> list[int]:
    """Finds the true masks, by the frame's picture; counts the frames it has looked at."""
    looked: list[int] = []

    def grey(image: np.ndarray) -> SimpleNamespace:
        index = int(np.argmin([np.abs(frame.image / 255 - image.T).mean() for frame in cine]))
        looked.append(index)
        return SimpleNamespace(probability=cine[index].mask.astype(np.float32))

    monkeypatch.setattr("casr_net.cine.selection._segmenter", lambda *arguments: SimpleNamespace(grey=grey))
    return looked


@pytest.fixture
def run(
    tmp_path: Path, cine: list[Any], write_xa: Callable[..., Path], random_weights: Path, small_config: Path
) -> Any:
    source = tmp_path / "run1.dcm"
    write_xa(source, np.stack([frame.image for frame in cine]), RWavePointer=[1, 5], FrameTime="66.7")

    def segment(*options: str, path: Path = source) -> int:
        return main([
            "segment", str(path), "--output", str(tmp_path / "out"), "--weights", str(random_weights), "--config",
            str(small_config), "--device", "cpu", "--quiet", *options,
        ])  # fmt: skip

    return segment


def record(tmp_path: Path, bundle: Path) -> dict[str, Any]:
    content = json.loads((tmp_path / "out" / "run.json").read_text())
    jsonschema.validate(content, json.loads((bundle / "docs" / "run.schema.json").read_text()))
    return dict(content)


def test_only_key_frames_are_written(run: Any, tmp_path: Path, bundle: Path, surveyor: list[int]) -> None:
    assert run("--key-frames", "2", "--overlay") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    content = json.loads((tmp_path / "out" / "run1_contrast.json").read_text())
    chosen = [key["frame"] for key in content["key_frames"]]
    masks = {f"run1_f{frame:04d}_{kind}.png" for frame in chosen for kind in ("mask", "overlay")}
    assert names == masks | {"run1_contrast.json", "run1_contrast.svg", "run.json"}
    assert chosen[0] == 4 and content["key_frames"][0]["source"] == "R Wave Pointer (0028,6040)"
    assert surveyor == list(range(FRAMES))

    kept = record(tmp_path, bundle)
    made, file = kept["runs"][0], kept["runs"][0]["files"][0]
    assert file["key_frames"] == content["key_frames"] and file["contrast"]["curve"] == "run1_contrast.json"
    assert (file["frames"], file["wanted"], file["done"], made["frames"]["expected"]) == (FRAMES, 2, 2, 2)
    assert made["summary"] == "finished, 2 of 2 frames"
    curve = kept["outputs"]["run1_contrast.json"]
    assert curve == {"run": 1, "input": file["path"], "kind": "contrast", "frame": None} | {"bytes": curve["bytes"]}


def test_the_same_again_looks_at_nothing_and_more_frames_are_added(
    run: Any, tmp_path: Path, bundle: Path, surveyor: list[int]
) -> None:
    assert run("--key-frames", "1") == 0
    surveyor.clear()
    assert run("--key-frames", "1") == 0 and surveyor == []
    assert record(tmp_path, bundle)["runs"][1]["files"][0]["state"] == "kept"
    assert run("--key-frames", "3") == 0 and surveyor == []
    assert record(tmp_path, bundle)["runs"][2]["files"][0]["done"] == 2
    assert run() == 0, "and at last all frames"
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == FRAMES


def test_a_changed_input_is_looked_at_anew(run: Any, tmp_path: Path, surveyor: list[int]) -> None:
    assert run("--key-frames", "1") == 0
    place = tmp_path / "out" / "run1_contrast.json"
    content = json.loads(place.read_text())
    content["made_by"]["input"] = "0" * 64
    place.write_text(json.dumps(content))
    surveyor.clear()
    assert run("--key-frames", "1") == 0 and len(surveyor) == FRAMES


def test_a_file_of_somebody_else_is_kept(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "out" / "run1_contrast.json"
    place.parent.mkdir()
    place.write_text("{}")
    assert run("--key-frames", "1") == 1
    assert place.read_text() == "{}" and "is no curve of this program" in capsys.readouterr().err
    assert run("--key-frames", "1", "--overwrite") == 0


def test_a_cine_without_contrast_is_one_clear_error(
    run: Any, tmp_path: Path, write_xa: Callable[..., Path], cine: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    dry = write_xa(tmp_path / "dry.dcm", np.stack([cine[0].image] * 3))
    assert run("--key-frames", "1", path=dry) == 1
    assert "no contrast was found in any of its 3 frames" in capsys.readouterr().err
    assert (tmp_path / "out" / "dry_contrast.svg").is_file(), "the curve shows why"


def test_a_dicom_segmentation_names_the_key_frames(run: Any, tmp_path: Path) -> None:
    from pydicom import dcmread

    assert run("--key-frames", "2", "--format", "seg") == 0
    chosen = [key["frame"] for key in json.loads((tmp_path / "out" / "run1_contrast.json").read_text())["key_frames"]]
    groups = dcmread(tmp_path / "out" / "run1_mask.dcm").PerFrameFunctionalGroupsSequence
    sources = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    assert sorted(int(source.ReferencedFrameNumber) - 1 for source in sources) == sorted(chosen)


def test_a_single_image_is_segmented(run: Any, tmp_path: Path, png: Path, surveyor: list[int]) -> None:
    assert run("--key-frames", "2", path=png) == 0
    assert (tmp_path / "out" / "angio_mask.png").is_file() and surveyor == []


@pytest.mark.parametrize("options", [("--key-frames", "0"), ("--key-frames", "2", "--format", "nrrd")])
def test_what_cannot_be_is_refused(
    run: Any, tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    assert capsys.readouterr().err.startswith("casr: --key-frames ") and not (tmp_path / "out").exists()
