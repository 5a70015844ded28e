"""REST: load, processes beside each other, and the end of the server at any time; no label is lost or half written."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import APP, PYTHON, REASON, Server, full_mask, png

KILLS = 4
"""Of a whole server, which takes seconds to start."""


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
    assert server.post("/train/casr_net", options).json["status"] in ("SUBMITTED", "RUNNING")
    assert server.infer("frame3").status == 200
    assert server.label("frame3", "x.png", png(full_mask())).status == 200
    end = time.monotonic() + 120
    while server.get("/train/").json["status"] in ("SUBMITTED", "RUNNING") and time.monotonic() < end:
        time.sleep(0.5)
    assert server.get("/train/").json["status"] == "DONE", server.get("/train/").json["details"]


def test_kill_while_labels_are_saved(start: Callable[..., Server], studies: Path) -> None:
    """kill -9: every label that was confirmed is there and whole, and nothing is half written."""
    server = start(studies)
    masks = []
    for number in range(KILLS):
        mask = full_mask()
        mask[60 : 61 + number] = 255
        masks.append(png(mask))
    confirmed: dict[str, int] = {}
    for turn in range(KILLS):
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
        time.sleep(0.05 + 0.15 * turn)
        end = time.monotonic() + 60
        while turn == KILLS - 1 and len(confirmed) < 4 and time.monotonic() < end:  # a slow machine
            time.sleep(0.01)
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


# What the server does with labels, in processes that are forked and killed: hundreds of servers would take too long.
SAVING = """
import json, os, signal, sys, time
from pathlib import Path
from casr_label.datastore import CASRDatastore
studies, masks = Path(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
confirmed = {}
for turn in range(len(masks)):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        store = CASRDatastore(str(studies))
        number = 0
        while True:
            store.save_label(f"frame{number % 4}", str(masks[turn]), "final", {})
            os.write(writing, bytes([number % 4]))
            number += 1
    os.close(writing)
    told = [os.read(reading, 1)[0]]  # it has begun
    time.sleep(0.001 * turn)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told += os.read(reading, 10000)
    json.loads((studies / "datastore_v2.json").read_text())
    confirmed |= {f"frame{number}": turn for number in told}
    for name, newest in confirmed.items():
        content = (studies / "labels" / "final" / f"{name}.png").read_bytes()
        assert content in [mask.read_bytes() for mask in masks[newest : turn + 1]], (turn, name)
store = CASRDatastore(str(studies))
assert set(store.get_labeled_images()) == set(confirmed) == {f"frame{number}" for number in range(4)}
assert not list(studies.rglob(".casr-part-*"))
"""


@pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)
def test_kill_of_what_saves_labels(studies: Path, tmp_path: Path) -> None:
    """As above, sixty times, at moments a millisecond apart."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(60):
        mask = full_mask()
        mask[60 : 61 + number] = 255
        (masks / f"{number:02d}.png").write_bytes(png(mask))
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    done = subprocess.run(
        [str(PYTHON), "-c", SAVING, str(studies), str(masks)], capture_output=True, text=True, env=environment,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


# A file that is put into the folder just while the folder is listed, or in the same tick of the file system's clock.
COMING = """
import os, shutil, sys
from pathlib import Path
from casr_label.index import IndexedFolder
studies, coming = Path(sys.argv[1]), []

class Watched(IndexedFolder):
    def _list_files(self, path, patterns):
        found = super()._list_files(path, patterns)
        if coming and Path(path) == studies:
            shutil.copyfile(studies / "frame0.png", studies / coming.pop())
        return found

before = len(list(studies.glob("*.png")))
os.utime(studies, (1e9, 1e9))
store = Watched(studies)
assert len(store.list_images()) == before
coming.append("during.png")
(studies / "note.txt").write_text("the folder changes, and is listed")
assert len(store.list_images()) == before and not coming  # it came too late for this list
assert len(store.list_images()) == before + 1 and store.get_image_uri("during").endswith("during.png")

(studies / "note.txt").unlink()
store.list_images()
tick = studies.stat().st_mtime_ns
shutil.copyfile(studies / "frame0.png", studies / "tick.png")
os.utime(studies, ns=(tick, tick))
assert len(store.list_images()) == before + 2 and store.get_image_uri("tick").endswith("tick.png")

coming.append("first.png")  # while a server starts
os.utime(studies, (1e9, 1e9))
store = Watched(studies)
assert not coming and store.get_image_uri("first").endswith("first.png") and "first" in store.list_images()

for folder in (studies, *(path for path in studies.rglob("*") if path.is_dir())):
    os.utime(folder, (1e9, 1e9))
store._seen = (1,)  # something has changed long ago
coming.append("late.png")
assert "late" not in store.list_images() and not coming
assert "late" in store.list_images()
"""


@pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)
def test_no_file_is_missed_that_comes_while_the_folder_is_listed(studies: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    done = subprocess.run(
        [str(PYTHON), "-c", COMING, str(studies)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


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
