"""Images and labels of a PACS over DICOMweb, see :mod:`casr_net.files.dicomweb`.

MONAI Label's own DICOMweb datastore takes a series for a volume, and has its labels stored by tools that want a Frame
of Reference. Here an image is an instance: one angiogram, of one frame or many.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom.dataset import Dataset

from casr_net.errors import CASRError, DataError, UsageError
from casr_net.files.dicom_seg import make_segmentation, parse_segmentation
from casr_net.files.dicomweb import DICOMwebArchive, Instance, PACSError, write_received

from .catalogue import Answer, Catalogue
from .datastore import CASRDatastore
from .requests import checked_id, checked_tag

__all__ = ["PACSDatastore"]

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
SENDING_SECONDS = 300.0
"""A label that is said to be on its way for longer than this was left by a killed process, and is sent again."""
_NOTES = ("SOPInstanceUID", "SeriesInstanceUID", "stored", "sending", "since", "saved")  # ours, in a label's info


class PACSDatastore(CASRDatastore):
    """Instances that match a search, kept in a local folder once they were used; final labels are stored in the PACS.

    Ids of images are SOP Instance UIDs; a Series Instance UID, as OHIF sends it, means the only instance of its series.
    A final label becomes a DICOM Segmentation of the image's study; every saving makes a new one, and the newest
    counts. Segmentations that others have stored for an image count as its final label too. Labels with another tag,
    scores and notes stay in the local folder.

    No lock is held while the PACS is asked: what is here already is served however long it takes to answer.

    Args:
        archive: the PACS.
        search: attributes that the series must match, for example ``{"Modality": "XA"}``.
        folder: for copies of images and labels.
        interval: seconds for which the answer of a search is believed.
    """

    def __init__(self, archive: DICOMwebArchive, search: dict[str, Any], folder: Path, interval: float = 10.0) -> None:
        self._archive, self._catalogue = archive, Catalogue(archive, search, interval)
        self._known = threading.Lock()  # of the next two; never held while the PACS is asked
        self._judged: set[str] = set()  # segmentations that were fetched, or are of no use
        self._sent: set[str] = set()  # that a search has not shown yet
        super().__init__(folder)

    def name(self) -> str:
        return self._archive.url

    # Reading

    def list_images(self) -> list[str]:
        self._search()
        return sorted(self._catalogue.images)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        self._search()
        return [image for image in super().get_labeled_images(label_tag, labels) if image in self._catalogue.images]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = set(self.get_labeled_images(label_tag, labels))
        return [image for image in sorted(self._catalogue.images) if image not in labelled]

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        self._search()
        return super().datalist(full_path)

    def get_image_uri(self, image_id: str) -> str:
        """The local copy, which is fetched when it is not there.

        Raises:
            NotFoundError: when the PACS has no such image; DataError: when it is no angiogram; PACSError.
        """
        where = self._find(image_id)
        if not self.is_here(where.instance):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{where.instance}.dcm"
                data = self._archive.download(where, file)
                info = {
                    "StudyInstanceUID": where.study, "SeriesInstanceUID": where.series,
                    **{key: str(data.get(key, "")) for key in ("PatientID", "Modality", "StudyDate")},
                }  # fmt: skip
                super().add_image(where.instance, str(file), info)
        return super().get_image_uri(where.instance)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        return super().get_image_info(self._here_or_found(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return super().get_label_uri(self._here_or_found(label_id), label_tag)

    def title(self, image_id: str) -> str:
        """What people call an image, as far as the PACS tells; else its id."""
        found = self._catalogue.images.get(image_id)
        return (found.title if found else "") or image_id

    # Writing

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        raise UsageError("images of a PACS are stored there (STOW-RS, C-STORE), not here.")

    def remove_image(self, image_id: str) -> None:
        raise UsageError("images of a PACS are removed there, not here.")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        if checked_tag(label_tag) == FINAL:
            raise UsageError("final labels are DICOM Segmentations in the PACS, and are removed there, not here.")
        super().remove_label(self._find(label_id).instance, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        super().update_image_info(self._find(image_id).instance, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        super().update_label_info(self._find(label_id).instance, label_tag, info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label, a final one in the PACS too.

        Raises:
            PACSError: when the PACS does not take it. The label is kept here then, and sent with a later request.
        """
        instance = self._find(image_id).instance
        info = {key: value for key, value in (label_info or {}).items() if key not in _NOTES}
        super().save_label(instance, label_filename, label_tag, {**info, "saved": uuid.uuid4().hex})
        if checked_tag(label_tag) == FINAL:
            try:
                self._send(instance)
            except PACSError as error:
                raise PACSError(f"label of {instance!r}: kept here and to be sent again later. {error}") from error
        return instance

    def store_beside(self, made: Dataset) -> None:
        """Store an object that is derived from an image, and is no label.

        Raises:
            PACSError: when the PACS does not take it.
        """
        self._archive.store(made)

    # The PACS

    def _send(self, instance: str) -> None:
        """Store the final label of an image, unless that was done, or another thread or process is at it."""
        before = self.get_label_info(instance, FINAL)
        label = self.label(instance, FINAL)  # after its notes, so that one that is replaced meanwhile is noticed below
        if label is None or not _is_to_send(before):
            return
        made = make_segmentation(
            self.get_image_uri(instance),
            {frame: label.masks[..., frame] for frame in label.frames},
            # What the network made and nobody has changed; a client's own upload was in somebody's hands.
            algorithm="AUTOMATIC" if "model" in before else "SEMIAUTOMATIC",
        )
        uid = str(made.SOPInstanceUID)
        with self._change():
            now = self.get_label_info(instance, FINAL)
            if now.get("saved") != before.get("saved") or not _is_to_send(now):
                return  # who has changed it meanwhile sends it
            self._note(instance, sending=uid, since=time.time())
        with self._known:  # before it is there, so that a search that sees it does not take it for somebody else's
            self._judged.add(uid)
            self._sent.add(uid)
        stored = False
        try:
            self._archive.store(made)
            stored = True
        finally:
            if not stored:
                with self._known:
                    self._judged.discard(uid)
                    self._sent.discard(uid)
            with self._change():
                if self.get_label_info(instance, FINAL).get("sending") == uid:  # else it was replaced meanwhile
                    self._note(instance, sending=None, since=None, **(_stored(made) if stored else {}))

    def _note(self, instance: str, **values: Any) -> None:
        """Change entries of a final label's info; None removes one. The caller holds the index, see ``_change``."""
        info = self.get_label_info(instance, FINAL)
        kept = {key: value for key, value in {**info, **values}.items() if value is not None}
        self._datastore.objects[instance].labels[FINAL].info = kept
        self._update_datastore_file()

    def _find(self, image_id: str) -> Instance:
        found = self._catalogue.find(image_id)
        if found is None:  # it may have been stored just now
            self._search(at_once=True)
            found = self._catalogue.find(image_id)
        if found is None:
            raise self._catalogue.missing(image_id)
        return found

    def _here_or_found(self, image_id: str) -> str:
        """The instance that an id means; the PACS is asked only for what was never used here."""
        return image_id if self.is_here(checked_id(image_id)) else self._find(image_id).instance

    def _search(self, at_once: bool = False) -> None:
        """Bring the catalogue and the final labels to what the PACS holds."""
        answer = self._catalogue.refresh(at_once)
        if answer is None:
            return
        self._forget(answer)
        for one in answer.segmentations:
            with self._known:
                new = one.instance not in self._judged
                self._judged.add(one.instance)
            if new:
                self._take(one)

    def _forget(self, answer: Answer) -> None:
        """Labels whose segmentation was removed from the PACS go; those that never arrived there are sent."""
        there, unsent = {one.instance for one in answer.segmentations}, []
        for image in [image for image in super().get_labeled_images() if image in answer.images]:
            info = self.get_label_info(image, FINAL)
            stored = info.get("SOPInstanceUID")
            with self._known:
                if not self._catalogue.is_newest(answer):
                    return
                gone = stored is not None and stored not in there and stored not in self._sent
                if stored in there:
                    self._judged.add(stored)
                    self._sent.discard(stored)
            if gone:
                logger.info("Label of %s: its segmentation %s is not in the PACS any more", image, stored)
                super().remove_label(image, FINAL)
            elif _is_to_send(info):
                unsent.append(image)
        for image in unsent:
            try:
                self._send(image)
            except CASRError as error:
                logger.warning("Label of %s is still not in the PACS: %s", image, error)

    def _take(self, one: Instance) -> None:
        """Fetch a segmentation and make it the final label of its image, if it is newer than what is there."""
        try:
            data = self._archive.fetch(one)
        except PACSError:
            with self._known:
                self._judged.discard(one.instance)  # to be tried again
            raise
        try:
            image = parse_segmentation(data).source_instance
            old = super().get_label_info(image, FINAL) if self.is_here(image) else {}
            newer = _stored(data)["stored"] > str(old.get("stored", ""))
            if image not in self._catalogue.images or not newer or old.get("sending") == one.instance:
                return
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{image}.dcm"
                write_received(file, data)
                super().save_label(image, str(file), FINAL, _stored(data))
        except (DataError, UsageError) as error:  # of another kind, or damaged: it must not stop the others
            logger.warning("Segmentation %s in the PACS is not used: %s", one.instance, error)


def _is_to_send(info: Mapping[str, Any]) -> bool:
    """Whether a final label is neither in the PACS nor on its way."""
    return "SOPInstanceUID" not in info and time.time() - float(info.get("since", 0)) > SENDING_SECONDS


def _stored(data: Dataset) -> dict[str, str]:
    """What is noted of a segmentation in the PACS; ``stored`` grows with the time it was made."""
    made = f"{data.get('ContentDate', '')}{data.get('ContentTime', '')}"
    return {
        "SOPInstanceUID": str(data.SOPInstanceUID), "SeriesInstanceUID": str(data.SeriesInstanceUID), "stored": made,
    }  # fmt: skip
