"""Frames a second, file to written mask, by size and number of frames, with the runtime that is chosen by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casr_net.synthetic.angiogram import make_angiogram
from cine import Variant
from common import Work, median, summary, told, turns

__all__ = ["FRAMES", "SIZES", "measure", "table"]

SIZES = (256, 512, 1024, 2048)
FRAMES = (1, 4, 16)


def _write(path: Path, size: int, frames: int) -> Path:
    """A cine of so many pixels a side; what it shows matters little to the time."""
    import tifffile

    image = cv2.resize(make_angiogram(11, 512).image, (size, size), interpolation=cv2.INTER_CUBIC)
    tifffile.imwrite(
        path, np.stack([np.roll(image, 2 * index, 1) for index in range(frames)]), photometric="minisblack"
    )
    return path


def measure(rounds: int, sizes: tuple[int, ...] = SIZES, counts: tuple[int, ...] = FRAMES) -> dict[str, Any]:
    """Seconds of a file and frames a second, by size and number of frames."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Work] = {}
        first: Variant | None = None
        for size in sizes:
            for frames in counts:
                source = _write(folder / f"{size}-{frames}.tif", size, frames)
                run = Variant(source, folder / f"{size}-{frames}", "auto", "auto", True)
                first = first or run
                run.network, run.inferer = first.network, first.inferer  # one network serves all
                found[f"{size} x {size}, {frames}"] = run
        times = summary(turns(found, rounds, lambda run: {"seconds": run()}), 4)
        assert first is not None
        runtime = first.inferer.used
    files = {
        f"{size} x {size}": {
            str(frames): {
                **times[f"{size} x {size}, {frames}"],
                "frames_a_second": round(frames / median(times, f"{size} x {size}, {frames}", "seconds"), 2),
            }
            for frames in counts
        }
        for size in sizes
    }
    return {"runtime": runtime, "files": files}


def table(result: dict[str, Any]) -> str:
    """Frames a second by size and number of frames."""
    counts = list(next(iter(result["files"].values())))
    heads = (f"{count} frame{'s' if count != '1' else ''}" for count in counts)
    lines = [f"| size | {' | '.join(heads)} |", "|---" * (1 + len(counts)) + "|"]
    for size, entry in result["files"].items():
        cells = (f"{entry[count]['frames_a_second']:.1f}" for count in counts)
        lines.append(f"| {size} | {' | '.join(cells)} |")
    foot = f"Frames a second of a file, read, segmented and written, by {result['runtime']}; medians. {told(result)}"
    return "\n".join([*lines, "", foot])
