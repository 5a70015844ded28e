"""Where the coronary arteries lie on the heart: courses and branches by name, and the heart's beat.

The courses follow textbook anatomy; the ranges are our choice, set by looking at projections beside real angiograms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BRANCHES", "COURSES", "Branch", "heart_surface"]

HEART_LENGTH = 1.5  # from base to apex, in units of the radius at the base
WIDTH = 0.8  # of the base from side to side, over its height
CONTRACTION = (0.16, 0.10, 0.14, 0.10)  # at end-systole: loss of radius and length, twist (rad), descent of the base


@dataclass(frozen=True)
class Branch:
    """How a named side branch leaves its vessel; pairs are ranges of uniform draws.

    Attributes:
        name: anatomical name.
        at: share of the parent's length.
        ratio: radius over the parent's radius.
        turn: change of the angle around the heart's axis, degrees.
        descend: change of the latitude: 1 is from base to apex.
        dive: change of the depth, as a share of the heart's radius; negative is into the muscle.
        chance: probability that the branch is there.
        taper: share of the radius that is lost along the branch, besides what its own branches take.
    """

    name: str
    at: tuple[float, float]
    ratio: tuple[float, float]
    turn: tuple[float, float]
    descend: tuple[float, float]
    dive: tuple[float, float] = (-0.02, 0.02)
    chance: float = 1.0
    taper: float = 0.35


# Courses: angle around the axis (degrees; 0 is the anterior interventricular groove, positive towards the left
# ventricle's free wall), latitude (0 the atrioventricular groove, 1 the apex), depth (0 on the surface).
COURSES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "LAD": ((-8, -0.12, -0.42), (14, -0.03, -0.12), (14, 0.08, 0.02), (4, 0.28, 0), (-2, 0.5, 0), (0, 0.74, 0),
            (8, 0.93, 0)),
    "LCx": ((16, 0.0, 0), (45, 0.02, 0.03), (85, 0.03, 0.03), (120, 0.08, 0), (142, 0.24, 0), (150, 0.42, 0)),
    "RCA": ((-10, -0.14, -0.5), (-30, -0.1, -0.12), (-55, 0.0, 0.06), (-95, 0.05, 0.1), (-135, 0.04, 0.05),
            (-172, 0.03, 0), (-196, 0.1, 0), (-212, 0.32, 0)),
}  # fmt: skip
BRANCHES: dict[str, tuple[Branch, ...]] = {
    "LAD": (
        Branch("LCx", (0.12, 0.2), (0.76, 0.90), (0, 0), (0, 0), taper=0.4),
        Branch("D1", (0.24, 0.38), (0.55, 0.74), (22, 48), (0.32, 0.52)),
        Branch("D2", (0.5, 0.62), (0.45, 0.65), (15, 40), (0.25, 0.4), chance=0.8),
        Branch("D3", (0.68, 0.8), (0.4, 0.6), (-30, 35), (0.12, 0.25), chance=0.5),
        *(Branch(f"S{i + 1}", (0.22 + 0.09 * i, 0.3 + 0.09 * i), (0.26, 0.4), (-25, -6), (0.12, 0.3), (-0.45, -0.2),
                 chance=0.85) for i in range(7)),
    ),
    "LCx": (
        Branch("OM1", (0.12, 0.3), (0.6, 0.8), (5, 35), (0.4, 0.62)),
        Branch("OM2", (0.38, 0.55), (0.5, 0.75), (0, 25), (0.32, 0.5), chance=0.8),
        Branch("OM3", (0.62, 0.75), (0.45, 0.7), (0, 22), (0.2, 0.4), chance=0.5),
        Branch("LA", (0.1, 0.35), (0.28, 0.4), (5, 45), (-0.28, -0.12), chance=0.5),
    ),
    "RCA": (
        Branch("conus", (0.08, 0.14), (0.28, 0.42), (18, 45), (0.08, 0.3), chance=0.7),
        Branch("SA", (0.1, 0.18), (0.25, 0.38), (-5, 30), (-0.4, -0.22), (-0.3, 0), chance=0.6),
        Branch("RV1", (0.28, 0.4), (0.35, 0.5), (15, 45), (0.25, 0.45), chance=0.8),
        Branch("RV2", (0.45, 0.58), (0.38, 0.55), (5, 40), (0.3, 0.55)),
        Branch("PDA", (0.72, 0.8), (0.68, 0.85), (-12, 10), (0.5, 0.75), taper=0.4),
        Branch("PL1", (0.85, 0.9), (0.5, 0.7), (-15, 5), (0.25, 0.45)),
    ),
}  # fmt: skip


def heart_surface(course: np.ndarray, offset: np.ndarray | float = 0.0, contraction: float = 0.0) -> np.ndarray:
    """Positions in space of points given as in ``COURSES``, but with the angle in radians.

    Args:
        course: (n, 3), angle, latitude and depth.
        offset: (n, 3), added to the position at rest.
        contraction: 0 in end-diastole to 1 in end-systole.

    Returns:
        (n, 3), components to the left ventricle's side, upwards and to the apex, in radii of the heart's base.
    """
    narrowing, shortening, twist, descent = (contraction * share for share in CONTRACTION)
    angle, latitude, depth = course.T
    angle = angle + twist * latitude
    ring = np.cos(latitude * np.pi / 2) * (1 + depth)
    axial = HEART_LENGTH * np.sin(latitude * np.pi / 2)
    moved = np.stack([WIDTH * ring * np.sin(angle), ring * np.cos(angle), axial], axis=1) + offset
    return moved * (1 - np.array([narrowing, narrowing, shortening])) + np.array([0, 0, descent])
