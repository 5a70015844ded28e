"""DICOM Segmentation objects of projection images: frames of single- and multi-frame X-ray angiograms.

A projection has no place in the patient's coordinate system, so the object has no Frame of Reference. DICOM PS3.3
A.51.5 allows that: its frames then have the size of the source's frames, and the Derivation Image functional group
names, for each of them, the source instance and frame that it lies on pixel by pixel (Spatial Locations Preserved).
Libraries such as highdicom (0.28) refuse several frames without Frame of Reference, so the object is put together here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from ..errors import DataError, UsageError
from .dicom import open_dicom, save_dicom, set_encoding

__all__ = ["SEGMENTATION_STORAGE", "DicomSegmentation", "make_segmentation", "parse_segmentation", "write_segmentation"]

SEGMENTATION_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.4")
ALGORITHM_TYPES = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")

# Attributes of patient and study that belong to every object of the study, PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2.
_REQUIRED = {
    "PatientName": "PN", "PatientID": "LO", "PatientBirthDate": "DA", "PatientSex": "CS", "StudyInstanceUID": "UI",
    "StudyDate": "DA", "StudyTime": "TM", "ReferringPhysicianName": "PN", "StudyID": "SH", "AccessionNumber": "SH",
}  # fmt: skip
_OPTIONAL = (
    "IssuerOfPatientID", "EthnicGroup", "PatientComments", "StudyDescription", "PatientAge",
    "PatientSize", "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "TimezoneOffsetFromUTC",
)  # fmt: skip


@dataclass(frozen=True)
class DicomSegmentation:
    """What a Segmentation object says.

    Attributes:
        masks: bool (X, Y, n), one for each entry of ``frames``; the union of all segments.
        frames: frames of the source, counted from 0, in rising order.
        source_instance: SOPInstanceUID of the image that was segmented.
        source_series: its SeriesInstanceUID; empty when the object does not state it.
        instance: SOPInstanceUID of the object itself.
        series: its SeriesInstanceUID.
    """

    masks: np.ndarray
    frames: list[int]
    source_instance: str
    source_series: str
    instance: str
    series: str

    def stack(self, frames: int) -> np.ndarray:
        """Masks of all frames of the source, bool (X, Y, frames), empty where none was segmented.

        Raises:
            DataError: when the object names a frame that the source does not have.
        """
        if self.frames and self.frames[-1] >= frames:
            raise DataError(f"segmentation {self.instance}: names frame {self.frames[-1] + 1}; the image has {frames}.")
        whole = np.zeros((*self.masks.shape[:2], frames), bool)
        whole[..., self.frames] = self.masks
        return whole


def make_segmentation(
    source: Dataset | str | Path,
    masks: Mapping[int, np.ndarray],
    *,
    algorithm: str = "AUTOMATIC",
    version: str = "",
    serial: str = "0",
    description: str = "Coronary arteries (research use only)",
) -> Dataset:
    """Put together a binary Segmentation object with the one segment "Coronary artery" (SCT 41801008).

    Args:
        source: the angiogram, or its file; patient and study are copied from it.
        masks: by frame of the source, counted from 0: (X, Y), vessel where not 0. A frame that is given and empty is
            stored: somebody looked at it and there was no vessel.
        algorithm: SegmentAlgorithmType: "AUTOMATIC" as it came from the network, "SEMIAUTOMATIC" corrected by hand, or
            "MANUAL".
        version: of this software; its own by default.
        serial: DeviceSerialNumber, for example a hash of the weights.
        description: SeriesDescription.

    Returns:
        the object, with a series and an instance UID of its own.

    Raises:
        UsageError: for no mask, or another algorithm type; DataError: when a mask does not fit to the source.
    """
    data = source if isinstance(source, Dataset) else open_dicom(Path(source))
    if algorithm not in ALGORITHM_TYPES:
        raise UsageError(f"algorithm is {algorithm!r}; known are {', '.join(ALGORITHM_TYPES)}.")
    if not masks:
        raise UsageError("no frame to store in a DICOM Segmentation.")
    frames = sorted(masks)
    _check(data, masks, frames)
    made = _head(data, version, serial, description)
    made.SegmentSequence = [_segment(algorithm, made.SoftwareVersions)]
    organization = generate_uid()
    made.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    made.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization, DimensionIndexPointer=Tag(pointer),
            FunctionalGroupPointer=Tag(group), DimensionDescriptionLabel=pointer,
        )
        for pointer, group in (
            ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
            ("TemporalPositionIndex", "FrameContentSequence"),
        )
    ]  # fmt: skip
    made.SharedFunctionalGroupsSequence = [
        _item(SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=1)]),
    ]
    made.PerFrameFunctionalGroupsSequence = [_frame(data, frame) for frame in frames]
    made.NumberOfFrames = len(frames)
    bits = np.stack([np.asarray(masks[frame]).T != 0 for frame in frames])
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()  # PS3.5 8.1.1: frames follow without padding
    made.add_new(Tag("PixelData"), "OB", packed + b"\0" * (len(packed) % 2))
    return made


def write_segmentation(path: Path, source: Dataset | str | Path, masks: Mapping[int, np.ndarray], **more: Any) -> None:
    """Write what :func:`make_segmentation` makes as a DICOM file (Explicit VR Little Endian)."""
    save_dicom(path, make_segmentation(source, masks, **more))


def parse_segmentation(source: Dataset | str | Path) -> DicomSegmentation:
    """Read a Segmentation object of one image, written by this or by other software.

    Args:
        source: the object, or its file.

    Raises:
        DataError: when it is none, has no pixels, or does not say on which frames of which single image it lies.
    """
    data = source if isinstance(source, Dataset) else open_dicom(Path(source))
    name = f"segmentation {data.get('SOPInstanceUID', '')}" if isinstance(source, Dataset) else str(source)
    if data.get("SOPClassUID") != SEGMENTATION_STORAGE:
        raise DataError(f"{name}: SOP class is {data.get('SOPClassUID', 'missing')}; expected {SEGMENTATION_STORAGE}.")
    kind = str(data.get("SegmentationType", ""))
    try:
        count = int(data.get("NumberOfFrames", 1) or 1)
        pixels = np.asarray(data.pixel_array).reshape(count, int(data.Rows), int(data.Columns))
        groups = list(data.PerFrameFunctionalGroupsSequence)
        places = [_place(data, group) for group in groups]
    except (AttributeError, KeyError, IndexError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{name}: not a complete DICOM Segmentation: {reason}") from error
    images = {place[0] for place in places}
    if len(images) != 1 or len(groups) != count:
        raise DataError(f"{name}: its {count} frames lie on {len(images)} images; expected one.")
    # Fractional objects store probabilities or occupancy; half of the largest value is the border.
    limit = int(data.get("MaximumFractionalValue", 255)) / 2 if kind == "FRACTIONAL" else 0
    frames = sorted({frame for _, frame in places})
    masks = np.zeros((int(data.Columns), int(data.Rows), len(frames)), bool)
    for (_, frame), image in zip(places, pixels, strict=True):
        masks[..., frames.index(frame)] |= np.greater(image.T, limit)
    series = data.get("ReferencedSeriesSequence") or [Dataset()]
    return DicomSegmentation(
        masks, frames, images.pop(), str(series[0].get("SeriesInstanceUID", "")), str(data.get("SOPInstanceUID", "")),
        str(data.get("SeriesInstanceUID", "")),
    )  # fmt: skip


def _place(data: Dataset, group: Dataset) -> tuple[str, int]:
    """Source instance and frame, from 0, of one frame of the object."""
    shared = (data.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    derivation = group.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or []
    if not derivation:
        raise ValueError("no Derivation Image functional group, so its place is not known")
    image = derivation[0].SourceImageSequence[0]
    number = image.get("ReferencedFrameNumber", 1)
    number = number[0] if isinstance(number, (list, pydicom.multival.MultiValue)) else number
    return str(image.ReferencedSOPInstanceUID), int(number or 1) - 1


def _check(data: Dataset, masks: Mapping[int, np.ndarray], frames: Sequence[int]) -> None:
    size, there = (int(data.Columns), int(data.Rows)), int(data.get("NumberOfFrames", 1) or 1)
    name = f"image {data.SOPInstanceUID}"
    if frames[0] < 0 or frames[-1] >= there:
        wrong = frames[0] if frames[0] < 0 else frames[-1]
        raise DataError(f"{name}: no frame {wrong} to store a mask for; it has {there}, counted from 0.")
    for frame in frames:
        if np.shape(masks[frame]) != size:
            found = " x ".join(map(str, np.shape(masks[frame])))
            raise DataError(
                f"{name}: the mask of frame {frame} has {found} pixels; the image has {size[0]} x {size[1]}."
            )


def _head(data: Dataset, version: str, serial: str, description: str) -> Dataset:
    """Everything but segments, frames and pixels."""
    from .. import __version__

    now = datetime.datetime.now()
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword, representation in _REQUIRED.items():
        value = data.get(keyword)
        made.add_new(Tag(keyword), representation, "" if value is None else str(value))
    for keyword in _OPTIONAL:
        if data.get(keyword) not in (None, ""):
            made[keyword] = data[keyword]
    made.SOPClassUID, made.SOPInstanceUID = SEGMENTATION_STORAGE, generate_uid()
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = generate_uid(), 9000, 1
    made.Modality, made.SeriesDescription = "SEG", description[:64]
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = now.strftime("%H%M%S.%f")
    made.Manufacturer, made.ManufacturerModelName = "CASR-Net", "CASR-Net"
    made.DeviceSerialNumber, made.SoftwareVersions = serial[:64], version or __version__
    made.ImageType, made.ContentLabel = ["DERIVED", "PRIMARY"], "CORONARY_ARTERY"
    made.ContentDescription, made.ContentCreatorName = description[:64], "CASR-Net"
    made.PatientOrientation = ""
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = int(data.Rows), int(data.Columns)
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    # Once an image went through lossy compression, so did all that is derived from it (PS3.3 C.7.6.1.1.5).
    made.LossyImageCompression = str(data.get("LossyImageCompression", "") or "00")
    made.SegmentationType, made.SegmentsOverlap = "BINARY", "NO"
    reference = _item(ReferencedSOPClassUID=data.SOPClassUID, ReferencedSOPInstanceUID=data.SOPInstanceUID)
    made.ReferencedSeriesSequence = [
        _item(SeriesInstanceUID=data.SeriesInstanceUID, ReferencedInstanceSequence=[reference])
    ]
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    set_encoding(made)
    return made


def _segment(algorithm: str, version: str) -> Dataset:
    segment = _item(
        SegmentNumber=1, SegmentLabel="Coronary artery", SegmentAlgorithmType=algorithm,
        SegmentedPropertyCategoryCodeSequence=[_code("91723000", "SCT", "Anatomical Structure")],
        SegmentedPropertyTypeCodeSequence=[_code("41801008", "SCT", "Coronary artery")],
    )  # fmt: skip
    if algorithm != "MANUAL":
        segment.SegmentAlgorithmName = "CASR-Net"
        segment.SegmentationAlgorithmIdentificationSequence = [
            _item(
                AlgorithmFamilyCodeSequence=[_code("123109", "DCM", "Artificial Intelligence")],
                AlgorithmName="CASR-Net", AlgorithmVersion=version,
            )
        ]  # fmt: skip
    return segment


def _frame(data: Dataset, frame: int) -> Dataset:
    image = _item(
        ReferencedSOPClassUID=data.SOPClassUID, ReferencedSOPInstanceUID=data.SOPInstanceUID,
        PurposeOfReferenceCodeSequence=[_code("121322", "DCM", "Source image for image processing operation")],
        SpatialLocationsPreserved="YES",
    )  # fmt: skip
    if "NumberOfFrames" in data:
        image.ReferencedFrameNumber = frame + 1
    return _item(
        FrameContentSequence=[_item(DimensionIndexValues=[1, frame + 1], TemporalPositionIndex=frame + 1)],
        DerivationImageSequence=[
            _item(
                DerivationCodeSequence=[_code("113076", "DCM", "Segmentation")],
                SourceImageSequence=[image],
            )
        ],
    )


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made
