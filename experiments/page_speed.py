"""How fast the label server's page is, in a real Chromium without a GPU: bytes that it loads, seconds from a click to
the mask, with mirror images as the server does it and without, frames a second of a cine of 300 frames, memory; a frame
of 4096 x 4096 pixels and a cine of 3000 frames.

    python experiments/page_speed.py --output experiments/results/page_speed.json

It needs the server's environment (``make label-test`` makes it, or ``CASR_LABEL_PYTHON``), Chromium and playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import Page, expect, sync_playwright

from casr_net.evaluation.usage import hardware
from casr_net.synthetic.angiogram import make_cine

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "monai_bundle" / "label_app"
FRAMES, SIDE = 300, 512
LARGE, LONG, SMALL = 4096, 3000, 128
"""Side of a large frame; frames of a long cine, and their side."""
MILLISECONDS = 300_000
"""That anything may take."""

SCROLL = """async (count) => {
    const slider = document.getElementById("frame");
    const begun = performance.now();
    for (let frame = 1; frame <= count; frame++) {
        slider.value = String(frame);
        slider.dispatchEvent(new Event("input"));
        await new Promise(requestAnimationFrame);
    }
    return count / ((performance.now() - begun) / 1000);
}"""
PLAY = """async (seconds) => {
    const place = document.getElementById("place");
    let shown = 0;
    const watch = new MutationObserver(() => shown++);
    watch.observe(place, { childList: true, characterData: true, subtree: true });
    document.getElementById("play").click();
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    document.getElementById("play").click();
    watch.disconnect();
    return shown / seconds;
}"""


def write_studies(folder: Path) -> None:
    """Three angiograms, and a cine that shows 24 frames again and again."""
    for seed in (3, 5, 8):
        cv2.imwrite(str(folder / f"angiogram_{seed}.png"), make_cine(seed=seed, frames=8)[5].image)
    frames = [frame.image for frame in make_cine(seed=11, frames=24)]
    cv2.imwritemulti(str(folder / "cine.tif"), [frames[number % len(frames)] for number in range(FRAMES)])


def write_extremes(folder: Path) -> None:
    """A frame that is larger, and a cine that is longer, than what comes from a patient."""
    frames = [frame.image for frame in make_cine(seed=11, frames=24)]
    cv2.imwrite(str(folder / "large.png"), cv2.resize(frames[12], (LARGE, LARGE)), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    small = [cv2.resize(frame, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for frame in frames]
    cv2.imwritemulti(str(folder / "long.tif"), [small[number % len(small)] for number in range(LONG)])


def start(studies: Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    python = os.environ.get("CASR_LABEL_PYTHON") or str(ROOT / ".venv-label" / "bin" / "python")
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    command = [python, "-m", "casr_label", "--studies", str(studies), "--port", str(port), *more]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/info/"):
                return process
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the server did not start")


def measure_clicks(page: Page, address: str) -> tuple[dict[str, Any], Callable[[str, str], float]]:
    """Seconds from a click to the mask; and what clicks on an image."""
    page.set_default_timeout(MILLISECONDS)

    def click(image: str, says: str) -> float:
        begun = time.perf_counter()
        page.click(f"#list button:has-text('{image}')")
        expect(page.locator("#title")).to_contain_text(f"{image}, {says}", timeout=MILLISECONDS)
        return round(time.perf_counter() - begun, 2)

    page.goto(address)
    page.wait_for_selector("#list li")
    first = click("angiogram_3", "proposal")  # loads the weights
    others = [click(name, "proposal") for name in ("angiogram_5", "angiogram_8")]
    return {"first": first, "others": others, "kept_by_the_server": click("angiogram_3", "proposal")}, click


def measure(page: Page, address: str) -> dict[str, Any]:
    received: list[int] = []
    page.on(
        "response",
        lambda answer: (
            received.append(int(answer.headers.get("content-length", 0))) if "/assets/" in answer.url else None
        ),
    )
    clicks, click = measure_clicks(page, address)
    loaded = sum(received)
    click("cine", "frame")
    once = page.evaluate(SCROLL, FRAMES)
    twice = page.evaluate(SCROLL, FRAMES)
    return {
        "bytes_of_script_and_style": loaded,
        "seconds_from_click_to_mask": clicks,
        "frames_a_second": {
            "scrolled_first": round(once, 1), "scrolled_again": round(twice, 1),
            "played_of_15": round(page.evaluate(PLAY, 6), 1),
        },
        "javascript_heap_mb": round(page.evaluate("performance.memory.usedJSHeapSize") / 2**20),
    }  # fmt: skip


def measure_extremes(page: Page, address: str) -> dict[str, Any]:
    """Without the network: from the click to the picture, and from the end of a stroke to its draft on the server."""
    page.set_default_timeout(MILLISECONDS)
    page.goto(address)
    page.wait_for_selector("#list li")
    page.uncheck("#auto")
    record: dict[str, Any] = {}
    for image, what in (
        ("angiogram_5", f"{SIDE} x {SIDE}"),
        ("large", f"{LARGE} x {LARGE}"),
        ("long", f"{LONG} frames"),
    ):
        begun = time.perf_counter()
        page.click(f"#list button:has-text('{image}')")
        shown = re.compile(rf"^{image}.*, (no mask yet|proposal)$")
        expect(page.locator("#title")).to_have_text(shown, timeout=MILLISECONDS)
        opened = time.perf_counter() - begun
        box = page.locator("#canvas").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 60, y, steps=5)
        begun = time.perf_counter()
        page.mouse.up()
        expect(page.locator("#title")).to_have_text(re.compile(", draft$"), timeout=MILLISECONDS)
        record[what] = {
            "seconds_from_click_to_picture": round(opened, 2),
            "seconds_from_stroke_to_draft": round(time.perf_counter() - begun, 2),
            "javascript_heap_mb": round(page.evaluate("performance.memory.usedJSHeapSize") / 2**20),
        }
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    chromium = os.environ.get("CASR_CHROMIUM") or shutil.which("chromium")
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = int(opened.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_studies(Path(folder))
        write_extremes(Path(folder))
        server = start(Path(folder), port, "--no-tta", "--state", f"{folder}/plain")
        try:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
            )
            before = os.getloadavg()[0]
            address = f"http://127.0.0.1:{port}/"
            plain, _ = measure_clicks(browser.new_context(viewport={"width": 1280, "height": 720}).new_page(), address)
            server.terminate()
            server.wait()
            server = start(Path(folder), port)
            page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
            record = {
                "what": f"the page on synthetic angiograms of {SIDE} x {SIDE} pixels, a cine of {FRAMES} frames",
                **measure(page, address),
                "seconds_from_click_to_mask_without_mirror_images": plain,
                "without_the_network": measure_extremes(browser.new_context().new_page(), address),
                "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
                "versions": {"chromium": browser.version, "playwright": version("playwright")},
                "hardware": hardware(),
            }
            browser.close()
        finally:
            server.terminate()
            server.wait()
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
