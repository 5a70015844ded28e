"""Everything of a synthetic angiogram but the vessels: heart, lungs, diaphragm, ribs, spine, wires and collimator.

All layers are optical depths (natural logarithm of the attenuation), (rows, columns) float32. The amplitudes were set
by looking at synthetic beside real angiograms.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Collimator", "anatomy", "collimator", "soft_noise", "tube"]

# Wavelengths as shares of the side, and amplitudes: they fall about as in real images, by 1 / frequency.
TEXTURE = ((0.5, 0.10), (0.22, 0.04), (0.09, 0.022), (0.045, 0.018), (0.022, 0.015), (0.012, 0.010))
LUNG_TEXTURE = ((0.15, 0.06), (0.07, 0.05), (0.035, 0.045), (0.018, 0.022))
RIBS_CHANCE, SPINE_CHANCE, DIAPHRAGM_CHANCE, WIRE_CHANCE = 0.85, 0.5, 0.8, 0.1


@dataclass(frozen=True)
class Collimator:
    """Shape of the exposed field.

    Attributes:
        transmission: (rows, columns) float32, share of the dose that reaches the detector.
        field: bool (rows, columns), True where the image shows the patient.
        black: whether what lies outside is set to a constant, as by workstations, and not only dark.
    """

    transmission: np.ndarray
    field: np.ndarray
    black: bool


def soft_noise(rng: np.random.Generator, size: int, wavelength: float) -> np.ndarray:
    """(size, size) smooth noise of unit standard deviation; the wavelength is a share of the side."""
    cells = max(4, round(2 / wavelength) + 4)
    coarse = cv2.GaussianBlur(rng.normal(size=(cells, cells)).astype(np.float32), (0, 0), 0.8)
    fine = cv2.resize(coarse, None, fx=size / (cells - 4), fy=size / (cells - 4), interpolation=cv2.INTER_CUBIC)
    first = (fine.shape[0] - size) // 2
    noise = fine[first : first + size, first : first + size]
    return (noise - noise.mean()) / max(float(noise.std()), 1e-6)


def tube(points: np.ndarray, radius: float, size: int) -> np.ndarray:
    """(size, size) thickness in pixels along the rays of a bent tube of constant radius; points (n, 2) are x, y."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    along = np.linspace(0, length[-1], int(2 * length[-1]) + 2)
    line = np.stack([np.interp(along, length, points[:, i]) for i in (0, 1)], axis=1)
    reach = int(radius + 2)
    offsets = np.stack(np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1)), -1).reshape(-1, 2)
    pixels = np.round(line).astype(int)[:, None] + offsets
    chord = 2 * np.sqrt(np.maximum(radius**2 - ((pixels - line[:, None]) ** 2).sum(-1), 0))
    inside = ((pixels >= 0) & (pixels < size)).all(-1) & (chord > 0)
    thickness = np.zeros((size, size), np.float32)
    np.maximum.at(thickness, (pixels[inside][:, 1], pixels[inside][:, 0]), chord[inside].astype(np.float32))
    return thickness


def anatomy(rng: np.random.Generator, size: int, box: np.ndarray, oblique: str) -> tuple[np.ndarray, np.ndarray]:
    """Chest wall, which stays, and heart, lungs and diaphragm, which breathing moves.

    Args:
        rng: source of all randomness.
        size: rows and columns.
        box: (2, 2), least and largest x and y of the coronary tree as shares of the side.
        oblique: "LAO" or "RAO", the view; it decides where the spine lies.

    Returns:
        still and moving optical depths.
    """
    y, x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    still = sum((amplitude * soft_noise(rng, size, wave) for wave, amplitude in TEXTURE), np.zeros_like(x))
    still += rng.normal(-0.15, 0.25) * (x - 0.5) + rng.normal(0.2, 0.25) * (y - 0.5)
    heart = _heart(rng, x, y, box)
    # What lies in front of and behind the chest is never straight.
    bent_x, bent_y = x + 0.006 * soft_noise(rng, size, 0.2), y + 0.006 * soft_noise(rng, size, 0.2)
    if rng.random() < RIBS_CHANCE:
        still += _ribs(rng, bent_x, bent_y) * (1 - 0.5 * heart)
    if rng.random() < SPINE_CHANCE:
        still += _spine(rng, bent_x, bent_y, right=oblique == "LAO") * (1 + 0.25 * soft_noise(rng, size, 0.3))
    if rng.random() < WIRE_CHANCE:
        still += _wire(rng, size)

    below = np.zeros_like(x)
    if rng.random() < DIAPHRAGM_CHANCE:
        below = _diaphragm(rng, x, y)
    lung = (1 - heart) * (1 - below)
    mottle = sum((amplitude * soft_noise(rng, size, wave) for wave, amplitude in LUNG_TEXTURE), np.zeros_like(x))
    depth, strength = rng.uniform(0.2, 0.6), rng.uniform(0.4, 1.0)
    shade = rng.uniform(0.15, 0.55) * (0.75 + 0.25 * (1 - y))
    moving = depth * heart + shade * below + lung * strength * mottle + below * heart * -0.3 * depth
    return still, moving


def _heart(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, box: np.ndarray) -> np.ndarray:
    """1 within the heart's silhouette, 0 in the lungs; its border is sharp towards the left lung only."""
    (left, top), (right, bottom) = box
    centre = np.array([left + 0.42 * (right - left), top + 0.55 * (bottom - top)])
    half = np.array([0.62 * (right - left), 0.66 * (bottom - top)]) * rng.uniform(0.95, 1.2, 2)
    angle = rng.uniform(0, 0.6)
    u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    v = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
    distance = np.sqrt((u / half[0]) ** 2 + (v / half[1]) ** 2) - 1
    # Mediastinum and spine lie on the other side, so that there is no lung to see there.
    mediastinum = 1 / (1 + np.exp((x - centre[0] + 0.3 * half[0]) / 0.12))
    edge = rng.uniform(0.01, 0.05) + 0.25 * mediastinum
    inside = 1 / (1 + np.exp(np.clip(distance / edge, -30, 30)))
    return np.maximum(inside, 0.8 * mediastinum)


def _diaphragm(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 below a dome; some views show both domes."""
    below = np.zeros_like(x)
    for _ in range(rng.integers(1, 3)):
        top, peak = rng.uniform(0.5, 0.85), rng.uniform(0.1, 0.9)
        wave = 0.006 * np.sin(9 * x + rng.uniform(0, 6))
        line = top + rng.uniform(0.35, 1.3) * (x - peak) ** 2 + wave
        below = np.maximum(below, rng.uniform(0.5, 1) / (1 + np.exp(-np.clip((y - line) / rng.uniform(2e-3, 6e-3),
                                                                             -30, 30))))  # fmt: skip
    return below


def _ribs(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bent bands with denser edges, the cortical bone: posterior ribs and, steeper, anterior ones."""
    total = np.zeros_like(x)
    for slope in (rng.uniform(0.15, 0.6), rng.uniform(-1.3, -0.5)):
        strength, spacing, width = rng.uniform(0.04, 0.15), rng.uniform(0.16, 0.24), rng.uniform(0.028, 0.05)
        bend, peak, first = rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.8), rng.uniform(-0.9, -0.7)
        for i in range(13):
            tilt = slope + 0.04 * i * np.sign(slope)
            line = first + i * spacing + tilt * (x - 0.5) + bend * (x - peak) ** 2
            across = (y - line) / (width * np.sqrt(1 + tilt**2) * rng.uniform(0.85, 1.15))
            bone = 1 / (1 + np.exp(np.clip((np.abs(across) - 1) / 0.04, -30, 30)))
            lower = np.exp(-(((across - 0.85) / 0.13) ** 2))  # the lower cortex is the denser one
            total += strength * (0.6 * bone + 0.35 * lower) * rng.uniform(0.1, 1.0)
    return total


def _spine(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, right: bool) -> np.ndarray:
    """A column of vertebral bodies with dense end plates and pedicles between brighter discs."""
    centre = rng.uniform(0.66, 0.95) if right else rng.uniform(-0.05, 0.18)
    tilt, half, height = rng.normal(0, 0.06), rng.uniform(0.075, 0.1), rng.uniform(0.115, 0.15)
    across = (x - centre - tilt * (y - 0.5) - rng.normal(0, 0.12) * (y - 0.5) ** 2) / half
    # Whole numbers are the middles of the discs.
    phase = (y - 0.012 * across**2 + 0.15 * tilt * across + rng.uniform(0, 1)) / height % 1
    waist = 1 - 0.1 * np.sin(np.pi * phase)
    column = 1 / (1 + np.exp(np.clip((np.abs(across) / waist - 1) / 0.09, -30, 30)))
    plate = np.exp(-(((np.abs(phase - 0.5) - 0.38) / 0.045) ** 2))
    disc = np.exp(-(((np.abs(phase - 0.5) - 0.5) / 0.08) ** 2))
    pedicle = np.exp(-((np.abs(across) - 0.55) ** 2 / 0.02 + (phase - 0.38) ** 2 / 0.02))
    process = np.exp(-(across**2 / 0.012 + (phase - 0.6) ** 2 / 0.05))
    rim = np.exp(-(((np.abs(across) / waist - 0.97) / 0.06) ** 2))
    bone = 0.7 + 0.25 * plate - 0.2 * disc + 0.3 * pedicle + 0.25 * process + 0.1 * rim
    return rng.uniform(0.12, 0.3) * column * bone


def _wire(rng: np.random.Generator, size: int) -> np.ndarray:
    """An ECG lead or pacemaker wire across the image."""
    start, end = rng.uniform(0.55, 0.9), rng.uniform(0.8, 1.05)
    t = np.linspace(0, 1, 50)
    bow = rng.uniform(-0.12, 0.12)
    points = np.stack([start + (end - start) * t + bow * np.sin(np.pi * t), 1.04 * t - 0.02], axis=1) * size
    radius = max(rng.uniform(0.8, 1.5) * size / 512, 0.6)
    return rng.uniform(0.3, 0.8) * tube(points, radius, size) / (2 * radius)


def collimator(rng: np.random.Generator, size: int) -> Collimator:
    """Draw one of: open field, soft blades, a hard black frame, a round field."""
    y, x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    kind = rng.choice(["open", "blades", "frame", "round"], p=[0.55, 0.25, 0.14, 0.06])
    if kind == "open":
        # Even an open field is darker close to the border, by the heel effect and the blades' penumbra.
        rim = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
        shade = 1 - rng.uniform(0, 0.4) * np.exp(-rim / rng.uniform(0.008, 0.03))
        return Collimator(shade.astype(np.float32), np.ones((size, size), bool), False)
    if kind == "round":
        inside = np.hypot(x - 0.5, y - 0.5) < rng.uniform(0.56, 0.66)
        return Collimator(inside.astype(np.float32), inside, True)
    if kind == "frame":
        margin = rng.uniform(0.01, 0.06)
        inside = (np.abs(x - 0.5) < 0.5 - margin) & (np.abs(y - 0.5) < 0.5 - margin * rng.uniform(0.5, 1))
        return Collimator(inside.astype(np.float32), inside, True)
    margins = rng.uniform(-0.03, 0.09, 4)
    distance = np.minimum.reduce([x - margins[0], 1 - x - margins[1], y - margins[2], 1 - y - margins[3]])
    softness, leak = rng.uniform(0.002, 0.006), rng.uniform(0.12, 0.3)
    open_share = 1 / (1 + np.exp(-np.clip(distance / softness, -30, 30)))
    return Collimator((leak + (1 - leak) * open_share).astype(np.float32), distance > 0, False)
