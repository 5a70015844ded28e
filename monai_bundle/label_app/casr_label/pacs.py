"""Images and labels of a PACS over DICOMweb (DICOM PS3.18): QIDO-RS finds, WADO-RS fetches, STOW-RS stores.

MONAI Label's own DICOMweb datastore takes a series for a volume, and has its labels stored by tools that want a Frame
of Reference. Here an image is an instance: one angiogram, of one frame or many.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom.dataset import Dataset

from casr_net.errors import CASRError, DataError, UsageError
from casr_net.files.dicom_seg import make_segmentation, parse_segmentation

from .datastore import CASRDatastore
from .requests import NotFoundError, checked_id, checked_tag

__all__ = ["PACSDatastore", "PACSError", "make_client"]

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
_UID = re.compile(r"[0-9.]{1,64}")


class PACSError(CASRError):
    """The PACS did not answer, or refused; the request may be sent again."""


@dataclass(frozen=True)
class Instance:
    """Where an instance is."""

    study: str
    series: str
    instance: str


class _Session(requests.Session):
    """Requests that end: without a limit, a PACS that hangs would stop the server."""

    TIMEOUT = (5.0, 60.0)  # seconds to connect, and between two bytes; our choice

    def request(self, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or self.TIMEOUT
        return super().request(*args, **options)


def make_client(url: str, user: str = "", password: str = "", **prefixes: str | None) -> DICOMwebClient:
    """Client of a DICOMweb server.

    Args:
        url: for example ``http://127.0.0.1:8042/dicom-web``.
        user, password: for HTTP basic authentication; none without a user.
        prefixes: of the addresses of the services, as dicomweb_client names them.
    """
    session = _Session()
    if user:
        session.auth = (user, password)
    client = DICOMwebClient(url=url, session=session, **prefixes)
    client.set_http_retry_params(retry=False)  # the user is told at once, and the next request tries again
    return client


class PACSDatastore(CASRDatastore):
    """Instances that match a search, kept in a local folder once they were used; final labels are stored in the PACS.

    Ids of images are SOP Instance UIDs; a Series Instance UID, as OHIF sends it, means the only instance of its series.
    A final label becomes a DICOM Segmentation of the image's study; every saving makes a new one, and the newest
    counts. Segmentations that others have stored for an image count as its final label too. Labels with another tag,
    scores and notes stay in the local folder.

    Args:
        client: of the PACS.
        search: attributes that the series must match, for example ``{"Modality": "XA"}``.
        folder: for copies of images and labels.
        interval: seconds for which the answer of a search is believed.
    """

    def __init__(self, client: DICOMwebClient, search: dict[str, Any], folder: Path, interval: float = 10.0) -> None:
        self._client, self._filter, self._interval = client, search, interval
        self._images: dict[str, Instance] = {}
        self._of_series: dict[tuple[str, str], list[str]] = {}
        self._judged: set[str] = set()  # segmentations that were fetched, or are of no use
        self._sent: set[str] = set()  # that a search has not shown yet
        self._searched = float("-inf")
        super().__init__(folder)

    def name(self) -> str:
        return str(self._client.base_url)

    # Reading

    def list_images(self) -> list[str]:
        self._search()
        return sorted(self._images)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        self._search()
        return [image for image in super().get_labeled_images(label_tag, labels) if image in self._images]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = set(self.get_labeled_images(label_tag, labels))
        return [image for image in sorted(self._images) if image not in labelled]

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        self._search()
        return super().datalist(full_path)

    def get_image_uri(self, image_id: str) -> str:
        """The local copy, which is fetched when it is not there.

        Raises:
            NotFoundError: when the PACS has no such image; DataError: when it is no angiogram; PACSError.
        """
        where = self._find(image_id)
        with self._guard:
            if where.instance not in self._datastore.objects:
                data = self._ask(
                    self._client.retrieve_instance, where.study, where.series, where.instance,
                    media_types=(("application/dicom", "*"),),
                )  # fmt: skip
                info = {
                    "StudyInstanceUID": where.study, "SeriesInstanceUID": where.series,
                    **{key: str(data.get(key, "")) for key in ("PatientID", "Modality", "StudyDate")},
                }  # fmt: skip
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / f"{where.instance}.dcm"
                    data.save_as(file, write_like_original=False)  # in the transfer syntax in which it came
                    super().add_image(where.instance, str(file), info)
            return super().get_image_uri(where.instance)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        return dict(super().get_image_info(self._find(image_id).instance))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return super().get_label_uri(self._find(label_id).instance, label_tag)

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
        info = {key: value for key, value in (label_info or {}).items() if key not in ("SOPInstanceUID", "stored")}
        with self._change():
            super().save_label(instance, label_filename, label_tag, info)
            if checked_tag(label_tag) == FINAL:
                try:
                    self._send(instance)
                except PACSError as error:
                    raise PACSError(f"label of {instance!r}: kept here and to be sent again later. {error}") from error
        return instance

    # The PACS

    def _send(self, instance: str) -> None:
        label, info = self.label(instance, FINAL), self.get_label_info(instance, FINAL)
        if label is None or "SOPInstanceUID" in info:  # another process has sent it meanwhile
            return
        made = make_segmentation(
            self.get_image_uri(instance),
            {frame: label.masks[..., frame] for frame in label.frames},
            # What the network made and nobody has changed; a client's own upload was in somebody's hands.
            algorithm="AUTOMATIC" if "model" in info else "SEMIAUTOMATIC",
        )
        answer = self._ask(self._client.store_instances, [made])
        if answer is not None and answer.get("FailedSOPSequence"):
            reason = answer.FailedSOPSequence[0].get("FailureReason", "unknown")
            raise PACSError(f"{self.name()}: refused the segmentation, failure reason {reason}.")
        self._judged |= {str(made.SOPInstanceUID)}
        self._sent |= {str(made.SOPInstanceUID)}
        super().update_label_info(instance, FINAL, _stored(made))

    def _find(self, image_id: str) -> Instance:
        name = checked_id(image_id)
        if not _UID.fullmatch(name):
            raise NotFoundError(f"image {name!r}: not in the PACS; ids are SOP Instance UIDs.")
        if not self._named(name):  # it may have been stored just now
            self._search(at_once=True)
        found = self._named(name)
        if not found:
            raise NotFoundError(f"image {name!r}: not in the PACS, or not among {self._filter}.")
        if len(found) > 1:
            raise UsageError(
                f"series {name!r}: holds {len(found)} images; name one by its SOP Instance UID: "
                f"{', '.join(sorted(one.instance for one in found)[:5])}."
            )
        return found[0]

    def _named(self, name: str) -> list[Instance]:
        return [one for one in self._images.values() if name in (one.instance, one.series)]

    def _search(self, at_once: bool = False) -> None:
        """Ask which images and segmentations there are, if the last answer is old."""
        with self._guard:
            if not at_once and time.monotonic() - self._searched < self._interval:
                return
            self._images = {one.instance: one for one in self._instances(self._filter)}
            self._searched = time.monotonic()
            studies = {one.study for one in self._images.values()}
            found = [one for one in self._instances({"Modality": "SEG"}) if one.study in studies]
            self._forget({one.instance for one in found})
            for one in found:
                if one.instance not in self._judged:
                    self._judged.add(one.instance)
                    self._take(one)

    def _instances(self, search: dict[str, Any]) -> list[Instance]:
        found = []
        for item in self._ask(self._client.search_for_series, search_filters=search):
            series = Dataset.from_json(item)
            study, uid = str(series.StudyInstanceUID), str(series.SeriesInstanceUID)
            # Series grow while a patient is examined: a known one is asked again only when its count has changed.
            count = str(series.get("NumberOfSeriesRelatedInstances", ""))
            if not count or (uid, count) not in self._of_series:
                inside = self._ask(self._client.search_for_instances, study, uid)
                self._of_series[uid, count] = [str(Dataset.from_json(one).SOPInstanceUID) for one in inside]
            found += [Instance(study, uid, one) for one in self._of_series[uid, count]]
        return found

    def _forget(self, there: set[str]) -> None:
        """Labels whose segmentation was removed from the PACS go; those that never arrived there are sent."""
        for image in [image for image in super().get_labeled_images() if image in self._images]:
            stored = self.get_label_info(image, FINAL).get("SOPInstanceUID")
            if stored is None:
                try:
                    with self._change():
                        self._send(image)
                except CASRError as error:
                    logger.warning("Label of %s is still not in the PACS: %s", image, error)
            elif stored in there:
                self._judged.add(stored)
                self._sent.discard(stored)
            elif stored not in self._sent:
                logger.info("Label of %s: its segmentation %s is not in the PACS any more", image, stored)
                super().remove_label(image, FINAL)

    def _take(self, one: Instance) -> None:
        """Fetch a segmentation and make it the final label of its image, if it is newer than what is there."""
        data = self._ask(self._client.retrieve_instance, one.study, one.series, one.instance)
        try:
            image = parse_segmentation(data).source_instance
            old = super().get_label_info(image, FINAL) if image in self._datastore.objects else {}
            if image not in self._images or str(old.get("stored", "")) >= _stored(data)["stored"]:
                return
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{image}.dcm"
                data.save_as(file, write_like_original=False)
                super().save_label(image, str(file), FINAL, _stored(data))
        except (DataError, UsageError) as error:  # of another kind, or damaged: it must not stop the others
            logger.warning("Segmentation %s in the PACS is not used: %s", one.instance, error)

    def _ask(self, what: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return what(*arguments, **options)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "unknown"
            raise PACSError(f"{self.name()}: answered with HTTP status {status}.") from error
        except (requests.RequestException, ValueError, OSError) as error:
            raise PACSError(f"{self.name()}: no usable answer ({type(error).__name__}).") from error


def _stored(data: Dataset) -> dict[str, str]:
    """What is noted of a segmentation in the PACS; ``stored`` grows with the time it was made."""
    made = f"{data.get('ContentDate', '')}{data.get('ContentTime', '')}"
    return {
        "SOPInstanceUID": str(data.SOPInstanceUID), "SeriesInstanceUID": str(data.SeriesInstanceUID), "stored": made,
    }  # fmt: skip
