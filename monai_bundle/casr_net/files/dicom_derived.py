"""What objects share that are derived from a DICOM image: its patient and study, and references to it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ..errors import DataError
from .pixeldata.header import text

__all__ = ["code", "copy_patient", "identity_of", "item", "quiet", "reference"]

_NAMED_BY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

# Attributes of patient and study that belong to every object of the study, PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2.
_REQUIRED = {
    "PatientName": "PN", "PatientID": "LO", "PatientBirthDate": "DA", "PatientSex": "CS",
    "StudyDate": "DA", "StudyTime": "TM", "ReferringPhysicianName": "PN", "StudyID": "SH", "AccessionNumber": "SH",
}  # fmt: skip
_OPTIONAL = (
    "IssuerOfPatientID", "EthnicGroup", "PatientComments", "StudyDescription", "PatientAge",
    "PatientSize", "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "TimezoneOffsetFromUTC",
)  # fmt: skip


def copy_patient(data: Dataset, made: Dataset) -> None:
    """Put the attributes of patient and study into an object: empty ones where the source has none; damaged ones that
    need not be there are left out."""
    for keyword, representation in _REQUIRED.items():
        made.add_new(Tag(keyword), representation, text(data, keyword))
    made.StudyInstanceUID = text(data, "StudyInstanceUID")
    for keyword in _OPTIONAL:
        with contextlib.suppress(Exception):  # pydicom raises what it likes for a damaged value, which is left out
            if data.get(keyword) not in (None, ""):
                made[keyword] = data[keyword]


def identity_of(data: Dataset, name: str) -> dict[str, str]:
    """The UIDs that tell the source, by keyword: of SOP class, instance, series and study.

    Args:
        data: header of the source.
        name: what an error calls it.

    Raises:
        DataError: when one is missing.
    """
    found = {keyword: text(data, keyword) for keyword in _NAMED_BY}
    for keyword in ("SOPClassUID", "SOPInstanceUID"):  # PS3.10 7.1 has both in the file meta information as well
        found[keyword] = found[keyword] or text(getattr(data, "file_meta", Dataset()), f"MediaStorage{keyword}")
    missing = [keyword for keyword, value in found.items() if not value]
    if missing:
        raise DataError(f"{name}: has no {' and no '.join(missing)}; what is derived from an image names it by them.")
    return found


def reference(identity: Mapping[str, str], **more: Any) -> Dataset:
    """An item that names the source, of what :func:`identity_of` gives, with further attributes."""
    return item(
        ReferencedSOPClassUID=identity["SOPClassUID"], ReferencedSOPInstanceUID=identity["SOPInstanceUID"], **more
    )


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence (PS3.3 8.8)."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings of values of the source that break a rule: they are its own, and are kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def item(**values: Any) -> Dataset:
    """An item of a sequence, of attributes by keyword."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made
