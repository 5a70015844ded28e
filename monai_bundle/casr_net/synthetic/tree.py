"""Synthetic coronary trees: branching vessels on the surface of a heart, with Murray's law radii and stenoses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d

from .heart import BRANCHES, COURSES, Branch, heart_surface

__all__ = ["Segment", "Stenosis", "Tree", "grow_tree"]

# All lengths of the anatomy are in units of the heart's radius at its base; a pixel is about 1/150 of it.
STEP = 0.008  # between neighbouring samples of a centreline
MURRAY_EXPONENT = 3.0  # Murray, PNAS 12:207 (1926): r_parent^3 = r_child1^3 + r_child2^3
# A disc of this radius in pixels holds a pixel's centre wherever it lies, so no vessel has gaps in its mask.
SMALLEST_DISC = 0.75
TWIG_RADIUS = 0.95  # thinnest visible vessel, pixels at 512 columns
OSTIUM_RADIUS = {"LCA": (6.8, 8.8), "RCA": (5.8, 7.8)}  # pixels at 512 columns; set by looking at ica_nj
MAX_LEVEL = 3  # of branches of branches, counted from the ostium
TWIGS_PER_LENGTH = 7.0
STENOSIS_SHARE = (0.3, 0.8)  # of the diameter; from just visible to severe
WAVES = ((0.36, 0.085), (0.14, 0.045))  # wavelength of tortuosity and its amplitude as a share of the wavelength


@dataclass(frozen=True)
class Segment:
    """A vessel between two branchings.

    Attributes:
        id: index in the tree's list; a parent comes before its children.
        parent: id of the segment upstream, None at the ostium.
        vessel: name of the whole vessel, such as "LAD".
        course: (n, 3), angle (rad), latitude and depth on the heart, see ``COURSES``.
        offset: (n, 3), tortuous displacement from the course.
        radii: (n,) in pixels, with stenoses.
        distance: (n,), way that contrast takes from the ostium.
    """

    id: int
    parent: int | None
    vessel: str
    course: np.ndarray
    offset: np.ndarray
    radii: np.ndarray
    distance: np.ndarray

    def points(self, contraction: float = 0.0) -> np.ndarray:
        """(n, 3): components to the left ventricle's side, upwards and to the apex; contraction is 0 to 1."""
        return heart_surface(self.course, self.offset, contraction)


@dataclass(frozen=True)
class Stenosis:
    """A narrowing of a segment, from sample ``first`` to ``last`` and narrowest at ``index``; diameters in pixels."""

    segment: int
    index: int
    first: int
    last: int
    reference_diameter: float
    minimal_lumen_diameter: float

    @property
    def percent_diameter(self) -> float:
        return 100 * (1 - self.minimal_lumen_diameter / self.reference_diameter)


@dataclass
class Tree:
    """A coronary tree and what it was grown from; artery is "LCA" or "RCA"."""

    artery: str
    scale: float
    tortuosity: float
    segments: list[Segment] = field(default_factory=list)
    stenoses: list[Stenosis] = field(default_factory=list)

    @property
    def min_radius(self) -> float:
        """Radius in pixels below which no vessel goes."""
        return max(TWIG_RADIUS * self.scale, SMALLEST_DISC)


def grow_tree(rng: np.random.Generator, artery: str, scale: float, stenoses: int) -> Tree:
    """Grow a tree from its ostium.

    Args:
        rng: source of all randomness.
        artery: "LCA" or "RCA".
        scale: pixels per pixel of a 512 x 512 image.
        stenoses: how many stenoses to place; fewer when no vessel is wide enough for more.
    """
    tree = Tree(artery, scale, rng.uniform(0.4, 1.6))
    trunk = "LAD" if artery == "LCA" else "RCA"
    radius = rng.uniform(*OSTIUM_RADIUS[artery]) * scale
    # The scale of small images would leave the trunk no room for branches above the smallest disc.
    radius = max(radius, 1.6 * SMALLEST_DISC)
    _grow(rng, tree, trunk, _named_course(rng, trunk), radius, 0.4, None, np.zeros(3), 0.0, 0)
    for _ in range(stenoses):
        _add_stenosis(rng, tree)
    return tree


def _named_course(rng: np.random.Generator, name: str) -> np.ndarray:
    course = np.array(COURSES[name], float) * [np.pi / 180, 1, 1]
    course[1:] += rng.normal(0, (0.09, 0.03, 0.03), course[1:].shape)
    return course


def _side_course(rng: np.random.Generator, start: np.ndarray, tangent: np.ndarray, change: np.ndarray) -> np.ndarray:
    """A course that leaves along the parent's direction and bends to its own."""
    ahead = tangent / (np.linalg.norm(tangent) + 1e-9) * np.linalg.norm(change)
    control = start + rng.uniform(0.1, 0.3) * ahead + rng.uniform(0.15, 0.35) * change
    t = np.linspace(0, 1, 6)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * (start + change)


def _sample(course: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a smooth course, STEP apart in space, and their distances from its start."""
    knots = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(heart_surface(course), axis=0), axis=1))])
    spline = make_interp_spline(knots, course, k=min(3, len(course) - 1))
    fine = spline(np.linspace(0, knots[-1], 400))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(heart_surface(fine), axis=0), axis=1))])
    distance = np.linspace(0, length[-1], max(8, round(length[-1] / STEP)))
    return np.stack([np.interp(distance, length, column) for column in fine.T], axis=1), distance


def _wander(rng: np.random.Generator, distance: np.ndarray, tortuosity: float) -> np.ndarray:
    """(n, 3) smooth displacement that begins with 0."""
    total = np.zeros((len(distance), 3))
    for wavelength, amplitude in WAVES:
        sigma = wavelength / (4 * STEP)
        noise = gaussian_filter1d(rng.normal(size=(len(distance) + 8 * int(sigma + 1), 3)), sigma, axis=0)
        noise = noise[4 * int(sigma + 1) :][: len(distance)] * np.sqrt(2 * np.sqrt(np.pi) * sigma)
        total += tortuosity * amplitude * wavelength * (noise - noise[0])
    return total * np.minimum(1, distance / WAVES[0][0])[:, None]


def _grow(
    rng: np.random.Generator,
    tree: Tree,
    name: str,
    course: np.ndarray,
    radius: float,
    taper: float,
    parent: int | None,
    start_offset: np.ndarray,
    start_distance: float,
    level: int,
) -> None:
    """Add a vessel, cut into segments at its branchings, and then, recursively, its branches."""
    course, distance = _sample(course)
    offset = start_offset + _wander(rng, distance, tree.tortuosity)
    count, first, waiting = len(course), 0, []
    for at, branch in _branchings(rng, name, count, level):
        if at - first < 3:  # a segment has at least a few samples
            continue
        end_radius = max(radius * (1 - taper * (at - first) / count), tree.min_radius)
        side = rng.uniform(*branch.ratio) * end_radius
        rest = (end_radius**MURRAY_EXPONENT - side**MURRAY_EXPONENT) ** (1 / MURRAY_EXPONENT)
        if min(side, rest) < tree.min_radius:
            continue
        parent = _add_segment(tree, parent, name, course, offset, start_distance + distance, first, at, radius,
                              end_radius)  # fmt: skip
        waiting.append((branch, at, side, parent))
        first, radius = at, rest
    end_radius = max(radius * (1 - taper * (count - 1 - first) / count), tree.min_radius)
    _add_segment(tree, parent, name, course, offset, start_distance + distance, first, count - 1, radius, end_radius)
    for branch, at, side, stem in waiting:
        if branch.name in COURSES:
            path = _named_course(rng, branch.name)
            path[0] = course[at]
        else:
            change = np.array([np.deg2rad(rng.uniform(*branch.turn)), rng.uniform(*branch.descend),
                               rng.uniform(*branch.dive)])  # fmt: skip
            path = _side_course(rng, course[at], course[at] - course[at - 3], change)
        _grow(rng, tree, branch.name, path, side, branch.taper, stem, offset[at], start_distance + distance[at],
              level + 1)  # fmt: skip


def _branchings(rng: np.random.Generator, name: str, count: int, level: int) -> Sequence[tuple[int, Branch]]:
    """Indices of branchings in order, with the branches: the vessel's named ones and twigs."""
    found = [
        (round(rng.uniform(*branch.at) * (count - 1)), branch)
        for branch in BRANCHES.get(name, ())
        if rng.random() < branch.chance
    ]
    if level < MAX_LEVEL:
        first = 0.3 if level == 0 else 0.15
        for _ in range(rng.poisson(TWIGS_PER_LENGTH * count * STEP)):
            side, reach = rng.choice([-1, 1]), rng.uniform(0.3, 1.0) / (1 + 0.4 * level)
            turn = (side * rng.uniform(10, 32) * reach,) * 2
            twig = Branch(f"{name}-twig", (0, 1), (0.36, 0.66), turn, (0.06 * reach, 0.3 * reach), (-0.1, 0.05))
            found.append((round(rng.uniform(first, 0.95) * (count - 1)), twig))
    return sorted((item for item in found if 3 <= item[0] < count - 6), key=lambda item: item[0])


def _add_segment(
    tree: Tree,
    parent: int | None,
    name: str,
    course: np.ndarray,
    offset: np.ndarray,
    distance: np.ndarray,
    first: int,
    last: int,
    radius: float,
    end_radius: float,
) -> int:
    part = slice(first, last + 1)
    radii = np.linspace(radius, end_radius, last + 1 - first)
    tree.segments.append(Segment(len(tree.segments), parent, name, course[part], offset[part], radii, distance[part]))
    return tree.segments[-1].id


def _add_stenosis(rng: np.random.Generator, tree: Tree) -> None:
    """Narrow a segment that is wide and long enough and has no stenosis yet; none is, nothing happens."""
    pixel = 1 / (150 * tree.scale)
    taken = {stenosis.segment for stenosis in tree.stenoses}
    wide = [
        segment
        for segment in tree.segments
        if segment.id not in taken
        and len(segment.radii) >= 13
        and segment.radii.min() * (1 - STENOSIS_SHARE[0]) >= SMALLEST_DISC
        and (len(segment.radii) - 1) * STEP > 3 * segment.radii.mean() * pixel
    ]
    if not wide:
        return
    weights = np.array([len(segment.radii) * segment.radii.mean() for segment in wide])
    segment = wide[rng.choice(len(wide), p=weights / weights.sum())]
    count = len(segment.radii)
    middle = round(rng.uniform(0.4, 0.6) * (count - 1))
    healthy = segment.radii.copy()
    share = min(rng.uniform(*STENOSIS_SHARE), 1 - SMALLEST_DISC / healthy.min())
    half = int(min(rng.uniform(1.2, 3.0) * healthy[middle] * pixel / STEP, 0.8 * min(middle, count - 1 - middle)))
    profile = np.cos(np.pi / 2 * np.clip((np.arange(count) - middle) / (half + 1), -1, 1)) ** 2
    segment.radii[:] = healthy * (1 - share * profile)
    index = middle - half + int(np.argmin(segment.radii[middle - half : middle + half + 1]))
    tree.stenoses.append(
        Stenosis(segment.id, index, middle - half, middle + half, 2 * float(healthy[index]),
                 2 * float(segment.radii[index]))
    )  # fmt: skip
