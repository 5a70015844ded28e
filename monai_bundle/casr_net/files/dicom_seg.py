"""DICOM Segmentation objects of projection images: frames of single- and multi-frame X-ray angiograms.

Here they are made; :mod:`casr_net.files.segmentations` reads them.

A projection has no place in the patient's coordinate system, so the object has no Frame of Reference. DICOM PS3.3
A.51.5 allows that: its frames then have the size of the source's frames, and the Derivation Image functional group
names, for each of them, the source instance and frame that it lies on pixel by pixel (Spatial Locations Preserved).
Libraries such as highdicom (0.28) refuse several frames without Frame of Reference, so the object is put together here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ..errors import DataError, UsageError
from .dicom import save_dicom, set_encoding
from .dicom_frames import read_header
from .segmentations import SEGMENTATION_STORAGE, DicomSegmentation, parse_segmentation

__all__ = ["SEGMENTATION_STORAGE", "DicomSegmentation", "make_segmentation", "parse_segmentation", "write_segmentation"]

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
    data = source if isinstance(source, Dataset) else read_header(Path(source))[0]
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
