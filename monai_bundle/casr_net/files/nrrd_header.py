"""Headers of NRRD files (.nrrd, .nhdr), and what has to be mended before ITK reads their geometry.

The format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from ..errors import DataError, shown
from .geometry import LPS_TO_RAS, axis_length
from .stored import MAX_HEADER, Stored, beside, count_of, itk_affine, part_names
from .streams import Part

__all__ = ["read_nrrd_header"]

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
TYPES = {name: code for code, names in _TYPES.items() for name in names}
ENCODINGS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
    "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
}  # fmt: skip
SPACES = {
    "right-anterior-superior": (-1, -1), "ras": (-1, -1), "rast": (-1, -1),
    "left-anterior-superior": (1, -1), "las": (1, -1), "last": (1, -1),
}  # fmt: skip
"""Signs of the first two axes of the spaces that are not LPS, and that name directions at all."""
CINE = "an axis of kind 'list' or 'time' in a NRRD header"


def read_nrrd_header(path: Path) -> Stored:
    """Read the header alone.

    Raises:
        DataError: naming the field that is missing or not understood.
    """
    fields, rest, offset = _fields(path)
    shape = count_of(path, _field(path, fields, "sizes").split())
    code = TYPES.get(_field(path, fields, "type").lower())
    if code is None:
        raise DataError(f"{path}: values of type {shown(fields['type'])} in its NRRD header are not supported.")
    encoding = ENCODINGS.get(fields.get("encoding", "raw").lower())
    if encoding is None:
        raise DataError(f"{path}: the encoding {shown(fields['encoding'])} in its NRRD header is not supported.")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    dtype = np.dtype(order + code)
    named = fields.get("kinds", "").lower().split()
    kinds = [_kind(kind) for kind in named] if len(named) == len(shape) else ["domain"] * len(shape)
    stored = Stored("nrrd", shape, kinds, dtype, [], encoding, LPS_TO_RAS.copy(), [], CINE)
    stored.parts = _parts(path, fields, rest, offset, encoding)
    _geometry(stored, fields)
    return stored


def _fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Fields by lower-case name, the lines after ``data file: LIST``, and where attached data start."""
    fields: dict[str, str] = {}
    rest: list[str] = []
    with open(path, "rb") as stream:
        if not stream.readline(16).startswith(b"NRRD"):
            raise DataError(f"{path}: cannot be read as an image: no NRRD header in it.")
        while line := stream.readline(MAX_HEADER):
            text = line.decode("latin-1").strip()
            if stream.tell() > MAX_HEADER:
                raise DataError(f"{path}: its NRRD header is longer than {MAX_HEADER >> 20} MiB.")
            if fields.get("data file", "").upper().startswith("LIST"):
                rest += [text] if text else []
            elif not text:
                break
            elif not text.startswith("#") and ":=" not in text and ":" in text:
                name, value = text.split(":", 1)
                name = " ".join(name.lower().split())
                fields[{"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}.get(name, name)] = (
                    value.strip()
                )
        return fields, rest, stream.tell()


def _field(path: Path, fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise DataError(f"{path}: its NRRD header has no field {name!r}.")
    return fields[name]


def _kind(kind: str) -> str:
    if kind in ("list", "time"):
        return "frames"
    if "color" in kind:
        return "colour"
    return "vector" if "vector" in kind else "domain"


def _parts(path: Path, fields: dict[str, str], rest: list[str], offset: int, encoding: str) -> list[Part]:
    lines, skip = (_whole(path, fields, name) for name in ("line skip", "byte skip"))
    stated = fields.get("data file")
    words = (stated or "").split()
    if stated is None:
        files = [path]
    elif words and words[0].upper() == "LIST":
        files = [beside(path, name) for name in rest]
    elif len(words) >= 4 and "%" in words[0]:
        try:
            numbers = [int(word) for word in words[1:4]]
        except ValueError as error:
            raise DataError(f"{path}: its data files {shown(stated)} cannot be counted.") from error
        files = [beside(path, name) for name in part_names(path, words[0], *numbers)]
    else:
        files = [beside(path, stated)]
    if not files:
        raise DataError(f"{path}: its NRRD header names no data file.")
    compressed = encoding in ("gzip", "bzip2")
    found = []
    for file in files:
        start = _after_lines(file, offset if file == path else 0, lines)
        if skip < 0:
            found.append(Part(file, -1))
        else:  # byte skip counts decompressed bytes
            found.append(Part(file, start, skip) if compressed else Part(file, start + skip))
    return found


def _whole(path: Path, fields: dict[str, str], name: str) -> int:
    try:
        return int(fields.get(name, "0"))
    except ValueError as error:
        raise DataError(f"{path}: {name} is {shown(fields[name])} in its NRRD header.") from error


def _after_lines(file: Path, offset: int, lines: int) -> int:
    if lines <= 0:
        return offset
    try:
        with open(file, "rb") as stream:
            stream.seek(offset)
            for _ in range(min(lines, MAX_HEADER)):
                if not stream.readline(MAX_HEADER):
                    break
            return stream.tell()
    except OSError:
        return offset  # what is missing is said when the values are read


def _geometry(stored: Stored, fields: dict[str, str]) -> None:
    """Let ITK read the geometry of the axes that are lengths.

    Left out for it: axes of frames and samples, a fourth component (time) of origin and space, vectors that are no
    numbers (ITK throws at NaN), and fields that change nothing here.
    """
    lengths = [axis for axis, kind in enumerate(stored.kinds) if kind == "domain"]
    vectors = _vectors(fields.get("space directions", ""))
    if "space directions" in fields and len(vectors) == len(stored.shape):
        known = {axis: vector for axis, vector in enumerate(vectors) if vector and axis_length(np.array(vector))}
        wanted = [axis for axis in lengths if axis in known][:3]
        if any(vector is not None for axis, vector in enumerate(vectors) if axis in lengths and axis not in known):
            stated = shown(fields["space directions"])
            instead = "the normal of the picture was" if len(wanted) == 2 else "spacing 1 and plain axes were"
            stored.warnings.append(f"space directions in its header cannot be used: {stated}; {instead} taken")
        table = [_in_lps(known[axis], fields) for axis in wanted]
        if [len(vector) for vector in table] == [3, 3]:  # ITK wants as many axes as the space has
            table.append(np.cross(table[0], table[1]).tolist())
        lines = [f"space directions: {' '.join(map(_vector, table))}"]
        size = min(map(len, table), default=0)
        lines.insert(0, "space: left-posterior-superior" if size == 3 else f"space dimension: {size}")
        origin = [vector for vector in _vectors(fields.get("space origin", "")) if vector]
        if origin and all(math.isfinite(value) for value in origin[0]):
            lines.append(f"space origin: {_vector(_in_lps(origin[0][:size], fields))}")
        elif "space origin" in fields:
            stored.warnings.append("the origin in its header cannot be used and was taken for 0")
    else:
        wanted, lines, table = lengths[:3], [], []
        _judge_spacings(stored, fields, wanted)
        for name in ("spacings", "axis mins"):
            values = fields.get(name, "").split()
            if len(values) == len(stored.shape):
                kept = [values[axis] for axis in wanted]
                if not all(math.isnan(_number(value) or 0.0) for value in kept):
                    lines.append(f"{name}: {' '.join(kept)}")
    stored.lengths = wanted
    count = len(table) or len(wanted)
    header = [
        "NRRD0004",
        "type: uchar",
        f"dimension: {count}",
        f"sizes: {' '.join('1' * count)}",
        "encoding: raw",
        *lines,
    ]
    if not lines or not wanted:
        return
    try:
        stored.affine = itk_affine("\n".join(header) + "\n\n", ".nrrd")
        stored.placed = bool(table)
    except RuntimeError:
        stored.warnings.append("the geometry in its header cannot be used; spacing 1 and plain axes were taken")


def _judge_spacings(stored: Stored, fields: dict[str, str], wanted: list[int]) -> None:
    """Say of spacings that are not known ("nan", which the format allows) that 1 is taken for them. Of an axis of one
    slice nobody asks for it; what else cannot be used, ITK refuses."""
    stated = fields.get("spacings", "")
    values = stated.split()
    if not values:
        return
    if len(values) != len(stored.shape):
        reason = f"has {len(values)} values for {len(stored.shape)} axes"
    elif any(math.isnan(_number(values[axis]) or 0.0) for axis in wanted if stored.shape[axis] > 1):
        reason = "is not a number"
    else:
        return
    stored.warnings.append(f"the spacing in its header {reason}: {shown(stated)}; 1 was taken for what is missing")


def _in_lps(vector: list[float], fields: dict[str, str]) -> list[float]:
    """A vector of the space that the header names, in ITK's. ITK could, but that of SimpleITK 2.4 mirrors LAS."""
    signs = SPACES.get(fields.get("space", "").lower().removesuffix("-time"), (1, 1))
    return [value * sign for value, sign in zip(vector, (*signs, 1), strict=False)]


def _vectors(text: str) -> list[list[float] | None]:
    """Vectors ``(x,y,z)``, cut to three components; None for ``none`` and for what is no vector."""
    found: list[list[float] | None] = []
    for part in re.findall(r"\([^()]*\)|[^\s()]+", text):
        numbers = [_number(word) for word in part.strip("()").split(",")[:3]]
        found.append([math.nan if number is None else number for number in numbers] if part[0] == "(" else None)
    return found


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _vector(values: list[float]) -> str:
    return f"({','.join(map(repr, values))})"
