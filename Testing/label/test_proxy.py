"""REST: the way through the server to the PACS, which goes to DICOMweb's resources only; and a PACS that is slow, for
which nobody waits who does not need it. The PACS is a stand-in that writes down what it is asked."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pydicom
import pytest
from makers.fake_pacs import Asked, FakePACS

from casr_net.synthetic.dataset import write_dataset

from .conftest import PYTHON, REASON, Answer, Server, png

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)

S, R, I = "1.2.840.1", "1.2.840.2", "1.2.840.3"  # noqa: E741
INSTANCE = f"studies/{S}/series/{R}/instances/{I}"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakePACS]:
    folder = tmp_path_factory.mktemp("cines")
    one = FakePACS([p for p in write_dataset(folder, 3, seed=8, frames=2, size=128) if p.suffix == ".dcm"])
    yield one
    one.stop()


@pytest.fixture(scope="module")
def behind(pacs: FakePACS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in front of it, with a password for it and a token of its own."""
    folder = tmp_path_factory.mktemp("behind")
    environment = {
        "MONAI_LABEL_DICOMWEB_USERNAME": "label", "MONAI_LABEL_DICOMWEB_PASSWORD": "secret",
        "XDG_STATE_HOME": str(folder / "home"), "CASR_LABEL_TOKEN": "a-token-of-the-server",
    }  # fmt: skip
    headers = {"Authorization": "Bearer a-token-of-the-server", "Cookie": "casr_label=x"}
    one = Server(pacs.url, folder / "server.log", environment=environment, headers=headers).start()
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def _nothing_held(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    request.getfixturevalue("pacs").holding = lambda _asked: False


# The proxy


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("qido/studies?PatientName=A*&limit=5", "/studies?PatientName=A%2A&limit=5"), ("studies", "/studies"),
        ("qido/series", "/series"), (f"qido/studies/{S}/series", f"/studies/{S}/series"),
        (f"wado/studies/{S}/metadata", f"/studies/{S}/metadata"), (f"wado/{INSTANCE}", f"/{INSTANCE}"),
        (f"wado/{INSTANCE}/frames/1,2", f"/{INSTANCE}/frames/1,2"),
        (f"wado/{INSTANCE}/frames/1%2C2/rendered", f"/{INSTANCE}/frames/1,2/rendered"),
        (f"wado/{INSTANCE}/bulk/7fe00010", f"/{INSTANCE}/bulk/7fe00010"),
        (f"wado/{INSTANCE}/bulkdata/00091001/1/7fe00010", f"/{INSTANCE}/bulkdata/00091001/1/7fe00010"),
        (f"qido/studies/{S}/series/{R}/metadata", f"/studies/{S}/series/{R}/metadata"),
        (f"wado/{INSTANCE}/rendered", f"/{INSTANCE}/rendered"),
    ],
)  # fmt: skip
def test_resources_of_dicomweb_reach_the_pacs(behind: Server, pacs: FakePACS, path: str, wanted: str) -> None:
    pacs.asked.clear()
    answer = behind.get(f"/proxy/dicom/{path}", Accept="application/dicom+json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/dicom+json", answer.body
    (asked,) = pacs.asked
    assert asked.path.replace("*", "%2A") == f"/dicom-web{wanted}" and asked.method == "GET"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"label:secret").decode()
    assert asked.headers["accept"] == "application/dicom+json" and "cookie" not in asked.headers
    assert not any("a-token-of-the-server" in value for value in asked.headers.values())


@pytest.mark.parametrize("service", ["", "qido/", "wado/", "stow/"])
@pytest.mark.parametrize(
    "path",
    [
        "%252e%252e/instances", "%2e%2e/instances", "../instances", "%25252e%25252e%25252finstances", "..%2finstances",
        "%25%32%65%25%32%65/instances", "studies/../../system", "studies/%252e%252e/%252e%252e/system",
        "studies/../series", "studies/../metadata", "system", "tools/execute-script", "patients", "",
        "studies%3f../../system", "studies/%00", "studies;x", "studies/1.2/series/../instances", "%5c..%5csystem",
        f"{INSTANCE}/frames/1/../../../../system", f"{INSTANCE}/frames/a", f"{INSTANCE}/attachments", "studies//series",
        "studies/1.2%0d%0aX-Evil:%20y", "http://evil.example/studies", "%2525252525252525252e%252e/instances",
    ],
)  # fmt: skip
def test_no_other_path_reaches_it(behind: Server, pacs: FakePACS, service: str, path: str) -> None:
    pacs.asked.clear()
    for method in ("GET", "POST"):
        answer = behind.request(method, f"/proxy/dicom/{service}{path}")
        assert answer.status in (400, 404) and "detail" in answer.json, (answer.status, answer.body)
    assert pacs.asked == []


def test_methods(behind: Server, pacs: FakePACS) -> None:
    pacs.asked.clear()
    for method in ("DELETE", "PUT", "PATCH"):
        assert behind.request(method, f"/proxy/dicom/wado/studies/{S}").status == 405
    for path in (f"wado/{INSTANCE}", "qido/series", f"wado/studies/{S}/metadata"):
        assert behind.request("POST", f"/proxy/dicom/{path}", b"x").status == 404
    assert pacs.asked == []
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    assert behind.request("POST", f"/proxy/dicom/wado/studies/{S}", b"--edge--", kind).status == 200, "as OHIF stores"
    (asked,) = pacs.asked
    assert asked.method == "POST" and asked.path == f"/dicom-web/studies/{S}" and asked.body == b"--edge--"
    assert asked.headers["content-type"] == kind


def test_state_lies_where_the_system_keeps_states(behind: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder,) = (behind.log.parent / "home" / "casr_label").iterdir()
    assert (folder / "images").is_dir() and folder.stat().st_mode & 0o777 == 0o700


# A slow PACS


def begun(what: Callable[[], Answer]) -> tuple[threading.Thread, list[Answer]]:
    """A request that runs beside the test, and where its answer will be."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(what()), daemon=True)
    thread.start()
    return thread, answers


def serves_what_is_here(server: Server, image: str) -> None:
    """Whether all that needs nothing from the PACS is answered, soon."""
    assert server.request("GET", "/info/", timeout=60).status == 200
    assert server.infer(image, frame=0).status == 200
    assert server.get(f"/datastore/image/info?image={image}").json["Modality"] == "XA"
    assert server.get("/datastore/").json["total"] == 3
    note = {"params": '{"note": 1}'}
    query = f"/datastore/label?image={image}&tag=original"
    assert server.form("PUT", query, note, {"label": ("x.png", png(np.eye(128, dtype=np.uint8) * 255))}).status == 400
    answer = server.form(
        "PUT", query, {"params": '{"frame": 0}'}, {"label": ("x.png", png(np.eye(128, dtype=np.uint8) * 255))}
    )  # fmt: skip
    assert answer.status == 200, answer.body


def test_nobody_waits_for_a_download_of_another(behind: Server, pacs: FakePACS) -> None:
    here, other, _ = sorted(pacs.files)
    assert behind.infer(here, frame=0).status == 200
    pacs.holding = lambda asked: asked.path.endswith(other)
    waiting, answers = begun(lambda: behind.infer(other, frame=0))
    pacs.wait_for(lambda asked: asked.path.endswith(other))
    serves_what_is_here(behind, here)
    assert waiting.is_alive(), "the download is still held"
    pacs.holding = lambda _asked: False
    waiting.join(60)
    assert answers[0].status == 200


def test_nobody_waits_for_a_search_of_another(behind: Server, pacs: FakePACS) -> None:
    here = min(pacs.files)
    assert behind.infer(here, frame=0).status == 200
    pacs.asked.clear()
    pacs.holding = lambda asked: asked.path.startswith("/dicom-web/series")
    waiting, answers = begun(lambda: behind.infer("1.2.3.4", frame=0))  # unknown, so that the PACS is asked at once
    pacs.wait_for(lambda asked: asked.path.startswith("/dicom-web/series"))
    serves_what_is_here(behind, here)
    assert waiting.is_alive()
    pacs.holding = lambda _asked: False
    waiting.join(60)
    assert answers[0].status == 404


def test_nobody_waits_for_a_label_on_its_way_and_its_file_is_complete(behind: Server, pacs: FakePACS) -> None:
    here = min(pacs.files)
    pacs.asked.clear()
    pacs.holding = lambda asked: asked.method == "POST"
    mask = np.zeros((128, 128), np.uint8)
    mask[30:34, 20:100] = 255
    query = f"/datastore/label?image={here}&tag=final"
    file = {"label": ("x.png", png(mask))}
    waiting, answers = begun(lambda: behind.form("PUT", query, {"params": '{"frame": 1}'}, file))
    pacs.wait_for(lambda asked: asked.method == "POST")
    serves_what_is_here(behind, here)
    assert waiting.is_alive()
    pacs.holding = lambda _asked: False
    waiting.join(60)
    assert answers[0].status == 200, answers[0].body
    info = behind.get(f"/datastore/label/info?label={here}&tag=final").json
    sent = [one for one in pacs.asked if one.method == "POST"]
    data = stored(sent[0])
    assert len(sent) == 1 and info["SOPInstanceUID"] == data.SOPInstanceUID and "sending" not in info
    meta = data.file_meta
    assert meta.FileMetaInformationGroupLength > 0 and meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID and meta.MediaStorageSOPClassUID == data.SOPClassUID
    assert meta.ImplementationClassUID and meta.ImplementationVersionName


def stored(asked: Asked) -> pydicom.Dataset:
    """The DICOM file in a STOW-RS request."""
    begin, end = asked.body.index(b"\r\n\r\n") + 4, asked.body.rindex(b"\r\n--")
    return pydicom.dcmread(io.BytesIO(asked.body[begin:end]))  # without force: it has preamble and marker
