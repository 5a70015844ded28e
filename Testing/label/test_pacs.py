"""The server in front of a PACS: a really started Orthanc, over DICOMweb."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import pytest
from makers.orthanc import ORTHANC, PLUGIN, REASON, Orthanc, free_port
from pydicom.uid import generate_uid

from casr_net import Segmenter
from casr_net.files.dicom import save_dicom
from casr_net.files.dicom_seg import parse_segmentation, write_segmentation
from casr_net.synthetic.dataset import write_dataset

from .conftest import Server, png

pytestmark = pytest.mark.skipif(ORTHANC is None or not PLUGIN.is_file(), reason=REASON)


@pytest.fixture(scope="module")
def cines(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two XA cines of 3 frames of 128 x 128 pixels, and a CT image, which is none of the server's business."""
    folder = tmp_path_factory.mktemp("cines")
    files = sorted(p for p in write_dataset(folder, 2, seed=8, frames=3, size=128) if p.suffix == ".dcm")
    other = pydicom.dcmread(files[0])
    other.Modality, other.SOPClassUID = "CT", "1.2.840.10008.5.1.4.1.1.2"
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(other, keyword, generate_uid())
    other.file_meta.MediaStorageSOPClassUID = other.SOPClassUID
    other.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    save_dicom(folder / "ct.dcm", other)
    return [*files, folder / "ct.dcm"]


@pytest.fixture
def orthanc(tmp_path: Path, cines: list[Path]) -> Iterator[Orthanc]:
    """With both cines and the CT image in it."""
    one = Orthanc(tmp_path / "orthanc", free_port()).start()
    for file in cines:
        one.store(file)
    yield one
    one.stop()


@pytest.fixture
def begin(start: Callable[..., Server], orthanc: Orthanc, tmp_path: Path) -> Callable[[], Server]:
    """Start the server in front of it; again: with the same local folder."""
    return lambda: start(orthanc.url, "--state", str(tmp_path / "state"))


def uid(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)


def segmentations(orthanc: Orthanc, folder: Path) -> list[pydicom.Dataset]:
    """What the PACS holds, oldest first."""
    files = [orthanc.file(name, folder / f"{name}.dcm") for name in orthanc.instances("SEG")]
    return sorted((pydicom.dcmread(file) for file in files), key=lambda d: d.ContentDate + d.ContentTime)


def stack(masks: np.ndarray, folder: Path) -> bytes:
    """A stack (X, Y, frames) as a client sends it."""
    nrrd.write(str(folder / "label.nrrd"), masks.astype(np.uint8), {"kinds": ["domain", "domain", "list"]})
    return (folder / "label.nrrd").read_bytes()


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "has not come true"
        time.sleep(0.5)


def test_lists_infers_and_stores_back(
    begin: Callable[[], Server], orthanc: Orthanc, cines: list[Path], tmp_path: Path
) -> None:
    server = begin()
    first, second = sorted(map(uid, cines[:2]))
    listed = server.get("/datastore/").json
    assert listed["total"] == 2 and listed["completed"] == 0, "both angiograms, not the CT image"
    file = next(file for file in cines[:2] if uid(file) == first)

    answer = server.infer(first, "image", frame="all", result_extension=".nrrd")
    assert answer.status == 200, answer.body
    (tmp_path / "mask.nrrd").write_bytes(answer.body)
    mask, _ = nrrd.read(str(tmp_path / "mask.nrrd"))
    expected = Segmenter(device="cpu")(file).mask
    assert mask.shape == (128, 128, 1, 3) and (mask[:, :, 0].transpose(2, 1, 0) == expected).mean() > 0.995

    assert server.infer(first, frame="all", save_label=True, label_tag="final").status == 200
    (stored,) = segmentations(orthanc, tmp_path)
    assert stored.StudyInstanceUID == pydicom.dcmread(file).StudyInstanceUID and stored.Modality == "SEG"
    found = parse_segmentation(stored)
    assert found.source_instance == first and found.frames == [0, 1, 2] and (found.masks == (mask[:, :, 0] > 0)).all()
    assert stored.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    if shutil.which("dciodvfy"):  # of the file as the PACS keeps it
        kept = orthanc.file(orthanc.instances("SEG")[0], tmp_path / "kept.dcm")
        done = subprocess.run(["dciodvfy", "-new", str(kept)], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        assert [line for line in lines if line.startswith("Error") and "Study" not in line] == []

    assert server.get("/datastore/").json["completed"] == 1
    assert server.post("/activelearning/first").json["id"] == second
    series = str(pydicom.dcmread(file).SeriesInstanceUID)
    assert server.infer(series, frame=0).status == 200, "the only image of a series, as OHIF names it"
    fetched = server.get(f"/datastore/image?image={first}").body
    (tmp_path / "fetched.dcm").write_bytes(fetched)
    assert (pydicom.dcmread(tmp_path / "fetched.dcm").pixel_array == pydicom.dcmread(file).pixel_array).all()


def test_one_corrected_frame_after_the_other(
    begin: Callable[[], Server], orthanc: Orthanc, cines: list[Path], tmp_path: Path
) -> None:
    server, image = begin(), uid(cines[0])
    mask = np.zeros((128, 128), np.uint8)
    mask[30:34, 20:100] = 255  # rows, columns
    query = f"/datastore/label?image={image}&tag=final"
    for frame in (2, 0):
        answer = server.form("PUT", query, {"params": json.dumps({"frame": frame})}, {"label": ("x.png", png(mask))})
        assert answer.status == 200, answer.body
    first, second = map(parse_segmentation, segmentations(orthanc, tmp_path))
    assert first.frames == [2] and second.frames == [0, 2]
    assert (second.masks == (mask.T > 0)[..., None]).all()
    assert segmentations(orthanc, tmp_path)[-1].SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    # OHIF's raw bytes, columns fastest, of the whole cine
    raw = np.stack([mask, np.zeros_like(mask), mask]).astype(np.uint8)
    assert server.form("PUT", query, {}, {"label": ("label.bin", raw.tobytes())}).status == 200
    assert (parse_segmentation(segmentations(orthanc, tmp_path)[-1]).stack(3) == (raw.transpose(2, 1, 0) > 0)).all()


def test_segmentations_of_others_are_labels_to_learn_from(
    begin: Callable[[], Server], orthanc: Orthanc, cines: list[Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    names = []
    for number, file in enumerate(cines[:2]):
        masks = {frame: rng.random((128, 128)) > 0.5 for frame in range(number + 1)}
        write_segmentation(tmp_path / "other.dcm", file, masks, algorithm="MANUAL")
        names.append(orthanc.store(tmp_path / "other.dcm"))
    server = begin()
    assert server.get("/datastore/").json["completed"] == 2
    found = parse_segmentation(tmp_path / "other.dcm")
    content = server.get(f"/datastore/label?label={uid(cines[1])}&tag=final").body
    (tmp_path / "back.nrrd").write_bytes(content)
    assert (nrrd.read(str(tmp_path / "back.nrrd"))[0][:, :, 0] == found.stack(3)).all()

    options = {"max_epochs": 1, "samples_per_epoch": 4, "batch_size": 2, "crop_size": 64}
    answer = server.post("/train/casr_net?run_sync=true", options)
    assert answer.status == 200, answer.body
    (record,) = server.get("/info/").json["train_stats"]["casr_net"]["versions"]
    assert len(record["train"]) + len(record["held"]) == 3 and record["left_out"] == []
    assert all("#" in name for name in record["train"] + record["held"])

    orthanc.delete(names[0])
    wait(lambda: server.get("/datastore/").json["completed"] == 1)


def test_pacs_that_does_not_answer(
    begin: Callable[[], Server], orthanc: Orthanc, cines: list[Path], tmp_path: Path
) -> None:
    server, (known, other) = begin(), map(uid, cines[:2])
    assert server.infer(known, frame=0).status == 200
    orthanc.stop()
    answer = server.infer(other, frame=0)
    assert answer.status == 502 and orthanc.url in answer.detail and "no usable answer" in answer.detail
    masks = np.zeros((128, 128, 3), bool)
    masks[10:50, 20:24, 1] = True
    answer = server.label(known, "x.nrrd", stack(masks, tmp_path))
    assert answer.status == 502 and "kept here and to be sent again" in answer.detail
    server.kill()
    orthanc.start()
    server.start()
    assert server.get("/datastore/").json["completed"] == 1
    (stored,) = segmentations(orthanc, tmp_path)
    assert (parse_segmentation(stored).stack(3) == masks).all() and parse_segmentation(stored).frames == [1]
    assert server.infer(other, frame=0).status == 200


def test_ohif_is_served_and_finds_the_studies(begin: Callable[[], Server], orthanc: Orthanc, cines: list[Path]) -> None:
    """MONAI Label brings OHIF, which reaches the PACS through the server; the viewer itself is not run here."""
    server = begin()
    page = server.get("/ohif/")
    assert page.status == 200 and b"<title>OHIF" in page.body
    studies = server.get("/proxy/dicom/qido/studies").json
    found = {study["0020000D"]["Value"][0] for study in studies}
    headers = [pydicom.dcmread(file) for file in cines]
    assert {str(header.StudyInstanceUID) for header in headers} == found
    one = headers[0]
    place = f"studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}"
    answer = server.get(f"/proxy/dicom/qido/{place}/metadata", Accept="application/dicom+json")
    metadata = answer.json
    assert metadata[0]["00080018"]["Value"] == [one.SOPInstanceUID], "OHIF asks the search service for it"
    wanted = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
    frame = server.get(f"/proxy/dicom/wado/{place}/instances/{one.SOPInstanceUID}/frames/2", Accept=wanted)
    size = one.Rows * one.Columns * one.BitsAllocated // 8
    assert frame.status == 200 and one.PixelData[size : 2 * size] in frame.body
    packed = server.get("/proxy/dicom/qido/studies", Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip" and json.loads(gzip.decompress(packed.body)) == studies
    before = len(orthanc.get("/instances"))
    assert server.get("/proxy/dicom/%252e%252e/instances").status == 400
    assert server.request("DELETE", f"/proxy/dicom/wado/studies/{one.StudyInstanceUID}").status == 405
    assert len(orthanc.get("/instances")) == before


def test_names_that_are_none(begin: Callable[[], Server], cines: list[Path]) -> None:
    server = begin()
    for name in ("nope", "1.2.3", "..", "../1.2", "%2Fetc%2Fpasswd", "1.2.3/instances"):
        answer = server.form("POST", f"/infer/casr_net?image={name}&output=json", {"params": "{}"})
        assert answer.status in (400, 404), (name, answer.body)
    image = uid(cines[0])
    assert server.infer(image).json["frames"] == [0, 1, 2]
    assert server.request("DELETE", f"/datastore/image?id={image}").status == 400
    assert server.infer(image, frame=0).status == 200
