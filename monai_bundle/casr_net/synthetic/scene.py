"""What is in front of the detector: patient, view, catheter, collimator and image quality, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .background import Collimator, anatomy, collimator
from .tree import Tree, grow_tree
from .xray import Detector

__all__ = ["MAX_SIZE", "MIN_SIZE", "Scene", "make_scene"]

MIN_SIZE, MAX_SIZE = 64, 2048
ATTENUATION = (0.030, 0.060)  # of contrast agent, per pixel of thickness at 512 columns
CATHETER_RADIUS = (2.8, 4.0)  # pixels at 512 columns
REFLUX_CHANCE = 0.4  # of contrast flowing back into the aorta
# View angles in degrees: rotation about the vertical from the end-on view, tilt of the apex downwards, roll clockwise.
VIEWS: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    ("LCA", "RAO"): ((58, 88), (-15, 20), (5, 38)),
    ("LCA", "LAO"): ((-5, 30), (20, 48), (-15, 12)),
    ("RCA", "LAO"): ((-10, 22), (-5, 30), (-10, 12)),
    ("RCA", "RAO"): ((50, 78), (-10, 20), (-5, 25)),
}
SHARES = {("LCA", "RAO"): 0.39, ("LCA", "LAO"): 0.27, ("RCA", "LAO"): 0.26, ("RCA", "RAO"): 0.08}  # as in ica_nj


@dataclass(frozen=True)
class Scene:
    """All that the frames of a cine share.

    Attributes:
        seed: what the scene was made from.
        size: rows and columns.
        tree: the coronary tree.
        projection: "LAO" or "RAO".
        view: (3, 3), from the heart's axes to x, y (downwards) and depth.
        pixels: pixels per radius of the heart's base.
        shift: (2,), x and y of the heart's origin in pixels.
        still: optical depth of the chest wall, (rows, columns).
        moving: optical depth of what breathing moves, (rows, columns).
        collimator: the exposed field.
        catheter: (n, 2), x and y in pixels, from beyond the border into the ostium.
        catheter_radius: pixels.
        attenuation: optical depth of contrast agent per pixel of thickness.
        detector: image quality.
        reflux: share of full contrast in the aortic sinus.
    """

    seed: int
    size: int
    tree: Tree
    projection: str
    view: np.ndarray
    pixels: float
    shift: np.ndarray
    still: np.ndarray
    moving: np.ndarray
    collimator: Collimator
    catheter: np.ndarray
    catheter_radius: float
    attenuation: float
    detector: Detector
    reflux: float

    @property
    def scale(self) -> float:
        return self.size / 512


def make_scene(seed: int, size: int, stenoses: int | None) -> Scene:
    """Draw everything but motion, contrast and noise.

    Args:
        seed: not negative.
        size: rows and columns, 64 to 2048.
        stenoses: how many; None draws 0, 1 or 2.

    Raises:
        UsageError: when an argument is out of its range.
    """
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must not be negative.")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"size is {size}; it must be from {MIN_SIZE} to {MAX_SIZE}.")
    if stenoses is not None and stenoses < 0:
        raise UsageError(f"stenoses is {stenoses}; it must not be negative.")
    rng = np.random.default_rng(seed)
    views = list(VIEWS)
    artery, projection = views[rng.choice(len(views), p=[SHARES[view] for view in views])]
    scale = size / 512
    tree = grow_tree(rng, artery, scale, int(rng.integers(0, 3)) if stenoses is None else stenoses)
    view = _view(*(np.deg2rad(rng.uniform(*angles)) for angles in VIEWS[artery, projection]))
    flat = np.concatenate([segment.points() for segment in tree.segments])[:, :3] @ view[:2].T
    low, high = np.percentile(flat, [1, 99], axis=0)
    extent = (high - low).max()
    pixels = size * rng.uniform(0.7, 0.95) / extent
    room = np.maximum(size - (high - low) * pixels, 0)
    shift = room * rng.uniform(0.3, 0.7, 2) - low * pixels
    box = np.stack([low, high]) * pixels + shift
    still, moving = anatomy(rng, size, box / size, projection)
    trunk = tree.segments[0].points() @ view[:2].T * pixels + shift
    return Scene(
        seed=seed, size=size, tree=tree, projection=projection, view=view, pixels=pixels, shift=shift, still=still,
        moving=moving, collimator=collimator(rng, size), catheter=_catheter(rng, trunk, size),
        catheter_radius=max(rng.uniform(*CATHETER_RADIUS) * scale, 0.7),
        attenuation=rng.uniform(*ATTENUATION) / scale, detector=_detector(rng, scale),
        reflux=float(rng.random() < REFLUX_CHANCE) * rng.uniform(0.3, 1.0),
    )  # fmt: skip


def _detector(rng: np.random.Generator, scale: float) -> Detector:
    return Detector(
        blur=rng.uniform(0.9, 1.5) * scale,
        photons=float(np.exp(rng.uniform(np.log(1500), np.log(15000)))),
        grain=rng.uniform(0.55, 0.95),
        level=rng.uniform(90, 135),
        gamma=rng.uniform(0.85, 1.4),
        sharpening=rng.uniform(0, 0.7),
        quality=int(rng.integers(75, 96)),
    )


def _view(rotation: float, tilt: float, roll: float) -> np.ndarray:
    """(3, 3) matrix from the heart's axes (left ventricle's side, up, apex) to x, y downwards, depth."""
    c, s = np.cos(rotation), np.sin(rotation)
    about_up = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(tilt), np.sin(tilt)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(roll), np.sin(roll)
    in_plane = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    return np.diag([1.0, -1.0, 1.0]) @ in_plane @ about_x @ about_up


def _catheter(rng: np.random.Generator, trunk: np.ndarray, size: int) -> np.ndarray:
    """(n, 2) course from beyond the border down the aorta, round its bend and into the ostium."""
    ostium = trunk[0]
    into = trunk[min(12, len(trunk) - 1)] - ostium
    into = into / (np.linalg.norm(into) + 1e-9)
    side = -1.0 if into[0] > 0 else 1.0  # the shaft lies opposite to where the artery goes
    # A Judkins catheter: down along the aorta's outer wall, a wide secondary and a tight primary bend, then the tip.
    tip = ostium - into * size * rng.uniform(0.03, 0.07)
    low = tip + np.array([0.5 * side * rng.uniform(0.05, 0.1), rng.uniform(0.0, 0.1)]) * size
    shaft = low + np.array([side * rng.uniform(0.03, 0.1), -rng.uniform(0.02, 0.12)]) * size
    middle = np.array([shaft[0] + side * rng.uniform(-0.02, 0.04) * size, 0.4 * shaft[1]])
    far = np.array([middle[0] + side * rng.uniform(-0.08, 0.12) * size, -0.05 * size])
    knots = np.array([far, middle, shaft, low, tip, ostium, trunk[min(8, len(trunk) - 1)]])
    for _ in range(5):  # Chaikin's corner cutting: a smooth curve that stays near its knots
        quarter = np.stack([0.75 * knots[:-1] + 0.25 * knots[1:], 0.25 * knots[:-1] + 0.75 * knots[1:]], axis=1)
        knots = np.concatenate([knots[:1], quarter.reshape(-1, 2), knots[-1:]])
    return knots
