"""Strategies: which image a user should label next."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from casr_net.errors import CASRError
from casr_net.files.images import read_angiogram

from .selection import uncertain_and_diverse
from .state import Embeddings

__all__ = ["MostUncertain", "OnlyReadable", "UncertainDiverse"]


class OnlyReadable(Strategy):
    """Another strategy, asked again without the images that cannot be opened. Only those that it names are opened; one
    that still lies in a PACS is taken as it is.

    Args:
        inner: the strategy that chooses.
    """

    def __init__(self, inner: Strategy) -> None:
        super().__init__(inner.description)
        self.inner = inner

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        left = _Without(datastore)
        while (found := self.inner(request, left)) and not _opens(datastore, found["id"]):
            left.images.add(found["id"])
        return found or None


class _Without:
    """A datastore of whose unlabelled images some are left out."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self.images: set[str] = set()

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        found = self._datastore.get_unlabeled_images(label_tag, labels)
        return [image_id for image_id in found if image_id not in self.images]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._datastore, name)


def _opens(datastore: Any, image_id: str) -> bool:
    if not datastore.is_here(image_id):
        return True
    try:
        return read_angiogram(datastore.get_image_uri(image_id)).frames > 0
    except (CASRError, OSError):
        return False


class MostUncertain(Strategy):
    """The image with the highest score; one without a score if none has one.

    Args:
        key: entry of the image's info that a scoring method writes.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"Highest {key} first")
        self.key = key

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        scores = scores_of(datastore, request, self.key)
        if not scores:
            return None
        known = {image_id: score for image_id, score in scores.items() if score is not None}
        if not known:
            return {"id": random.choice(sorted(scores)), self.key: None, "note": "no image has been scored yet"}
        best = max(sorted(known), key=known.__getitem__)
        return {"id": best, self.key: known[best]}


class UncertainDiverse(Strategy):
    """Among the most uncertain images the one that is least like what was labelled, see :mod:`selection`.

    Args:
        key: see :class:`MostUncertain`.
        embeddings: vectors of the images, which the scoring method "tta" stores.
    """

    def __init__(self, key: str, embeddings: Embeddings) -> None:
        super().__init__(f"Unlike what was labelled, among the highest {key}")
        self.key = key
        self._embeddings = embeddings

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        scores = {k: v for k, v in scores_of(datastore, request, self.key).items() if v is not None}
        loaded = {image_id: self._embeddings.load(image_id) for image_id in scores}
        vectors = {image_id: vector for image_id, vector in loaded.items() if vector is not None}
        candidates = sorted(vectors)
        if not candidates:
            return MostUncertain(self.key)(request, datastore)
        labelled = (self._embeddings.load(image_id) for image_id in datastore.get_labeled_images())
        (chosen,) = uncertain_and_diverse(
            [scores[image_id] for image_id in candidates],
            np.stack([vectors[image_id] for image_id in candidates]),
            [vector for vector in labelled if vector is not None],
            1,
        )
        best = candidates[chosen]
        return {"id": best, self.key: scores[best]}


def scores_of(datastore: Datastore, request: dict[str, Any], key: str) -> dict[str, float | None]:
    """Scores of the images without a final label, None where there is none."""
    ids = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
    found = {image_id: datastore.get_image_info(image_id).get(key) for image_id in ids}
    return {image_id: float(score) if isinstance(score, (int, float)) else None for image_id, score in found.items()}
