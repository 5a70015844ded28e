"""Reading of NRRD, MetaImage and NIfTI files: one slice or a cine, with the geometry that the header states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import CASRError, DataError, shown
from .frames import FrameSource, Opened, check_extent
from .geometry import LPS_TO_RAS, usable_affine
from .metaimage_header import read_metaimage_header
from .nifti_header import is_nifti, read_nifti_header
from .nrrd_header import read_nrrd_header
from .stored import Axes, Stored, arrange
from .streams import open_values

__all__ = ["open_volume"]


def open_volume(path: str | Path, slices_as_frames: bool = False) -> Opened:
    """Open a file; its format is told by its content. Only the header is read.

    Args:
        path: NRRD (also with detached data, ``.nhdr``), MetaImage (``.mha``, ``.mhd``) or NIfTI (``.nii``,
            ``.nii.gz``), with two axes of lengths, at most one of frames and one of samples. A NRRD axis of kind
            "list" or "time" is frames, so are the fourth axis of NIfTI and MetaImage, and components that are too many
            for colours.
        slices_as_frames: take the slices of a volume for frames: programs that load a cine as a volume, such as 3D
            Slicer, write its label map so. Only for a caller who knows how many frames there should be.

    Returns:
        the frames, with ``bits`` 8 for bytes; ``affine`` has the columns of x, y and the single slice.

    Raises:
        DataError: when the file is missing, no image, a volume, too large, or shorter than its header says.
    """
    path = Path(path)
    try:
        stored = _reader(path)(path)
        axes = arrange(path, stored, slices_as_frames)
        affine, usable = _affine(stored, axes)
        source = _frames(path, stored, axes)
    except CASRError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except Exception as error:  # damaged headers find ways that nobody thought of
        words = " ".join(str(error).split()).rstrip(".")
        reason = shown(words, 120).strip("'\"") if words else type(error).__name__
        raise DataError(f"{path}: the file is damaged: its header cannot be read ({reason}).") from error
    plain = source.dtype == np.uint8 and not isinstance(source, _ScaledFrames)
    placed = stored.placed and usable
    return Opened(source, stored.format, affine, 8 if plain else 0, warnings=stored.warnings, placed=placed)


def _reader(path: Path) -> Callable[[Path], Stored]:
    with open(path, "rb") as stream:
        start = stream.read(4)
    if start == b"NRRD":
        return read_nrrd_header
    if start[:2] == b"\x1f\x8b" or is_nifti(start):
        return read_nifti_header
    named = path.name.lower()
    if named.endswith((".mha", ".mhd")):
        return read_metaimage_header
    return read_nrrd_header if named.endswith((".nrrd", ".nhdr")) else read_nifti_header


def _frames(path: Path, stored: Stored, axes: Axes) -> FrameSource:
    """The axes of one value are dropped and the order is turned: the slowest axis first, as numpy has it."""
    numbers = (axes.samples, axes.columns, axes.rows, axes.frames)
    counts = [1 if number is None else stored.shape[number] for number in numbers]
    check_extent(path, (counts[1], counts[2]), counts[3], counts[0], stored.dtype.itemsize)
    kept = sorted((number for number in numbers if number is not None), reverse=True)
    samples, columns, rows, frames = (None if number is None else kept.index(number) for number in numbers)
    assert columns is not None and rows is not None
    shape = tuple(stored.shape[number] for number in kept)
    found = open_values(path, stored.parts, stored.encoding, stored.dtype, shape, (samples, columns, rows, frames))
    if (stored.slope, stored.intercept) == (1.0, 0.0):
        return found
    return _ScaledFrames(found, stored.slope, stored.intercept)


def _affine(stored: Stored, axes: Axes) -> tuple[np.ndarray, bool]:
    """Columns of the picture's axes and its normal; what is missing or cannot be used is replaced, and said. And
    whether nothing had to be."""
    affine = stored.affine.copy()
    columns = {axis: stored.affine[:3, number] for number, axis in enumerate(stored.lengths[:3])}
    if stored.lengths:
        for number, axis in enumerate((axes.columns, axes.rows)):
            affine[:3, number] = columns.get(axis, np.full(3, np.nan))
        normal = columns.get(-1 if axes.normal is None else axes.normal)
        # A picture of two axes says nothing about a third.
        affine[:3, 2] = normal if normal is not None else _normal(affine)
    usable, warning = usable_affine(affine)
    if warning:
        stored.warnings.append(warning)
    return usable, warning is None


def _normal(affine: np.ndarray) -> np.ndarray:
    """Of length 1, to the side on which ITK has the third axis of a picture with plain axes."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    length = float(np.linalg.norm(normal))
    return normal / length if np.isfinite(length) and length > 0 else LPS_TO_RAS[:3, 2].copy()


class _ScaledFrames:
    """Frames whose stored values stand for others: slope times value plus intercept."""

    def __init__(self, source: FrameSource, slope: float, intercept: float) -> None:
        self._source, self._slope, self._intercept = source, slope, intercept
        self.count, self.size, self.samples = source.count, source.size, source.samples
        self.dtype = np.dtype(np.float64)

    def frame(self, index: int) -> np.ndarray:
        return self._source.frame(index) * self._slope + self._intercept

    def close(self) -> None:
        self._source.close()
