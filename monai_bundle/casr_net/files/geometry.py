"""Where a picture lies in the patient's space: affines that can be used, whatever a header states."""

from __future__ import annotations

import numpy as np

__all__ = ["LPS_TO_RAS", "axis_length", "usable_affine"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

SMALLEST, LARGEST = 1e-6, 1e6
"""Millimetres that a pixel may measure. What is outside was no length when it was written."""
FLATTEST = 1e-3
"""Determinant of the unit axes below which they lie, for any practical use, in one plane."""


def usable_affine(affine: np.ndarray) -> tuple[np.ndarray, str | None]:
    """An affine that can be inverted, as near to the given one as may be.

    A picture has two axes; where only the third one is missing, zero or within the plane, it becomes their normal.
    Where one of the first two has no length or no direction, no scale is left that could be trusted: spacing 1 mm and
    the axes of LPS are taken, as in files that state no geometry. An origin that is not finite becomes 0.

    Args:
        affine: (4, 4), from index to millimetres, RAS; any values.

    Returns:
        the affine, (4, 4), not singular and finite; and what was wrong, in words, or None.
    """
    given = np.array(affine, float)
    result, faults = np.eye(4), []
    if np.isfinite(given[:3, 3]).all():
        result[:3, 3] = given[:3, 3]
    else:
        faults.append("its origin is not finite and was taken for 0")
    lengths = np.array([axis_length(axis) for axis in given[:3, :3].T])
    units = given[:3, :3] / np.where(lengths > 0, lengths, 1)
    if not lengths[:2].all() or np.linalg.norm(np.cross(units[:, 0], units[:, 1])) < FLATTEST:
        result[:3, :3] = LPS_TO_RAS[:3, :3]
        faults.insert(
            0, "its spacing or its axes are zero, not finite or parallel; spacing 1 and plain axes were taken"
        )
    else:
        result[:3, :3] = given[:3, :3]
        if not lengths[2] or abs(np.linalg.det(units)) < FLATTEST:
            normal = np.cross(units[:, 0], units[:, 1])
            result[:3, 2] = normal / np.linalg.norm(normal)
            faults.insert(0, "its third axis is zero, not finite or within the picture; the normal was taken")
    return result, "; ".join(faults) or None


def axis_length(axis: np.ndarray) -> float:
    """Millimetres from one index to the next; 0 for an axis that has no length, or none that a pixel can have."""
    length = float(np.abs(axis).max()) if np.isfinite(axis).all() else 0.0
    length = float(np.linalg.norm(axis)) if SMALLEST / 2 < length < LARGEST else 0.0
    return length if SMALLEST <= length <= LARGEST else 0.0
