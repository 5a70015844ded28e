"""The client of a DICOMweb server, which the label server and others use."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from makers.fake_pacs import FakePACS

from casr_net.files.dicom_seg import make_segmentation
from casr_net.files.dicomweb import DICOMwebArchive, Instance, PACSError, Series
from casr_net.synthetic.dataset import write_dataset


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("cines")
    return sorted(p for p in write_dataset(folder, 2, seed=8, frames=2, size=64) if p.suffix == ".dcm")


@pytest.fixture
def pacs(files: list[Path]) -> Iterator[FakePACS]:
    one = FakePACS(files)
    yield one
    one.stop()


@pytest.fixture
def archive(pacs: FakePACS) -> DICOMwebArchive:
    return DICOMwebArchive(f"{pacs.url}/", "label", "secret")


def place(file: Path) -> Instance:
    data = pydicom.dcmread(file, stop_before_pixels=True)
    return Instance(str(data.StudyInstanceUID), str(data.SeriesInstanceUID), str(data.SOPInstanceUID))


def test_finds_and_fetches(archive: DICOMwebArchive, pacs: FakePACS, files: list[Path], tmp_path: Path) -> None:
    found = archive.series({"Modality": "XA"})
    assert {(one.study, one.series, one.count) for one in found} == {
        (one.study, one.series, 1) for one in map(place, files)
    }
    assert "Modality=XA" in pacs.asked[0].path and pacs.asked[0].headers["authorization"].startswith("Basic ")
    wanted = place(files[0])
    assert archive.instances(Series(wanted.study, wanted.series)) == [wanted]
    header = archive.download(wanted, tmp_path / "got.dcm")
    got, source = pydicom.dcmread(tmp_path / "got.dcm"), pydicom.dcmread(files[0])
    assert header.SOPInstanceUID == wanted.instance and (got.pixel_array == source.pixel_array).all()
    assert got.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID, "as it is stored"
    assert "transfer-syntax=*" in pacs.asked[-1].headers["accept"].replace('"', "")
    assert (archive.fetch(wanted).pixel_array == source.pixel_array).all()


def test_stores_a_complete_file(archive: DICOMwebArchive, pacs: FakePACS, files: list[Path]) -> None:
    made = make_segmentation(files[0], {1: np.eye(64)})
    archive.store(made)
    (asked,) = pacs.asked
    body = asked.body[asked.body.index(b"\r\n\r\n") + 4 : asked.body.rindex(b"\r\n--")]
    data = pydicom.dcmread(io.BytesIO(body))
    assert data.SOPInstanceUID == made.SOPInstanceUID and body[128:132] == b"DICM"
    names = {
        "FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID",
        "MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID",
    }  # fmt: skip
    assert names <= {element.keyword for element in data.file_meta}, "type 1 in PS3.10 7.1"
    # The group's length is that of what follows it: preamble, marker, and the element itself with 12 bytes.
    offset = 128 + 4 + 12 + data.file_meta.FileMetaInformationGroupLength
    assert body[offset : offset + 2] == b"\x08\x00", "the data set begins with group 0008"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, b"{}", "answered with HTTP status 500"), (401, b"", "HTTP status 401: it wants a token"),
        (404, b"", "HTTP status 404: is it the address of a DICOMweb service"),
        (200, b"<html>", "no usable answer"), (200, b'[{"0020000D": 7}]', "no usable answer"), (200, b"[{}]", "usable"),
        (200, b'"\\u001b[31m"', "no usable answer"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used(
    archive: DICOMwebArchive, pacs: FakePACS, status: int, body: bytes, words: str
) -> None:
    pacs.saying = (status, "application/dicom+json", body)
    with pytest.raises(PACSError, match=words) as caught:
        archive.series({"Modality": "XA"})
    assert str(caught.value).startswith(pacs.url) and str(caught.value).isprintable()
    with pytest.raises(PACSError):
        archive.fetch(Instance("1.2", "1.3", "1.4"))


def test_refused_instance(archive: DICOMwebArchive, pacs: FakePACS, files: list[Path]) -> None:
    answer = pydicom.Dataset()
    item = pydicom.Dataset()
    item.FailureReason = 0xA700
    answer.FailedSOPSequence = [item]
    pacs.saying = (200, "application/dicom+json", json.dumps(answer.to_json_dict()).encode())
    with pytest.raises(PACSError, match="0xA700"):
        archive.store(make_segmentation(files[0], {0: np.eye(64)}))


def test_nobody_there() -> None:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{opened.getsockname()[1]}/dicom-web"
        with pytest.raises(PACSError, match=r"no usable answer: no connection"):
            DICOMwebArchive(url).series({})


def test_needs_nothing_of_monai_label() -> None:
    """Not even MONAI or torch."""
    loaded = "[m for m in ('monailabel', 'monai', 'torch') if m in sys.modules]"
    script = f"import sys, casr_net.files.dicomweb; print({loaded})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-500:]
