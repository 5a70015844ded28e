"""Grayscale Softcopy Presentation States (PS3.3 A.33.1): the contour as graphic above the angiogram, which stays as it
is, for viewers that know them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset

from .dicom import save_dicom
from .dicom_derived import check_masks, copy_body_part, identity_of, item, new_object, quiet, source_image
from .dicom_display import is_inverted, modality_of, numbers
from .dicom_frames import read_header
from .images import Angiogram, read_angiogram
from .transfer import AS_STORED, Rescale

__all__ = ["PRESENTATION_STATE", "write_presentation"]

PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
LAYER = "CORONARY"
MAX_POINTS = 8000
"""Of one polyline; an element of this kind holds 65534 bytes, which is 8191 points (PS3.5 7.1.2). Our choice."""
GREEN = (57480, 10794, 54272)
"""Of the lines, as unsigned 16 bit CIELab (PS3.3 C.10.7.1.1): L* 88, a* -86, b* 83, which is RGB (0, 255, 0)."""


def write_presentation(
    path: Path,
    source: str | Path,
    masks: Mapping[int, np.ndarray],
    *,
    window: tuple[float, float] | None = None,
    version: str = "",
    weights: str | Path | None = None,
    description: str = "Coronary arteries, contour (research use only)",
) -> None:
    """Write the outlines of masks as a DICOM file (Explicit VR Little Endian) that refers to the angiogram.

    Args:
        path: to be written.
        source: file of the angiogram; patient and study are copied from it.
        masks: by frame of the source, counted from 0: (X, Y), vessel where not 0. The state is for these frames.
        window: centre and width that it shows the angiogram with; None leaves them to the file, as for all of the run.
        version, weights, description: as for :func:`casr_net.files.dicom_seg.write_segmentation`.

    Raises:
        UsageError: for no mask; DataError: when a mask does not fit to the source.
    """
    data, _ = read_header(Path(source))
    identity = identity_of(data, str(source))
    frames = check_masks(data, identity, masks)
    with quiet():
        made = new_object(data, identity, PRESENTATION_STATE, "PR", 9002, version, weights, description)
        copy_body_part(data, made)
        made.PresentationCreationDate, made.PresentationCreationTime = made.ContentDate, made.ContentTime
        del made.ContentDate, made.ContentTime
        made.ContentLabel, made.ContentDescription = "CORONARY_ARTERY", description[:64]
        made.ContentCreatorName = "CASR-Net"
        made.ReferencedSeriesSequence = [
            item(
                SeriesInstanceUID=identity["SeriesInstanceUID"],
                ReferencedImageSequence=[source_image(data, identity, frames)],
            )
        ]
        _show(made, data, frames, read_angiogram(source, window))
        drawn = [
            item(
                ReferencedImageSequence=[source_image(data, identity, [frame])], GraphicLayer=LAYER,
                GraphicObjectSequence=lines,
            )
            for frame in frames
            if (lines := list(_lines(np.asarray(masks[frame]))))
        ]  # fmt: skip
        if drawn:  # else somebody looked, and there was no vessel
            made.GraphicAnnotationSequence = drawn
            made.GraphicLayerSequence = [
                item(
                    GraphicLayer=LAYER, GraphicLayerOrder=1, GraphicLayerDescription=description[:64],
                    GraphicLayerRecommendedDisplayCIELabValue=list(GREEN),
                )
            ]  # fmt: skip
        save_dicom(path, made)


def _show(made: Dataset, data: Dataset, frames: Sequence[int], opened: Angiogram) -> None:
    """Put in how the angiogram is shown: the whole of it, with the grey range that this software looks at."""
    columns, rows = opened.size
    aspect = numbers(data, "PixelAspectRatio")
    made.DisplayedAreaSelectionSequence = [
        item(
            DisplayedAreaTopLeftHandCorner=[1, 1], DisplayedAreaBottomRightHandCorner=[columns, rows],
            PresentationSizeMode="SCALE TO FIT",
            PresentationPixelAspectRatio=[int(part) for part in aspect] if len(aspect) == 2 else [1, 1],
        )
    ]  # fmt: skip
    modality = modality_of(data, frames[0], [])
    if isinstance(modality, Rescale):
        if modality != AS_STORED:
            made.RescaleSlope, made.RescaleIntercept = _decimal(modality.slope), _decimal(modality.intercept)
            made.RescaleType = "US"
    else:
        made.ModalityLUTSequence = data.ModalityLUTSequence[:1]
    said = opened.rule_of(frames[0]).describe()
    low, high = float(said["low"]), float(said["high"])
    # The linear function of PS3.3 C.11.2.1.2.1, whose ends lie half a step beside centre and width.
    made.SoftcopyVOILUTSequence = [
        item(WindowCenter=_decimal((low + high) / 2 + 0.5), WindowWidth=_decimal(high - low + 1))
    ]
    made.PresentationLUTShape = "INVERSE" if is_inverted(data) else "IDENTITY"


def _decimal(value: float) -> str:
    """A number in the 16 characters of a decimal string (PS3.5 6.2)."""
    return f"{value:.10g}"[:16]


def _lines(mask: np.ndarray) -> Iterator[Dataset]:
    """The outlines of a mask (X, Y), closed, in units of pixels from the corner of the image: the centre of the first
    pixel is at 0.5, 0.5 (PS3.3 C.10.5.1.2)."""
    binary = np.ascontiguousarray((mask > 0).T.astype(np.uint8))
    contours, _ = cv2.findContours(binary, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        points = contour[:, 0].astype(np.float64) + 0.5
        if len(points) == 1:
            yield _graphic("POINT", points)
            continue
        points = np.concatenate([points, points[:1]])
        for start in range(0, len(points) - 1, MAX_POINTS - 1):
            yield _graphic("POLYLINE", points[start : start + MAX_POINTS])


def _graphic(kind: str, points: np.ndarray) -> Dataset:
    made = item(
        GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=len(points),
        GraphicData=[float(value) for value in points.reshape(-1)], GraphicType=kind,
    )  # fmt: skip
    if kind == "POLYLINE" and (points[0] == points[-1]).all():
        made.GraphicFilled = "N"
    return made
