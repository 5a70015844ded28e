"""REST: cines, whose frames are asked for, labelled and learned from one by one or together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import nibabel
import nrrd
import numpy as np
import pytest

from casr_net.cine.curve import ContrastCurve
from casr_net.files.dicom_seg import parse_segmentation
from casr_net.files.digest import sha256
from casr_net.synthetic.dataset import write_dataset

from .conftest import APP, Server, png

FRAMES = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two DICOM cines of 3 frames of 128 x 128 pixels."""
    folder = tmp_path_factory.mktemp("made")
    return sorted(p for p in write_dataset(folder, 2, seed=4, frames=FRAMES, size=128) if p.suffix == ".dcm")


def fill(folder: Path, made: list[Path]) -> None:
    """one.dcm and two.dcm"""
    for name, file in zip(("one", "two"), made, strict=True):
        (folder / f"{name}.dcm").write_bytes(file.read_bytes())


@pytest.fixture
def cines(tmp_path: Path, made: list[Path]) -> Path:
    """A folder with both, for a server of the test's own."""
    folder = tmp_path / "cines"
    folder.mkdir()
    fill(folder, made)
    return folder


@pytest.fixture(scope="module")
def running(made: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of this file share, on a folder of both."""
    folder = tmp_path_factory.mktemp("cines")
    fill(folder, made)
    one = Server(folder, tmp_path_factory.mktemp("log") / "server.log").start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    """The shared one, without labels."""
    for name in ("one", "two"):
        running.request("DELETE", f"/datastore/label?id={name}&tag=final")
    assert running.get("/datastore/").json["completed"] == 0
    return running


def stripe(first: int) -> np.ndarray:
    """(rows, columns), 255 in four rows."""
    mask = np.zeros((128, 128), np.uint8)
    mask[first : first + 4, 10:100] = 255
    return mask


def stored(server: Server, image: str, tmp_path: Path) -> tuple[np.ndarray, list[int]]:
    """Final label (frames, rows, columns) and labelled frames."""
    (tmp_path / "x.nrrd").write_bytes(server.get(f"/datastore/label?label={image}&tag=final").body)
    info = server.get(f"/datastore/label/info?label={image}&tag=final").json
    return nrrd.read(str(tmp_path / "x.nrrd"))[0][:, :, 0].transpose(2, 1, 0), info["frames"]


def send(server: Server, image: str, name: str, content: bytes, **params: object) -> object:
    query = f"/datastore/label?image={image}&tag=final"
    return server.form("PUT", query, {"params": json.dumps(params)}, {"label": (name, content)})


def stack(masks: np.ndarray, tmp_path: Path) -> bytes:
    """NRRD of (frames, rows, columns)."""
    file = str(tmp_path / "stack.nrrd")
    nrrd.write(file, masks.transpose(2, 1, 0).astype(np.uint8), {"kinds": ["domain", "domain", "list"]})
    return Path(file).read_bytes()


def test_frames_are_labelled_one_by_one(server: Server, tmp_path: Path) -> None:
    assert send(server, "one", "x.png", png(stripe(20)), frame=2).status == 200
    assert send(server, "one", "x.png", png(stripe(50)), frame=0).status == 200
    masks, frames = stored(server, "one", tmp_path)
    assert frames == [0, 2] and (masks[2] == (stripe(20) > 0)).all() and (masks[0] == (stripe(50) > 0)).all()
    assert not masks[1].any()
    assert send(server, "one", "x.png", png(stripe(80)), frame=2).status == 200, "a frame again"
    masks, frames = stored(server, "one", tmp_path)
    assert frames == [0, 2] and (masks[2] == (stripe(80) > 0)).all()
    # What the network proposes for a frame is put there as well.
    assert server.infer("one", frame=1, save_label=True, label_tag="final").status == 200
    masks, frames = stored(server, "one", tmp_path)
    assert frames == [0, 1, 2] and masks[1].sum() > 100 and (masks[0] == (stripe(50) > 0)).all()


def test_whole_cine_at_once(server: Server, tmp_path: Path) -> None:
    masks = np.stack([stripe(20), np.zeros((128, 128)), stripe(60)]) > 0
    assert send(server, "one", "x.nrrd", stack(masks, tmp_path)).status == 200
    found, frames = stored(server, "one", tmp_path)
    assert (found == masks).all() and frames == [0, 2], "an empty frame is not known to be labelled"
    assert send(server, "one", "x.nrrd", stack(masks, tmp_path), frames=[0, 1]).status == 200
    assert stored(server, "one", tmp_path)[1] == [0, 1], "unless it is said"
    assert send(server, "two", "x.nrrd", stack(masks[::2], tmp_path), frames=[2, 0]).status == 200, "some of its frames"
    found, frames = stored(server, "two", tmp_path)
    assert frames == [0, 2] and (found[2] == masks[0]).all() and (found[0] == masks[2]).all()


@pytest.mark.parametrize(
    ("params", "frames", "words"),
    [
        ({}, 1, "'frame' must say which"), ({"frame": 3}, 1, "expected 0 to 2"), ({"frame": "x"}, 1, "frame is 'x'"),
        ({}, 2, "2 frames; the image has 3"), ({"frames": [0, 7]}, 3, "frame is '7'"), ({}, 0, "empty in all 3 frames"),
    ],
)  # fmt: skip
def test_label_that_does_not_fit(server: Server, tmp_path: Path, params: dict, frames: int, words: str) -> None:
    masks = np.stack([stripe(20)] * frames) if frames else np.zeros((FRAMES, 128, 128))
    answer = send(server, "one", "x.nrrd", stack(masks > 0, tmp_path), **params)
    assert answer.status == 400 and words in answer.detail
    assert server.get("/datastore/").json["completed"] == 0


def test_label_of_a_cine_that_slicer_has_loaded_as_a_volume(server: Server, tmp_path: Path) -> None:
    """Its client sends label maps as NIfTI or NRRD volumes, slices for frames."""
    masks = np.stack([stripe(20), np.zeros((128, 128)), stripe(60)]).transpose(2, 1, 0) > 0
    nibabel.save(nibabel.Nifti1Image(masks.astype(np.uint8), np.diag([-1.0, -1, 1, 1])), tmp_path / "x.nii.gz")
    nrrd.write(str(tmp_path / "x.nrrd"), masks.astype(np.uint8), {"kinds": ["domain"] * 3})
    for image, name in (("one", "x.nii.gz"), ("two", "x.nrrd")):
        assert send(server, image, name, (tmp_path / name).read_bytes()).status == 200
        found, frames = stored(server, image, tmp_path)
        assert (found.transpose(2, 1, 0) == masks).all() and frames == [0, 2]


def test_batch_over_whole_cines(start: Callable[..., Server], cines: Path) -> None:
    (cines / "broken.dcm").write_bytes(b"\0" * 128 + b"DICMxxxx")
    server = start(cines)
    answer = server.post("/batch/infer/casr_net?images=all&run_sync=true", {"frame": "all"})
    assert answer.status == 200, answer.body
    assert "broken" in answer.json["broken"]["error"] and "error" not in answer.json["two"]
    for name in ("one", "two"):
        mask, header = nrrd.read(str(cines / "labels" / "original" / f"{name}.nrrd"))
        assert mask.shape == (128, 128, 1, FRAMES) and mask.any() and header["kinds"][3] == "list"


def test_result_as_dicom_segmentation(server: Server, tmp_path: Path) -> None:
    answer = server.infer("two", "image", frame=1, result_extension=".dcm")
    assert answer.status == 200, answer.body
    (tmp_path / "seg.dcm").write_bytes(answer.body)
    found = parse_segmentation(tmp_path / "seg.dcm")
    (tmp_path / "x.nrrd").write_bytes(server.infer("two", "image", frame=1).body)
    assert found.frames == [1] and (found.masks == nrrd.read(str(tmp_path / "x.nrrd"))[0]).all()
    assert send(server, "two", "seg.dcm", answer.body).status == 200
    masks, frames = stored(server, "two", tmp_path)
    assert frames == [1] and (masks[1] == found.masks[..., 0].T).all()
    wrong = send(server, "one", "seg.dcm", answer.body)
    assert wrong.status == 400 and "a segmentation of image" in wrong.detail


def test_key_frames_curve_and_measurements(server: Server, tmp_path: Path) -> None:
    """Masks of the key frames alone, and measurements of the best one; the label's notes stay small."""
    wanted = {"frame": "key", "key_frames": 2, "contrast": True, "measure": True, "mm_per_pixel": 0.2, "doubt": False}
    answer = server.infer("one", save_label=True, label_tag="final", **wanted)
    assert answer.status == 200, answer.body
    params = answer.json
    keys, curve, found = params["key_frames"], params["contrast"], params["measurements"]
    assert 1 <= len(keys) <= 2 and sorted(key["frame"] for key in keys) == params["frames"]
    assert ContrastCurve.from_dict(curve).frames.tolist() == [0, 1, 2] and curve["best"] in params["frames"]
    jsonschema.validate(found, json.loads((APP.parent / "docs" / "measurements.schema.json").read_text()))
    assert found["frame"]["number"] == keys[0]["frame"] and found["contrast"] == curve
    assert found["scale"]["kind"] == "user" and found["scale"]["row_mm"] == 0.2
    (path, *_) = found["paths"]
    assert path["origin"] == "longest" and path["length"]["mm"] == pytest.approx(0.2 * path["length"]["px"], abs=0.01)
    assert found["versions"]["weights"] == sha256(APP.parent / "models" / "model.pt")
    assert str(server.studies) not in answer.body.decode()
    masks, frames = stored(server, "one", tmp_path)
    assert frames == params["frames"] and [masks[frame].sum() for frame in frames] == params["pixels"]
    kept = server.get("/datastore/label/info?label=one&tag=final").json["params"]
    assert kept["key_frames"] == keys and not {"contrast", "measurements"} & set(kept)
    # Of a frame that the request states, between two points.
    points = path["points"]
    ends = [points[len(points) // 4], points[3 * len(points) // 4]]
    params = server.infer("one", frame=found["frame"]["number"], measure=True, ends=ends, doubt=False).json
    assert "key_frames" not in params and "contrast" not in params and params["measurements"]["scale"]["row_mm"] is None
    (path,) = params["measurements"]["paths"]
    assert path["origin"] == "ends" and np.hypot(*np.subtract(path["points"][0], ends[0])) < 2


def test_cine_without_vessels(server: Server, tmp_path: Path) -> None:
    slope = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)
    files = {"file": ("empty.nrrd", stack(np.stack([slope, slope, slope]), tmp_path))}
    for params, words in (({"frame": "key"}, "no contrast was found"), ({"measure": True}, "no vessel was found")):
        answer = server.form("POST", "/infer/casr_net?output=json", {"params": json.dumps(params)}, files)
        assert answer.status == 400 and words in answer.detail and "/" not in answer.detail, answer.body
    told = {"params": '{"key_frames": 1, "contrast": true}'}
    params = server.form("POST", "/infer/casr_net?output=json", told, files).json
    assert params["key_frames"] == [] and params["contrast"]["best"] is None and params["contrast"]["messages"]


def test_training_on_labelled_frames(start: Callable[..., Server], cines: Path, tmp_path: Path) -> None:
    """Frames of a patient are either trained on or held, never both; with one patient nothing can be held."""
    server = start(cines)
    send(server, "one", "x.png", png(stripe(20)), frame=2)
    send(server, "one", "x.png", png(stripe(50)), frame=0)
    for query in ("", "?run_sync=true"):
        answer = server.post(f"/train/casr_net{query}")
        assert answer.status == 400 and "1 patient" in answer.detail
    send(server, "two", "x.png", png(stripe(50)), frame=1)
    options = {"max_epochs": 1, "samples_per_epoch": 4, "batch_size": 2, "crop_size": 64}
    answer = server.post("/train/casr_net?run_sync=true", options)
    assert answer.status == 200, answer.body
    (record,) = server.get("/info/").json["train_stats"]["casr_net"]["versions"]
    sides = sorted([sorted(record["train"]), sorted(record["held"])])
    assert sides == [["one#0", "one#2"], ["two#1"]]
    same = json.dumps({"patient": "P1"})
    for name in ("one", "two"):
        assert server.form("PUT", f"/datastore/image/info?image={name}", {"info": same}).status == 200
    answer = server.post("/train/casr_net?run_sync=true", options)
    assert answer.status == 400 and "1 patient" in answer.detail, "a client may say who is on an image"
