"""DICOM Segmentation objects, read: binary, fractional and label maps, of one or of several segments and images."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from ..errors import DataError, shown
from .dicom import save_dicom
from .dicom_frames import DicomFrames, read_header
from .images import guarded

__all__ = ["SEGMENTATION_STORAGE", "DicomSegmentation", "SegmentationFrames", "is_segmentation", "parse_segmentation"]

SEGMENTATION_STORAGE = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.66.4")
LABEL_MAP_STORAGE = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.66.7")  # Supplement 243, 2024

Result = TypeVar("Result")

_GEOMETRY = (
    ("PixelMeasuresSequence", "PixelSpacing", 2),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PlanePositionSequence", "ImagePositionPatient", 3),
)


@dataclass(frozen=True)
class DicomSegmentation:
    """What a Segmentation object of one image says.

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


class SegmentationFrames:
    """The frames that an object segments, one by one: of each the union of its segments.

    The Derivation Image functional group names the source instance and frame of each of the object's frames (PS3.3
    C.7.6.16.2.6 and A.51.5). A pixel belongs to a segment where a binary object or a label map is not background, and
    where a fractional one lies above half of MaximumFractionalValue (PS3.3 C.8.20.2.3).

    Args:
        source: the object, or its file, of which pixels are then read when they are asked for.

    Attributes:
        size: columns and rows.
        places: source instance (SOPInstanceUID) and frame (from 0; None where the object gives no number, since the
            source has one frame) of each frame, in the source's order.
        segments: labels of the segments.
        affine: (4, 4), from index to millimetres, RAS, where the object states one place for all of its frames; None
            for projections, which have no place in the patient.

    Raises:
        DataError: when it is no Segmentation, has no pixels, or does not say where its frames lie.
    """

    def __init__(self, source: Dataset | str | Path) -> None:
        self._folder: tempfile.TemporaryDirectory | None = None
        self._frames: DicomFrames | None
        if isinstance(source, Dataset):
            self.name = f"segmentation {source.get('SOPInstanceUID', '')}"
            self._folder = tempfile.TemporaryDirectory(prefix="casr-")
            path = Path(self._folder.name) / "segmentation.dcm"
            save_dicom(path, source)
        else:
            path, self.name = Path(source), str(source)
        self._path, self._frames = path, None
        self._guarded(self._parse)  # pydicom parses sequences, and raises what it likes, when they are asked for

    def _parse(self) -> None:
        self.header, pixels = read_header(self._path)
        if self.header.get("SOPClassUID") not in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE):
            found = self.header.get("SOPClassUID", "missing")
            raise DataError(f"{self.name}: SOP class is {found}; expected {SEGMENTATION_STORAGE}.")
        if pixels is None:
            raise DataError(f"{self.name}: the DICOM Segmentation has no pixel data.")
        self._open = functools.partial(DicomFrames, self._path, self.header, pixels)
        self.size = (self._number("Columns"), self._number("Rows"))
        kind = str(self.header.get("SegmentationType", "") or "").strip().upper()
        self._limit = self._number("MaximumFractionalValue", 255) / 2 if kind == "FRACTIONAL" else 0
        # In a label map that value is background, PS3.3 C.8.20.2; it need not be 0.
        self._padding = self._number("PixelPaddingValue", 0, low=0) if kind == "LABELMAP" else 0
        self.segments = [str(item.get("SegmentLabel", "")) for item in self.header.get("SegmentSequence") or []]
        groups = list(self.header.get("PerFrameFunctionalGroupsSequence") or [])
        self._count = self._number("NumberOfFrames", 1)
        if len(groups) != self._count:
            raise DataError(
                f"{self.name}: NumberOfFrames is {self._count}, but {len(groups)} frames are described "
                "(PerFrameFunctionalGroupsSequence)."
            )
        self.affine = self._affine(groups)
        self._layers: dict[tuple[str, int | None], list[int]] = {}
        for index, group in enumerate(groups):
            self._layers.setdefault(self._place(group), []).append(index)
        order = self._listed()
        self.places = sorted(
            self._layers, key=lambda place: (order.get(place[0], len(order)), -1 if place[1] is None else place[1])
        )

    def frame(self, index: int) -> np.ndarray:
        """bool (X, Y) of ``places[index]``.

        Raises:
            DataError: when the pixels are damaged, or fewer than the header states.
        """
        return self._guarded(lambda: self._frame(index))

    def _frame(self, index: int) -> np.ndarray:
        if self._frames is None:
            self._frames = self._open()
            if self._frames.count < self._count or self._frames.size != self.size:
                raise DataError(f"{self.name}: has pixels of {self._frames.count} of its {self._count} frames.")
        mask = np.zeros(self.size, bool)
        for layer in self._layers[self.places[index]]:
            stored = self._frames.frame(layer)[0]
            mask |= np.greater(stored, self._limit) & (stored != self._padding)
        return mask

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._frames is not None:
            self._frames.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _guarded(self, read: Callable[[], Result]) -> Result:
        try:
            # pydicom warns, on the user's terminal, of each value that breaks a rule; what matters is checked here.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return guarded(Path(self.name), read)
        except DataError as error:
            if self._folder is None:
                raise
            # Nobody knows the file that an object in memory was put into.
            raise DataError(str(error).replace(str(self._path), self.name)) from error

    def _number(self, keyword: str, default: int | None = None, low: int = 1) -> int:
        value = self.header.get(keyword)
        value = default if value in (None, "") else value
        try:
            number = int(str(value))
        except ValueError:
            number = -1
        if number < low:
            raise DataError(f"{self.name}: {keyword} is {shown(value)}; expected a whole number from {low}.")
        return number

    def _place(self, group: Dataset) -> tuple[str, int | None]:
        """Source instance and frame, from 0, of one frame of the object."""
        shared = (self.header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        derivation = group.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or [Dataset()]
        images = derivation[0].get("SourceImageSequence") or [Dataset()]
        instance = str(images[0].get("ReferencedSOPInstanceUID", ""))
        if not instance:
            raise DataError(
                f"{self.name}: a frame has no Derivation Image functional group, so that its place is not known."
            )
        value = images[0].get("ReferencedFrameNumber")
        value = value[0] if isinstance(value, (list, pydicom.multival.MultiValue)) and value else value
        if value in (None, ""):
            return instance, None
        number = int(value) if str(value).isdigit() else 0
        if number < 1:
            raise DataError(f"{self.name}: ReferencedFrameNumber is {shown(value)}; expected a whole number from 1.")
        return instance, number - 1

    def _affine(self, groups: list[Dataset]) -> np.ndarray | None:
        """By Pixel Measures, Plane Position and Plane Orientation (PS3.3 C.7.6.16.2.1, .3 and .4)."""
        shared = (self.header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        found: set[tuple[float, ...]] = set()
        for group in groups:
            values: list[float] = []
            for sequence, keyword, count in _GEOMETRY:
                item = (group.get(sequence) or shared.get(sequence) or [Dataset()])[0]
                stated = item.get(keyword)
                if not isinstance(stated, (list, pydicom.multival.MultiValue)) or len(stated) != count:
                    return None
                values += [float(value) for value in stated]
            found.add(tuple(values))
        if len(found) != 1:
            return None
        between_rows, between_columns, *rest = found.pop()
        axes, origin = np.reshape(rest[:6], (2, 3)), rest[6:]
        lps = np.eye(4)
        lps[:3, 0], lps[:3, 1], lps[:3, 2] = axes[0] * between_columns, axes[1] * between_rows, np.cross(*axes)
        lps[:3, 3] = origin
        usable = np.isfinite(lps).all() and abs(np.linalg.det(lps)) > 1e-9
        return np.diag([-1.0, -1, 1, 1]) @ lps if usable else None

    def _listed(self) -> dict[str, int]:
        """Position of each source instance in Referenced Series Sequence."""
        listed = [
            str(image.get("ReferencedSOPInstanceUID", ""))
            for series in self.header.get("ReferencedSeriesSequence") or []
            for image in series.get("ReferencedInstanceSequence") or []
        ]
        return {instance: position for position, instance in enumerate(dict.fromkeys([*listed, *self._instances()]))}

    def _instances(self) -> list[str]:
        return list(dict.fromkeys(instance for instance, _ in self._layers))


def parse_segmentation(source: Dataset | str | Path) -> DicomSegmentation:
    """Read a Segmentation object of one image, written by this or by other software.

    Args:
        source: the object, or its file.

    Raises:
        DataError: when it is none, has no pixels, or does not say on which frames of which single image it lies.
    """
    found = SegmentationFrames(source)
    images = {instance for instance, _ in found.places}
    if len(images) != 1:
        raise DataError(f"{found.name}: its {len(found.places)} frames lie on {len(images)} images; expected one.")
    frames = sorted({frame or 0 for _, frame in found.places})
    masks = np.zeros((*found.size, len(frames)), bool)
    for index, (_, frame) in enumerate(found.places):
        masks[..., frames.index(frame or 0)] |= found.frame(index)
    found.close()
    series = found.header.get("ReferencedSeriesSequence") or [Dataset()]
    return DicomSegmentation(
        masks, frames, images.pop(), str(series[0].get("SeriesInstanceUID", "")),
        str(found.header.get("SOPInstanceUID", "")), str(found.header.get("SeriesInstanceUID", "")),
    )  # fmt: skip


def is_segmentation(path: str | Path) -> bool:
    """Whether a file is a DICOM Segmentation; only its first attributes are read."""
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data: Any = read_partial(stream, lambda tag, representation, length: tag > 0x00080016, force=True)
            return data.get("SOPClassUID") in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE)
    except Exception:  # no DICOM file; whoever reads it says what is wrong
        return False
