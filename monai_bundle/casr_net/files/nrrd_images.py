"""NRRD input: one slice or a cine, with the geometry that the header states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

__all__ = ["LPS_TO_RAS", "read_nrrd"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: first two axes of the spaces that NRRD names, as signs towards right and anterior
SPACES = {
    "right-anterior-superior": (1, 1),
    "ras": (1, 1),
    "left-anterior-superior": (-1, 1),
    "las": (-1, 1),
    "left-posterior-superior": (-1, -1),
    "lps": (-1, -1),
}


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read pixels and geometry.

    Args:
        path: NRRD file with two spatial axes, at most one axis of frames (kind "time" or "list") and one of samples.

    Returns:
        pixels (samples, X, Y, frames), and affine (4, 4) from index (x, y, z) to millimetres, RAS. A file without a
        named space is taken as LPS, as ITK does; missing geometry is completed by unit axes.

    Raises:
        DataError: when the axes are those of a volume.
    """
    import nrrd

    array, header = nrrd.read(str(path))
    kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * array.ndim)]
    samples = [i for i, kind in enumerate(kinds) if "color" in kind or "vector" in kind][:1]
    times = [i for i, kind in enumerate(kinds) if kind in ("time", "list") and array.shape[i] > 1]
    spatial = [i for i in range(array.ndim) if i not in samples + times and array.shape[i] > 1]
    if len(spatial) != 2 or len(times) > 1:
        shape = " x ".join(map(str, array.shape))
        raise DataError(
            f"{path}: a volume of {shape}; expected one slice, or a cine with an axis of kind 'time' or 'list'."
        )
    single = [i for i in range(array.ndim) if i not in samples + times + spatial]
    ordered = array.transpose(samples + spatial + times + single)
    sample_count = array.shape[samples[0]] if samples else 1
    pixels = ordered.reshape(sample_count, *(array.shape[i] for i in spatial), -1)
    return pixels, _affine(header, [*spatial, *single])


def _affine(header: dict[str, Any], axes: list[int]) -> np.ndarray:
    """Affine in RAS; ``axes`` are the array's axes that become x, y and, if there is one, z."""
    affine = np.eye(4)
    directions = header.get("space directions")
    if directions is not None:
        table = np.atleast_2d(np.asarray(directions, float))
        for column, axis in enumerate(axes[:3]):
            if np.isfinite(table[axis]).all():
                affine[: table.shape[1], column] = table[axis]
        origin = np.asarray(header.get("space origin", np.zeros(table.shape[1])), float)
        affine[: len(origin), 3] = origin
    elif "spacings" in header:
        spacings = np.asarray(header["spacings"], float)
        for column, axis in enumerate(axes[:3]):
            if np.isfinite(spacings[axis]):
                affine[column, column] = spacings[axis]
    space = str(header.get("space", "lps")).lower().removesuffix("-time")
    right, anterior = SPACES.get(space, SPACES["lps"])
    return np.diag([right, anterior, 1.0, 1.0]) @ affine
