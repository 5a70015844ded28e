"""The documentation builds without a warning, and asks nothing from outside."""

from __future__ import annotations

import html
import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from casr_net.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """Addresses that a page loads by itself; links that a reader may follow are none."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("img", "script", "iframe", "source", "video", "audio"):
            self.addresses.append(values.get("src") or "")
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(values.get("href") or "")


def test_nothing_is_loaded_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert [address for address in loaded.addresses if re.match(r"(https?:)?//", address)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_command_line_is_that_of_its_help(site: Path) -> None:
    text = html.unescape((site / "cli.html").read_text(encoding="utf-8"))
    for name in COMMANDS:
        assert f'id="casr-{name}"' in text
    assert "--key-frames N" in text
    assert "casr segment cine.dcm -o results --overlay video" in text


def test_reference_pages(site: Path) -> None:
    configs, record, api = (
        (site / f"{name}.html").read_text(encoding="utf-8") for name in ("configs", "run-json", "api")
    )
    assert 'id="inferencejson"' in configs and "a number above 0 and at most 1" in configs
    assert "vessel pixels in the mask" in record and 'id="output"' in record
    for name in ("Segmenter", "read_angiogram", "vessel_tree", "analyse", "DataError"):
        assert name in api


def test_pages_of_other_folders_keep_their_links(site: Path) -> None:
    slicer = (site / "slicer.html").read_text(encoding="utf-8")
    assert 'href="analysis.html"' in slicer and 'src="pictures/module.png"' in slicer
    assert (site / "pictures" / "module.png").is_file()
    server = (site / "label-server.html").read_text(encoding="utf-8")
    assert 'href="page.html"' in server and 'href="slicer.html"' in server


def test_links_lead_somewhere_in_the_repository_too(site: Path) -> None:
    """Pages are read there as well as on the site, where those to sources of made pages lead to these."""
    pages = sorted(path for path in ROOT.rglob("*.md") if not {"node_modules", "results"} & set(path.parts))
    pages = [path for path in pages if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]
    assert len(pages) >= 20
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
    segment = (site / "segment.html").read_text(encoding="utf-8")
    assert [f'href="{name}.html"' in segment for name in ("run-json", "cli", "configs")] == [True] * 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"$ref": "#/$defs/run"}, "run"),
        ({"const": 2}, "`2`"),
        ({"enum": ["a", "b"]}, '`a`, `b`'),
        ({"anyOf": [{"$ref": "#/$defs/time"}, {"type": "null"}]}, "time or null"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        ({}, "any"),
    ],
)  # fmt: skip
def test_kinds_of_schema_entries(value: dict, words: str) -> None:
    assert runpy.run_path(str(ROOT / ".ci" / "site.py"))["kind"](value) == words
