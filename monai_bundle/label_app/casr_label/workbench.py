"""What the page works with: images with their state, proposals, drafts, and final labels, of a folder or a PACS."""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from monailabel.interfaces.datastore import DefaultLabelTag

from casr_net.cine.contrast import contrast_curve
from casr_net.cine.survey import survey_frames
from casr_net.errors import DataError, UsageError
from casr_net.files.images import Angiogram
from casr_net.files.maps import write_map
from casr_net.files.masks import open_mask
from casr_net.files.rate import frame_rate

from .app import CASRLabelApp
from .drafts import ConflictError, DraftStore, folder_name
from .labels import FrameLabel
from .pacs import PACSDatastore
from .pictures import OpenImages
from .proposals import LEVELS, Proposals
from .requests import NotFoundError, checked_id
from .trials import Trials

__all__ = ["Place", "Workbench"]

FINAL, ORIGINAL = DefaultLabelTag.FINAL.value, DefaultLabelTag.ORIGINAL.value
HEADER_SECONDS = 0.5
"""For which a list opens files to see how many frames they have; the others follow with the next one. Our choice."""


@dataclass(frozen=True)
class Place:
    """An image that a request names.

    Attributes:
        name: as the client knows it.
        stored: whether it is one of the datastore; else a trial.
        path: its file.
        folder: of its proposals.
    """

    name: str
    stored: bool
    path: Path
    folder: Path

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Errors name the image as the client knows it, not where its file lies on the server."""
        try:
            yield
        except NotFoundError:
            raise
        except DataError as error:
            text = str(error).removeprefix(f"{self.path}: ").replace(str(self.path), "the file")
            raise DataError(f"image {self.name!r}: {text}") from error


class Workbench:
    """Of one server.

    Args:
        app: with its datastore.
    """

    def __init__(self, app: CASRLabelApp) -> None:
        self.app = app
        self.open, self.trials = OpenImages(), Trials()
        self.proposals = Proposals(app.task)
        self.drafts = DraftStore(app.state.folder / "drafts")
        self._computed = app.state.folder / "proposals"
        self._counts: dict[tuple[str, int, int], int] = {}
        self._label: tuple[tuple[Any, ...], FrameLabel] | None = None
        self._accepting = threading.Lock()

    def place(self, image: str | None, trial: str | None) -> Place:
        """The image that a request names, or the file to be tried.

        Raises:
            NotFoundError: when it is not there; UsageError: when none is named, or PACSError.
        """
        if trial:
            file = self.trials.file(trial)
            return Place("the file to be tried", False, file, file.parent)
        if not image:
            raise UsageError("image: expected the name of an image.")
        path = Path(self.app.datastore().get_image_uri(checked_id(image)))
        return Place(image, True, path, self._computed / folder_name(image))

    def listed(self) -> list[dict[str, Any]]:
        """All images: ``id``, ``title``, ``state``, ``final`` (a final label is stored), ``scores`` (by method),
        ``frames`` (None: not known yet)."""
        store, end = self.app.datastore(), time.monotonic() + HEADER_SECONDS
        finished, drafted = set(store.get_labeled_images()), self.drafts.images()
        found = []
        for image in sorted(store.list_images(), key=lambda name: _natural(store.title(name))):
            info, key = store.get_image_info(image), folder_name(image)
            proposed = ORIGINAL in store.get_labels_by_image_id(image) or any(self._computed.glob(f"{key}/f*.png"))
            if key in drafted:
                state = "corrected"
            else:
                state = "final" if image in finished else "proposed" if proposed else "new"
            scores = {name[5:]: value for name, value in info.items() if name.startswith("casr_")}
            found.append(
                {
                    "id": image, "title": store.title(image), "state": state, "final": image in finished,
                    "scores": {name: value for name, value in scores.items() if isinstance(value, (int, float))},
                    "frames": self._count(image, time.monotonic() < end),
                }
            )  # fmt: skip
        return found

    def _count(self, image: str, may_open: bool) -> int | None:
        """Number of frames; of an image of a PACS only when it was fetched already."""
        store = self.app.datastore()
        if not store.is_here(image):
            return None
        try:
            path = Path(store.get_image_uri(image))
            status = path.stat()
            key = (str(path), status.st_mtime_ns, status.st_size)
            if key not in self._counts:
                if not may_open:
                    return None
                self._counts[key] = self.open(path).frames
            return self._counts[key]
        except (DataError, OSError):
            return 0

    def described(self, place: Place) -> dict[str, Any]:
        """What the page needs to know of an image before it shows it; frames count from 0."""
        with place.errors():
            source = self.open(place.path)
            drafts = self.drafts.of(place.name) if place.stored else {}
            label = self.final(place, source)
            return {
                "id": place.name if place.stored else None,
                "title": self.app.datastore().title(place.name) if place.stored else None,
                "frames": source.frames, "columns": source.size[0],
                "rows": source.size[1], "rate": frame_rate(source.header), "deep": source.dtype != np.uint8,
                "drafts": {frame: draft.revision for frame, draft in drafts.items()},
                "proposed": self.proposals.frames(place.folder, source), "curve": self._has_curve(place, source),
                "final": {"frames": label.frames, "stamp": self.stamp(place)} if label else None,
                "study": self._study(place), "dicom": source.format == "dicom", "warnings": source.warnings,
            }  # fmt: skip

    def _study(self, place: Place) -> str | None:
        """Study Instance UID of an image of a PACS, by which a viewer can open it; None for others."""
        store = self.app.datastore()
        if not place.stored or not isinstance(store, PACSDatastore):
            return None
        return str(store.get_image_info(place.name).get("StudyInstanceUID") or "") or None

    def curve(self, place: Place) -> dict[str, Any]:
        """Contrast over the frames of a cine, see :meth:`casr_net.cine.ContrastCurve.as_dict`, from the proposals.

        Raises:
            NotFoundError: for a single image, and as long as frames that the curve needs are not segmented.
        """
        with place.errors():
            source = self.open(place.path)
            if not self._has_curve(place, source):
                raise NotFoundError(f"image {place.name!r}: a contrast curve needs a cine whose frames are segmented.")
            numbers = survey_frames(source.frames)
            maps = (
                ((self.proposals.of(place.folder, source, number) + 0.5) / LEVELS, source.attenuation(number).values)
                for number in numbers
            )
            return contrast_curve(maps, source.frames, numbers).as_dict()

    def _has_curve(self, place: Place, source: Angiogram) -> bool:
        needed = survey_frames(source.frames)
        return len(needed) > 1 and set(needed) <= set(self.proposals.frames(place.folder, source))

    # Final labels

    def stamp(self, place: Place) -> str:
        """Changes whenever the final label of an image does; "" for none."""
        if not place.stored:
            return ""
        store = self.app.datastore()
        path = store.get_label_uri(place.name, FINAL)
        try:
            status = Path(path).stat() if path else None
        except OSError:
            status = None
        return f"{status.st_mtime_ns}-{status.st_size}" if status else ""

    def final(self, place: Place, source: Angiogram) -> FrameLabel | None:
        """The final label of an image, if it has one that fits.

        Raises:
            DataError: when it cannot be read.
        """
        stamp = self.stamp(place)
        if not stamp:
            return None
        key = (place.name, stamp)
        if self._label is None or self._label[0] != key:
            label = self.app.datastore().label(place.name, FINAL)
            if label is None or label.masks.shape != (*source.size, source.frames):
                return None
            self._label = key, label
        return self._label[1]

    # Drafts

    def received(self, source: Angiogram, frame: int, content: Path) -> np.ndarray:
        """A mask of one frame as a client has sent it, bool (X, Y).

        Raises:
            DataError: when it is no mask, or of another size; NotFoundError: for a frame that is not there.
        """
        if not 0 <= frame < source.frames:
            raise NotFoundError(f"there is no frame {frame + 1}; the image has {source.frames}.")
        try:
            mask = open_mask(content)
            if mask.size != source.size or mask.frames != 1:
                raise DataError(
                    f"{mask.size[0]} x {mask.size[1]} pixels, {mask.frames} frame(s); the image has {source.size[0]} x "
                    f"{source.size[1]}."
                )
            found = mask.frame(0)
            mask.close()
            return found
        except DataError as error:
            text = str(error).removeprefix(f"{content}: ").replace(str(content), "the file")
            raise DataError(f"mask: {text}") from error

    def accept(self, place: Place, revisions: Mapping[int, int], seen: str) -> dict[str, Any]:
        """Make drafts the final label of their frames; labels of other frames stay.

        Args:
            place: the image.
            revisions: of each frame's draft, as the user sees it.
            seen: the final label that the user knows of, see :meth:`stamp`.

        Returns:
            ``frames`` that are labelled now, ``stamp`` of the label.

        Raises:
            ConflictError: when a draft or the label has changed meanwhile; UsageError: for no draft;
            PACSError: when the PACS does not take it: it is kept then, and the drafts too.
        """
        if not place.stored:
            raise UsageError("a file that is only tried is not stored; put it into the folder first.")
        if not revisions:
            raise UsageError("there is no draft to accept.")
        with self._accepting, place.errors():
            source, drafts = self.open(place.path), self.drafts.of(place.name)
            if self.stamp(place) != seen:
                raise ConflictError(f"somebody else has stored a final label of {place.name!r} meanwhile.")
            for frame, revision in revisions.items():
                if frame not in drafts or drafts[frame].revision != revision:
                    raise ConflictError(f"the draft of frame {frame + 1} was changed in another window meanwhile.")
            frames = self._store(place, source, {frame: drafts[frame].read()[0] for frame in revisions})
            for frame, revision in revisions.items():
                with contextlib.suppress(ConflictError):  # drawn on meanwhile: it stays a draft
                    self.drafts.remove(place.name, frame, revision)
            return {"frames": frames, "stamp": self.stamp(place)}

    def _store(self, place: Place, source: Angiogram, masks: Mapping[int, np.ndarray]) -> list[int]:
        for frame, mask in masks.items():
            if mask.shape != source.size or frame >= source.frames:
                raise DataError(f"the draft of frame {frame + 1} is of another image; discard it.")
        before = self.final(place, source)
        frames = sorted({*masks, *(before.frames if before else ())})
        with tempfile.TemporaryDirectory() as folder:
            if source.frames == 1:
                file = Path(folder) / "label.png"
                cv2.imwrite(str(file), masks[0].T.astype(np.uint8) * 255)
            else:
                file = Path(folder) / "label.nrrd"
                whole = before.masks.astype(np.uint8) if before else np.zeros((*source.size, source.frames), np.uint8)
                for frame, mask in masks.items():
                    whole[..., frame] = mask
                write_map(file, whole, source.affine)
            label = self.app.datastore().save_label(place.name, str(file), FINAL, {"frames": frames})
        self.app.on_save_label(place.name, label)
        return frames


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Order of names in which frame9 comes before frame10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
