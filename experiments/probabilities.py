"""Probability maps of the network on chosen folds, kept on disk, since every experiment on stage 3 starts from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from casr_net import Segmenter
from casr_net.files.masks import read_mask
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases

logger = logging.getLogger("experiments")


class Map(NamedTuple):
    """One image's data set and name, probability in [0, 1] and reference, both (X, Y) at native size."""

    dataset: str
    name: str
    probability: np.ndarray
    reference: np.ndarray


def folds_of(entries: list[str]) -> dict[int, Path]:
    """Weights by the fold that they held out, of FOLD=WEIGHTS."""
    return {int(fold): Path(path) for fold, path in (entry.split("=", 1) for entry in entries)}


def spread(cases: list[dict[str, Any]], count: int | None) -> list[dict[str, Any]]:
    """At most ``count`` cases of each data set, evenly spread over its list."""
    if count is None:
        return cases
    chosen = []
    for dataset in dict.fromkeys(case["dataset"] for case in cases):
        own = [case for case in cases if case["dataset"] == dataset]
        number = min(count, len(own))
        chosen += [own[i * len(own) // number] for i in range(number)]
    return chosen


def maps(
    data: Path,
    weights: Path,
    folds: list[int],
    cache: Path,
    count: int | None = None,
    config: tuple[str, ...] = (),
    tta: bool = False,
) -> Iterator[Map]:
    """Predict, or take from the cache, every chosen image of the folds; ``count`` limits each data set.

    ``tta`` gives the mean over mirror images.
    """
    folder = cache / f"{sha256(weights)[:12]}{'-tta' if tta else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    segmenter: Segmenter | None = None
    cases = spread(load_cases(data, only_folds=folds), count)
    for number, case in enumerate(cases, start=1):
        stored = folder / f"{case['name'].replace('/', '_')}.npy"
        if not stored.is_file():
            segmenter = segmenter or Segmenter(config, weights=str(weights), refine=False, tta=tta)
            np.save(stored, segmenter(case["image"]).probability.T.astype(np.float16))
            if number % 20 == 0:
                logger.info("%d of %d images", number, len(cases))
        yield Map(case["dataset"], case["name"], np.load(stored).astype(np.float32), read_mask(case["label"])[..., 0])
