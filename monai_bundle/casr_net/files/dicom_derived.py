"""What objects share that are derived from a DICOM image: its patient and study, and references to it."""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ..errors import DataError, UsageError
from .dicom import set_encoding
from .dicom_frames import read_header
from .digest import sha256
from .kinds import kind_of
from .pixeldata.header import number, text

__all__ = [
    "check_masks",
    "check_source",
    "code",
    "copy_body_part",
    "copy_patient",
    "identity_of",
    "item",
    "named_frames",
    "new_object",
    "quiet",
    "reference",
    "source_image",
]

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


def source_image(data: Dataset, identity: Mapping[str, str], frames: Sequence[int], **more: Any) -> Dataset:
    """An item that names frames of the source, from 0; of a source that numbers none, the whole of it."""
    if text(data, "NumberOfFrames") != "":
        more["ReferencedFrameNumber"] = [frame + 1 for frame in frames] if len(frames) != 1 else frames[0] + 1
    return reference(identity, **more)


def copy_body_part(data: Dataset, made: Dataset) -> None:
    """Put in what the source says of the part of the body; else the heart, of which there is one: without either, a
    laterality would have to be stated (PS3.3 C.7.3.1)."""
    made.BodyPartExamined = text(data, "BodyPartExamined") or "HEART"
    if text(data, "Laterality"):
        made.Laterality = text(data, "Laterality")


def named_frames(path: Path) -> list[int]:
    """Frames of its source, from 0, that a Secondary Capture or a Presentation State names (:func:`source_image`).

    Raises:
        DataError: when it names none, or cannot be read.
    """
    data, _ = read_header(path)
    series = data.get("ReferencedSeriesSequence") or [Dataset()]
    images = data.get("SourceImageSequence") or series[0].get("ReferencedImageSequence")
    if not images:
        raise DataError(f"{path}: names no source image.")
    found = images[0].get("ReferencedFrameNumber")
    if found is None:
        return [0]
    numbers = [found] if isinstance(found, (int, str)) else list(found)
    return sorted(int(one) - 1 for one in numbers)


def new_object(
    data: Dataset, identity: Mapping[str, str], sop_class: str, modality: str, series: int, version: str,
    weights: str | Path | None, description: str,
) -> Dataset:  # fmt: skip
    """An object of the source's patient and study, with a series and an instance UID of its own, made now by this
    software; without what belongs to its kind.

    Args:
        data: header of the source.
        identity: of the source, see :func:`identity_of`.
        sop_class, modality: of the object.
        series: SeriesNumber.
        version: of this software; its own if empty.
        weights: file of the network's weights: the first 16 digits of its SHA-256 become DeviceSerialNumber; None: "0".
        description: SeriesDescription.
    """
    from .. import __version__

    now = datetime.datetime.now()
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    copy_patient(data, made)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = generate_uid(), series, 1
    made.Modality, made.SeriesDescription = modality, description[:64]
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = now.strftime("%H%M%S.%f")
    made.Manufacturer, made.ManufacturerModelName = "CASR-Net", "CASR-Net"
    made.DeviceSerialNumber = "0" if weights is None else sha256(weights)[:16]
    made.SoftwareVersions = version or __version__
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    set_encoding(made)
    return made


def check_source(path: Path, frames: Sequence[int], format: str = "seg") -> None:
    """Look whether an object can be derived from frames of a file, counted from 0.

    Args:
        path: the file.
        frames: of it.
        format: what is to be made, for the message.

    Raises:
        DataError: when it is no DICOM file, does not say which instance of which series and study it is, or states
            fewer frames than it has: the others cannot be named.
    """
    if kind_of(path) != "dicom":
        raise DataError(f"{path}: the format {format} needs a DICOM image; this is none.")
    data, _ = read_header(path)
    identity_of(data, str(path))
    stated = number(path, data, "NumberOfFrames", 1)
    if max(frames) >= stated:
        raise DataError(
            f"{path}: NumberOfFrames states {stated}, but there are more frames; the format {format} cannot name them."
        )


def check_masks(data: Dataset, identity: Mapping[str, str], masks: Mapping[int, np.ndarray]) -> list[int]:
    """Look whether masks belong to an image.

    Args:
        data: its header.
        identity: see :func:`identity_of`.
        masks: (X, Y) by frame, from 0.

    Returns:
        the frames in order.

    Raises:
        UsageError: for no mask; DataError: for a frame that is not there, or another size.
    """
    if not masks:
        raise UsageError("no frame to store in a DICOM object.")
    frames, name = sorted(masks), f"image {identity['SOPInstanceUID']}"
    size, there = (int(data.Columns), int(data.Rows)), int(data.get("NumberOfFrames", 1) or 1)
    if frames[0] < 0 or frames[-1] >= there:
        wrong = frames[0] if frames[0] < 0 else frames[-1]
        raise DataError(f"{name}: no frame {wrong} to store a mask for; it has {there}, counted from 0.")
    for frame in frames:
        if np.shape(masks[frame]) != size:
            found = " x ".join(map(str, np.shape(masks[frame])))
            raise DataError(
                f"{name}: the mask of frame {frame + 1} has {found} pixels; the image has {size[0]} x {size[1]}."
            )
    return frames


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
