"""What a DICOM object states about the way from stored to shown values: one function a rule of the standard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from ..errors import shown
from .intensity import Display
from .pixeldata.header import text
from .transfer import AS_STORED, LookupTable, Rescale, Transfer, window

__all__ = ["display_of", "group_item", "has_own_displays", "is_monochrome1", "numbers"]

_XRAY_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic Image Storage
    "1.2.840.10008.5.1.4.1.1.12.1.1",  # Enhanced XA
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
    "1.2.840.10008.5.1.4.1.1.12.2.1",  # Enhanced XRF
    "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane, retired
)
_XRAY_MODALITIES = ("XA", "RF")
_PER_FRAME, _SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"


def display_of(data: Dataset, frame: int = 0, stored_bits: int = 0) -> tuple[Display, list[str]]:
    """The display of one frame.

    Args:
        data: header of an image of one sample a pixel.
        frame: from 0; matters for objects with functional groups (enhanced XA) only.
        stored_bits: that the stored values use; 0 where that is not known.

    Returns:
        the display, and a line for each attribute that is passed over.
    """
    warnings: list[str] = []
    modality = modality_of(data, frame, warnings)
    signed = whole(data, "PixelRepresentation") == 1
    plain = isinstance(modality, Rescale) and modality == AS_STORED
    properties = group_item(data, frame, "FramePixelDataPropertiesSequence", "PixelIntensityRelationship")
    inverted, sign = is_inverted(data), whole(properties, "PixelIntensityRelationshipSign")
    return Display(
        modality=modality,
        choices=tuple(voi_choices(data, frame, warnings)),
        bits=stored_bits if plain and not signed else 0,
        inverted=inverted,
        padding=padding_of(data),
        relationship=text(properties, "PixelIntensityRelationship"),
        # The sign is of the stored values (PS3.3 C.8.11.3.1.2), which a falling rescale or table turns; polarity is of
        # the values after it. XA images without functional groups have no sign (PS3.3 C.8.7.1): what they show dark is
        # what absorbs.
        falls_with_intensity=(sign == -1) != modality.falls if sign in (1, -1) else inverted,
    ), warnings


def has_own_displays(data: Dataset) -> bool:
    """Whether frames may differ: the object has functional groups for each frame."""
    return bool(_items(data, _PER_FRAME))


def group_item(data: Dataset, frame: int, sequence: str, keyword: str) -> Dataset:
    """Where an attribute of a frame stands (PS3.3 C.7.6.16): in the frame's functional group, the shared one, or, in
    objects without groups, beside everything else."""
    for groups, index in ((_items(data, _PER_FRAME), frame), (_items(data, _SHARED), 0)):
        if index < len(groups):
            for item in _items(groups[index], sequence):
                if keyword in item:
                    return item
    return data


def _items(data: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is absent, empty or damaged."""
    try:
        value = data.get(keyword)
    except Exception:  # pydicom parses a sequence when it is asked for, and raises what it likes on damaged ones
        return []
    return [item for item in value or () if isinstance(item, Dataset)]


def modality_of(data: Dataset, frame: int, warnings: list[str]) -> Rescale | LookupTable:
    """Rescale, or the Modality LUT Sequence (PS3.3 C.11.1).

    In X-ray angiography and fluoroscopy that sequence leads back to pixels that are linear to the intensity of the beam
    (PS3.3 C.8.7.1.1.2); shown are the pixels without it, so it is left out, as DCMTK does.
    """
    tables = _items(data, "ModalityLUTSequence")
    xray = text(data, "SOPClassUID") in _XRAY_CLASSES or text(data, "Modality") in _XRAY_MODALITIES
    if tables and not xray:
        table = _table(data, tables[0])
        if table is not None:
            return LookupTable(table[0], tuple(table[1].tolist()))
        warnings.append("ModalityLUTSequence is damaged and was ignored.")
    place = group_item(data, frame, "PixelValueTransformationSequence", "RescaleSlope")
    values = {}
    for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        found = numbers(place, name)
        usable = [value for value in found[:1] if math.isfinite(value) and abs(value) < 1e30]
        if found and (not usable or (name == "RescaleSlope" and usable[0] == 0)):
            warnings.append(f"{name} is {shown(_raw(place, name))} and was ignored.")
            usable = []
        values[name] = usable[0] if usable else default
    return Rescale(values["RescaleSlope"], values["RescaleIntercept"])


def voi_choices(data: Dataset, frame: int, warnings: list[str]) -> Iterator[tuple[Transfer, str]]:
    """The file's own ways to show its pixels (PS3.3 C.11.2), best first: a table, then the first usable window."""
    for item in _items(data, "VOILUTSequence")[:1]:
        table = _table(data, item)
        if table is None or np.ptp(table[1]) == 0:
            warnings.append("VOILUTSequence is damaged and was ignored.")
            continue
        first, entries, bits = table
        yield LookupTable(first, tuple((entries / (2.0**bits - 1)).tolist())), "VOI LUT"
    place = group_item(data, frame, "FrameVOILUTSequence", "WindowCenter")
    centres, widths = numbers(place, "WindowCenter"), numbers(place, "WindowWidth")
    function = text(place, "VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        warnings.append(f"VOILUTFunction is {shown(function)}; taken as LINEAR.")
        function = "LINEAR"
    for number, (centre, width) in enumerate(zip(centres, widths, strict=False), start=1):
        made = window(centre, width, function)
        if made is not None:
            yield made, f"window {number} of the file ({function}, {centre:g} {width:g})"
            return
    if centres or widths:
        values = f"{shown(_raw(place, 'WindowCenter'))} and {shown(_raw(place, 'WindowWidth'))}"
        warnings.append(f"WindowCenter and WindowWidth are {values} and were ignored.")


def is_inverted(data: Dataset) -> bool:
    """MONOCHROME1, or an inverse presentation LUT shape (PS3.3 C.11.6), shows high values dark."""
    return text(data, "PresentationLUTShape").upper() == "INVERSE" or is_monochrome1(data)


def is_monochrome1(data: Dataset) -> bool:
    """Whether the header calls high values dark; codes are read in any case."""
    return text(data, "PhotometricInterpretation").upper() == "MONOCHROME1"


def padding_of(data: Dataset) -> tuple[int, int] | None:
    """Stored values that are no image (PS3.3 C.7.5.1.1.2)."""
    value = whole(data, "PixelPaddingValue")
    if value is None:
        return None
    signed, bits = whole(data, "PixelRepresentation") == 1, whole(data, "BitsAllocated") or 16
    limit = whole(data, "PixelPaddingRangeLimit")
    # Written as US where SS was meant, and the other way round; both are the same bits.
    ends = [_as_stored(end, signed, bits) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(value: int, signed: bool, bits: int) -> int:
    value &= 2**bits - 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _table(data: Dataset, item: Dataset) -> tuple[int, np.ndarray, int] | None:
    """First value, entries and bits of a lookup table (PS3.3 C.11.1.1); None when it is damaged."""
    descriptor = [int(value) for value in numbers(item, "LUTDescriptor") if math.isfinite(value)]
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        return None
    count = descriptor[0] % 65536 or 65536
    # The first value is signed where the pixels are, or become by their rescale; its VR, US or SS, may lie.
    low = min(numbers(data, "RescaleIntercept")[:1] or [0.0])
    signed = whole(data, "PixelRepresentation") == 1 or low < 0
    first = descriptor[1] - 65536 if signed and descriptor[1] > 32767 else descriptor[1]
    value = _raw(item, "LUTData")
    if isinstance(value, (bytes, bytearray)):
        order = ">" if getattr(item, "is_little_endian", True) is False else "<"
        kind = np.dtype(np.uint8) if len(value) in (count, count + count % 2) and descriptor[2] <= 8 else None
        kind = kind or np.dtype(f"{order}u2")
        entries = np.frombuffer(bytes(value[: len(value) // kind.itemsize * kind.itemsize]), kind).astype(np.float64)
    else:
        entries = np.asarray(numbers(item, "LUTData"), np.float64) % 65536
    entries = entries[:count]
    if entries.size < 2 or not np.isfinite(entries).all():
        return None
    # Some software states more bits than the entries have: what is shown would be black.
    used = max(int(entries.max()).bit_length(), 1)
    return first, entries, used if descriptor[2] < used or descriptor[2] >= used + 3 else descriptor[2]


def _raw(data: Dataset, keyword: str) -> Any:
    """The value as it lies in the file, or as pydicom has parsed it already; None when it is absent.

    pydicom raises on a number such as "12,5" as soon as the attribute is asked for.
    """
    tag = tag_for_keyword(keyword)
    element = None if tag is None or tag not in data else data.get_item(tag)
    if element is None:
        return None
    value = element.value
    if isinstance(value, bytes) and getattr(element, "is_raw", False) and element.VR not in _BINARY:
        return value.decode("latin-1").rstrip(" \0")
    return value


_BINARY = ("US", "SS", "OW", "OB", "UL", "SL", "FL", "FD", "UN", None)


def numbers(data: Dataset, keyword: str) -> list[float]:
    """The values of a numeric attribute; NaN for each that is empty or no number. Decimal commas are read."""
    value = _raw(data, keyword)
    if value is None:
        return []
    if isinstance(value, (bytes, bytearray)):
        try:
            value = data[keyword].value
        except Exception:  # damaged
            return [math.nan]
    parts = value.split("\\") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) and not hasattr(parts, "__iter__"):
        parts = [parts]
    return [_number(part) for part in parts]


def _number(part: Any) -> float:
    try:
        return float(part.strip().replace(",", ".") if isinstance(part, str) else part)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def whole(data: Dataset, keyword: str) -> int | None:
    """An attribute of one whole number; None when it is absent or no such number."""
    found = numbers(data, keyword)[:1]
    return int(found[0]) if found and math.isfinite(found[0]) else None
