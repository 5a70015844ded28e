"""REST: what is wrong gets a clear answer, loses nothing, and the server keeps serving."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .conftest import Server, full_mask, png

FINITE = "expected a JSON object of finite numbers, valid text and at most 64 levels."


@pytest.fixture(autouse=True)
def _still_serving(server: Server) -> None:
    yield
    assert server.infer("grey").status == 200


@pytest.mark.parametrize("image", ["nope", "", "grey.png", "labels"])
def test_unknown_image(server: Server, image: str) -> None:
    answer = server.infer(image)
    assert answer.status == (404 if image else 400) and image in answer.detail


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "..", "/etc/passwd", "..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "a/../../b", "a\\..\\b",
        "grey%00.png", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_studies_folder(server: Server, shared_studies: Path, path: str) -> None:
    (shared_studies.parent / "secret.png").write_bytes(b"x")
    before = set(shared_studies.parent.rglob("*"))
    raw = path if "%" in path else path.replace("\\", "%5C")
    mask = png(full_mask())
    file = {"label": ("x.png", mask)}
    answers = [
        server.form("POST", f"/infer/casr_net?image={raw}&output=json", {"params": "{}"}),
        server.get(f"/datastore/image?image={raw}"),
        server.get(f"/datastore/label?label={raw}&tag=final"),
        server.get(f"/datastore/label?label=grey&tag={raw}"),
        server.form("PUT", f"/datastore/label?image=grey&tag={raw}", {}, file),
        server.form("PUT", f"/datastore/label?image={raw}&tag=final", {}, file),
        server.form("PUT", f"/datastore/image?image={raw}", {}, {"file": ("x.png", mask)}),
        server.request("DELETE", f"/datastore/image?id={raw}"),
        server.request("DELETE", f"/datastore/label?id={raw}&tag=final"),
        server.get(f"/logs/?logfile={raw}"),
    ]
    assert [answer.status for answer in answers if answer.status not in (400, 403, 404)] == []
    assert {path for path in shared_studies.parent.rglob("*") if ".casr" not in path.parts} <= before
    assert (shared_studies.parent / "secret.png").read_bytes() == b"x"


@pytest.mark.parametrize("address", ["/ohif/..%2F..%2F..%2Fetc%2Fpasswd", "/static/../../app.py", "//etc/passwd"])
def test_no_address_leads_out(server: Server, address: str) -> None:
    assert server.get(address).status in (400, 404)


def test_path_in_the_parameters(server: Server) -> None:
    for path in ("/etc/hostname", "/proc/self/environ", "../x"):
        params = {"params": json.dumps({"image": path})}
        answer = server.form("POST", "/infer/casr_net?image=grey&output=json", params)
        assert answer.status in (400, 404), answer.body


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"result_extension": "../x.nrrd"}, "result_extension"), ({"result_extension": ".exe"}, "result_extension"),
        ({"device": "cuda:7"}, "device"), ({"device": "tpu"}, "device"), ({"threshold": 7}, "threshold"),
        ({"threshold": "x"}, "threshold"), ({"refine": "no"}, "refine"), ({"result": "all"}, "result"),
        ({"frame": -1}, "frame"), ({"frame": 1}, "frame"), ({"frame": "1; rm"}, "frame"),
        ({"label_tag": "../x", "save_label": True}, "tag"),
        ({"key_frames": "two"}, "key_frames is 'two'"), ({"key_frames": -1}, "key_frames"),
        ({"contrast": "yes"}, "contrast"), ({"measure": 1}, "measure"), ({"french": 6}, '"measure": true asks'),
        ({"measure": True, "french": 60}, "French; it must be 3 to 12"),
        ({"measure": True, "mm_per_pixel": "x"}, "mm_per_pixel is 'x'"),
        ({"measure": True, "ends": [[1, 2]]}, "expected two points [x, y]"),
        ({"measure": True, "ends": [[1, 1], [100, 100]], "reference": [3, "cm"]}, 'a number and "px" or "mm"'),
        ({"measure": True, "reference": [3, "px"]}, "A reference diameter belongs to a vessel"),
        ({"measure": True, "ends": [[-90, -90], [500, 500]]}, "from the nearest"),
    ],
)  # fmt: skip
def test_wrong_parameters(server: Server, values: dict, words: str) -> None:
    answer = server.infer("grey", **values)
    assert answer.status == 400 and words in answer.detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{no", "is '{no'; expected a JSON object."), (" ", "is ' '; expected a JSON object."),
        ("[1]", "is '[1]'; expected a JSON object."), ("\ufeff{}", "is '\\ufeff{}'; expected a JSON object."),
        ('{"a": NaN}', FINITE), ('{"a": 1e999}', FINITE), ('{"a": ' + "1" * 5000 + "}", FINITE),
        (r'{"a": "\ud800"}', FINITE), ("[" * 100000, FINITE), ('{"a": ' + "[" * 64 + "]" * 64 + "}", FINITE),
    ],
    ids=["cut", "blank", "list", "mark", "nan", "infinity", "digits", "surrogate", "endless", "levels"],
)  # fmt: skip
def test_form_field_that_is_no_json_object(server: Server, shared_studies: Path, text: str, words: str) -> None:
    """What is stored nevertheless would be answered with 500 from then on, or make the index unreadable."""
    before = (shared_studies / "datastore_v2.json").read_bytes()
    image, label = {"file": ("x.png", png(full_mask()))}, {"label": ("x.png", png(full_mask()))}
    for name, method, path, files in (
        ("params", "POST", "/infer/casr_net?image=grey&output=json", None),
        ("wsi", "POST", "/infer/wsi_v2/casr_net?image=grey&output=json", None),
        ("params", "PUT", "/datastore/label?image=grey&tag=final", label),
        ("params", "PUT", "/datastore/image?image=new", image),
        ("info", "PUT", "/datastore/image/info?image=grey", None),
        ("info", "PUT", "/datastore/label/info?label=grey&tag=final", None),
    ):
        answer = server.form(method, path, {name: text}, files)
        assert answer.status == 400 and answer.detail.startswith(f"{name} is ") and words in answer.detail, path
    assert (shared_studies / "datastore_v2.json").read_bytes() == before


def test_form_field_of_many_levels_and_none(server: Server) -> None:
    """What is accepted comes back."""
    nested = json.loads("[" * 63 + "]" * 63)
    answer = server.form("PUT", "/datastore/image/info?image=grey", {"info": json.dumps({"nested": nested})})
    assert answer.status == 200, answer.body
    assert server.get("/datastore/image/info?image=grey").json["nested"] == nested
    assert server.form("PUT", "/datastore/image/info?image=grey", {"info": ""}).status == 200
    assert server.get("/datastore/image/info?image=grey").json["nested"] == nested


def test_unknown_model_strategy_and_method(server: Server) -> None:
    for path in (
        "/infer/other?image=grey",
        "/activelearning/other",
        "/scoring/other?run_sync=true",
        "/train/other?run_sync=true",
    ):
        answer = server.form("POST", path, {}) if path.startswith("/infer") else server.post(path)
        assert answer.status == 400 and "other" in answer.detail, path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", b"\x89PNG\r\n\x1a\nbroken"), ("x.nrrd", b"NRRD0004\n"), ("x.nii.gz", b"\x1f\x8b"),
        ("x.txt", b"hello"), ("x.png", b""), ("x", b"hello"), ("x.dcm", b"\0" * 128 + b"DICMxxxx"), ("x.exe", b"MZ"),
    ],
)  # fmt: skip
def test_broken_uploads(server: Server, shared_studies: Path, name: str, content: bytes) -> None:
    before = sorted(p.name for p in shared_studies.rglob("*"))
    answers = [
        server.form("POST", "/infer/casr_net?output=json", {"params": "{}"}, {"file": (name, content)}),
        server.form("PUT", "/datastore/image?image=new", {}, {"file": (name, content)}),
        server.form("PUT", "/datastore/label?image=grey&tag=final", {}, {"label": (name, content)}),
    ]
    assert [answer.status for answer in answers] == [400, 400, 400], [answer.body for answer in answers]
    assert tempfile.gettempdir() not in answers[1].detail + answers[2].detail
    assert sorted(p.name for p in shared_studies.rglob("*")) == before


def test_label_of_another_size(server: Server) -> None:
    answer = server.label("grey", "x.png", png(np.zeros((64, 100), np.uint8)))
    assert answer.status == 400 and "100 x 64 pixels; the image has 128 x 128" in answer.detail


def test_label_of_an_unknown_image(server: Server) -> None:
    assert server.label("nope", "x.png", png(full_mask())).status == 404


def test_too_large_upload(start: Callable[..., Server], studies: Path) -> None:
    small = start(studies, "--max-upload-mb", "1")
    answer = small.form("PUT", "/datastore/image?image=big", {}, {"file": ("big.png", b"x" * (2 << 20))})
    assert answer.status == 413 and "limit is 1048576" in answer.detail
    assert small.infer("frame0").status == 200 and not list(studies.glob("big*"))


@pytest.mark.parametrize("query", ["casr_net?run_sync=true", "casr_net", ""])
def test_training_that_cannot_be_is_refused_at_once(server: Server, query: str) -> None:
    answer = server.post(f"/train/{query}")
    assert answer.status == 400 and "of 0 patient(s) or image(s); at least 2 are needed" in answer.detail
    options = {"max_epochs": 0}
    answer = server.post(f"/train/{query}", options if query else {"casr_net": options})
    assert answer.status == 400 and "max_epochs is '0'; expected 1 to 500" in answer.detail
    assert server.get("/train/").status == 404, "no process was started"


def test_wrong_arguments_of_the_server(tmp_path: Path) -> None:
    import os
    import subprocess

    from .conftest import APP, PYTHON

    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    for arguments, words in (
        (["--studies", str(tmp_path / "none")], "no such folder"),
        (["--studies", str(tmp_path), "--port", "0"], "port 0"),
    ):
        done = subprocess.run(
            [str(PYTHON), "-m", "casr_label", *arguments], capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_archive_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("../../casr_escaped.png")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    answer = server.form("PUT", "/session/?uncompress=true", {}, {"files": ("a.tar", buffer.getvalue())})
    assert answer.status == 400 and "not unpacked" in answer.detail
    assert not list(Path(tempfile.gettempdir()).glob("casr_escaped.png"))
