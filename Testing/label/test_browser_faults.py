"""The page in a real browser, with what goes wrong: each gives a sentence, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from casr_net.files.masks import read_mask

from .browser import HERE, REASON, Page
from .conftest import Server, full_mask, png
from .test_page import decoded

pytestmark = pytest.mark.skipif(not HERE, reason=REASON)

LONG, WIDE = 3000, 4096


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Path:
    """Frames, one of 4096 x 4096 pixels, a cine of 3000 frames, and files that are no image."""
    made = tmp_path_factory.mktemp("faults")
    for number in range(4):
        (made / f"frame{number}.png").write_bytes(png(angiograms[number]))
    cv2.imwrite(str(made / "wide.png"), cv2.resize(angiograms[0], (WIDE, WIDE)), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    small = cv2.resize(angiograms[0], (64, 64))
    assert cv2.imwritemulti(str(made / "long.tif"), [np.roll(small, number, axis=1) for number in range(LONG)])
    (made / "text.png").write_text("this is no image")
    (made / "half.png").write_bytes(png(angiograms[1])[:2000])
    return made


def plain(page: Page) -> Page:
    """The page without a proposal of the network for each image that is opened."""
    page.load().tab.uncheck("#auto")
    return page


def drafted(server: Server, image: str, frame: int = 0) -> int:
    """Pixels of a draft on the server."""
    return int((decoded(server.get(f"/page/draft?image={image}&frame={frame}")) > 0).sum())


def test_files_that_are_no_image(context: Any, served: Server, folder: Path) -> None:
    page = plain(Page(context, served)).open("frame0", ", no mask yet")
    page.tab.click("#list button:has(.name:text-is('text'))")
    page.says("image 'text': ", "#fault").says("cannot be read", "#list button:has(.name:text-is('text'))")
    page.draw((0.1, 0.9), (0.3, 0.9))
    page.saved().says("frame0, draft")  # what was open stays
    page.tab.click("#list button:has(.name:text-is('half'))")  # its head can be read, and its pixels cannot
    page.says("image 'half': ", "#fault").says("half")
    assert str(folder) not in page.tab.inner_text("#fault")
    before = page.tab.inner_text("#fault")
    page.tab.click("#segment")
    page.says("image 'half': ", "#fault")
    assert before and served.get("/page/draft?image=half&frame=0").status == 404
    page.open("frame0", ", draft")
    assert page.tab.inner_text("#fault") == "" and page.faults == []
    assert page.pixels() == drafted(served, "frame0")


def test_large_frame(context: Any, served: Server) -> None:
    page = plain(Page(context, served)).open("wide", ", no mask yet")
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.saved()
    assert page.pixels() == drafted(served, "wide") > 1000
    page.tab.keyboard.press("Control+z")
    page.saved()
    assert drafted(served, "wide") == 0
    heap = page.tab.evaluate("performance.memory.usedJSHeapSize") / 2**20
    print(f"{WIDE} x {WIDE}: {heap:.0f} MB of JavaScript")
    assert heap < 1500 and page.faults == []


def test_cine_of_thousands_of_frames(context: Any, served: Server) -> None:
    page = plain(Page(context, served)).open("long", f", frame 1500 of {LONG}")
    page.tab.keyboard.press("End")
    page.says(f"frame {LONG} of {LONG}, no mask yet")
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.saved()
    assert page.pixels() == drafted(served, "long", LONG - 1)
    page.tab.keyboard.press("Home")
    page.says(f"frame 1 of {LONG}, no mask yet")
    page.tab.reload()
    page.says(f"frame 1 of {LONG}")
    page.tab.keyboard.press("End")
    page.says("draft")
    assert page.pixels() == drafted(served, "long", LONG - 1) and page.faults == []


def test_label_by_somebody_else_in_between(context: Any, served: Server, folder: Path) -> None:
    page = plain(Page(context, served)).open("frame1", ", no mask yet")
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.saved()
    mine = page.pixels()
    assert served.label("frame1", "x.png", png(full_mask())).status == 200
    page.tab.click("#accept")
    page.says("somebody else has stored a final label", "#fault").says("Accept again puts yours in its place", "#fault")
    stored = folder / "labels" / "final" / "frame1.png"
    theirs = read_mask(stored)[..., 0].T
    assert (theirs == (full_mask() > 0)).all(), "is there as before"
    assert page.pixels() == mine == drafted(served, "frame1"), "and so is mine"
    page.tab.click("#accept")
    page.says("Final label stored", "#saving")
    assert read_mask(stored).sum() == mine and page.faults == []


def test_network_is_lost_in_the_middle_of_a_save(context: Any, served: Server) -> None:
    page = plain(Page(context, served)).open("frame2", ", no mask yet")
    sent: list[str] = []

    def lose(route: Any) -> None:
        """The server takes it; its answer does not arrive."""
        if len(sent) < 2:
            sent.append(route.fetch().text())
            route.abort("connectionreset")
        else:
            route.continue_()

    page.tab.route("**/page/draft?*", lambda route: lose(route) if route.request.method == "PUT" else route.continue_())
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.says("The server cannot be reached", "#saving").says("kept in this browser", "#saving")
    first = page.pixels()
    assert drafted(served, "frame2") == first and "revision" in json.loads(sent[0])
    page.draw((0.1, 0.1), (0.4, 0.1))  # drawn on meanwhile
    page.saved()
    assert page.pixels() == drafted(served, "frame2") > first and len(sent) == 2
    assert not page.tab.is_visible("#conflict"), "its own drawing is nobody else's"
    # Offline, loaded again: the drawing is still there.
    context.set_offline(True)
    page.draw((0.6, 0.1), (0.9, 0.1))
    page.says("kept in this browser", "#saving")
    last = page.pixels()
    page.tab.click("#accept")
    page.says("Not everything is saved yet", "#fault")
    context.set_offline(False)
    page.saved()
    assert page.pixels() == drafted(served, "frame2") == last and page.faults == []


def test_full_disk(context: Any, served: Server, folder: Path) -> None:
    """A file where a folder has to be made: as on a full disk, nothing can be written there."""
    page = plain(Page(context, served)).open("frame3", ", no mask yet")
    drafts = folder / ".casr" / "drafts" / hashlib.sha256(b"frame3").hexdigest()[:32]
    drafts.parent.mkdir(parents=True, exist_ok=True)
    drafts.write_bytes(b"")
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.says("Not saved: the draft of frame 1 of 'frame3' cannot be written", "#saving")
    page.says("kept in this browser", "#saving")
    drawn = page.pixels()
    page.tab.reload()
    page.says("Not saved: ", "#saving")
    assert page.pixels() == drawn, "kept by the browser"
    drafts.unlink()
    page.saved()
    assert drafted(served, "frame3") == drawn
    # A final label that cannot be written.
    labels = folder / "labels"
    before = labels.with_name("before")
    if labels.is_dir():
        labels.rename(before)
    labels.write_bytes(b"")
    page.tab.click("#accept")
    page.says("cannot be written", "#fault")
    assert str(folder) not in page.tab.inner_text("#fault")
    assert drafted(served, "frame3") == drawn == page.pixels()
    labels.unlink()
    if before.is_dir():
        before.rename(labels)
    page.tab.click("#accept")
    page.says("Final label stored", "#saving")
    assert read_mask(labels / "final" / "frame3.png").sum() == drawn and page.faults == []


def test_image_is_removed_while_it_is_open(context: Any, served: Server, folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(folder / "frame2.png", folder / "gone.png")
    page = plain(Page(context, served)).open("gone", ", no mask yet")
    (folder / "gone.png").rename(tmp_path / "gone.png")
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.says("Not saved: ", "#saving").says("'gone'", "#saving").says("kept in this browser", "#saving")
    drawn = page.pixels()
    page.tab.click("#segment")
    page.says("'gone'", "#fault")
    page.tab.click("#accept")
    page.says("Not everything is saved yet", "#fault")
    (tmp_path / "gone.png").rename(folder / "gone.png")
    page.saved()
    assert page.pixels() == drafted(served, "gone") == drawn and page.faults == []
