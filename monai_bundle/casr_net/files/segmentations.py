"""DICOM Segmentation objects, read: binary, fractional and label maps, of one or of several segments and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ..errors import CASRError, DataError, shown
from .frames import check_extent

__all__ = ["SEGMENTATION_STORAGE", "DicomSegmentation", "SegmentationFrames", "is_segmentation", "parse_segmentation"]

SEGMENTATION_STORAGE = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.66.4")
LABEL_MAP_STORAGE = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.66.7")  # Supplement 243, 2024

Read = Callable[[int, int], bytes]


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

    Raises:
        DataError: when it is no Segmentation, has no pixels, or does not say where its frames lie.
    """

    def __init__(self, source: Dataset | str | Path) -> None:
        self.name = str(source)
        if isinstance(source, Dataset):
            data, read = source, _bytes_of(source)
            self.name = f"segmentation {data.get('SOPInstanceUID', '')}"
        else:
            data, read = _open(Path(source))
        if data.get("SOPClassUID") not in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE):
            found = data.get("SOPClassUID", "missing")
            raise DataError(f"{self.name}: SOP class is {found}; expected {SEGMENTATION_STORAGE}.")
        self.header = data
        self.size = (self._number("Columns"), self._number("Rows"))
        self._count = self._number("NumberOfFrames", 1)
        self._bits = self._number("BitsAllocated", 1)
        self._kind = str(data.get("SegmentationType", "") or "").strip().upper()
        self._limit = self._number("MaximumFractionalValue", 255) / 2 if self._kind == "FRACTIONAL" else 0
        # In a label map that value is background, PS3.3 C.8.20.2; it need not be 0.
        self._padding = self._number("PixelPaddingValue", 0, low=0) if self._kind == "LABELMAP" else 0
        if self._bits not in (1, 8, 16):
            raise DataError(f"{self.name}: BitsAllocated is {self._bits}; a segmentation has 1, 8 or 16.")
        check_extent(Path(self.name), self.size, self._count, 1, max(1, self._bits // 8))
        self._read = read
        self._decoded: np.ndarray | None = None
        self.segments = [str(item.get("SegmentLabel", "")) for item in data.get("SegmentSequence") or []]
        groups = list(data.get("PerFrameFunctionalGroupsSequence") or [])
        if len(groups) != self._count:
            raise DataError(
                f"{self.name}: NumberOfFrames is {self._count}, but {len(groups)} frames are described "
                "(PerFrameFunctionalGroupsSequence)."
            )
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
            DataError: when the pixels are missing or damaged.
        """
        mask = np.zeros(self.size, bool)
        for layer in self._layers[self.places[index]]:
            stored = self._stored(layer).T
            mask |= np.greater(stored, self._limit) & (stored != self._padding)
        return mask

    def _stored(self, layer: int) -> np.ndarray:
        """(rows, columns) of one frame of the object."""
        columns, rows = self.size
        pixels = rows * columns
        if self.header.file_meta.TransferSyntaxUID.is_encapsulated:
            return self._decompressed()[layer]
        if self._bits > 1:
            order = "<" if self.header.file_meta.TransferSyntaxUID.is_little_endian else ">"
            size = self._bits // 8
            return np.frombuffer(self._part(layer * pixels * size, pixels * size), f"{order}u{size}").reshape(rows, -1)
        first, last = layer * pixels, (layer + 1) * pixels  # in bits: frames follow without padding, PS3.5 8.1.1
        part = self._part(first // 8, (last + 7) // 8 - first // 8)
        bits = np.unpackbits(np.frombuffer(part, np.uint8), bitorder="little")
        return bits[first % 8 : first % 8 + pixels].reshape(rows, columns)

    def _part(self, start: int, count: int) -> bytes:
        part = self._read(start, count)
        if len(part) < count:
            raise DataError(f"{self.name}: the file is cut off: pixels of its {self._count} frames are missing.")
        return part

    def _decompressed(self) -> np.ndarray:
        if self._decoded is None:
            try:
                pixels = np.asarray(self.header.pixel_array)
            except Exception as error:  # every decoder plugin has errors of its own
                syntax = self.header.file_meta.TransferSyntaxUID.name
                raise DataError(f"{self.name}: the pixels ({syntax}) are damaged or cannot be decoded.") from error
            self._decoded = pixels.reshape(self._count, self.size[1], self.size[0])
        return self._decoded

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
    series = found.header.get("ReferencedSeriesSequence") or [Dataset()]
    return DicomSegmentation(
        masks, frames, images.pop(), str(series[0].get("SeriesInstanceUID", "")),
        str(found.header.get("SOPInstanceUID", "")), str(found.header.get("SeriesInstanceUID", "")),
    )  # fmt: skip


def is_segmentation(path: str | Path) -> bool:
    """Whether a file is a DICOM Segmentation; only its first attributes are read."""
    try:
        with open(path, "rb") as stream:
            data: Any = read_partial(stream, lambda tag, representation, length: tag > 0x00080016, force=True)
    except Exception:  # no DICOM file; whoever reads it says what is wrong
        return False
    return data.get("SOPClassUID") in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE)


def _open(path: Path) -> tuple[Dataset, Read]:
    """Header of a file, and a reader of its pixels by byte, which does not load them all."""
    try:
        with open(path, "rb") as stream:
            data = pydicom.dcmread(stream, stop_before_pixels=True)
            start, head = stream.tell(), stream.read(12)
        syntax = data.file_meta.TransferSyntaxUID
        if syntax == DeflatedExplicitVRLittleEndian or syntax.is_encapsulated:
            data = pydicom.dcmread(path)
            return data, _bytes_of(data)
    except OSError as error:
        raise DataError(f"{path}: no such file.") from error
    except CASRError:
        raise
    except Exception as error:  # pydicom raises what it likes on damaged files
        raise DataError(f"{path}: not a DICOM file, or a damaged one.") from error
    order = "little" if syntax.is_little_endian else "big"
    if head[:4] not in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        raise DataError(f"{path}: the DICOM Segmentation has no pixel data.")
    start += 8 if syntax.is_implicit_VR else 12
    length = int.from_bytes(head[4:8] if syntax.is_implicit_VR else head[8:12], order)

    def read(first: int, count: int) -> bytes:
        with open(path, "rb") as stream:
            stream.seek(start + first)
            return stream.read(max(0, min(count, length - first)))

    return data, read


def _bytes_of(data: Dataset) -> Read:
    pixels = data.get("PixelData")
    if not pixels:
        raise DataError(f"segmentation {data.get('SOPInstanceUID', '')}: has no pixel data.")
    return lambda first, count: bytes(pixels[first : first + count])
