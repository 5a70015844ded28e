"""Cases without a vessel, made by the synthetic angiograms: what a network shall leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..files.atomic import write_atomically
from ..synthetic.negative import make_negative

__all__ = ["NEGATIVES", "load_negatives", "negative_seed"]

NEGATIVES = "negatives"  # name of their data set


def load_negatives(folder: str | Path, count: int, seed: int = 0, size: int = 512) -> list[dict[str, Any]]:
    """Images with catheters, wires and bones, and no contrast; those that are not in the folder yet are made.

    Args:
        folder: where images (``NAME.png``) and their empty mask are kept; made when it does not exist.
        count: number of images; 0 makes none, and no folder.
        seed: of the set; equal seeds give equal images. Sets of different seeds share no image.
        size: rows and columns, 64 to 2048.

    Returns:
        cases as of :func:`casr_net.training.load_cases` (without a fold), of the data set "negatives".

    Raises:
        UsageError: when an argument is out of its range.
        DataError: when a file cannot be written.
    """
    if count < 0:
        raise UsageError(f"count of negatives is {count}; it must not be negative.")
    folder, cases = Path(folder), []
    empty = folder / f"empty_{size}.png"
    for index in range(count):
        image = folder / f"negative_{seed}_{size}_{index:04}.png"
        if not image.is_file():
            _write(image, make_negative(negative_seed(seed, index), size).image)
        cases.append(
            {"image": str(image), "label": str(empty), "dataset": NEGATIVES, "name": f"{NEGATIVES}/{image.name}"}
        )
    if cases and not empty.is_file():
        _write(empty, np.zeros((size, size), np.uint8))
    return cases


def negative_seed(seed: int, index: int) -> int:
    """Seed of one image of a set."""
    return int(np.random.default_rng([seed, index, 5]).integers(2**31))


def _write(path: Path, image: np.ndarray) -> None:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise DataError(f"{path}: cannot be encoded.")
    write_atomically(path, lambda target: target.write_bytes(data.tobytes()))
