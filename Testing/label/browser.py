"""The page in a real Chromium, by Playwright; both are optional."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .conftest import Server

CHROMIUM = os.environ.get("CASR_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
REASON = "needs Chromium (Debian package chromium, or CASR_CHROMIUM) and the Python package playwright"
HERE = CHROMIUM is not None and importlib.util.find_spec("playwright") is not None
SECONDS = 180_000
"""Milliseconds that anything may take; a busy machine is slow."""


WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
"""Arguments for WebGL in software."""


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """The browser, in software.

    Args:
        arguments: in place of the one that leaves the graphics card out.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--enable-precise-memory-info", *(arguments or ("--disable-gpu",))],
        )
        yield browser
        browser.close()


class Page:
    """One window of the page.

    Args:
        context: of the browser; windows of one context share what the browser keeps.
        server: that is running.
    """

    def __init__(self, context: Any, server: Server) -> None:
        self.tab, self.server = context.new_page(), server
        self.tab.set_default_timeout(SECONDS)
        self.faults: list[str] = []
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.elsewhere: list[str] = []
        own = f"http://127.0.0.1:{server.port}/"
        inside = (own, "blob:", "data:")
        self.tab.on("request", lambda one: None if one.url.startswith(inside) else self.elsewhere.append(one.url))

    def log_in(self, token: str, path: str = "/") -> Page:
        """Open a path of the server, and fill the form that comes first."""
        self.tab.goto(f"http://127.0.0.1:{self.server.port}{path}")
        self.tab.fill("input[type=password]", token)
        self.tab.click("button")
        return self

    def load(self) -> Page:
        self.tab.goto(f"http://127.0.0.1:{self.server.port}/")
        self.tab.wait_for_selector("#list li")
        return self

    def open(self, image: str, says: str) -> Page:
        """Open an image of the list, and wait until its title says something."""
        self.tab.click(f"#list button:has(.name:text-is('{image}'))")
        return self.says(f"{image}{says}")

    def says(self, text: str, where: str = "#title") -> Page:
        """Wait until an element says something."""
        from playwright.sync_api import expect

        expect(self.tab.locator(where)).to_contain_text(text, timeout=SECONDS)
        return self

    def saved(self) -> Page:
        return self.says("Draft saved", "#saving")

    def pixels(self) -> int:
        """Of the mask that is shown."""
        label = self.tab.get_attribute("#canvas", "aria-label")
        found = re.search(r"(\d+) pixels", label)
        assert found, label
        return int(found[1])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of a square image, in shares of its side, is on the screen as long as it fits in."""
        box = self.tab.locator("#canvas").bounding_box()
        side = min(box["width"], box["height"])
        left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
        return left + x * side, top + y * side

    def draw(self, *points: tuple[float, float], lift: bool = True) -> None:
        mouse = self.tab.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=3)
        if lift:
            mouse.up()
