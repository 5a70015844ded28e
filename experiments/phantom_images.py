"""Digital phantoms: tubes of known width as an X-ray system shows them.

A contrast-filled tube of round cross-section attenuates by Beer and Lambert; scatter adds a veil, focal spot and
detector blur, quanta and their grain make noise, and the background slopes and waves. Lengths are in millimetres in the
patient; pixels of the detector are magnified onto it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

__all__ = ["Phantom", "make_phantom"]

SIDE = 192
FINE = 4  # samples a pixel, along each axis, that thickness is averaged over
MU = 0.25  # optical depth of contrast agent per millimetre
BLURS = (0.10, 0.22)  # standard deviation in millimetres at the patient
PHOTONS = (1500.0, 15000.0)  # per pixel behind the background
SCATTER = (0.1, 0.4)  # share of the detected quanta that carries no image
GRAIN = (0.5, 0.9)
MAGNIFICATION = (1.15, 1.5)


@dataclass(frozen=True)
class Phantom:
    """Attributes:
    attenuation: float32 (X, Y), minus the logarithm of the detected quanta.
    mask: bool (X, Y), pixels whose centre lies in the tube.
    line: float (n, 2), the axis in pixels, a point every quarter of a pixel.
    diameter: float (n,), true, in pixels.
    pixel: mm a pixel, in the patient.
    percent: true percent diameter stenosis, 0 without one.
    kind: straight, curved or stenosis.
    blur: standard deviation in pixels.
    """

    attenuation: np.ndarray
    mask: np.ndarray
    line: np.ndarray
    diameter: np.ndarray
    pixel: float
    percent: float
    kind: str
    blur: float


def make_phantom(seed: int, kind: str, width_mm: float, pixel_mm: float, percent: float = 0.0) -> Phantom:
    """Draw one; equal arguments give the same.

    Args:
        seed: of everything that is not given: turn, shift, blur, noise, scatter, background, magnification.
        kind: "straight", "curved" or "stenosis" (which is slightly curved).
        width_mm: diameter of the healthy tube.
        pixel_mm: size of a pixel in the patient.
        percent: diameter stenosis.
    """
    rng = np.random.default_rng([seed, round(1000 * width_mm), round(1000 * pixel_mm), round(percent)])
    magnification = rng.uniform(*MAGNIFICATION)
    blur = rng.uniform(*BLURS) * np.sqrt(magnification / 1.3) / pixel_mm  # the focal spot's share grows with it
    t = np.linspace(-1.1 * SIDE, 1.1 * SIDE, 9 * SIDE + 1)
    bend = {"straight": 0.0, "curved": rng.uniform(6, 14), "stenosis": rng.uniform(0, 8)}[kind]
    wave = rng.uniform(60, 90)
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    line = np.stack([t, bend * np.sin(2 * np.pi * t / wave)], axis=1) @ rotation + SIDE / 2 + rng.uniform(-1, 1, 2)
    diameter = np.full(len(t), width_mm / pixel_mm)
    if kind == "stenosis":
        half = rng.uniform(0.8, 2.0) * width_mm / pixel_mm + 1.0 / pixel_mm
        diameter *= 1 - percent / 100 * np.where(np.abs(t) < half, np.cos(np.pi / 2 * t / half) ** 2, 0)
    # Only pixels near the tube are taken apart into finer samples.
    lines = KDTree(line)
    pixels = np.stack(np.meshgrid(*[np.arange(SIDE)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    near = np.flatnonzero(np.isfinite(lines.query(pixels, distance_upper_bound=float(diameter.max()) / 2 + 1.5)[0]))
    parts = (np.arange(FINE) + 0.5) / FINE - 0.5
    offset = np.stack(np.meshgrid(parts, parts, indexing="ij"), axis=-1).reshape(-1, 2)
    distance, nearest = lines.query((pixels[near][:, None] + offset[None]).reshape(-1, 2))
    half_chord = np.zeros((SIDE * SIDE, FINE * FINE))
    half_chord[near] = np.sqrt(np.maximum((diameter[nearest] / 2) ** 2 - distance**2, 0)).reshape(len(near), -1)
    thickness = 2 * half_chord.mean(axis=1).reshape(SIDE, SIDE) * pixel_mm
    covered = (half_chord > 0).mean(axis=1).reshape(SIDE, SIDE)
    ground = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 25)
    ground = 0.1 * ground / ground.std() + rng.uniform(-0.3, 0.3) * np.linspace(0, 1, SIDE)[:, None]
    scatter = rng.uniform(*SCATTER)
    quanta = gaussian_filter((1 - scatter) * np.exp(-ground - MU * thickness) + scatter, blur)
    grain = gaussian_filter(rng.normal(size=quanta.shape), rng.uniform(*GRAIN))
    photons = float(np.exp(rng.uniform(*np.log(PHOTONS))))
    quanta = quanta + np.sqrt(quanta / photons) * grain / grain.std()
    shown = np.all((line > 12) & (line < SIDE - 13), axis=1)
    narrowed = 100 * (1 - diameter.min() / diameter.max())
    return Phantom(
        -np.log(np.maximum(quanta, 1e-4)).astype(np.float32), covered >= 0.5, line[shown], diameter[shown], pixel_mm,
        float(narrowed), kind, float(blur),
    )  # fmt: skip
