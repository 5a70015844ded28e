"""The size of a pixel by a catheter of known size, measured against the truth.

    python experiments/catheter_scale.py --output experiments/results/catheter_scale.json

1. Synthetic angiograms, whose masks are given their catheter: measured over true size of a pixel, once with the widths
   as vessels are measured, which the package does, once with profiles smoothed more along the catheter. Where the tree
   takes another line for the catheter is listed apart. The smoothing was the better one on seeds 100 to 149 and is the
   worse one here, so that it is not kept; that choice has seen these seeds.
2. Tubes of known outer and inner width with walls of their own opacity, empty and full of contrast agent: what it costs
   that the edges are taken for the outer wall.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casr_net import __version__
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.synthetic.background import tube
from casr_net.synthetic.scene import make_scene
from casr_net.vessels.catheter_scale import SETTINGS, catheter_scale
from casr_net.vessels.diameters import Settings
from casr_net.vessels.tree import vessel_tree

logger = logging.getLogger("catheter_scale")

SEEDS = range(2000, 2080)
FRENCH = 6.0
RIGHT = 0.9
"""Share of the tree's catheter that lies on the true one, from which on it is taken for found."""
WAYS = {"as_vessels": SETTINGS, "as_catheter": Settings(method="edges", smoothing=3.0)}

# Radius of the lumen over that of the wall: makers' figures for 6 F, 1.42 mm (diagnostic) and 1.8 mm (guiding) of 2.0.
BORES = {"diagnostic": 0.71, "guiding": 0.90}
# Opacity of the wall and of what is inside, over that of undiluted contrast agent.
FILLINGS = {
    "opaque_wall_empty": (1.0, 0.0),
    "opaque_wall_contrast": (1.0, 1.0),
    "faint_wall_contrast": (0.25, 1.0),
    "no_wall_contrast": (0.0, 1.0),
}
RADII, TUBES = (3.0, 4.0, 6.0, 8.0), 2
FINE, SIDE, BLUR, NOISE = 4, 320, 1.2, 0.02


def angiograms() -> dict[str, Any]:
    """Measured over true size of a pixel, of synthetic angiograms: where the line that the tree calls its catheter lies
    on the catheter, and how often it does not."""
    ratios: dict[str, list[float]] = {name: [] for name in WAYS}
    spreads: dict[str, list[float]] = {name: [] for name in WAYS}
    refused: dict[str, list[str]] = {name: [] for name in WAYS}
    elsewhere: dict[str, list[float]] = {name: [] for name in WAYS}
    doubted: dict[str, list[bool]] = {name: [] for name in WAYS}
    for seed in SEEDS:
        angiogram, scene = make_angiogram(seed), make_scene(seed, 512, None)
        catheter = tube(scene.catheter, scene.catheter_radius, 512).T > 0
        grey = -np.log(np.maximum(angiogram.image.T.astype(np.float32), 1) / 255)
        mask = angiogram.mask.T | catheter
        tree = vessel_tree(mask, grey)
        marked = [data["points"] for *_, data in tree.graph.edges(data=True) if data["catheter"]]
        at = np.clip(np.floor(np.vstack(marked) + 0.5).astype(int), 0, 511) if marked else np.zeros((0, 2), int)
        right = len(at) > 0 and catheter[tuple(at.T)].mean() >= RIGHT
        for name, settings in WAYS.items():
            scale = catheter_scale(grey, mask, tree, FRENCH, settings=settings)
            if scale.column_mm is None:
                refused[name].append(scale.note)
                continue
            ratio = scale.column_mm / (FRENCH / 3 / (2 * scene.catheter_radius))
            doubted[name].append(bool(scale.contradictions))
            if right:
                ratios[name].append(ratio)
                spreads[name].append(float(scale.spread or 0))
            else:
                elsewhere[name].append(round(ratio - 1, 4))
    figures: dict[str, Any] = {"seeds": [SEEDS.start, SEEDS.stop - 1], "share_of_the_line_on_the_catheter": RIGHT}
    for name in WAYS:
        errors, spread = np.abs(np.array(ratios[name]) - 1), np.array(spreads[name])
        figures[name] = {
            "no_catheter_found": sum("no catheter" in note for note in refused[name]),
            "refused_otherwise": sum("no catheter" not in note for note in refused[name]),
            "line_elsewhere": elsewhere[name],
            "doubted_in_words": sum(doubted[name]),
            "measured": len(errors),
            **summary(np.array(ratios[name])),
            "spread_median": round(float(np.median(spread)), 4),
            "error_within_two_spreads": round(float(np.mean(errors <= 2 * spread)), 4),
        }
    return figures


def summary(ratios: np.ndarray) -> dict[str, float]:
    """Of measured over true: mean less 1, standard deviation, and the ends."""
    figures = {
        "bias": ratios.mean() - 1, "median": np.median(ratios) - 1, "sd": ratios.std(ddof=1),
        "lowest": ratios.min() - 1, "highest": ratios.max() - 1,
    }  # fmt: skip
    return {name: round(float(value), 4) for name, value in figures.items()}


def draw(radius: float, bore: float, wall: float, inside: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation and mask (X, Y) of a bent catheter and the artery at its tip."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 200)[:, None]
    start, end = np.array([60.0 + rng.uniform(-8, 8), -12.0]), np.array([150.0, 200.0])
    shaft = start + (end - start) * t + np.array([rng.uniform(10, 50), 0.0]) * np.sin(np.pi * t)
    trunk = end + np.array([[0, 0], [25, 25], [60, 60], [100, 65]])
    outer, lumen, artery = (
        coarse(line, size) for line, size in ((shaft, radius), (shaft, bore * radius), (trunk, 1.5 * radius))
    )
    grey = np.maximum(wall * (outer - lumen) + inside * lumen, artery)
    grey = cv2.GaussianBlur(grey, (0, 0), BLUR) + rng.normal(0, NOISE * 2 * radius, grey.shape).astype(np.float32)
    seen = np.maximum(outer, artery).T
    return grey.T.copy(), seen > 0.25 * radius


def coarse(line: np.ndarray, radius: float) -> np.ndarray:
    """(rows, columns) thickness of a tube, drawn finely and averaged, in pixels."""
    fine = tube((line + 0.5) * FINE - 0.5, radius * FINE, FINE * SIDE) / FINE
    return cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def walls() -> dict[str, Any]:
    """Measured over true size of a pixel, by kind of catheter and filling."""
    found: dict[str, Any] = {}
    for bore_name, bore in BORES.items():
        for name, (wall, inside) in FILLINGS.items():
            ratios = []
            for seed, radius in enumerate(radius for radius in RADII for _ in range(TUBES)):
                grey, mask = draw(radius, bore, wall, inside, seed)
                scale = catheter_scale(grey, mask, vessel_tree(mask, grey), FRENCH, settings=WAYS["as_catheter"])
                if scale.column_mm is not None:
                    ratios.append(scale.column_mm / (FRENCH / 3 / (2 * radius)))
            figures = summary(np.array(ratios)) if len(ratios) > 1 else {}
            found[f"{bore_name}_{name}"] = {"tubes": TUBES * len(RADII), "measured": len(ratios), **figures}
    return found


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    result = {
        "data": "casr_net.synthetic and drawn tubes, no patients",
        "figures": "measured over true size of a pixel, less 1",
        "synthetic_angiograms": angiograms(),
        "walls": {
            "radii_px": list(RADII), "blur_px": BLUR, "noise_of_the_largest_depth": NOISE, "bores": BORES,
            "fillings_wall_inside": {name: list(values) for name, values in FILLINGS.items()}, **walls(),
        },
        "versions": {
            "casr-net": __version__,
            **{name: version(name) for name in ("numpy", "scipy", "networkx", "opencv-python-headless")},
        },
        "hardware": f"{platform.machine()}, one core",
    }  # fmt: skip
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    logger.info("%s", json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
