"""REST: what is wrong gets a clear answer, loses nothing, and the server keeps serving."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .conftest import Server, png


def full_mask() -> np.ndarray:
    mask = np.zeros((128, 128), np.uint8)
    mask[20:40, 30:90] = 255
    return mask


@pytest.fixture(autouse=True)
def _still_serving(server: Server) -> None:
    yield
    assert server.infer("grey").status == 200


@pytest.mark.parametrize("image", ["nope", "", "grey.png", "labels"])
def test_unknown_image(server: Server, image: str) -> None:
    answer = server.infer(image)
    assert answer.status in (400, 404, 500) and "detail" in answer.json
    if image:
        assert answer.status == 404 and image in answer.detail


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
    ],
)  # fmt: skip
def test_wrong_parameters(server: Server, values: dict, words: str) -> None:
    answer = server.infer("grey", **values)
    assert answer.status == 400 and words in answer.detail


def test_parameters_that_are_no_json(server: Server) -> None:
    assert server.form("POST", "/infer/casr_net?image=grey&output=json", {"params": "{no"}).status == 400


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
    assert "/tmp/tmp" not in answers[1].detail + answers[2].detail
    assert sorted(p.name for p in shared_studies.rglob("*")) == before


def test_label_of_another_size(server: Server) -> None:
    answer = server.label("grey", "x.png", png(np.zeros((64, 100), np.uint8)))
    assert answer.status == 400 and "100 x 64 pixels; the image has 128 x 128" in answer.detail


def test_label_of_an_unknown_image(server: Server) -> None:
    assert server.label("nope", "x.png", png(full_mask())).status == 404


def test_weights_cannot_be_sent(server: Server) -> None:
    weights = Path(__file__).resolve().parents[2] / "monai_bundle" / "models" / "model.pt"
    before = weights.stat().st_mtime_ns
    assert server.form("PUT", "/model/casr_net", {}, {"file": ("model.pt", b"x")}).status == 403
    assert weights.stat().st_mtime_ns == before


def test_too_large_upload(start: Callable[..., Server], studies: Path) -> None:
    small = start(studies, "--max-upload-mb", "1")
    answer = small.form("PUT", "/datastore/image?image=big", {}, {"file": ("big.png", b"x" * (2 << 20))})
    assert answer.status == 413 and "limit is 1048576" in answer.detail
    assert small.infer("frame0").status == 200 and not list(studies.glob("big*"))


def test_request_for_training_without_labels(server: Server) -> None:
    answer = server.post("/train/casr_net?run_sync=true")
    assert answer.status == 400 and "at least 2 are needed" in answer.detail


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
            [str(PYTHON), "-m", "casr_label", *arguments], capture_output=True, text=True, env=environment, timeout=60
        )
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


# Load, and the end of the server at any time


def test_two_hundred_requests_of_four_clients(start: Callable[..., Server], studies: Path) -> None:
    server = start(studies)
    for number in range(4):
        assert server.infer(f"frame{number}").status == 200
    warm = [server.infer("frame0").status for _ in range(8)]
    before, failed = server.memory, []

    def client(number: int) -> None:
        for turn in range(50):
            answer = server.infer(
                f"frame{(number + turn) % 4}", "image" if turn % 2 else "json", result_extension=".png"
            )
            if answer.status != 200:
                failed.append(answer.body)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert warm == [200] * 8 and not failed
    assert server.memory < 1.1 * before, (before, server.memory)


def test_requests_while_a_training_runs(start: Callable[..., Server], studies: Path) -> None:
    server = start(studies)
    for number in range(3):
        server.label(f"frame{number}", "x.png", png(full_mask()))
    options = {"max_epochs": 1, "samples_per_epoch": 4, "batch_size": 2, "crop_size": 64}
    assert server.post("/train/casr_net", options).json["status"] == "SUBMITTED"
    assert server.infer("frame3").status == 200
    assert server.label("frame3", "x.png", png(full_mask())).status == 200
    end = time.monotonic() + 120
    while server.get("/train/").json["status"] in ("SUBMITTED", "RUNNING") and time.monotonic() < end:
        time.sleep(0.5)
    assert server.get("/train/").json["status"] == "DONE", server.get("/train/").json["details"]


def test_kill_while_labels_are_saved(start: Callable[..., Server], studies: Path) -> None:
    """kill -9, twenty times: every label that was confirmed is there and whole, and nothing is half written."""
    server = start(studies)
    masks = []
    for number in range(20):
        mask = full_mask()
        mask[60 : 61 + number] = 255
        masks.append(png(mask))
    confirmed: dict[str, int] = {}
    for turn in range(20):
        if server.process is None:
            server.start()
        stop = threading.Event()

        def save(turn: int = turn, stop: threading.Event = stop) -> None:
            image = 0
            while not stop.is_set():
                try:
                    if server.label(f"frame{image % 4}", "x.png", masks[turn]).status == 200:
                        confirmed[f"frame{image % 4}"] = turn
                except OSError:
                    return
                image += 1

        saving = threading.Thread(target=save)
        saving.start()
        time.sleep(0.05 + 0.03 * turn)
        server.kill()
        stop.set()
        saving.join()
        json.loads((studies / "datastore_v2.json").read_text())
        for name, newest in confirmed.items():
            content = (studies / "labels" / "final" / f"{name}.png").read_bytes()
            assert content in masks[newest : turn + 1], f"turn {turn}: {name} is half written or lost"
    server.start()
    assert not list(studies.rglob(".casr-part-*"))
    listed = {Path(item["image"]).stem for item in server.get("/datastore/?output=train").json}
    assert listed == set(confirmed) and len(confirmed) == 4


def test_scoring_beside_saving_loses_no_note(start: Callable[..., Server], studies: Path) -> None:
    """Scores are made in a process of its own, which writes the same index as the server."""
    server = start(studies)
    assert server.post("/scoring/disagreement").status == 200
    end, turn = time.monotonic() + 120, 0
    while server.get("/scoring/").json["status"] in ("SUBMITTED", "RUNNING") and time.monotonic() < end:
        params = {"params": json.dumps({"note": turn})}
        query = "/datastore/label?image=frame3&tag=final"
        assert server.form("PUT", query, params, {"label": ("x.png", png(full_mask()))}).status == 200
        assert server.get("/datastore/label/info?label=frame3&tag=final").json["note"] == turn
        turn += 1
    assert server.get("/scoring/").json["status"] == "DONE" and turn > 1
    assert server.get("/datastore/label/info?label=frame3&tag=final").json["note"] == turn - 1
    assert all("casr_disagreement" in server.get(f"/datastore/image/info?image=frame{i}").json for i in range(3))


def test_damaged_index_is_made_anew(start: Callable[..., Server], studies: Path) -> None:
    server = start(studies)
    assert server.label("frame1", "x.png", png(full_mask())).status == 200
    server.kill()
    (studies / "datastore_v2.json").write_text('{"name": "half of')
    server.start()
    assert server.get("/datastore/").json["completed"] == 1 and len(list(studies.glob("*.broken-*"))) == 1


def test_training_outlives_its_server(start: Callable[..., Server], studies: Path) -> None:
    """A second one beside it is refused: both would write the same files."""
    import os
    import signal

    server = start(studies)
    for number in range(3):
        server.label(f"frame{number}", "x.png", png(full_mask()))
    options = {"max_epochs": 40, "samples_per_epoch": 8, "batch_size": 2, "crop_size": 64}
    server.post("/train/casr_net", options)
    end = time.monotonic() + 120
    while not (studies / ".casr" / "run" / "plan.json").is_file() and time.monotonic() < end:
        time.sleep(0.2)
    assert server.process is not None
    group, process = server.process.pid, server.process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.process = None
    try:
        server.start()
        answer = server.post("/train/casr_net?run_sync=true", options)
        assert answer.status == 400 and "another training is running" in answer.detail
    finally:
        os.killpg(group, signal.SIGKILL)
    time.sleep(1)
    quick = {**options, "max_epochs": 1}
    assert server.post("/train/casr_net?run_sync=true", quick).status == 200, "the lock is free again"


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
    assert not list(Path("/tmp").glob("casr_escaped.png"))
