"""The page in a real browser: by keyboard alone, with a pen, with fingers; and a training, with the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from .browser import HERE, REASON, Page
from .conftest import Server, png

pytestmark = pytest.mark.skipif(not HERE, reason=REASON)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Path:
    made = tmp_path_factory.mktemp("input")
    for number in range(4):
        (made / f"frame{number}.png").write_bytes(png(angiograms[number]))
    return made


def draft(server: Server, image: str) -> np.ndarray:
    """bool (rows, columns), of frame 1."""
    answer = server.get(f"/page/draft?image={image}&frame=0")
    assert answer.status == 200, answer.body
    return cv2.imdecode(np.frombuffer(answer.body, np.uint8), -1) > 0


def focus(page: Page) -> str:
    return str(page.tab.evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_by_keyboard_alone(context: Any, served: Server, folder: Path) -> None:
    page = Page(context, served).load()
    keys = page.tab.keyboard
    for _ in range(20):
        keys.press("Tab")
        if focus(page).startswith("frame0"):
            break
    outline = page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focus(page).startswith("frame0") and outline == "solid", "one sees where one is"
    keys.press("Enter")
    page.says("frame0, proposal")
    proposed = page.pixels()
    keys.press("r")
    for _ in range(30):
        keys.press("ArrowDown")
    assert page.pixels() > proposed, "threshold"
    page.saved()
    keys.press("Control+z")
    keys.press("a")
    page.says("Final label stored", "#saving").says("frame0, final")
    keys.press("n")
    page.says("frame1, proposal")
    keys.press("t")
    page.says("Version 0", "#versions")
    assert page.tab.evaluate("document.querySelector('#training').contains(document.activeElement)")
    keys.press("Escape")
    assert not page.tab.is_visible("#training")
    keys.press("PageDown")
    page.says("frame2")
    keys.press("l")
    keys.press("?")
    page.says("Raise the threshold", "#keys")
    keys.press("Escape")
    keys.press("d")
    assert page.faults == []
    assert (folder / "labels" / "final" / "frame0.png").is_file()


def test_keys_work_as_soon_as_a_panel_closes(context: Any, served: Server) -> None:
    """A field of the panel keeps the focus until the page is drawn again, but nobody types there."""
    page = Page(context, served).load()
    page.tab.keyboard.press("t")
    page.says("Version 0", "#versions")
    opened = """() => {
        const panel = document.querySelector("#training"), field = document.querySelector("#epochs");
        const press = () => field.dispatchEvent(new KeyboardEvent("keydown", { key: "t", bubbles: true }));
        field.focus();
        panel.close();
        press();
        return panel.open;
    }"""
    assert page.tab.evaluate(opened)
    assert page.faults == []


def test_pen_and_its_eraser(context: Any, served: Server) -> None:
    page = Page(context, served).load().open("frame1", ", proposal")
    before = page.pixels()
    pen = context.new_cdp_session(page.tab)

    def stroke(buttons: int, *points: tuple[float, float]) -> None:
        for kind, point in (
            ("mousePressed", points[0]),
            *(("mouseMoved", one) for one in points),
            ("mouseReleased", points[-1]),
        ):
            x, y = page.at(*point)
            values = {
                "x": x,
                "y": y,
                "pointerType": "pen",
                "force": 0.5,
                "buttons": 0 if kind == "mouseReleased" else buttons,
            }
            button = {"button": "left" if buttons == 1 else "none"}
            pen.send("Input.dispatchMouseEvent", {"type": kind, **values, **button, "clickCount": 1})

    heard = "window.kinds = new Set(); canvas.addEventListener('pointerdown', (one) => kinds.add(one.pointerType))"
    page.tab.evaluate(f"(() => {{ const canvas = document.getElementById('canvas'); {heard} }})()")
    stroke(1, (0.1, 0.9), (0.3, 0.9), (0.5, 0.9))
    page.saved()
    drawn = page.pixels()
    assert page.tab.evaluate("[...kinds]") == ["pen"] and drawn > before + 200
    mask = draft(served, "frame1")
    assert mask.sum() == drawn and mask[115, 20:60].all(), "the points of a stroke are joined"
    # The other end of a pen is the sixth button; the protocol above cannot say that.
    page.tab.evaluate(
        """([from, to]) => {
            const canvas = document.getElementById("canvas");
            canvas.setPointerCapture = () => {};
            const send = (type, [x, y], buttons) => canvas.dispatchEvent(new PointerEvent(type, {
                pointerId: 7, pointerType: "pen", button: 5, buttons, clientX: x, clientY: y, bubbles: true }));
            send("pointerdown", from, 32);
            send("pointermove", to, 32);
            send("pointerup", to, 0);
        }""",
        [page.at(0.1, 0.9), page.at(0.3, 0.9)],
    )
    assert before < page.pixels() < drawn
    page.saved()
    mask = draft(served, "frame1")
    assert not mask[115, 14:38].any() and mask[115, 45:60].all()
    assert page.faults == []


def test_fingers_draw_zoom_and_move(browser: Any, served: Server) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, has_touch=True)
    page = Page(context, served).load()
    page.tab.tap("#list button:has(.name:text-is('frame3'))")
    page.says("frame3, proposal")
    fingers = context.new_cdp_session(page.tab)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def drawn(*points: tuple[float, float]) -> int:
        before = page.pixels()
        touch("touchStart", page.at(*points[0]))
        for point in points[1:]:
            touch("touchMove", page.at(*point))
        touch("touchEnd")
        page.saved()
        return page.pixels() - before

    width = drawn((0.1, 0.9), (0.2, 0.9), (0.4, 0.9))
    assert width > 200
    page.tab.tap("#undo")
    page.saved()
    before = page.pixels()
    # A second finger: the first one's stroke was none, both zoom.
    middle = page.at(0.5, 0.5)
    touch("touchStart", (middle[0] - 50, middle[1]))
    touch("touchStart", (middle[0] - 50, middle[1]), (middle[0] + 50, middle[1]))
    for spread in range(60, 201, 20):
        touch("touchMove", (middle[0] - spread, middle[1]), (middle[0] + spread, middle[1]))
    touch("touchEnd", (middle[0] - 200, middle[1]))
    touch("touchEnd")
    assert page.pixels() == before, "nothing was drawn"
    wide = drawn((0.5, 0.1), (0.6, 0.1), (0.8, 0.1))
    assert 0 < wide < width * 0.6, (
        "the same way of a finger is shorter in the image that was zoomed to four times its size"
    )
    assert page.tab.evaluate("scrollY") == 0 and page.faults == []
    context.close()


def test_training_and_the_way_back(context: Any, served: Server, folder: Path) -> None:
    for number in range(4):  # "there is no vessel": the weights' Dice is 0, and to find none is quickly learned
        label = np.zeros((128, 128), np.uint8)
        assert served.label(f"frame{number}", "x.png", png(label)).status == 200
    page = Page(context, served).load()

    def quick(route: Any) -> None:
        values = json.loads(route.request.post_data or "{}")
        if "max_epochs" in values:
            values |= {"samples_per_epoch": 48, "batch_size": 2, "crop_size": 64, "learning_rate": 0.02}
        route.continue_(post_data=json.dumps(values))

    page.tab.route("**/train/casr_net*", quick)
    page.tab.keyboard.press("t")
    page.says("Version 0: the bundle's own weights", "#versions")
    run = folder / ".casr" / "run"
    run.mkdir(parents=True)
    (run / "last.ckpt").write_bytes(b"of a server that was killed")
    page.tab.keyboard.press("Escape")
    page.tab.wait_for_selector("#training", state="hidden")
    page.tab.keyboard.press("t")
    page.says("A training was interrupted when the server ended", "#train-state")
    page.tab.fill("#epochs", "1")
    page.tab.click("#train")
    page.says("Running", "#train-state")
    assert page.tab.is_visible("#train-stop") and page.tab.is_disabled("#train")
    page.says("Done.", "#train-state").says("is used from now on", "#train-state")
    page.says("Version 1", "#versions")
    used = "#versions li:has-text('in use')"
    page.says("Version 1", used).says("Dice on held labels", used)
    page.tab.click("#training button:text-is('Close')")
    (version,) = served.get("/page/training").json["versions"]
    assert version["options"]["max_epochs"] == 1 and version["published"]

    page.open("frame0", "")
    page.tab.click("#segment")
    page.says("is segmented", "#saving")
    trained = served.get("/page/proposal?image=frame0&frame=0&refine=false").body
    page.tab.keyboard.press("t")
    page.tab.click("#versions button[aria-label='Use version 0']")
    page.says("Version 0 is used now", "#train-state")
    page.says("Version 0", used)
    page.tab.keyboard.press("Escape")
    page.says("Not segmented by the weights in use", "#about")
    page.tab.click("#segment")
    page.says("pixels", "#about")
    assert served.get("/page/proposal?image=frame0&frame=0&refine=false").body != trained
    assert page.faults == []
