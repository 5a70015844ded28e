"""Draw the icons of the 3D Slicer extension: a stylised coronary tree on dark round ground.

python experiments/icons.py

Writes CASRSegmentation/Resources/Icons/CASRSegmentation.png (128 x 128) and the Segment Editor effect's icon (26 x 26).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "CASRSegmentation"
CANVAS = 1664  # a multiple of 128 and of 26: drawn large, then averaged down
GROUND, RIM, VESSEL, SHINE = (46, 38, 32), (92, 80, 70), (60, 62, 222), (140, 144, 246)  # blue, green, red

# Branches: control points (x, y) in the unit square, diameter at begin and end: left main, LAD, LCX, side branches.
LARGE = [
    ([(0.16, 0.30), (0.28, 0.24), (0.40, 0.26)], 0.085, 0.075),
    ([(0.40, 0.26), (0.58, 0.26), (0.72, 0.42), (0.76, 0.62), (0.70, 0.82)], 0.066, 0.022),
    ([(0.60, 0.295), (0.74, 0.31), (0.86, 0.46)], 0.038, 0.018),
    ([(0.70, 0.42), (0.62, 0.54), (0.60, 0.66)], 0.032, 0.016),
    ([(0.40, 0.26), (0.40, 0.42), (0.32, 0.56), (0.36, 0.76), (0.46, 0.88)], 0.060, 0.022),
    ([(0.37, 0.46), (0.48, 0.56), (0.50, 0.70)], 0.036, 0.016),
    ([(0.325, 0.57), (0.22, 0.63), (0.18, 0.72)], 0.032, 0.016),
]
# At 26 pixels only the main branches can be told apart, and they have to be thicker.
SMALL = [
    ([(0.14, 0.32), (0.28, 0.22), (0.42, 0.26)], 0.15, 0.13),
    ([(0.42, 0.26), (0.62, 0.26), (0.76, 0.46), (0.72, 0.80)], 0.12, 0.075),
    ([(0.42, 0.26), (0.42, 0.46), (0.32, 0.60), (0.44, 0.86)], 0.12, 0.075),
    ([(0.39, 0.48), (0.54, 0.58), (0.55, 0.70)], 0.085, 0.07),
]


def spline(points: list[tuple[float, float]], steps: int = 200) -> np.ndarray:
    """(n, 2) points on the Catmull-Rom curve through the control points."""
    p = np.array([points[0], *points, points[-1]], float)
    t = np.linspace(0, 1, steps)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
    ]
    return np.concatenate(parts)


def draw(branches: list[tuple[list[tuple[float, float]], float, float]], size: int) -> np.ndarray:
    """BGRA image (size, size), transparent outside of the disc."""
    image = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    alpha = np.zeros((CANVAS, CANVAS), np.uint8)
    middle = (CANVAS // 2, CANVAS // 2)
    cv2.circle(alpha, middle, int(0.495 * CANVAS), 255, -1)
    image[:] = RIM
    cv2.circle(image, middle, int(0.465 * CANVAS), GROUND, -1)
    for share, offset, color in ((1.0, 0.0, VESSEL), (0.34, -0.16, SHINE)):  # the vessel, then light on its upper left
        for points, first, last in branches:
            curve = spline(points)
            diameters = np.linspace(first, last, len(curve))
            for (x, y), diameter in zip(curve, diameters, strict=True):
                center = (int((x + offset * diameter) * CANVAS), int((y + offset * diameter) * CANVAS))
                cv2.circle(image, center, max(1, int(share * diameter * CANVAS / 2)), color, -1, cv2.LINE_AA)
    image[alpha == 0] = RIM  # so that averaging at the edge mixes no black in
    return cv2.resize(np.dstack([image, alpha]), (size, size), interpolation=cv2.INTER_AREA)


def main() -> None:
    places = (
        ("Resources/Icons/CASRSegmentation.png", LARGE, 128),
        ("SegmentEditorCASRLib/SegmentEditorEffect.png", SMALL, 26),
    )
    for name, branches, size in places:
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), draw(branches, size)):
            raise OSError(f"{path}: cannot be written")


if __name__ == "__main__":
    main()
