"""The pages in a real browser: they show, complain of nothing and ask nobody for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers.analyses import make_analysis

from casr_net.report.page import index_page, index_row, report_page

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    analysis = make_analysis()
    texts = {
        "report": report_page(analysis, "No object."),
        "index": index_page([index_row(analysis.as_dict(), "report.html")]),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium (Debian package chromium) is installed")

    def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [program, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    return run


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the page's console says."""
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def brightness(path: Path) -> float:
    """Of the left margin, where only the paper is."""
    return float(np.median(cv2.imread(str(path))[:, :12]))


def test_report_in_light_and_dark(
    pages: dict[str, Path], browse: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    log = tmp_path / "net.json"
    size = "--window-size=1100,900"
    for name, options in (("light", [f"--log-net-log={log}"]), ("dark", ["--blink-settings=preferredColorScheme=0"])):
        assert complaints(browse(pages["report"], size, f"--screenshot={tmp_path / name}.png", *options)) == []
    assert brightness(tmp_path / "light.png") > 240 and brightness(tmp_path / "dark.png") < 40
    # The tree's colours are on the frame: the picture, which is a data URI, and the style were let in.
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "light.png")), cv2.COLOR_BGR2HSV)
    assert (picture[..., 1] > 120).sum() > 500
    asked = addresses(log)
    assert log.stat().st_size > 1000
    assert {address for address in asked if not address.startswith(("file:", "data:", "chrome"))} == set()


def addresses(log: Path) -> set[str]:
    """What was asked for, without what the browser wants for itself."""
    found = set(re.findall(r'"url":"([a-z]+:[^"]*)"', log.read_text(encoding="utf-8")))
    own = re.compile(r"https?://[\w.-]*(google|googleapis|gstatic)\.com[:/]")
    return {address for address in found if not own.match(address)}


def test_it_prints(
    pages: dict[str, Path], browse: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    paper = tmp_path / "report.pdf"
    assert complaints(browse(pages["report"], f"--print-to-pdf={paper}", "--no-pdf-header-footer")) == []
    assert paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 20_000


def test_policy_keeps_out_what_someone_slips_in(
    pages: dict[str, Path], browse: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    spoiled, log = tmp_path / "spoiled.html", tmp_path / "net.json"
    added = '<img src="http://probe.invalid/a.png"><script>document.title = "run"</script></main>'
    spoiled.write_text(pages["index"].read_text(encoding="utf-8").replace("</main>", added), encoding="utf-8")
    done = browse(spoiled, "--dump-dom", f"--log-net-log={log}")
    assert sum("Content Security Policy" in line for line in complaints(done)) == 2
    assert not any("probe.invalid" in address for address in addresses(log))
    assert "<title>run</title>" not in done.stdout and done.stdout.count("For research use only") == 2
