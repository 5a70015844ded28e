"""Masks of two files brought onto one grid, by where the files say that their pixels lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from ..errors import DataError
from ..files.masks import MaskFile

__all__ = ["Alignment", "Grid", "align"]

EXACT = 0.1
"""Pixels by which places may differ and still be called the same; affines are often stored in single precision."""


@dataclass(frozen=True)
class Grid:
    """Pixels in space.

    Attributes:
        affine: (4, 4), from index (x, y, 0) to millimetres, RAS.
        size: columns and rows.
    """

    affine: np.ndarray
    size: tuple[int, int]

    @property
    def spacing(self) -> np.ndarray:
        """(2,) millimetres along X and Y."""
        return np.linalg.norm(self.affine[:3, :2], axis=0)

    @property
    def corners(self) -> np.ndarray:
        """(4, 2) indices of the outer corners; a pixel reaches half a pixel around its centre."""
        x, y = self.size[0] - 0.5, self.size[1] - 0.5
        return np.array([[-0.5, -0.5], [x, -0.5], [-0.5, y], [x, y]])

    def points(self, indices: np.ndarray) -> np.ndarray:
        """(n, 3) millimetres of (n, 2) indices."""
        return indices @ self.affine[:3, :2].T + self.affine[:3, 3]

    def indices(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """(n, 2) indices of the nearest places in the plane, and the largest distance from the plane in millimetres."""
        axes, moved = self.affine[:3, :2], points - self.affine[:3, 3]
        found = moved @ np.linalg.pinv(axes).T
        return found, float(np.linalg.norm(moved - found @ axes.T, axis=1).max())

    def covers(self, other: Grid, tolerance: float) -> bool:
        """Whether all of another grid lies in this one, up to so many millimetres."""
        found, _ = self.indices(other.points(other.corners))
        slack = tolerance / self.spacing
        return bool((found >= -0.5 - slack).all() and (found <= np.array(self.size) - 0.5 + slack).all())

    def at_origin(self) -> bool:
        """Whether the first pixel lies in the origin and the axes run along the patient's, each in its own order."""
        flat = np.abs(self.affine[:3, :2])
        return not self.affine[:3, 3].any() and flat[0, 0] > 0 < flat[1, 1] and flat.sum() == flat[0, 0] + flat[1, 1]

    def __str__(self) -> str:
        points = self.points(self.corners)
        ends = zip("RAS", points.min(axis=0), points.max(axis=0), strict=True)
        return ", ".join(f"{name} {low:.6g} to {high:.6g}" for name, low, high in ends) + " mm"


@dataclass(frozen=True)
class Alignment:
    """How the masks of two files come to lie on one grid.

    Attributes:
        size: columns and rows of that grid.
        prediction, reference: (2, 3), from its indices to those of each file.
        warnings: what was done that a user should know, one line each.
    """

    size: tuple[int, int]
    prediction: np.ndarray
    reference: np.ndarray
    warnings: tuple[str, ...] = ()

    def bring(self, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """bool (X, Y) on the common grid: of the nearest pixel, False outside of the mask.

        Args:
            mask: bool (X, Y) on a file's own grid.
            matrix: :attr:`prediction` or :attr:`reference`.
        """
        if mask.shape == self.size and np.array_equal(matrix, np.eye(2, 3)):
            return mask
        values = affine_transform(
            mask.astype(np.uint8), matrix[:, :2], matrix[:, 2], self.size, order=0, mode="grid-constant"
        )
        return np.asarray(values > 0)


def align(prediction: MaskFile, reference: MaskFile) -> Alignment:
    """Find the grid on which two masks are compared: the reference's, or the prediction's where only that covers both.

    Where one file does not state its place, as a PNG, pixels are compared as they lie in the files. Where both do:
    axes in another order or direction are put right, pixel by pixel; a part of the other's grid, such as a label map
    cut to its content, is completed with background, and said; grids of other spacing on the same place are compared by
    nearest neighbours, and said. All else lies in different places.

    Programs that know no place write unit axes at the origin: right and anterior in nibabel, left and posterior in ITK
    and here. Where such a file and another one at the origin do not meet in space, but have the same number of pixels,
    pixels are compared as they lie in the files, and said.

    Raises:
        DataError: when the masks lie in different places or planes, or, compared by pixels, differ in size.
    """
    if prediction.affine is None or reference.affine is None:
        return _by_pixels(prediction, reference, *_turned(prediction, reference), *_turned(reference, prediction))
    first, second = Grid(prediction.affine, prediction.size), Grid(reference.affine, reference.size)
    tolerance = 0.5 * float(max(*first.spacing, *second.spacing))
    inside, outside = second.covers(first, tolerance), first.covers(second, tolerance)
    _, distance = second.indices(first.points(first.corners))
    matrix, exact = _between(second, first)
    if distance <= tolerance and ((exact and (inside or outside)) or (inside and outside)):
        said = []
        if not exact:
            said.append(
                f"{prediction.path}: {_grid(first)}, compared by nearest neighbours with its reference "
                f"{reference.path}: {_grid(second)}"
            )
        elif not (inside and outside):
            part, whole = (prediction, reference) if inside else (reference, prediction)
            said.append(f"{part.path}: covers a part of {whole.path}; the rest counts as background")
        if inside:
            return Alignment(second.size, matrix, np.eye(2, 3), tuple(said))
        return Alignment(first.size, np.eye(2, 3), _between(first, second)[0], tuple(said))
    units = any(np.allclose(grid.spacing, 1, atol=1e-6) for grid in (first, second))
    if units and first.at_origin() and second.at_origin() and first.size == second.size:
        return _by_pixels(
            prediction,
            reference,
            f"{prediction.path}: unit axes at the origin state no place; compared with its reference pixel by pixel",
        )
    what = "in another plane than" if distance > tolerance else "at another place than"
    raise DataError(
        f"{prediction.path}: lies {what} its reference {reference.path}: {first}, against {second}. "
        "Masks without geometry, such as PNG, are compared pixel by pixel."
    )


def _by_pixels(prediction: MaskFile, reference: MaskFile, *warnings: str) -> Alignment:
    if prediction.size != reference.size:
        (a, b), (c, d) = prediction.size, reference.size
        raise DataError(
            f"{prediction.path}: {a} x {b} pixels, but its reference {reference.path} has {c} x {d}; "
            "sizes must be the same."
        )
    return Alignment(reference.size, np.eye(2, 3), np.eye(2, 3), warnings)


def _turned(placed: MaskFile, other: MaskFile) -> list[str]:
    """What is said when a file's axes do not run as a picture's do, to the patient's left and back, and the other file
    states no place, so that nobody can tell whether it was meant so."""
    if placed.affine is None:
        return []
    grid = Grid(placed.affine, placed.size)
    right, anterior = grid.affine[0, :2], grid.affine[1, :2]
    if grid.at_origin() or (right[0] < -abs(right[1]) and anterior[1] < -abs(anterior[0])):
        return []
    return [
        f"{placed.path}: its axes run otherwise than a picture's; compared pixel by pixel, as they lie in the file, "
        f"with {other.path}, which states no place"
    ]


def _between(grid: Grid, other: Grid) -> tuple[np.ndarray, bool]:
    """(2, 3) from indices of a grid to those of another, and whether pixel falls on pixel; then it is whole numbers."""
    start, along_x, along_y = other.indices(grid.points(np.array([[0.0, 0], [1, 0], [0, 1]])))[0]
    matrix = np.stack([along_x - start, along_y - start, start], axis=1)
    rounded = matrix.round()
    ends = np.concatenate([grid.corners, np.ones((4, 1))], axis=1)
    exact = abs(np.linalg.det(rounded[:, :2])) == 1 and bool(np.abs(ends @ (matrix - rounded).T).max() <= EXACT)
    return (rounded if exact else matrix), exact


def _grid(grid: Grid) -> str:
    (columns, rows), (x, y) = grid.size, grid.spacing
    return f"{columns} x {rows} pixels of {x:.4g} x {y:.4g} mm"
