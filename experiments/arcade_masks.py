"""Masks of the shipped network on ARCADE images with marked stenoses, kept on disk for experiments on measurements."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from casr_net.evaluation.stenoses import load_stenoses
from casr_net.files.images import read_angiogram
from casr_net.inference.segmenter import Segmenter
from casr_net.network.weights import sha256

__all__ = ["WEIGHTS", "ArcadeImage", "arcade_images", "chosen"]

logger = logging.getLogger("experiments")

WEIGHTS = Path(__file__).resolve().parents[1] / "monai_bundle" / "models" / "model.pt"


class ArcadeImage(NamedTuple):
    """Name, attenuation, predicted mask and probability (X, Y), and the polygons (points, 2) of marked stenoses."""

    name: str
    attenuation: np.ndarray
    mask: np.ndarray
    probability: np.ndarray
    polygons: list[np.ndarray]


def chosen(data: Path, split: str, count: int | None, seed: int = 0) -> list[str]:
    """Names of images of a split that have marked stenoses, all or a random sample; the same for the same seed."""
    marked = load_stenoses(data)
    with open(data / "cases.csv", newline="", encoding="utf-8") as stream:
        names = sorted(row["file"] for row in csv.DictReader(stream) if row["split"] == split and row["file"] in marked)
    if count is None or count >= len(names):
        return names
    return sorted(np.random.default_rng(seed).permutation(names)[:count].tolist())


def arcade_images(data: Path, names: list[str], cache: Path, weights: Path = WEIGHTS) -> Iterator[ArcadeImage]:
    """Predict, or take from the cache, the masks of images."""
    folder = cache / sha256(weights)[:12]
    folder.mkdir(parents=True, exist_ok=True)
    polygons = load_stenoses(data)
    segmenter: Segmenter | None = None
    for number, name in enumerate(names, start=1):
        source = read_angiogram(data / "images" / name)
        stored = folder / f"{Path(name).stem}.npz"
        if not stored.is_file():
            segmenter = segmenter or Segmenter(weights=str(weights), tta=False)
            found = segmenter.of(source, 0)
            np.savez_compressed(
                stored, mask=found.mask.T, probability=np.round(found.probability.T * 255).astype(np.uint8)
            )
            if number % 20 == 0:
                logger.info("%d of %d images", number, len(names))
        with np.load(stored) as kept:
            mask, probability = kept["mask"], kept["probability"].astype(np.float32) / 255
        yield ArcadeImage(name, source.attenuation(0).values, mask, probability, polygons.get(name, []))
