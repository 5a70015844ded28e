"""REST: requests beside each other take turns frame by frame, and temporary files are private and do not stay."""

from __future__ import annotations

import importlib.util
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from .conftest import APP, Server, full_mask, png

FRAMES = 10


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a folder for temporary files, studies, and a working directory in which files are called like images."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("temporary", "studies", "working", "working/frame0"):
        (folder / name).mkdir()
    (folder / "working" / "frame0" / "thesis.txt").write_text("all of it")
    return folder


@pytest.fixture(scope="module")
def running(place: Path, angiograms: list[np.ndarray]) -> Iterator[Server]:
    """A server with four frames and a long cine."""
    for number, image in enumerate(angiograms[:4]):
        (place / "studies" / f"frame{number}.png").write_bytes(png(image))
    pages = [angiograms[number % 5] for number in range(FRAMES)]
    assert cv2.imwritemulti(str(place / "studies" / "long.tif"), pages)
    environment = {"TMPDIR": str(place / "temporary")}
    one = Server(place / "studies", place / "server.log", environment=environment, folder=place / "working").start()
    yield one
    one.stop()


def private(place: Path) -> Path:
    (found,) = (place / "temporary").iterdir()
    return found


STAY = ("empty", "sessions", "torchinductor")
"""What is in the folder of temporary files as long as the server is: its own folders, and one that torch makes."""


def left_behind(place: Path) -> list[str]:
    """Temporary files and folders of requests; the server removes them after its answer, so that it is waited for."""
    end = time.monotonic() + 60
    while True:
        found = sorted(path.name for path in private(place).iterdir() if not path.name.startswith(STAY))
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)


def test_others_are_answered_between_the_frames_of_a_cine(running: Server) -> None:
    answers = []
    cine = threading.Thread(target=lambda: answers.append(running.infer("long")))
    cine.start()
    time.sleep(0.5)
    seconds = []
    for what in (lambda: running.get("/info/"), lambda: running.infer("frame0"), lambda: running.infer("frame1")):
        begun = time.monotonic()
        assert what().status == 200
        seconds.append(time.monotonic() - begun)
    assert cine.is_alive(), f"all the others were answered while the cine is computed; they took {seconds}"
    cine.join(300)
    assert answers[0].status == 200 and answers[0].json["frames"] == list(range(FRAMES))
    single = running.infer("long", frame=FRAMES - 1).json
    assert single["pixels"] == [answers[0].json["pixels"][-1]], "and nothing was mixed up"


def test_vectors_of_scoring_are_those_of_their_images(running: Server, place: Path) -> None:
    """The encoder is listened to while images are scored; what other requests compute meanwhile must not be heard."""
    images = ["frame0", "frame1"]
    for other in ("frame2", "frame3", "long"):  # what is labelled is not scored
        params = {"params": '{"frame": 0}'}
        label = {"label": ("x.png", png(full_mask()))}
        assert running.form("PUT", f"/datastore/label?image={other}&tag=final", params, label).status == 200

    def vectors() -> dict[str, np.ndarray]:
        for image in images:
            form = {"info": '{"casr_tta_weights": ""}'}  # not scored by these weights
            assert running.form("PUT", f"/datastore/image/info?image={image}", form).status == 200
        assert running.post("/scoring/tta?run_sync=true").json == {"executed": 2, "failed": {}}
        return {image: np.load(place / "studies" / ".casr" / "embeddings" / f"{image}.npy") for image in images}

    alone, stop = vectors(), threading.Event()

    def others() -> None:
        while not stop.is_set():
            running.infer("long", frame=3)

    busy = threading.Thread(target=others)
    busy.start()
    try:
        beside = vectors()
    finally:
        stop.set()
        busy.join()
    assert all(np.allclose(alone[image], beside[image], atol=1e-5) for image in images)
    assert not np.allclose(alone["frame0"], alone["frame1"], atol=1e-3), "they differ between images"
    for other in ("frame2", "frame3", "long"):
        assert running.request("DELETE", f"/datastore/label?id={other}&tag=final").status == 200


def test_saved_result_costs_no_file_that_is_called_like_the_image(running: Server, place: Path) -> None:
    assert running.infer("frame0", save_label=True).status == 200
    assert (place / "working" / "frame0" / "thesis.txt").read_text() == "all of it"
    assert left_behind(place) == []


def test_results_are_private(running: Server, place: Path) -> None:
    folder, modes, stop = private(place), {}, threading.Event()

    def look() -> None:
        while not stop.is_set():
            for path in folder.glob("tmp*.nrrd"):
                try:
                    modes[path.name] = stat.S_IMODE(path.stat().st_mode)
                except FileNotFoundError:
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(3):
        assert running.infer("frame0", "image").status == 200
    stop.set()
    looking.join()
    assert modes and set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.name.startswith("casr-label-")
    assert left_behind(place) == []


def test_requests_that_fail_leave_nothing(running: Server, place: Path) -> None:
    broken, good = b"\x89PNG\r\n\x1a\nbroken", (place / "studies" / "frame0.png").read_bytes()
    for path, method, fields, files in (
        ("/infer/casr_net?output=json", "POST", {"params": "{}"}, {"file": ("x.png", broken)}),
        ("/infer/casr_net?output=json", "POST", {"params": '{"frame": 9}'}, {"file": ("x.png", good)}),
        ("/infer/casr_net?output=json", "POST", {"params": "[1]"}, {"file": ("x.png", good)}),
        ("/infer/casr_net?output=json", "POST", {"params": "{}"}, {"file": ("..", good)}),
        ("/infer/casr_net?image=frame0&output=dicom_seg", "POST", {"params": "{}"}, {"file": ("x.png", good)}),
        ("/infer/casr_net?output=json", "POST", {}, {"label": ("x.png", good)}),
        ("/datastore/image?image=new", "PUT", {}, {"file": ("x.png", broken)}),
        ("/datastore/label?image=frame0&tag=final", "PUT", {}, {"label": ("x.png", broken)}),
        ("/datastore/label?image=nope&tag=final", "PUT", {}, {"label": ("x.png", good)}),
        ("/datastore/label?image=long&tag=final", "PUT", {"params": '{"params": [1]}'}, {"label": ("x.png", good)}),
        ("/session/", "PUT", {}, {"files": ("..", good)}),
    ):  # fmt: skip
        answer = running.form(method, path, fields, files)
        assert 400 <= answer.status < 500 and "\n" not in answer.detail, (path, answer.status, answer.body)
        assert str(place) not in answer.detail
    assert left_behind(place) == []


def test_dataset_is_packed_and_does_not_stay(running: Server, place: Path) -> None:
    assert running.get("/datastore/dataset").status == 404
    assert running.label("frame2", "x.png", png(full_mask())).status == 200
    answer = running.get("/datastore/dataset")
    assert answer.status == 200 and answer.body.startswith(b"PK")
    assert running.request("DELETE", "/datastore/label?id=frame2&tag=final").status == 200
    assert left_behind(place) == []


def test_uploaded_file_may_be_called_by_a_uid(running: Server, place: Path) -> None:
    source = APP.parents[1] / "CASRSegmentation" / "Resources" / "SampleData" / "casr_cine.dcm"
    name = "1.2.840.113619.2.55.3.604688119.971.1234567890.123.dcm"
    answer = running.form(
        "POST", "/infer/casr_net?output=json", {"params": '{"frame": 0}'}, {"file": (name, source.read_bytes())}
    )
    assert answer.status == 200 and answer.json["frames"] == [0], answer.body
    assert left_behind(place) == []


def test_dicom_files_are_found_by_their_content(running: Server, place: Path) -> None:
    source = (APP.parents[1] / "CASRSegmentation" / "Resources" / "SampleData" / "casr_cine.dcm").read_bytes()
    names = ["IM0001", "1.2.840.113619.2.55.3"]
    for name in (*names, "DICOMDIR"):
        (place / "studies" / name).write_bytes(source)
    (place / "studies" / "notes").write_text("no picture")
    try:
        listed = set(running.get("/datastore/?output=all").json["objects"])
        assert set(names) <= listed and not {"DICOMDIR", "notes", "datastore_v2"} & listed, listed
        for name in names:
            assert running.infer(name, frame=0).status == 200
    finally:
        for name in (*names, "DICOMDIR", "notes"):
            (place / "studies" / name).unlink()


def test_temporary_files_of_a_killed_server_are_removed_by_the_next(running: Server, place: Path) -> None:
    first = private(place)
    (first / "tmpabcdefgh.dcm").write_bytes(b"a patient")
    other = place / "temporary" / "casr-label-somebody-else"
    other.mkdir()
    running.kill()
    running.start()
    assert not first.exists() and other.exists()
    other.rmdir()
    assert private(place) != first


# How turns are taken


@pytest.fixture
def one_by_one() -> Callable[..., object]:
    spec = importlib.util.spec_from_file_location("casr_label_turns", APP / "casr_label" / "turns.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OneByOne()


def test_turns_are_in_the_order_of_asking(one_by_one: Any) -> None:
    """A thread that has had its turn and wants another is behind those that wait already."""
    order: list[str] = []
    first, go = threading.Event(), threading.Event()

    def cine() -> None:
        one_by_one(lambda: (first.set(), go.wait(60), order.append("cine, frame 0")))
        one_by_one(lambda: order.append("cine, frame 1"))

    threads = [threading.Thread(target=cine)]
    threads[0].start()
    first.wait(60)
    for name in "abc":
        threads.append(threading.Thread(target=one_by_one, args=(lambda name=name: order.append(name),)))
        threads[-1].start()
        while one_by_one._thread._work_queue.qsize() < len(threads) - 1:  # until it waits for its turn
            time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join(60)
    assert order == ["cine, frame 0", "a", "b", "c", "cine, frame 1"]


def test_errors_come_back_and_stop_nobody(one_by_one: Callable[..., object]) -> None:
    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        one_by_one(fail)
    assert one_by_one(lambda: 7) == 7


def test_work_inside_of_work_is_done_at_once(one_by_one: Callable[..., object]) -> None:
    assert one_by_one(lambda: one_by_one(lambda: one_by_one(threading.get_ident))) == one_by_one(threading.get_ident)


def test_only_one_thread_works(one_by_one: Callable[..., object]) -> None:
    inside, most, who = [0], [0], set()

    def work() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        who.add(threading.get_ident())
        time.sleep(0.0005)
        inside[0] -= 1

    threads = [threading.Thread(target=lambda: [one_by_one(work) for _ in range(30)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and len(who) == 1 and threading.get_ident() not in who
