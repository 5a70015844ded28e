"""Angiograms without contrast: catheters, guide wires, leads and bones, and not one vessel to find."""

from __future__ import annotations

import numpy as np

from .angiogram import SyntheticAngiogram
from .background import tube
from .scene import Scene, make_scene
from .tree import Tree
from .xray import expose

__all__ = ["make_negative"]

# Chances, radii (pixels at 512 columns) and optical depths in the middle of what metal may be in the field. Our choice.
GUIDE_WIRE, GUIDE_RADIUS, GUIDE_DEPTH, GUIDE_TIP = 0.6, (0.5, 0.9), (0.10, 0.25), (0.3, 0.6)
SECOND_CATHETER, CATHETER_DEPTH = 0.3, (0.45, 0.95)  # share of what a tube full of contrast has
LEAD, LEAD_RADIUS, LEAD_DEPTH = 0.25, (1.2, 2.4), (0.25, 0.6)
STERNAL, STERNAL_RADIUS, STERNAL_DEPTH = 0.25, (0.9, 1.4), (0.4, 0.8)
TIP_SHARE = 0.15  # of a guide wire's course, the coiled end that shows more


def make_negative(seed: int, size: int = 512) -> SyntheticAngiogram:
    """Make an angiogram before the contrast: what a network must leave alone.

    Anatomy, catheter, collimator and image quality are those of :func:`casr_net.synthetic.make_angiogram`; a guide wire
    in an artery, a second catheter, a pacing lead and sternal wires may come on top.

    Args:
        seed: not negative; equal seeds give equal images.
        size: rows and columns, 64 to 2048.

    Returns:
        image; a mask without a vessel; truth with seed, size, artery, projection and "objects", names of what lies in
        the field besides the catheter.

    Raises:
        UsageError: when an argument is out of its range.
    """
    scene = make_scene(seed, size, 0)
    rng = np.random.default_rng([seed, 3])
    depth = scene.attenuation * rng.uniform(*CATHETER_DEPTH) * tube(scene.catheter, scene.catheter_radius, size)
    objects: list[str] = []
    if rng.random() < GUIDE_WIRE:
        objects.append("guide wire")
        course = _course(rng, scene)
        tip = course[-max(2, int(TIP_SHARE * len(course))) :]
        radius = rng.uniform(*GUIDE_RADIUS) * scene.scale
        depth = depth + _wire(course, radius, rng.uniform(*GUIDE_DEPTH), size)
        depth = depth + _wire(tip, radius, rng.uniform(*GUIDE_TIP), size)
    if rng.random() < SECOND_CATHETER:
        objects.append("second catheter")
        radius = scene.catheter_radius * rng.uniform(0.7, 1.0)
        depth = depth + scene.attenuation * rng.uniform(*CATHETER_DEPTH) * tube(_across(rng, size), radius, size)
    if rng.random() < LEAD:
        objects.append("lead")
        radius = rng.uniform(*LEAD_RADIUS) * scene.scale
        depth = depth + _wire(_across(rng, size, end=0.6), radius, rng.uniform(*LEAD_DEPTH), size)
    if rng.random() < STERNAL:
        objects.append("sternal wires")
        for loop in _loops(rng, size):
            depth = depth + _wire(loop, rng.uniform(*STERNAL_RADIUS) * scene.scale, rng.uniform(*STERNAL_DEPTH), size)
    noise = np.random.default_rng([seed, 4])
    image = expose(noise, scene.detector, scene.still + scene.moving, depth, scene.collimator)
    truth = {"seed": seed, "size": size, "artery": scene.tree.artery, "projection": scene.projection,
             "objects": objects, "branches": [], "stenoses": []}  # fmt: skip
    return SyntheticAngiogram(image, np.zeros((size, size), bool), truth)


def _wire(points: np.ndarray, radius: float, depth: float, size: int) -> np.ndarray:
    """Optical depth of a metal wire, (rows, columns), with ``depth`` along its middle."""
    radius = max(radius, 0.5)
    return depth * tube(points, radius, size) / (2 * radius)


def _course(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """(n, 2) from the catheter's end down one artery of the scene, to a leaf or not quite."""
    tree: Tree = scene.tree
    parents = {segment.parent for segment in tree.segments}
    leaves = [segment for segment in tree.segments if segment.id not in parents]
    segment = leaves[rng.integers(len(leaves))]
    chain = [segment]
    while segment.parent is not None:
        segment = tree.segments[segment.parent]
        chain.insert(0, segment)
    points = np.concatenate([part.points() @ scene.view[:2].T for part in chain]) * scene.pixels + scene.shift
    return points[: max(2, int(rng.uniform(0.5, 1.0) * len(points)))]


def _across(rng: np.random.Generator, size: int, end: float = 1.05) -> np.ndarray:
    """(n, 2) gently bent course from beyond the upper border down to a share of the side."""
    down = np.linspace(-0.05, end, 60)
    x = rng.uniform(0.15, 0.85) + rng.uniform(-0.25, 0.25) * down
    x = x + rng.uniform(0.02, 0.1) * np.sin(2 * np.pi * (down * rng.uniform(0.5, 1.2) + rng.uniform()))
    return np.stack([x, down], axis=1) * size


def _loops(rng: np.random.Generator, size: int) -> list[np.ndarray]:
    """Courses of two to four closed wires, one above the other."""
    centre, tilt = rng.uniform(0.2, 0.8), rng.uniform(-0.3, 0.3)
    angle = np.linspace(0, 2 * np.pi, 60)
    loops = []
    for y in np.linspace(0.15, 0.85, int(rng.integers(2, 5))):
        x = centre + 0.1 * (y - 0.5) + rng.uniform(0.03, 0.05) * np.cos(angle)
        loops.append(np.stack([x, y + rng.uniform(0.008, 0.016) * np.sin(angle + tilt)], axis=1) * size)
    return loops
