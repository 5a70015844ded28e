"""Synthetic coronary angiograms and cines with exact masks, centrelines, radii and stenoses.

A coronary tree is grown on a heart, projected, and turned into an image as the X-ray system does: Beer-Lambert
attenuation by the contrast agent on top of the chest, blur, quantum noise, tone curve and compression. The pictures
look like angiograms; their distribution is not that of a clinic, so they are for demonstration and tests, not evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..errors import UsageError
from .background import tube
from .scene import Scene, make_scene
from .tree import Segment, Tree
from .xray import Lumen, expose, thickness_and_mask

__all__ = ["SyntheticAngiogram", "make_angiogram", "make_cine"]

VISIBLE = 0.35  # share of full contrast from which on a vessel counts as visible, and into the mask
FRAMES_PER_BEAT = (11, 16)  # at 15 frames a second
BREATH = (0.0, 0.03)  # amplitude of the diaphragm's motion as a share of the side
BREATH_FRAMES = 60
FRONT_WIDTH = 0.25  # of the contrast front, in radii of the heart
WASH_OUT = 0.6  # share of the contrast that blood carries away within a cine; the rest stays visible


@dataclass(frozen=True)
class SyntheticAngiogram:
    """One frame.

    Attributes:
        image: uint8 (rows, columns), vessels dark.
        mask: bool (rows, columns), True where a vessel with visible contrast lies in the exposed field.
        truth: JSON-serialisable; lengths are in pixels and there is no physical scale. Keys: seed, size, artery,
            projection, frame, phase (of the heartbeat, [0, 1)), branches (id, parent, name, points [[x, y], ...],
            radii, contrast [0 to 1, ...]) and stenoses (branch, index, x, y, percent_diameter, reference_diameter,
            minimal_lumen_diameter, length along the projected centreline). The centre of the pixel in row i and
            column j is at x = j, y = i.
    """

    image: np.ndarray
    mask: np.ndarray
    truth: dict[str, Any]


def make_angiogram(seed: int, size: int = 512, stenoses: int | None = None) -> SyntheticAngiogram:
    """Make a single angiogram, fully contrasted, in end-diastole.

    Args:
        seed: not negative; equal seeds give equal images.
        size: rows and columns, 64 to 2048.
        stenoses: how many; None draws 0, 1 or 2. Fewer are placed when the vessels are too thin.

    Raises:
        UsageError: when an argument is out of its range.
    """
    return _render(make_scene(seed, size, stenoses), 0, 0.0, 0.0, np.inf, -np.inf)


def make_cine(seed: int, frames: int, size: int = 512, stenoses: int | None = None) -> list[SyntheticAngiogram]:
    """Make a cine: one anatomy that beats and breathes while contrast flows in and partly out again.

    The first frame is without contrast, the tree is full after about half of the frames.

    Args:
        seed: not negative; equal seeds give equal cines.
        frames: number of frames, at least 1.
        size: rows and columns, 64 to 2048.
        stenoses: as in :func:`make_angiogram`.

    Raises:
        UsageError: when an argument is out of its range.
    """
    if frames < 1:
        raise UsageError(f"frames is {frames}; at least 1 is needed.")
    scene = make_scene(seed, size, stenoses)
    rng = np.random.default_rng([seed, 1])
    beat, breath = rng.uniform(*FRAMES_PER_BEAT), rng.uniform(*BREATH) * size
    phase, breath_phase = rng.uniform(), rng.uniform(0, 2 * np.pi)
    longest = max(float(segment.distance[-1]) for segment in scene.tree.segments) + 4 * FRONT_WIDTH
    cine = []
    for index in range(frames):
        time = index / max(frames - 1, 1)
        dy = breath * np.sin(2 * np.pi * index / BREATH_FRAMES + breath_phase)
        front, back = longest * 2.2 * time, longest * (2.2 * time - 1.4)
        cine.append(_render(scene, index, (phase + index / beat) % 1, dy, front, back))
    return cine


def _contraction(phase: float) -> float:
    """0 in end-diastole, 1 in end-systole, which comes after a third of the beat."""
    return float(np.sin(np.pi * phase / 0.66) ** 2) if phase < 0.66 else 0.0


def _render(scene: Scene, index: int, phase: float, dy: float, front: float, back: float) -> SyntheticAngiogram:
    """One frame; front and back are how far from the ostium contrast has come, and where blood follows it."""
    contraction, size = _contraction(phase), scene.size
    projected = [
        segment.points(contraction) @ scene.view.T * scene.pixels + np.array([scene.shift[0], scene.shift[1] + dy, 0])
        for segment in scene.tree.segments
    ]
    contrast = [_contrast(segment, front, back) for segment in scene.tree.segments]
    thickness, mask = thickness_and_mask(_lumens(scene.tree, projected, contrast), size, VISIBLE)

    tip = projected[0][0, :2] - (scene.tree.segments[0].points()[0] @ scene.view[:2].T * scene.pixels + scene.shift)
    weight = np.linspace(0, 1, len(scene.catheter))[:, None] ** 2  # the shaft stays where the aorta holds it
    catheter = tube(scene.catheter + weight * tip, scene.catheter_radius, size)
    # Wall and contrast inside; where the tip lies in the artery it displaces what is there.
    wall = 0.5 + 0.45 * contrast[0][0]
    depth = scene.attenuation * np.maximum(thickness, wall * catheter)
    if scene.reflux:
        depth += scene.reflux * contrast[0][0] * _reflux(scene, projected[0][0, :2])
    # The smallest vessels and the muscle take up contrast as well, seen as a haze around the tree.
    depth += 0.35 * cv2.GaussianBlur(depth, (0, 0), 14 * scene.scale)

    moving = scene.moving
    if dy:
        shift = np.array([[1, 0, 0], [0, 1, dy]], np.float32)
        moving = cv2.warpAffine(moving, shift, (size, size), borderMode=cv2.BORDER_REPLICATE)
    noise = np.random.default_rng([scene.seed, 2, index])
    image = expose(noise, scene.detector, scene.still + moving, depth, scene.collimator)
    mask &= scene.collimator.field
    return SyntheticAngiogram(image, mask, _truth(scene, index, phase, projected, contrast))


def _contrast(segment: Segment, front: float, back: float) -> np.ndarray:
    """(n,) share of full contrast: it comes with the front, and after it a third stays."""
    width = FRONT_WIDTH
    arrived = 1 / (1 + np.exp(np.clip((segment.distance + 3 * width - front) / (width / 3), -40, 40)))
    washed = 1 / (1 + np.exp(np.clip((segment.distance - back) / width, -40, 40)))
    return arrived * (1 - WASH_OUT * washed)


def _lumens(tree: Tree, projected: list[np.ndarray], contrast: list[np.ndarray]) -> list[Lumen]:
    """Segments joined to whole vessels."""
    chains: list[list[int]] = []
    vessel_of: dict[int, int] = {}
    for segment in tree.segments:
        if segment.parent is not None and tree.segments[segment.parent].vessel == segment.vessel:
            chains[vessel_of[segment.parent]].append(segment.id)
            vessel_of[segment.id] = vessel_of[segment.parent]
        else:
            vessel_of[segment.id] = len(chains)
            chains.append([segment.id])
    lumens = []
    for chain in chains:
        stem = tree.segments[chain[0]].parent
        lumens.append(
            Lumen(
                np.concatenate([projected[i] for i in chain]),
                np.concatenate([tree.segments[i].radii for i in chain]),
                np.concatenate([contrast[i] for i in chain]),
                None if stem is None else vessel_of[stem],
            )
        )
    return lumens


def _reflux(scene: Scene, ostium: np.ndarray) -> np.ndarray:
    """(rows, columns) optical depth, up to about a half, of contrast in the aortic sinus."""
    y, x = np.mgrid[: scene.size, : scene.size].astype(np.float32)
    centre = ostium + np.array([-6, 10]) * scene.scale
    u, v = (x - centre[0]) / (16 * scene.scale), (y - centre[1]) / (20 * scene.scale)
    return 0.5 / (1 + np.exp(np.clip((np.hypot(u, v) - 0.7) / 0.15, -30, 30)))


def _truth(
    scene: Scene, index: int, phase: float, projected: list[np.ndarray], contrast: list[np.ndarray]
) -> dict[str, Any]:
    tree = scene.tree
    branches = [
        {
            "id": segment.id,
            "parent": segment.parent,
            "name": segment.vessel,
            "points": np.round(points[:, :2], 2).tolist(),
            "radii": np.round(segment.radii, 3).tolist(),
            "contrast": np.round(filled, 3).tolist(),
        }
        for segment, points, filled in zip(tree.segments, projected, contrast, strict=True)
    ]
    stenoses = []
    for stenosis in tree.stenoses:
        points = projected[stenosis.segment][:, :2]
        course = points[stenosis.first : stenosis.last + 1]
        stenoses.append(
            {
                "branch": stenosis.segment,
                "index": stenosis.index,
                "x": round(float(points[stenosis.index, 0]), 2),
                "y": round(float(points[stenosis.index, 1]), 2),
                "percent_diameter": round(stenosis.percent_diameter, 2),
                "reference_diameter": round(stenosis.reference_diameter, 3),
                "minimal_lumen_diameter": round(stenosis.minimal_lumen_diameter, 3),
                "length": round(float(np.linalg.norm(np.diff(course, axis=0), axis=1).sum()), 2),
            }
        )
    return {
        "seed": scene.seed,
        "size": scene.size,
        "artery": tree.artery,
        "projection": scene.projection,
        "frame": index,
        "phase": round(phase, 4),
        "branches": branches,
        "stenoses": stenoses,
    }
