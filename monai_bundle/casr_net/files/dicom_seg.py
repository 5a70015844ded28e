"""DICOM Segmentation objects of projection images: frames of single- and multi-frame X-ray angiograms.

Here they are made; :mod:`casr_net.files.segmentations` reads them.

A projection has no place in the patient's coordinate system, so the object has no Frame of Reference. DICOM PS3.3
A.51.5 allows that: its frames then have the size of the source's frames, and the Derivation Image functional group
names, for each of them, the source instance and frame that it lies on pixel by pixel (Spatial Locations Preserved).
Libraries such as highdicom (0.28) refuse several frames without Frame of Reference, so the object is put together here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from ..errors import UsageError
from .dicom import save_dicom
from .dicom_derived import check_masks, code, identity_of, item, new_object, quiet, reference, source_image
from .dicom_frames import read_header
from .pixeldata.header import text
from .segmentations import SEGMENTATION_STORAGE, DicomSegmentation, parse_segmentation

__all__ = [
    "SEGMENTATION_STORAGE",
    "DicomSegmentation",
    "make_segmentation",
    "parse_segmentation",
    "write_segmentation",
]

ALGORITHM_TYPES = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")


def make_segmentation(
    source: Dataset | str | Path,
    masks: Mapping[int, np.ndarray],
    *,
    algorithm: str = "AUTOMATIC",
    version: str = "",
    weights: str | Path | None = None,
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
        weights: file of the network's weights: the first 16 digits of its SHA-256 become DeviceSerialNumber. "0" where
            it is not known.
        description: SeriesDescription.

    Returns:
        the object, with a series and an instance UID of its own.

    Raises:
        UsageError: for no mask, or another algorithm type; DataError: when a mask does not fit to the source.
    """
    made, frames = _described(source, masks, algorithm, version, weights, description)
    packed = b"".join(_packed(masks, frames))
    made.add_new(Tag("PixelData"), "OB", packed + b"\0" * (len(packed) % 2))
    return made


def write_segmentation(
    path: Path,
    source: Dataset | str | Path,
    masks: Mapping[int, np.ndarray],
    *,
    algorithm: str = "AUTOMATIC",
    version: str = "",
    weights: str | Path | None = None,
    description: str = "Coronary arteries (research use only)",
) -> None:
    """Write what :func:`make_segmentation` makes as a DICOM file (Explicit VR Little Endian).

    The masks are asked for one by one: a long cine that waits on the disk takes the memory of eight frames.
    """
    made, frames = _described(source, masks, algorithm, version, weights, description)
    columns, rows = int(made.Columns), int(made.Rows)
    length = -(-len(frames) * rows * columns // 8)  # below 2 GiB: see casr_net.files.frames.MAX_FILE_BYTES
    with quiet():
        save_dicom(path, made)
    with open(path, "ab") as file:  # pixel data are the last element, so that they can follow what is there
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, length + length % 2))
        for part in _packed(masks, frames):
            file.write(part)
        file.write(b"\0" * (length % 2))


def _described(
    source: Dataset | str | Path,
    masks: Mapping[int, np.ndarray],
    algorithm: str,
    version: str,
    weights: str | Path | None,
    description: str,
) -> tuple[Dataset, list[int]]:
    """The object without its pixels, and the frames of the source in its order."""
    data = source if isinstance(source, Dataset) else read_header(Path(source))[0]
    if algorithm not in ALGORITHM_TYPES:
        raise UsageError(f"algorithm is {algorithm!r}; known are {', '.join(ALGORITHM_TYPES)}.")
    identity = identity_of(data, "image" if isinstance(source, Dataset) else str(source))
    frames = check_masks(data, identity, masks)
    with quiet():
        made = _head(data, identity, version, weights, description)
    made.SegmentSequence = [_segment(algorithm, made.SoftwareVersions)]
    organization = generate_uid()
    made.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    made.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization, DimensionIndexPointer=Tag(pointer),
            FunctionalGroupPointer=Tag(group), DimensionDescriptionLabel=pointer,
        )
        for pointer, group in (
            ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
            ("TemporalPositionIndex", "FrameContentSequence"),
        )
    ]  # fmt: skip
    made.SharedFunctionalGroupsSequence = [
        item(SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)]),
    ]
    made.PerFrameFunctionalGroupsSequence = [_frame(data, identity, frame) for frame in frames]
    made.NumberOfFrames = len(frames)
    return made, frames


def _packed(masks: Mapping[int, np.ndarray], frames: Sequence[int]) -> Iterator[bytes]:
    """The pixels in packed bits. Frames follow each other without padding (PS3.5 8.1.1): eight of them are whole bytes,
    whatever their size."""
    for start in range(0, len(frames), 8):
        some = frames[start : start + 8]
        bits = np.empty((len(some), *np.shape(masks[some[0]])[::-1]), bool)
        for place, frame in enumerate(some):
            np.not_equal(np.asarray(masks[frame]).T, 0, out=bits[place])
        yield np.packbits(bits.reshape(-1), bitorder="little").tobytes()


def _head(
    data: Dataset, identity: Mapping[str, str], version: str, weights: str | Path | None, description: str
) -> Dataset:
    """Everything but segments, frames and pixels."""
    made = new_object(data, identity, SEGMENTATION_STORAGE, "SEG", 9000, version, weights, description)
    made.ImageType, made.ContentLabel = ["DERIVED", "PRIMARY"], "CORONARY_ARTERY"
    made.ContentDescription, made.ContentCreatorName = description[:64], "CASR-Net"
    made.PatientOrientation = ""
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = int(data.Rows), int(data.Columns)
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    # Once an image went through lossy compression, so did all that is derived from it (PS3.3 C.7.6.1.1.5).
    made.LossyImageCompression = text(data, "LossyImageCompression") or "00"
    made.SegmentationType, made.SegmentsOverlap = "BINARY", "NO"
    made.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=identity["SeriesInstanceUID"], ReferencedInstanceSequence=[reference(identity)])
    ]
    return made


def _segment(algorithm: str, version: str) -> Dataset:
    segment = item(
        SegmentNumber=1, SegmentLabel="Coronary artery", SegmentAlgorithmType=algorithm,
        SegmentedPropertyCategoryCodeSequence=[code("91723000", "SCT", "Anatomical Structure")],
        SegmentedPropertyTypeCodeSequence=[code("41801008", "SCT", "Coronary artery")],
    )  # fmt: skip
    if algorithm != "MANUAL":
        segment.SegmentAlgorithmName = "CASR-Net"
        segment.SegmentationAlgorithmIdentificationSequence = [
            item(
                AlgorithmFamilyCodeSequence=[code("123109", "DCM", "Artificial Intelligence")],
                AlgorithmName="CASR-Net", AlgorithmVersion=version,
            )
        ]  # fmt: skip
    return segment


def _frame(data: Dataset, identity: Mapping[str, str], frame: int) -> Dataset:
    image = source_image(
        data, identity, [frame],
        PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source image for image processing operation")],
        SpatialLocationsPreserved="YES",
    )  # fmt: skip
    return item(
        FrameContentSequence=[item(DimensionIndexValues=[1, frame + 1], TemporalPositionIndex=frame + 1)],
        DerivationImageSequence=[
            item(
                DerivationCodeSequence=[code("113076", "DCM", "Segmentation")],
                SourceImageSequence=[image],
            )
        ],
    )
