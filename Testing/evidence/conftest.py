"""Data of the runs, and what a run changes for the whole process."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Numbers of threads, which a run sets."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture(scope="session")
def data(synthetic_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic set, and beside it the same images as a set with published splits, JPEG and stenoses."""
    folder = tmp_path_factory.mktemp("evidence") / "data"
    shutil.copytree(synthetic_set, folder)
    split = folder / "arcade"
    (split / "images").mkdir(parents=True)
    (split / "masks").mkdir()
    rows, stenoses = [], []
    for number, path in enumerate(sorted((synthetic_set / "synthetic" / "images").iterdir())[:5]):
        kind, labelled = ("val" if number >= 3 else "train"), ("no" if number == 2 else "segments")
        name = f"syntax_{kind}_{number}"
        cv2.imwrite(str(split / "images" / f"{name}.jpg"), cv2.imread(str(path), 0))
        if labelled != "no":
            shutil.copy(synthetic_set / "synthetic" / "masks" / path.name, split / "masks" / f"{name}.png")
        rows.append((f"{name}.jpg", kind, labelled))
        stenoses.append((f"{name}.jpg", "20.0,20.0 60.0,20.0 60.0,30.0 20.0,30.0"))
    for name, header, content in (
        ("cases.csv", ("file", "split", "labelled"), rows), ("stenoses.csv", ("file", "polygon"), stenoses)
    ):  # fmt: skip
        with open(split / name, "w", newline="") as stream:
            csv.writer(stream).writerows([header, *content])
    return folder
