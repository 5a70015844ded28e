"""A DICOMweb server (DICOM PS3.18): QIDO-RS finds series and instances, WADO-RS fetches them, STOW-RS stores them.

The requests are those of the library ``dicomweb-client`` (an optional dependency, ``pip install casr-net[pacs]``); here
every one of them ends, and whatever goes wrong is one kind of error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian

from ..errors import DataError, shown
from .answers import PACSError, asking
from .atomic import write_error
from .frames import MAX_FRAMES
from .pixeldata.header import text

__all__ = ["DICOMwebArchive", "Instance", "PACSError", "Series", "complete_file_meta"]

TIMEOUT = (5.0, 60.0)
"""Seconds to connect, and between two bytes; without a limit, a server that hangs would stop its client. Our choice."""

PAGE = 500
"""Answers to a search that are asked for at once. Our choice."""


@dataclass(frozen=True)
class Series:
    """A series that a search has found.

    Attributes:
        study, series: its UIDs.
        count: number of its instances, as the server states it; None where it does not.
        patient, description: Patient ID, and Series Description, or else its number; empty where the server tells none.
    """

    study: str
    series: str
    count: int | None = None
    patient: str = field(default="", compare=False)
    description: str = field(default="", compare=False)


@dataclass(frozen=True)
class Instance:
    """Where an instance is, by its UIDs.

    Attributes:
        study, series, instance: its UIDs.
        title: what people call it: patient, series and number, as far as the server tells them; may be empty.
    """

    study: str
    series: str
    instance: str
    title: str = field(default="", compare=False)


class DICOMwebArchive:
    """Series and instances of a DICOMweb server. May be used by several threads.

    Args:
        url: for example ``http://127.0.0.1:8042/dicom-web``.
        user, password: for HTTP basic authentication; none without a user.
        token: bearer token (RFC 6750), in place of them; "" for none.
        qido, wado, stow: prefixes of the addresses of the three services; none for most servers.
    """

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        *,
        token: str = "",
        qido: str | None = None,
        wado: str | None = None,
        stow: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        session = _Session()
        if token:
            session.auth = _Bearer(token)
        elif user:
            session.auth = (user, password)
        self._client = DICOMwebClient(
            url=self.url, session=session, qido_url_prefix=qido, wado_url_prefix=wado, stow_url_prefix=stow
        )
        self._client.set_http_retry_params(retry=False)  # the user is told at once, and the next request tries again

    def series(self, search: Mapping[str, Any]) -> list[Series]:
        """Series that match a search (QIDO-RS), for example ``{"Modality": "XA"}``.

        Raises:
            PACSError: when there is no usable answer.
        """
        with self._asking():
            found = [Dataset.from_json(item) for item in self._client.search_for_series(search_filters=dict(search))]
            return [
                Series(
                    str(one.StudyInstanceUID), str(one.SeriesInstanceUID), _count(one), text(one, "PatientID"),
                    text(one, "SeriesDescription") or _numbered("series", text(one, "SeriesNumber")),
                )
                for one in found
            ]  # fmt: skip

    def instances(self, series: Series) -> list[Instance]:
        """All instances of a series (QIDO-RS).

        Raises:
            PACSError: when there is no usable answer.
        """
        with self._asking():
            found = [
                Dataset.from_json(item) for item in self._client.search_for_instances(series.study, series.series)
            ]  # fmt: skip
            return [
                Instance(series.study, series.series, str(one.SOPInstanceUID), _title(series, one)) for one in found
            ]

    def find_series(self, search: Mapping[str, Any]) -> Iterator[Series]:
        """As :meth:`series`, page after page, however many there are.

        Raises:
            PACSError: when there is no usable answer.
        """
        for one in self._pages(lambda page: self._client.search_for_series(search_filters=dict(search), **page)):
            with self._asking():
                yield Series(str(one.StudyInstanceUID), str(one.SeriesInstanceUID), _count(one))

    def find_headers(self, series: Series, search: Mapping[str, Any]) -> Iterator[Dataset]:
        """What the server tells of the instances of a series that match (QIDO-RS); each has a SOPInstanceUID.

        Raises:
            PACSError: when there is no usable answer.
        """

        def ask(page: dict[str, Any]) -> Any:
            return self._client.search_for_instances(
                series.study, series.series, search_filters=dict(search), fields=["NumberOfFrames"], **page
            )

        yield from self._pages(ask)

    def count_frames(self, series: Series, header: Dataset) -> int:
        """Frames of an image, as the search told, or else its header (WADO-RS metadata).

        Raises:
            PACSError: when there is no usable answer; DataError: when the number is none.
        """
        value = header.get("NumberOfFrames")
        if value is None:
            with self._asking():
                whole = Dataset.from_json(
                    self._client.retrieve_instance_metadata(series.study, series.series, header.SOPInstanceUID),
                    bulk_data_uri_handler=lambda *_: None,
                )
                value = whole.get("NumberOfFrames") or 1
        try:
            if 1 <= int(value) <= MAX_FRAMES:
                return int(value)
        except (TypeError, ValueError):
            pass
        raise DataError(
            f"{self.url}: {header.SOPInstanceUID} has {shown(value)} frames, as the server states; expected 1 to "
            f"{MAX_FRAMES}."
        )

    def _pages(self, ask: Callable[[dict[str, Any]], Any]) -> Iterator[Dataset]:
        """All answers to a search. A server gives as many at once as it likes; one that knows no pages gives the same
        again, which ends it."""
        known: set[str] = set()
        while True:
            with self._asking():
                found = [Dataset.from_json(item) for item in ask({"limit": PAGE, "offset": len(known)})]
                told = {str(one.get("SOPInstanceUID") or one.SeriesInstanceUID): one for one in found}
            new = [one for uid, one in told.items() if uid not in known]
            if not new:
                return
            known |= told.keys()
            yield from new

    def fetch(self, where: Instance) -> Dataset:
        """An instance, which the server converts to Explicit VR Little Endian where it has to (WADO-RS).

        Raises:
            PACSError: when there is no usable answer.
        """
        with self._asking():
            return self._client.retrieve_instance(where.study, where.series, where.instance)

    def download(self, where: Instance, path: Path) -> Dataset:
        """Write an instance to a file, in the transfer syntax in which it is stored (WADO-RS); also gives its header.

        Raises:
            PACSError: when there is no usable answer; DataError: when the file cannot be written.
        """
        with self._asking():
            data = self._client.retrieve_instance(
                where.study, where.series, where.instance, media_types=(("application/dicom", "*"),)
            )
        write_received(path, data)
        return data

    def store(self, data: Dataset) -> None:
        """Store an instance, as a complete DICOM file (STOW-RS).

        Args:
            data: its file meta information is completed, see :func:`complete_file_meta`.

        Raises:
            PACSError: when there is no usable answer, or the server refuses the instance.
        """
        complete_file_meta(data)
        with self._asking():
            answer = self._client.store_instances([data])
            failed = None if answer is None else answer.get("FailedSOPSequence")
            reason = failed[0].get("FailureReason") if failed else None
        if failed:
            code = f"0x{reason:04X}" if isinstance(reason, int) else "not stated"
            raise PACSError(f"{self.url}: refused {data.SOPInstanceUID}; its failure reason is {code} (PS3.18).")

    def _asking(self) -> contextlib.AbstractContextManager[None]:
        return asking(self.url, TIMEOUT[1])


def complete_file_meta(data: Dataset) -> None:
    """Give a data set the file meta information of a DICOM file, all that PS3.10 7.1 demands.

    ``dicomweb-client`` encodes a data set with what is there, and a PACS keeps the file as it comes.
    """
    meta = data.file_meta if "file_meta" in data.__dict__ else FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted when it is written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    if "TransferSyntaxUID" not in meta:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = f"PYDICOM {pydicom.__version__}"[:16]
    data.file_meta = meta
    data.preamble = b"\0" * 128


def write_received(path: Path, data: Dataset) -> None:
    """Write a received data set as a DICOM file, in the encoding in which it came.

    Raises:
        DataError: when the file cannot be written.
    """
    try:
        if int(pydicom.__version__.split(".")[0]) < 3:
            data.save_as(path, write_like_original=False)
        else:
            data.save_as(path, enforce_file_format=True)
    except OSError as error:
        raise write_error(path, error) from error
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: the received instance cannot be written: {shown(str(error), 100)}.") from error


def _title(series: Series, instance: Dataset) -> str:
    number = _numbered("no.", text(instance, "InstanceNumber"))
    return ", ".join(filter(None, [series.patient, series.description, number]))


def _numbered(word: str, number: str) -> str:
    return f"{word} {number}" if number else ""


def _count(series: Dataset) -> int | None:
    value = series.get("NumberOfSeriesRelatedInstances")
    return int(value) if value not in (None, "") else None


class _Bearer(requests.auth.AuthBase):
    """Not a header of the session, which the user's .netrc would replace. It is not sent on to another host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Session(requests.Session):
    def request(self, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or TIMEOUT
        return super().request(*args, **options)
