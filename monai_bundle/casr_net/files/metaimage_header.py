"""Headers of MetaImage files (.mha, .mhd). The format: https://itk.org/Wiki/MetaIO/Documentation"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import DataError, shown
from .geometry import LPS_TO_RAS
from .stored import MAX_HEADER, Stored, beside, count_of, itk_affine, part_names
from .streams import Part

__all__ = ["read_metaimage_header"]

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
GEOMETRY = {
    "transformmatrix": "TransformMatrix", "rotation": "TransformMatrix", "orientation": "TransformMatrix",
    "offset": "Offset", "position": "Offset", "origin": "Offset",
    "elementspacing": "ElementSpacing", "elementsize": "ElementSpacing",
}  # fmt: skip
CINE = "DimSize of columns, rows, 1 and frames, or 'Kinds = domain domain list', in a MetaImage header"


def read_metaimage_header(path: Path) -> Stored:
    """Read the header alone.

    Raises:
        DataError: naming the field that is missing or not understood.
    """
    fields, rest, offset = _fields(path)
    for name in ("dimsize", "elementtype", "elementdatafile"):
        if not fields.get(name):
            raise DataError(f"{path}: cannot be read as an image: no {name} in its MetaImage header.")
    shape = count_of(path, fields["dimsize"].split())
    code = TYPES.get(fields["elementtype"].upper().removesuffix("_ARRAY"))
    if code is None:
        raise DataError(f"{path}: values of type {shown(fields['elementtype'])} in its header are not supported.")
    big = _true(fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "")))
    dtype = np.dtype((">" if big else "<") + code)
    text = "binarydata" in fields and not _true(fields["binarydata"])
    encoding = "text" if text else "zlib" if _true(fields.get("compresseddata", "")) else "raw"
    named = fields.get("kinds", "").lower().split()
    if len(named) == len(shape):  # as programs for ultrasound, and we, write cines
        kinds = ["frames" if kind in ("list", "time") else "domain" for kind in named]
    else:
        kinds = ["frames" if axis == 3 else "domain" for axis in range(len(shape))]
    stored = Stored("metaimage", shape, kinds, dtype, [], encoding, LPS_TO_RAS.copy(), [], CINE)
    _geometry(stored, fields)
    (channels,) = count_of(path, [fields.get("elementnumberofchannels", "1")])
    if channels > 1:
        stored.shape, stored.kinds = (channels, *shape), ["vector", *kinds]
        stored.lengths = [axis + 1 for axis in stored.lengths]
    stored.parts = _parts(path, fields, rest, offset)
    return stored


def _fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Fields by lower-case name, the lines after ``ElementDataFile = LIST``, and where local data start."""
    fields: dict[str, str] = {}
    with open(path, "rb") as stream:
        while line := stream.readline(MAX_HEADER):
            if not line.strip():
                continue
            if b"=" not in line or b"\0" in line or stream.tell() > MAX_HEADER:
                raise DataError(f"{path}: cannot be read as an image: no MetaImage header in it.")
            name, value = line.decode("latin-1").split("=", 1)
            fields[name.strip().lower()] = value.strip()
            if name.strip().lower() == "elementdatafile":
                listed = value.split()[:1] == ["LIST"]
                rest = stream.read(MAX_HEADER).decode("latin-1").split("\n") if listed else []
                return fields, [text.strip() for text in rest if text.strip()], stream.tell()
    return fields, [], 0


def _true(value: str) -> bool:
    return value.lower() in ("true", "t", "1", "yes")


def _parts(path: Path, fields: dict[str, str], rest: list[str], offset: int) -> list[Part]:
    stated = fields["elementdatafile"]
    words = stated.split()
    if stated.lower() == "local":
        return [Part(path, offset)]
    try:
        start = int(fields.get("headersize", "0"))
        numbers = [int(word) for word in words[1:4]] if "%" in words[0] else []
    except ValueError as error:
        raise DataError(f"{path}: the numbers beside its data file {shown(stated)} are none.") from error
    if words[0] == "LIST":
        names = rest
    elif len(numbers) == 3:
        names = part_names(path, words[0], *numbers)
    else:
        names = [stated]
    if not names:
        raise DataError(f"{path}: its MetaImage header names no data file.")
    return [Part(beside(path, name), start) for name in names]


def _geometry(stored: Stored, fields: dict[str, str]) -> None:
    """Let ITK read the geometry of the first three axes, of the kind that is a length."""
    count = len(stored.shape)
    kept = [axis for axis, kind in enumerate(stored.kinds) if kind == "domain"][:3]
    lines = []
    for name, key in GEOMETRY.items():
        words = fields.get(name, "").split()
        if not words:
            continue
        try:
            values = np.array(words, float)
            if not all(math.isfinite(value) for value in values):
                raise ValueError
            table = values.reshape(count, count)[np.ix_(kept, kept)] if key == "TransformMatrix" else values[kept]
        except (ValueError, IndexError):
            stored.warnings.append(f"{key} in its header cannot be used and was left out")
            continue
        lines.append(f"{key} = {' '.join(map(repr, table.ravel().tolist()))}")
    stored.lengths = kept
    header = [
        "ObjectType = Image", f"NDims = {len(kept)}", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        *dict.fromkeys(lines), f"DimSize = {' '.join('1' * len(kept))}", "ElementType = MET_UCHAR",
        "ElementDataFile = LOCAL",
    ]  # fmt: skip
    try:
        stored.affine = itk_affine("\n".join(header) + "\n", ".mha")
        stored.placed = any(line.startswith(("TransformMatrix", "Offset")) for line in lines)
    except RuntimeError:
        stored.warnings.append("the geometry in its header cannot be used; spacing 1 and plain axes were taken")
