"""REST: a disk that is really full (a small one in memory), and then is not: nothing is lost or half written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from casr_net.files.masks import read_mask

from .conftest import PYTHON, REASON, Server, full_mask, png
from .test_page import decoded, put

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all that is left."""
    file = folder / "filling"
    with open(file, "wb", buffering=0) as stream:
        for size in (4096, 1):
            try:
                while True:
                    stream.write(os.urandom(size))
            except OSError:
                continue
    return file


def test_full_disk(small_disk: Path, tmp_path: Path, angiograms: list[np.ndarray]) -> None:
    for number in range(2):
        (small_disk / f"frame{number}.png").write_bytes(png(angiograms[number]))
    server = Server(small_disk, tmp_path / "server.log").start()
    try:
        mask = full_mask()
        kept = put(server, "frame0", mask, 0).json["revision"]
        filling = fill(small_disk)
        for image, seen in (("frame0", kept), ("frame1", 0)):
            answer = put(server, image, mask.T, seen)
            assert answer.status == 400 and "No space left on device" in answer.detail, answer.body
            assert str(small_disk) not in answer.detail and answer.detail.startswith("the draft of frame 1 of ")
        assert (decoded(server.get("/page/draft?image=frame0&frame=0")) == mask).all(), "what was there still is"
        answer = server.post("/page/accept?image=frame0", {"drafts": {"0": kept}})
        assert answer.status == 400 and "No space left on device" in answer.detail, answer.body
        assert str(small_disk) not in answer.detail
        answer = server.label("frame1", "x.png", png(mask))
        assert answer.status == 400 and "No space left on device" in answer.detail, answer.body
        answer = server.request("POST", "/page/infer?image=frame1&frame=0")
        assert answer.status == 400 and "No space left on device" in answer.detail, answer.body
        assert not list(small_disk.rglob(".part-*")) and not list(small_disk.rglob("labels/final/*.*"))
        assert server.get("/page/image?image=frame0").json["drafts"] == {"0": kept}
        server.kill()
        server.start()  # on the full disk
        assert (decoded(server.get("/page/draft?image=frame0&frame=0")) == mask).all()
        filling.unlink()
        assert put(server, "frame1", mask.T, 0).status == 200
        assert server.post("/page/accept?image=frame0", {"drafts": {"0": kept}}).status == 200
        assert ((mask > 0) == read_mask(small_disk / "labels" / "final" / "frame0.png")[..., 0].T).all()
    finally:
        server.stop()
