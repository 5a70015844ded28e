"""REST: who may ask the server. Pages of other sites may not, whatever name they come under; a token, where one is set,
keeps everybody out who has not got it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from .conftest import APP, PYTHON, Server, full_mask, png

EVIL = "https://evil.example"
TOKEN = "correct-horse-battery-staple"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "127.0.0.1@evil", ""])
def test_other_names_of_this_server_are_refused(server: Server, host: str) -> None:
    """A page whose own name leads to 127.0.0.1 (DNS rebinding) is of the same origin, for the browser."""
    for method, path in (("GET", "/info/"), ("GET", "/datastore/image?image=grey"), ("POST", "/activelearning/first")):
        answer = server.request(method, path, headers={"Host": host})
        assert answer.status == 400 and b"host" in answer.body.lower(), answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_the_loopback_interface_are_served(server: Server, host: str) -> None:
    for name in (host, f"{host}:{server.port}"):
        assert server.get("/info/", Host=name).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "file://"},
        {"Origin": "http://127.0.0.1.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
    ],
)  # fmt: skip
def test_page_of_another_origin_changes_nothing(server: Server, shared_studies: Path, headers: dict[str, str]) -> None:
    before = {path: path.read_bytes() for path in shared_studies.rglob("*") if path.is_file()}
    # What a page may send without being asked first: a form, or plain text.
    for method, path, kind in (
        ("POST", "/infer/casr_net?image=grey&output=json", FORM), ("POST", "/train/casr_net", "text/plain"),
        ("POST", "/activelearning/first", "text/plain"), ("DELETE", "/datastore/image?id=grey", FORM),
        ("PUT", "/datastore/image/info?image=grey", FORM), ("DELETE", "/model/casr_net", FORM),
        ("PATCH", "/datastore/", FORM), ("POST", "/reload", FORM), ("PUT", "/page/draft?image=grey&frame=0", FORM),
        ("POST", "/page/infer?image=grey&frame=0", FORM), ("POST", "/page/accept?image=grey", "text/plain"),
    ):  # fmt: skip
        answer = server.request(method, path, b"", kind, headers=headers)
        assert answer.status == 403 and "another origin" in answer.detail, (method, path, answer.body)
    assert {path: path.read_bytes() for path in shared_studies.rglob("*") if path.is_file()} == before


def test_page_of_another_origin_reads_nothing(server: Server) -> None:
    """A browser gives an answer to such a page only if the server says so."""
    preflight = {"Origin": EVIL, "Access-Control-Request-Method": "DELETE"}
    for answer in (
        server.get("/datastore/?output=all", Origin=EVIL),
        server.get("/info/", Origin=EVIL, Cookie="a=b"),
        server.request("OPTIONS", "/datastore/image?id=grey", headers=preflight),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")], answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def test_own_pages_and_programs_are_served(server: Server) -> None:
    own = f"http://127.0.0.1:{server.port}"
    for headers in (
        {}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Referer": f"{EVIL}/"},
    ):  # fmt: skip
        answer = server.request("POST", "/activelearning/first", b"{}", headers=headers)
        assert answer.status == 200, answer.body
    assert "/infer/{model}" in server.get("/openapi.json").json["paths"]


def test_origins_that_are_named_may_do_what_the_own_ones_may(guarded: Server) -> None:
    wanted = {"Origin": "https://ohif.example", "Access-Control-Request-Method": "PUT"}
    answer = guarded.request("OPTIONS", "/datastore/label?image=grey&tag=final", headers=wanted)
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "https://ohif.example"
    assert "access-control-allow-credentials" not in answer.headers
    headers = {"Origin": "https://ohif.example", "Sec-Fetch-Site": "cross-site"}
    assert guarded.request("POST", "/activelearning/first", b"{}", headers=headers).status == 200
    assert guarded.request("POST", "/activelearning/first", b"{}", headers={"Origin": EVIL}).status == 403


# Weights and forms


def test_weights_are_neither_replaced_nor_removed(server: Server) -> None:
    weights = APP.parent / "models" / "model.pt"
    before = weights.stat().st_mtime_ns
    for method in ("PUT", "DELETE", "POST"):
        assert server.form(method, "/model/casr_net", {}, {"file": ("model.pt", b"x")}).status == 403
    assert weights.stat().st_mtime_ns == before


def test_refusals_reach_clients_that_send_all_before_they_listen(server: Server) -> None:
    """As Python's does; 32 MB do not fit into the buffers on the way."""
    file = {"file": ("x.png", b"x" * (32 << 20))}
    query = "/datastore/image?image=%252e%252e%252fx"
    assert server.form("PUT", query, {}, file).status == 400
    kind = "multipart/form-data; boundary=x"
    answer = server.request("PUT", "/datastore/image?image=x", b"x" * (32 << 20), kind, headers={"Origin": EVIL})
    assert answer.status == 403


def test_body_that_is_no_form_is_small(server: Server) -> None:
    answer = server.request("POST", "/train/casr_net", b'{"a": "' + b"x" * 2**20 + b'"}')
    assert answer.status == 413 and "the limit is 1048576" in answer.detail


# The token


@pytest.fixture(scope="module")
def guarded(shared_studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for other computers too, which needs a token; its client sends it unless a test says something else."""
    environment = {
        "CASR_LABEL_TOKEN": TOKEN, "CASR_LABEL_HOSTS": "label.example, *.clinic.example",
        "MONAI_LABEL_CORS_ORIGINS": '["https://ohif.example"]',
    }  # fmt: skip
    one = Server(
        shared_studies, tmp_path_factory.mktemp("guarded") / "server.log", "--host", "0.0.0.0",
        environment=environment, headers={"Authorization": f"Bearer {TOKEN}"},
    ).start()  # fmt: skip
    yield one
    one.stop()


@pytest.mark.parametrize(
    "value",
    [
        "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, f"Token {TOKEN}", "Bearer \xfc",
        "Basic " + base64.b64encode(f"user:{TOKEN}".encode()).decode(), f"Bearer {TOKEN.upper()}",
    ],
)  # fmt: skip
def test_nothing_without_the_token(guarded: Server, value: str) -> None:
    for method, path in (
        ("GET", "/info/"), ("GET", "/datastore/image?image=grey"), ("GET", "/static/x"), ("GET", "/docs"), ("GET", "/"),
        ("GET", "/proxy/dicom/studies"), ("POST", "/infer/casr_net?image=grey"), ("DELETE", "/datastore/image?id=grey"),
        ("GET", "/auth/token/valid"), ("GET", "/nothing"), ("GET", "/page/images"), ("GET", "/assets/app.js"),
        ("PUT", "/page/trial"),
    ):  # fmt: skip
        answer = guarded.request(method, path, headers={"Authorization": value})
        assert answer.status == 401 and "www-authenticate" in answer.headers, (path, answer.status, answer.body)
        assert TOKEN.encode() not in answer.body


def test_program_with_the_token_is_served(guarded: Server) -> None:
    assert guarded.infer("grey").status == 200
    assert guarded.label("grey", "x.png", png(full_mask())).status == 200
    assert guarded.get("/info/", Authorization=f"bearer {TOKEN}").status == 200
    assert guarded.request("DELETE", "/datastore/label?id=grey&tag=final").status == 200
    assert guarded.post("/scoring/disagreement").json["status"] in ("SUBMITTED", "RUNNING"), "in a process of its own"
    assert guarded.request("DELETE", "/scoring/").status == 200


def test_browser_logs_in_by_a_form(guarded: Server) -> None:
    nobody = {"Authorization": ""}
    page = guarded.request("GET", "/ohif/", headers={**nobody, "Accept": "text/html,*/*"})
    assert page.status == 303 and page.headers["location"] == "/login?next=/ohif/"
    form = guarded.request("GET", page.headers["location"], headers=nobody)
    assert form.status == 200 and b'type="password"' in form.body
    wrong = guarded.request("POST", "/login?next=/ohif/", b"token=wrong", FORM, headers=nobody)
    assert wrong.status == 401 and "set-cookie" not in wrong.headers
    right = urlencode({"token": TOKEN}).encode()
    done = guarded.request("POST", "/login?next=/ohif/", right, FORM, headers=nobody)
    assert done.status == 303 and done.headers["location"] == "/ohif/"
    cookie, *attributes = [part.strip() for part in done.headers["set-cookie"].split(";")]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes) and TOKEN not in cookie
    there = guarded.request("GET", "/ohif/", headers={**nobody, "Cookie": f"x=y; {cookie}"})
    assert there.status == 404 and b"OHIF needs a PACS" in there.body, "in front of a folder"
    wanted = "/ohif/viewer?StudyInstanceUIDs=1.2&x=%C3%A4"
    page = guarded.request("GET", wanted, headers={**nobody, "Accept": "text/html"})
    done = guarded.request("POST", page.headers["location"], urlencode({"token": TOKEN}).encode(), FORM, headers=nobody)
    assert done.status == 303 and done.headers["location"] == wanted, "the study that was asked for"
    assert guarded.request("GET", "/info/", headers={**nobody, "Cookie": f"{cookie}0"}).status == 401
    first = guarded.request("GET", "/", headers={**nobody, "Accept": "text/html"})
    assert first.status == 303 and first.headers["location"] == "/login?next=/"
    for path in ("/", "/assets/app.js", "/page/images"):
        assert guarded.request("GET", path, headers={**nobody, "Cookie": cookie}).status == 200
    # Neither another page sends the form, nor does it lead elsewhere.
    assert guarded.request("POST", "/login", right, FORM, headers={**nobody, "Origin": EVIL}).status == 403
    for target in ("//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aset-cookie:x=y"):
        done = guarded.request("POST", f"/login?next={target}", right, FORM, headers=nobody)
        assert done.status == 303 and done.headers["location"] in ("/", "/%0D%0Aset-cookie%3Ax%3Dy"), done.headers
        assert done.headers["set-cookie"].startswith(cookie)
    large = guarded.request("POST", "/login", b"token=" + b"x" * 100_000, FORM, headers=nobody)
    assert large.status == 401


def test_login_of_monai_labels_clients(guarded: Server) -> None:
    """What the module of 3D Slicer does, with MONAI Label's own client: ask, send user and password, use the header."""
    script = Path(__file__).with_name("client_login.py")
    done = subprocess.run(
        [str(PYTHON), str(script), f"http://127.0.0.1:{guarded.port}", TOKEN], capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "enabled": True, "before": 401, "wrong": 401, "valid": True, "labels": ["coronary artery"], "pixels": True,
    }  # fmt: skip


def test_names_that_are_set_are_served(guarded: Server) -> None:
    import socket

    for host in ("label.example", "xa.clinic.example:8000", socket.gethostname()):
        assert guarded.get("/info/", Host=host).status == 200, host
    for host in ("clinic.example.evil", "xa.label.example", "evil.example"):
        assert guarded.get("/info/", Host=host).status == 400, host


@pytest.mark.parametrize(
    ("host", "token", "hosts", "words"),
    [
        ("0.0.0.0", None, "", "set CASR_LABEL_TOKEN"), ("::", "", "", "set CASR_LABEL_TOKEN"),
        ("192.0.2.7", None, "", "host 192.0.2.7 can be reached from other computers"),
        ("127.0.0.1", "short", "", "CASR_LABEL_TOKEN has 5 characters; expected 16 or more"),
        ("0.0.0.0", "with spaces in it are none", "", "without spaces"),
        ("localhost", None, "*", "CASR_LABEL_HOSTS: '*'"),
    ],
)  # fmt: skip
def test_server_that_nobody_could_trust_does_not_start(
    tmp_path: Path, host: str, token: str | None, hosts: str, words: str
) -> None:
    import os

    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}", "CASR_LABEL_HOSTS": hosts}
    environment |= {"CASR_LABEL_TOKEN": token} if token is not None else {}
    done = subprocess.run(
        [str(PYTHON), "-m", "casr_label", "--studies", str(tmp_path), "--host", host], capture_output=True, text=True,
        env=environment, timeout=120,
    )  # fmt: skip
    # One line: told before it says that it begins to load.
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
