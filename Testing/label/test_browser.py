"""The page in a real browser: what somebody who annotates angiograms does, and what may happen to them meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from casr_net.files.masks import read_mask

from .browser import HERE, REASON, Page
from .conftest import WEB, Server, full_mask, png

pytestmark = pytest.mark.skipif(not HERE, reason=REASON)

LONG = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Path:
    """Frames, a short cine, and one of 300 frames of 512 x 512 pixels."""
    made = tmp_path_factory.mktemp("browser")
    for number in range(4):
        (made / f"frame{number}.png").write_bytes(png(angiograms[number]))
    assert cv2.imwritemulti(str(made / "cine.tif"), angiograms[:5])
    large = cv2.resize(angiograms[0], (512, 512))
    assert cv2.imwritemulti(str(made / "long.tif"), [np.roll(large, 2 * number, axis=1) for number in range(LONG)])
    return made


def labels(folder: Path, image: str) -> np.ndarray:
    """Final label, bool (rows, columns)."""
    return read_mask(folder / "labels" / "final" / f"{image}.png")[..., 0].T


def test_from_the_proposal_to_the_next_image(context: Any, served: Server, folder: Path) -> None:
    begun = time.monotonic()
    page = Page(context, served).load().open("frame0", ", proposal")
    print(f"from the address to the mask: {time.monotonic() - begun:.1f} s")
    proposed = page.pixels()
    page.tab.uncheck("#refine")
    page.tab.fill("#threshold", "0.2")
    assert page.pixels() > proposed, "the threshold works at once"
    page.tab.fill("#threshold", "0.5")
    page.tab.check("#refine")
    page.saved()
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.saved()
    drawn = page.pixels()
    assert drawn > proposed + 200
    page.tab.keyboard.press("e")
    page.draw((0.1, 0.9), (0.2, 0.9))
    erased = page.pixels()
    assert proposed < erased < drawn
    page.tab.keyboard.press("Control+z")
    assert page.pixels() == drawn
    page.tab.keyboard.press("Control+y")
    assert page.pixels() == erased
    page.tab.fill("#threshold", "0.8")
    page.tab.fill("#threshold", "0.5")
    page.saved()
    assert page.pixels() == erased, "corrections stay when the threshold moves"
    page.tab.reload()
    page.says("frame0, draft")
    assert page.pixels() == erased, "and when the page is loaded again"
    page.tab.click("#accept")
    page.says("Final label stored", "#saving").says("frame0, final")
    label = labels(folder, "frame0")
    assert label.sum() == erased and label[115, 40], "what was seen is stored"
    page.tab.reload()
    page.says("frame0, final")
    assert page.pixels() == erased
    page.tab.select_option("#strategy", "first")
    page.tab.click("#next")
    page.says("cine")
    assert page.faults == [] and page.elsewhere == []


def test_magic_click_and_undo(context: Any, served: Server, folder: Path) -> None:
    page = Page(context, served).load().open("frame3", ", proposal")
    before = page.pixels()
    page.tab.keyboard.press("a")
    page.says("frame3, final")
    assert labels(folder, "frame3").sum() == before, "a proposal can be accepted as it is"
    levels = cv2.imdecode(np.frombuffer(served.get("/page/probability?image=frame3&frame=0").body, np.uint8), -1)
    row, column = np.unravel_index(levels.argmax(), levels.shape)
    page.tab.keyboard.press("m")
    page.tab.mouse.click(*page.at((column + 0.5) / 128, (row + 0.5) / 128))
    page.says("pixels dropped", "#saving")
    assert page.pixels() < before
    page.tab.keyboard.press("Control+z")
    page.saved()
    assert page.pixels() == before


def test_cine_frame_by_frame(context: Any, served: Server, folder: Path) -> None:
    page = Page(context, served).load().open("cine", ", frame 3 of 5")
    page.draw((0.2, 0.2), (0.4, 0.4))
    page.saved()
    page.tab.keyboard.press("c")
    page.says("frame 4 of 5").saved()
    assert page.pixels() > 0
    page.tab.keyboard.press("a")
    page.says("labelled frames: 3, 4", "#saving")
    stored = read_mask(folder / "labels" / "final" / "cine.nrrd")
    assert (stored[..., 2] == stored[..., 3]).all() and stored[..., 2].any() and not stored[..., [0, 1, 4]].any()
    page.tab.keyboard.press("Home")
    page.says("frame 1 of 5, no mask yet")
    page.tab.keyboard.press("a")
    page.says("no draft", "#fault")
    page.tab.click("#segment-all")
    page.says("All frames are segmented", "#saving").says("frame 1 of 5, proposal")
    page.tab.wait_for_selector("#curve path", state="attached")
    assert served.get("/page/image?image=cine").json["proposed"] == [0, 1, 2, 3, 4]


def test_contrast_curve_of_a_segmented_cine(context: Any, served: Server) -> None:
    for frame in range(5):
        assert served.request("POST", f"/page/infer?image=cine&frame={frame}").status == 200
    page = Page(context, served).load().open("cine", ", frame ")
    curve = page.tab.locator("#curve path")
    curve.wait_for(state="attached")
    assert curve.get_attribute("d").count("L") == 4 and page.tab.locator("#curve").is_visible()
    slider, line = page.tab.locator("#frame"), page.tab.locator("#curve line")
    for width in (1280, 1700):
        page.tab.set_viewport_size({"width": width, "height": 720})
        for frame, key in ((1, "Home"), (5, "End"), (4, "ArrowLeft")):
            slider.press(key)
            page.says(f"frame {frame} of 5")
            box, mark = slider.bounding_box(), line.bounding_box()
            thumb = box["x"] + 8 + (box["width"] - 16) * (frame - 1) / 4  # its middle; it is 16 px wide
            assert abs(mark["x"] + mark["width"] / 2 - thumb) < 1.5


def test_file_that_cannot_be_read_has_a_sign_with_the_reason(context: Any, served: Server, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    try:
        page = Page(context, served).load()
        sign = page.tab.locator("#list li", has_text="broken").get_by_role("img")
        sign.wait_for()
        assert sign.text_content() == "?" and "broken" in sign.get_attribute("title")
        assert sign.get_attribute("aria-label") == sign.get_attribute("title")
        assert page.tab.locator("#list img").count() == page.tab.locator("#list li").count() - 1
    finally:
        (folder / "broken.png").unlink()


def test_training_with_one_label_is_refused_with_words(context: Any, start: Any, studies: Path) -> None:
    server = start(studies)
    assert server.label("frame0", "x.png", png(full_mask())).status == 200
    page = Page(context, server).load()
    page.tab.click("#training-open")
    page.tab.click("#train")
    page.says("final labels of 1 patient(s) or image(s); at least 2 are needed", "#train-state")
    assert not page.tab.locator("#train-bar").is_visible()


def test_two_windows(context: Any, served: Server) -> None:
    one = Page(context, served).load().open("frame1", ", proposal")
    two = Page(context, served).load().open("frame1", ", proposal")
    one.draw((0.1, 0.9), (0.3, 0.9))
    one.saved()
    two.draw((0.6, 0.9), (0.9, 0.9))
    two.says("was changed in another window", "#conflict-text")
    theirs = one.pixels()
    two.tab.click("#theirs")
    two.says("other version is shown", "#saving").says("frame1, draft")
    assert two.pixels() == theirs
    two.draw((0.6, 0.9), (0.9, 0.9))
    two.saved()
    one.draw((0.1, 0.1), (0.3, 0.1))
    one.says("was changed in another window", "#conflict-text")
    mine = one.pixels()
    one.tab.click("#mine")
    one.saved()
    draft = cv2.imdecode(np.frombuffer(served.get("/page/draft?image=frame1&frame=0").body, np.uint8), -1)
    assert (draft > 0).sum() == mine


def test_file_is_tried_and_words_for_what_is_none(context: Any, served: Server, folder: Path, tmp_path: Path) -> None:
    page = Page(context, served).load()
    (tmp_path / "notes.txt").write_text("no image")
    page.tab.set_input_files("#file", tmp_path / "notes.txt")
    page.says("notes.txt", "#fault")
    before = sorted(path.name for path in folder.iterdir())
    (tmp_path / "new.png").write_bytes((folder / "frame2.png").read_bytes())
    page.tab.set_input_files("#file", tmp_path / "new.png")
    page.says("new.png (tried only, not stored), proposal")
    assert page.pixels() > 0 and page.tab.is_disabled("#accept")
    assert sorted(path.name for path in folder.iterdir()) == before
    (folder / "gone.png").write_bytes((folder / "frame2.png").read_bytes())
    page.load().open("gone", ", proposal")
    (folder / "gone.png").unlink()
    page.draw((0.1, 0.9), (0.3, 0.9))
    page.says("Not saved", "#saving").says("gone", "#saving").says("kept in this browser", "#saving")


def test_scores_are_those_of_the_strategy(context: Any, start: Any, studies: Path) -> None:
    """What is scored and shown is what the chosen strategy goes by."""
    from playwright.sync_api import expect

    server = start(studies)
    page = Page(context, server).load()
    page.tab.uncheck("#auto")
    page.tab.select_option("#strategy", "uncertain_quality")
    page.tab.click("#next")
    page.says("Chosen by chance", "#saving")
    page.tab.click("#score")
    page.says("Scored", "#saving")
    scores = {one["id"]: one["scores"] for one in server.get("/page/images").json["images"]}
    assert all(set(found) == {"quality"} for found in scores.values()) and len(scores) == 4
    worst = max(scores, key=lambda image: scores[image]["quality"])
    facts = f"#list button:has(.name:text-is('{worst}')) .facts"
    page.says(f"score {scores[worst]['quality']:.2f}", facts)
    page.open(min(scores, key=lambda image: scores[image]["quality"]), "").tab.click("#next")
    page.says(worst)
    assert server.post("/activelearning/uncertain_quality").json.get("note") is None
    page.tab.select_option("#strategy", "diverse")
    expect(page.tab.locator("#list")).not_to_contain_text("score", timeout=60_000)
    page.tab.select_option("#strategy", "uncertain_quality")
    page.says(f"score {scores[worst]['quality']:.2f}", facts)
    assert page.faults == []


def test_training_says_what_it_needs(context: Any, served: Server) -> None:
    page = Page(context, served).load()
    page.tab.keyboard.press("t")
    page.says("Version 0: the bundle's own weights", "#versions")
    page.says("in use", "#versions")
    page.tab.keyboard.press("Escape")
    page.tab.keyboard.press("?")
    page.says("Raise the threshold", "#keys")


def test_nothing_is_lost_when_the_server_is_killed(context: Any, served: Server) -> None:
    page = Page(context, served).load().open("frame2", ", proposal")
    page.draw((0.1, 0.9), (0.3, 0.9), lift=False)
    served.kill()
    page.tab.mouse.move(*page.at(0.5, 0.9))
    page.tab.mouse.up()
    page.says("kept in this browser", "#saving")
    drawn = page.pixels()
    page.tab.close()
    served.start()
    page = Page(context, served).load()
    page.tab.click("#list button:has(.name:text-is('frame2'))")
    page.says("never reached the server", "#conflict-text")
    page.tab.click("#mine")
    page.saved()
    assert page.pixels() == drawn
    draft = cv2.imdecode(np.frombuffer(served.get("/page/draft?image=frame2&frame=0").body, np.uint8), -1)
    assert (draft > 0).sum() == drawn


def test_long_cine_is_scrolled(context: Any, served: Server) -> None:
    page = Page(context, served).load().open("long", ", frame 150 of 300")
    seconds, heap = page.tab.evaluate(
        """async (count) => {
            const slider = document.getElementById("frame");
            const begun = performance.now();
            for (let frame = 1; frame <= count; frame++) {
                slider.value = String(frame);
                slider.dispatchEvent(new Event("input"));
                await new Promise(requestAnimationFrame);
            }
            return [(performance.now() - begun) / 1000, performance.memory.usedJSHeapSize];
        }""",
        LONG,
    )
    page.says("frame 300 of 300, no mask yet")
    print(f"{LONG} frames: {LONG / seconds:.0f} a second, {heap / 2**20:.0f} MB of JavaScript")
    assert LONG / seconds > 2 and heap < 1.5e9
    assert page.faults == []


def test_no_serious_fault_of_accessibility(context: Any, served: Server, web: Path) -> None:
    page = Page(context, served).load()
    axe = web / "node_modules" / "axe-core" / "axe.min.js"
    page.tab.evaluate(axe.read_text(encoding="utf-8") + ";0")

    def look(*where: str) -> None:
        found = page.tab.evaluate("async () => (await axe.run()).violations")
        bad = [
            (one["id"], [node["target"] for node in one["nodes"]])
            for one in found if one["impact"] in ("serious", "critical")
        ]  # fmt: skip
        assert bad == [], where

    themes = set()
    for _ in range(2):
        theme = page.tab.evaluate("document.documentElement.dataset.theme")
        themes.add(theme)
        look(theme, "list")
        for dialog in ("training", "help"):
            page.tab.click(f"#{dialog}-open")
            look(theme, dialog)
            page.tab.keyboard.press("Escape")
        page.tab.evaluate("document.querySelector('#conflict').showModal()")  # as when two windows meet
        look(theme, "conflict")
        page.tab.evaluate("document.querySelector('#conflict').close()")
        page.open("cine", ", frame ")
        look(theme, "viewer")
        page.tab.click("#list button:has(.name:text-is('frame0'))")
        page.says("frame0")
        page.tab.click("#theme")
    assert themes == {"dark", "light"}


def test_list_of_requests_needs_no_internet(context: Any, served: Server) -> None:
    page = Page(context, served)
    page.tab.goto(f"http://127.0.0.1:{served.port}/api")
    page.says("/infer/{model}", "#swagger-ui").says("/page/accept", "#swagger-ui")
    assert page.elsewhere == [] and page.faults == []


def test_built_files_are_those_of_the_source(web: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not there")
    environment = {**os.environ, "CASR_DIST": str(tmp_path)}
    for command in (["npx", "tsc", "--noEmit"], ["node", "build.mjs"]):
        done = subprocess.run(command, cwd=web, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    built, kept = (
        {path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()}
        for one in (tmp_path, WEB / "dist")
    )
    assert built == kept, "npm run build in monai_bundle/label_app/web"
    assert sum(map(len, kept.values())) < 3 * 2**20
