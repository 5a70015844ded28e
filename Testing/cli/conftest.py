"""``casr segment`` in this process, with weights that were never trained and a small network input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makers.orthanc import Orthanc, free_port
from PIL import Image

from casr_net.cli import main


@pytest.fixture
def segment(random_weights: Path, small_config: Path, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    def run(*inputs: object, options: tuple[object, ...] = (), quiet: bool = True) -> tuple[int, Path]:
        output = tmp_path / "out"
        command = ["segment", *map(str, inputs), "--output", str(output), "--weights", str(random_weights)]
        command += ["--config", str(small_config), *(["--quiet"] if quiet else []), *map(str, options)]
        return main(command), output

    return run


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    one = Orthanc(tmp_path / "orthanc", free_port()).start()
    yield one
    one.stop()


@pytest.fixture
def cine(tmp_path: Path, angiogram: np.ndarray) -> Path:
    """A TIFF of five frames that differ."""
    path = tmp_path / "in" / "run1.tif"
    path.parent.mkdir(exist_ok=True)
    frames = [Image.fromarray(np.roll(angiogram, 9 * i, axis=0)) for i in range(5)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


@pytest.fixture
def picture(angiogram: np.ndarray) -> Callable[[Path], Path]:
    """Writes an angiogram to a path, whatever its name."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", angiogram)[1].tobytes())
        return path

    return write


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))
