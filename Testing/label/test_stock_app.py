"""The bundle in MONAI Label's own app for bundles, ``monaibundle``, on a really started server."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import nibabel
import nrrd
import numpy as np
import pytest
import torch

from casr_net import Segmenter
from casr_net.network.weights import state_digest

from .conftest import APP, PYTHON, REASON, Server, png

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)

BUNDLE = APP.parent
STOCK = PYTHON.parents[1] / "monailabel" / "sample-apps" / "monaibundle"
QUICK = {"network_size": 128, "crop_size": [64, 64], "batch_size": 2, "samples_per_epoch": 4, "learning_rate": 0.005}
# All that 3D Slicer's module sends, from the options that the server offers.
SLICER = {
    "device": "cpu", "pretrained": True, "max_epochs": 2, "val_split": 0.2, "multi_gpu": True, "gpus": "all",
    "tracking": "None", "tracking_uri": "", "tracking_experiment_name": "", "run_id": "", "model_filename": "model.pt",
}  # fmt: skip


class StockServer(Server):
    """The stock app with the bundle as its one model; only ``sitecustomize.py`` is added."""

    def __init__(self, folder: Path, studies: Path) -> None:
        self.app = folder / "app"
        environment = {"PYTHONPATH": f"{self.app}{os.pathsep}{APP}", "MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
        super().__init__(studies, folder / "server.log", environment=environment)
        shutil.copytree(STOCK, self.app, ignore=shutil.ignore_patterns("__pycache__"))
        (self.app / "sitecustomize.py").write_text("import casr_label.stock\n")
        self.bundle = self.app / "model" / "casr_net"
        # A copy, since training writes into the bundle.
        shutil.copytree(BUNDLE / "configs", self.bundle / "configs")
        (self.bundle / "casr_net").symlink_to(BUNDLE / "casr_net")
        self.models = self.bundle / "models"
        self.models.mkdir()
        shutil.copy2(BUNDLE / "models" / "model.pt", self.models)
        train = self.bundle / "configs" / "train.json"
        train.write_text(json.dumps(json.loads(train.read_text()) | QUICK))

    def command(self) -> list[str]:
        return [
            str(PYTHON), "-m", "monailabel.main", "start_server", "--app", str(self.app), "--studies",
            str(self.studies), "--host", "127.0.0.1", "--port", str(self.port), "--conf", "zoo_source", "local",
            "--conf", "sam2", "false", "--conf", "models", "casr_net",
        ]  # fmt: skip

    def train(self, **options: Any) -> dict[str, Any]:
        """Train in the background, as clients do; the task at its end."""
        answer = self.post("/train/casr_net", options)
        assert answer.status == 200, answer.body
        end = time.monotonic() + 300
        while time.monotonic() < end:
            task = dict(self.get("/train/").json)
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(0.3)
        raise AssertionError("the training does not end")

    def vessel(self, image: str) -> int:
        """Pixels of the mask that the server gives."""
        answer = self.infer(image, "image", result_extension=".png")
        assert answer.status == 200, answer.body
        return int((cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_UNCHANGED) > 0).sum())


@pytest.fixture(scope="module")
def stock(
    shared_studies: Path, angiograms: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockServer]:
    for number, image in enumerate(angiograms[:3]):
        (shared_studies / f"frame{number}.png").write_bytes(png(image))
    one = StockServer(tmp_path_factory.mktemp("stock"), shared_studies).start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(device="cpu")


@pytest.fixture
def models(stock: StockServer) -> Iterator[Path]:
    """The folder of weights, for a test that trains; afterwards it holds the shipped ones, and there are no labels."""
    yield stock.models
    for path in stock.models.iterdir():
        if path.is_file():  # the folder of converted models stays
            path.unlink()
    shutil.copy2(BUNDLE / "models" / "model.pt", stock.models)
    for item in stock.get("/datastore/?output=train").json:
        assert stock.request("DELETE", f"/datastore/label?id={Path(item['image']).stem}&tag=final").status == 200


def label_all_as_vessel(stock: StockServer, count: int = 3) -> None:
    """Labels that pull the network far from what it does."""
    for number in range(count):
        assert stock.label(f"frame{number}", "x.png", png(np.full((128, 128), 255, np.uint8))).status == 200


def read_nrrd(content: bytes, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    path = folder / "result.nrrd"
    path.write_bytes(content)
    return nrrd.read(str(path))


# Inference


def test_stock_app_offers_the_bundle(stock: StockServer) -> None:
    info = stock.get("/info/").json
    assert info["name"].startswith("MONAILabel - Zoo/Bundle")
    assert info["models"]["casr_net"]["labels"] == {"coronary artery": 1}
    assert info["models"]["casr_net"]["dimension"] == 2
    assert info["trainers"]["casr_net"]["config"]["model_filename"] == ["model.pt"]


@pytest.mark.parametrize("file", ["grey.png", "color.png", "photo.jpg", "slice.nrrd", "volume.nii.gz"])
def test_mask_is_that_of_the_bundle(
    stock: StockServer, shared_studies: Path, segmenter: Segmenter, tmp_path: Path, file: str
) -> None:
    expected = segmenter(shared_studies / file).mask
    name = file.partition(".")[0]
    answer = stock.infer(name, "image", result_extension=".nrrd")
    assert answer.status == 200, answer.body
    mask, _ = read_nrrd(answer.body, tmp_path)
    assert mask.dtype == np.uint8 and mask.shape == (128, 128, 1) and set(np.unique(mask)) == {0, 1}
    assert (expected == mask[..., 0].T).mean() > 0.995
    picture = stock.infer(name, "image", result_extension=".png").body
    flat = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    assert flat.dtype == np.uint8 and set(np.unique(flat)) == {0, 1} and (expected == flat).mean() > 0.995


@pytest.mark.parametrize("file", ["slice.nrrd", "volume.nii.gz"])
def test_geometry_of_a_slice_comes_back(stock: StockServer, shared_studies: Path, tmp_path: Path, file: str) -> None:
    """What 3D Slicer does: the image goes up into a session, and the mask comes back as NRRD."""
    content = (shared_studies / file).read_bytes()
    session = stock.form("PUT", "/session/", {}, {"files": (file, content)}).json["session_id"]
    params = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
    answer = stock.form(
        "POST", f"/infer/casr_net?session_id={session}&output=image", {"params": json.dumps(params)}
    )  # fmt: skip
    assert answer.status == 200, answer.body
    mask, header = read_nrrd(answer.body, tmp_path)
    assert mask.shape == (128, 128, 1) and header["space"] == "left-posterior-superior"
    if file == "slice.nrrd":
        _, source = nrrd.read(str(shared_studies / file))
        directions, origin = source["space directions"], source["space origin"]
    else:
        affine = np.diag([-1, -1, 1, 1]) @ nibabel.load(shared_studies / file).affine
        directions, origin = affine[:3, :3].T, affine[:3, 3]
    assert np.allclose(header["space directions"], directions) and np.allclose(header["space origin"], origin)


def test_frame_of_a_cine(stock: StockServer, shared_studies: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    expected = segmenter(shared_studies / "cine.nrrd").mask
    mask, _ = read_nrrd(stock.infer("cine", "image", frame=2).body, tmp_path)
    assert mask.shape == (128, 128, 1) and (expected[2] == mask[..., 0].T).mean() > 0.995


def test_all_images_at_once(stock: StockServer, shared_studies: Path) -> None:
    """Results get the ending of their image, but none is a JPEG, which would change labels."""
    images = ["grey", "photo", "slice", "volume", "cine"]
    options = {"save_label": True, "multi_gpu": False, "max_workers": 1, "device": "cpu", "images": images}
    answer = stock.post("/batch/infer/casr_net?images=unlabeled&run_sync=true", options)
    assert answer.status == 200, answer.body
    stored = {path.name for path in (shared_studies / "labels" / "original").iterdir()}
    assert {"grey.png", "photo.png", "slice.nrrd", "volume.nii.gz", "cine.nrrd"} <= stored
    assert not any(name.endswith(".jpg") for name in stored)


def test_volume_is_refused(stock: StockServer) -> None:
    """MONAI's own readers, which would take its first slice or all of them, must not be asked."""
    answer = stock.infer("solid", "image", result_extension=".nrrd")
    assert answer.status == 400 and "a volume of 128 x 128 x 3" in answer.detail, answer.body


# Training


def test_training_starts_from_the_weights_in_use_and_its_result_is_used(
    stock: StockServer, segmenter: Segmenter, models: Path
) -> None:
    shipped = (models / "model.pt").read_bytes()
    before = stock.vessel("frame0")
    label_all_as_vessel(stock)
    task = stock.train(**SLICER)
    assert task["status"] == "DONE", task
    origin = torch.load(models / "last.ckpt", weights_only=True)["origin"]["weights"]
    assert origin == state_digest(segmenter.network.state_dict()), "the shipped ones"
    assert (models / "model_previous.pt").read_bytes() == shipped
    first = (models / "model.pt").read_bytes()
    after = stock.vessel("frame0")
    # What the new weights give here, to the pixels that bfloat16 moves; one harsh epoch may give more vessel or less.
    trained = Segmenter(device="cpu", runtime="torch", weights=str(models / "model.pt"))
    expected = int(trained(stock.studies / "frame0.png").mask.sum())
    assert after != before and abs(after - expected) <= 20 + 0.05 * expected, "without a restart"
    # Once more, on the same labels: from the new weights, and not the finished run again.
    task = stock.train(**SLICER)
    assert task["status"] == "DONE", task
    assert "last.ckpt: a new run; of the earlier one (it began from other weights)" in stock.log.read_text()
    assert (models / "model.pt").read_bytes() != first
    assert (models / "model_previous.pt").read_bytes() == first
    assert (models / "model_previous_1.ckpt").read_bytes() == shipped, "nothing is lost"
    assert {path.name for path in models.glob("*.pt")} == {"model.pt", "model_previous.pt"}, "these are offered"
    assert stock.vessel("frame0") != after


def test_training_that_was_stopped_goes_on(stock: StockServer, models: Path) -> None:
    shipped = (models / "model.pt").read_bytes()
    label_all_as_vessel(stock)
    options = {**SLICER, "max_epochs": 12}
    assert stock.post("/train/casr_net", options).status == 200
    end = time.monotonic() + 240
    while not (models / "last.ckpt").is_file() and time.monotonic() < end:
        time.sleep(0.1)
    assert stock.request("DELETE", "/train/").json["status"] == "STOPPED"
    assert (models / "model.pt").read_bytes() == shipped, "weights that are half trained are not served"
    task = stock.train(**options)
    assert task["status"] == "DONE", task
    assert f"Resumed from {models / 'last.ckpt'} after epoch" in stock.log.read_text()
    rows = list(csv.DictReader((models / "log.csv").open()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13)), "each epoch was trained once"
    assert (models / "model_previous.pt").read_bytes() == shipped


def test_training_with_one_label_has_nothing_to_validate(stock: StockServer, models: Path) -> None:
    label_all_as_vessel(stock, 1)
    task = stock.train(max_epochs=2, run_id="")
    assert task["status"] == "DONE", task
    rows = list(csv.DictReader((models / "log.csv").open()))
    assert len(rows) == 2 and rows[-1]["val_dice"] == "" and not (models / "best.ckpt").exists()


def test_training_without_labels_says_so(stock: StockServer, models: Path) -> None:
    assert stock.train(max_epochs=1)["status"] == "ERROR"
    assert "UsageError: 0 cases to train on; at least 1 is needed" in stock.log.read_text(errors="replace")
    assert [path.name for path in models.iterdir() if path.is_file()] == ["model.pt"]  # no checkpoint of a training
