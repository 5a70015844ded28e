"""Secondary Captures: the angiogram as it is shown, with the contour burned in, for viewers that show pictures alone.

A single frame becomes a Secondary Capture Image (PS3.3 A.8.1), several a Multi-frame True Color one (A.8.5).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ..errors import DataError
from .dicom import save_dicom
from .dicom_derived import (
    check_masks,
    code,
    copy_body_part,
    identity_of,
    item,
    new_object,
    quiet,
    reference,
    source_image,
)
from .dicom_display import numbers
from .dicom_frames import read_header
from .images import Angiogram, read_angiogram
from .overlay import draw_overlay
from .pixeldata.header import text

__all__ = ["MULTI_FRAME", "SINGLE_FRAME", "write_capture"]

SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.4"
MAX_BYTES = 2**32 - 2
"""Of pixel data that are not encapsulated (PS3.5 7.1.1)."""


def write_capture(
    path: Path,
    source: str | Path,
    masks: Mapping[int, np.ndarray],
    *,
    window: tuple[float, float] | None = None,
    version: str = "",
    weights: str | Path | None = None,
    description: str = "Coronary arteries, contour (research use only)",
) -> None:
    """Write frames of an angiogram with the outline of their masks as a DICOM file (RGB, Explicit VR Little Endian).

    Burned In Annotation is what the source says. Where it says nothing, a single image says nothing either; several
    frames, which must, say "YES", since nobody has looked. The contour itself identifies nobody. Frames are drawn one
    by one, so that a long cine takes no memory.

    Args:
        path: to be written.
        source: file of the angiogram; patient and study are copied from it.
        masks: by frame of the source, counted from 0: (X, Y), vessel where not 0.
        window: centre and width that the angiogram is shown with; None leaves them to the file.
        version, weights, description: as for :func:`casr_net.files.dicom_seg.write_segmentation`.

    Raises:
        UsageError: for no mask; DataError: when a mask does not fit to the source, or the result would be too large.
    """
    data, _ = read_header(Path(source))
    identity = identity_of(data, str(source))
    frames = check_masks(data, identity, masks)
    opened = read_angiogram(source, window)
    columns, rows = opened.size
    length = len(frames) * rows * columns * 3
    if length > MAX_BYTES:
        raise DataError(
            f"{source}: {len(frames)} frames of {columns} x {rows} pixels in colour take {length} bytes; a Secondary "
            f"Capture holds {MAX_BYTES}. Fewer frames (--key-frames) do."
        )
    with quiet():
        made = _described(data, identity, frames, opened, version, weights, description)
        save_dicom(path, made)
    with open(path, "ab") as file:  # pixel data are the last element, so that they can follow what is there
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, length + length % 2))
        for frame in frames:
            file.write(draw_overlay(opened.grey(frame).T, np.asarray(masks[frame]).T).tobytes())
        file.write(b"\0" * (length % 2))


def _described(
    data: Dataset,
    identity: Mapping[str, str],
    frames: Sequence[int],
    opened: Angiogram,
    version: str,
    weights: str | Path | None,
    description: str,
) -> Dataset:
    """The object without its pixels."""
    several = len(frames) > 1
    # Modality OT: with that of the source, whoever looks for angiograms would find it, and take it for one.
    made = new_object(
        data, identity, MULTI_FRAME if several else SINGLE_FRAME, "OT", 9001, version, weights, description
    )
    made.ConversionType, made.ImageType = "WSD", ["DERIVED", "SECONDARY"]
    made.DerivationDescription = "Outline of the coronary arteries that CASR-Net has found, burned in"
    made.DerivationCodeSequence = [code("113076", "DCM", "Segmentation")]
    made.SourceImageSequence = [
        source_image(
            data, identity, frames, SpatialLocationsPreserved="YES",
            PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source image for image processing operation")],
        )
    ]  # fmt: skip
    made.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=identity["SeriesInstanceUID"], ReferencedInstanceSequence=[reference(identity)])
    ]
    copy_body_part(data, made)
    made.PatientOrientation = ""
    burned = text(data, "BurnedInAnnotation").upper()
    if burned in ("YES", "NO") or several:
        made.BurnedInAnnotation = burned if burned in ("YES", "NO") else "YES"
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Columns, made.Rows = opened.size
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    aspect = numbers(data, "PixelAspectRatio")
    if len(aspect) == 2 and aspect[0] != aspect[1]:
        made.PixelAspectRatio = [int(part) for part in aspect]
    # Once an image went through lossy compression, so did all that is derived from it (PS3.3 C.7.6.1.1.5).
    made.LossyImageCompression = text(data, "LossyImageCompression") or "00"
    if several:
        made.NumberOfFrames = len(frames)
        _put_times(made, data, frames)
    return made


def _put_times(made: Dataset, data: Dataset, frames: Sequence[int]) -> None:
    """Times between the frames where the source states them and none is left out; else the frames' numbers as pages."""
    together = frames[-1] - frames[0] == len(frames) - 1
    interval, steps = numbers(data, "FrameTime"), numbers(data, "FrameTimeVector")
    if together and interval and interval[0] > 0:
        made.FrameTime, made.FrameIncrementPointer = data.FrameTime, Tag("FrameTime")
    elif together and len(steps) > frames[-1] and min(steps) >= 0:
        made.FrameTimeVector = [0, *(data.FrameTimeVector[frame] for frame in frames[1:])]
        made.FrameIncrementPointer = Tag("FrameTimeVector")
    else:
        made.PageNumberVector = [frame + 1 for frame in frames]
        made.FrameIncrementPointer = Tag("PageNumberVector")
        return
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = numbers(data, keyword)
        if rate and rate[0] > 0:
            setattr(made, keyword, round(rate[0]))
