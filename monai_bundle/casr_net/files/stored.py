"""What the header of a volume says: the same for NRRD, MetaImage and NIfTI, and which of its axes are the picture's."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError, shown
from .geometry import LPS_TO_RAS
from .streams import Part

__all__ = ["Axes", "Stored", "arrange", "beside", "itk_affine", "part_names"]

MAX_HEADER = 4 * 2**20
MAX_PARTS = 20_000


@dataclass
class Stored:
    """How the values lie in the file, as its header says.

    Attributes:
        format: "nrrd", "metaimage" or "nifti".
        shape: the fastest axis first, as these headers list them.
        kinds: of each axis: "domain" (a length), "frames", "colour" or "vector".
        dtype: of the values, byte order included.
        parts: the files with the values.
        encoding: one of :data:`casr_net.files.streams.ENCODINGS`.
        affine: (4, 4), RAS; its columns belong to ``lengths``.
        lengths: the axes, at most three, that the columns of the affine belong to.
        cine: how the format says that an axis counts frames, for the message that refuses a volume.
        slope, intercept: what stored values are to be multiplied by, and what is added then.
        warnings: one line each.
        placed: whether the header states directions or an origin, and not a spacing alone.
    """

    format: str
    shape: tuple[int, ...]
    kinds: list[str]
    dtype: np.dtype
    parts: list[Part]
    encoding: str
    affine: np.ndarray
    lengths: list[int]
    cine: str
    slope: float = 1.0
    intercept: float = 0.0
    warnings: list[str] = field(default_factory=list)
    placed: bool = False


@dataclass(frozen=True)
class Axes:
    """Numbers of the axes of :attr:`Stored.shape`; ``normal`` is the one of a single slice beside the picture's."""

    samples: int | None
    columns: int
    rows: int
    frames: int | None
    normal: int | None


def arrange(path: Path, stored: Stored, slices_as_frames: bool = False) -> Axes:
    """Which axis is which.

    An axis of kind "colour" holds samples. So does a "vector" of three or four; any other is frames: SimpleITK makes
    one picture with as many components of a cine, and writes it so. Of the axes that are lengths, two may be longer
    than 1.

    Args:
        path: named in the error.
        stored: the header.
        slices_as_frames: take the third length of a volume for frames.

    Raises:
        DataError: for a volume, or for axes of frames or samples that are not understood.
    """
    shape = stored.shape
    used = [axis for axis, count in enumerate(shape) if count > 1]
    kinds = dict(enumerate(stored.kinds))
    for axis in used:
        if kinds[axis] == "vector":
            kinds[axis] = "colour" if shape[axis] in (3, 4) else "frames"
            if kinds[axis] == "frames":
                stored.warnings.append(f"its {shape[axis]} components were read as frames")
    samples = [axis for axis in used if kinds[axis] == "colour"]
    frames = [axis for axis in used if kinds[axis] == "frames"]
    picture = [axis for axis in used if axis not in samples + frames]
    single = [axis for axis, count in enumerate(shape) if count == 1 and kinds[axis] == "domain"]
    if slices_as_frames and len(picture) == 3 and not frames:
        frames = [picture.pop()]
        single = list(frames)
    while len(picture) < 2 and single:  # a picture that is one pixel wide
        picture = sorted([*picture, single.pop(0)])
    if len(picture) != 2 or len(frames) > 1 or len(samples) > 1:
        size = " x ".join(map(str, shape))
        raise DataError(f"{path}: a volume of {size}; expected one slice, or a cine: {stored.cine}.")
    if samples and shape[samples[0]] > 4:
        raise DataError(f"{path}: {shape[samples[0]]} samples a pixel; a picture has 1 to 4.")
    return Axes(
        samples[0] if samples else None,
        picture[0],
        picture[1],
        frames[0] if frames else None,
        single[0] if single else None,
    )


def beside(path: Path, name: str) -> Path:
    """The data file that a header names.

    A header must not reach for files elsewhere: with a server that takes uploads it could show any file of the machine.

    Raises:
        DataError: when it is not in the header's folder or below.
    """
    folder = os.path.abspath(path.parent)
    found = os.path.normpath(os.path.join(folder, name))
    if "\0" in name or os.path.commonpath([folder, found]) != folder or found == folder:
        raise DataError(f"{path}: its data file {shown(name)} does not lie beside it or in a folder below.")
    return Path(found)


def part_names(path: Path, pattern: str, first: int, last: int, step: int) -> list[str]:
    """Names that a pattern such as ``slice%03d.raw`` stands for.

    Raises:
        DataError: when it cannot be one.
    """
    try:
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if not 0 < len(numbers) <= MAX_PARTS or pattern.count("%") != 1:
            raise ValueError
        return [pattern % number for number in numbers]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: its data files {shown(pattern)} cannot be counted.") from error


def count_of(path: Path, values: list[str]) -> tuple[int, ...]:
    """Numbers of values along the axes.

    Raises:
        DataError: when one is not a positive whole number.
    """
    try:
        found = tuple(int(value) for value in values)
        if not found or min(found) < 1 or len(found) > 16 or math.prod(found) >= 2**62:
            raise ValueError
    except ValueError as error:
        raise DataError(f"{path}: the sizes in its header, {shown(' '.join(values))}, cannot be.") from error
    return found


def itk_affine(header: str, ending: str) -> np.ndarray:
    """The affine, (4, 4) in RAS, that SimpleITK finds in a file of one pixel with this header.

    ITK gets a copy of the lines on geometry and nothing else: it would load all values of a NRRD file to give one
    frame, and it goes by the ending of the name.

    Raises:
        RuntimeError: ITK's own, when it does not accept the geometry.
    """
    import SimpleITK

    with tempfile.TemporaryDirectory(prefix="casr-") as folder:
        file = Path(folder) / f"geometry{ending}"
        file.write_bytes(header.encode("ascii", "replace") + b"\0")
        image = SimpleITK.ReadImage(str(file))
    count = image.GetDimension()
    lps = np.eye(4)
    lps[:count, :count] = np.reshape(image.GetDirection(), (count, count)) * image.GetSpacing()
    lps[:count, 3] = image.GetOrigin()
    return LPS_TO_RAS @ lps
