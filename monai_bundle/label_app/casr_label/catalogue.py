"""What a PACS holds, as its last answer says: images that match a search, and segmentations of their studies."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from casr_net.errors import UsageError
from casr_net.files.dicomweb import DICOMwebArchive, Instance, Series

from .requests import NotFoundError, checked_id

__all__ = ["Answer", "Catalogue"]

_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Answer:
    """Of one search.

    Attributes:
        turn: number of the search; a higher one was begun later.
        images: by SOP Instance UID.
        segmentations: of the images' studies.
    """

    turn: int
    images: dict[str, Instance]
    segmentations: list[Instance]


class Catalogue:
    """Images of a PACS. Its lock is held for looking things up, never while the PACS is asked: as long as one thread
    waits for an answer, the others work with the last one.

    Args:
        archive: the PACS.
        search: attributes that the series must match, for example ``{"Modality": "XA"}``.
        interval: seconds for which an answer is believed.
    """

    def __init__(self, archive: DICOMwebArchive, search: Mapping[str, Any], interval: float) -> None:
        self._archive, self._filter, self._interval = archive, dict(search), interval
        self._lock = threading.Lock()
        self._last = Answer(0, {}, [])
        self._begun, self._running = 0, 0
        self._answered = float("-inf")
        self._of_series: dict[Series, list[Instance]] = {}

    @property
    def images(self) -> dict[str, Instance]:
        """Of the last answer, by SOP Instance UID; not to be changed."""
        return self._last.images

    def is_newest(self, answer: Answer) -> bool:
        """Whether no later search was answered since."""
        return answer.turn == self._last.turn

    def find(self, name: str) -> Instance | None:
        """An image by its SOP Instance UID, or by the UID of a series whose only image it is; None if the last answer
        has none.

        Raises:
            NotFoundError: for a name that is no UID; UsageError: for a series of several images.
        """
        if not _UID.fullmatch(checked_id(name)):
            raise NotFoundError(f"image {name!r}: not in the PACS; ids are SOP Instance UIDs.")
        found = [one for one in self.images.values() if name in (one.instance, one.series)]
        if len(found) > 1:
            raise UsageError(
                f"series {name!r}: holds {len(found)} images; name one by its SOP Instance UID: "
                f"{', '.join(sorted(one.instance for one in found)[:5])}."
            )
        return found[0] if found else None

    def missing(self, name: str) -> NotFoundError:
        """The error for an image that :meth:`find` does not know."""
        return NotFoundError(f"image {name!r}: not in the PACS, or not among {self._filter}.")

    def refresh(self, at_once: bool = False) -> Answer | None:
        """Ask the PACS if the last answer is old and nobody else is asking, or in any case.

        Returns:
            the answer; None when it was not asked, or when a later search has been answered meanwhile.

        Raises:
            PACSError: when there is no usable answer; the last one stays.
        """
        with self._lock:
            fresh = time.monotonic() - self._answered < self._interval
            if not at_once and (fresh or (self._running and self._last.turn)):
                return None
            self._running += 1
            self._begun += 1
            turn = self._begun
        try:
            images = {one.instance: one for one in self._instances(self._filter)}
            studies = {one.study for one in images.values()}
            answer = Answer(turn, images, [one for one in self._instances({"Modality": "SEG"}) if one.study in studies])
        finally:
            with self._lock:
                self._running -= 1
        with self._lock:
            if turn < self._last.turn:
                return None
            self._last, self._answered = answer, time.monotonic()
        return answer

    def _instances(self, search: Mapping[str, Any]) -> list[Instance]:
        found: list[Instance] = []
        for series in self._archive.series(search):
            # Series grow while a patient is examined: a known one is asked again only when its count has changed.
            inside = self._of_series.get(series)
            if inside is None or series.count is None:
                inside = self._of_series[series] = self._archive.instances(series)
            found += inside
        return found
