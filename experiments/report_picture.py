"""The picture of the guide ``docs/analysis.md``: the report of ``make demo``'s synthetic cine in Chromium.

    python experiments/report_picture.py docs/report.jpg [REPORT.html]

Without REPORT the cine is generated and measured anew, which takes minutes without a GPU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from casr_net.cli import main

SIZE = (1100, 1560)
CINE = ("--count", "1", "--frames", "12", "--size", "512", "--seed", "4")


def measured(folder: Path) -> Path:
    """The report of the demonstration's cine."""
    assert main(["synth", "--output", str(folder), *CINE]) == 0
    images, output = folder / "synthetic" / "images", folder / "reports"
    assert main(["analyze", str(images), "--output", str(output), "--mm-per-pixel", "0.15"]) == 0
    return next(output.glob("*/report.html"))


def shot(page: Path, place: Path, folder: Path) -> None:
    """The head of a page, made smaller."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("no Chromium (Debian package chromium) is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'user'}"]
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    raw = folder / "page.png"
    subprocess.run(
        [program, *options, size, f"--screenshot={raw}", page.resolve().as_uri()],
        check=True,
        timeout=300,
        capture_output=True,
    )
    picture = Image.open(raw).convert("RGB")
    picture.resize((880, 880 * SIZE[1] // SIZE[0]), Image.Resampling.LANCZOS).save(place, quality=88)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        report = Path(sys.argv[2]) if len(sys.argv) > 2 else measured(Path(name))
        shot(report, Path(sys.argv[1]), Path(name))
