"""Make the guide's picture of a vessel tree: a synthetic angiogram, its mask with the catheter, and what is told apart.

python experiments/tree_picture.py --output docs/tree.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from casr_net.preprocessing.field import field_of_view
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.synthetic.background import tube
from casr_net.synthetic.scene import make_scene
from casr_net.vessels.tree import VesselTree, vessel_tree

SEED = 2056
ZOOM = 2
# BGR: colours that people who see red and green alike can tell apart (Okabe and Ito).
VESSEL, CATHETER, GAP = (115, 158, 0), (0, 159, 230), (167, 121, 204)
BRANCH, CROSSING, DOUBTFUL, ROOT = (255, 255, 255), (66, 228, 240), (180, 160, 120), (0, 94, 213)


def draw(image: np.ndarray, tree: VesselTree) -> np.ndarray:
    """The image, (rows, columns), enlarged, with edges by kind and nodes: uint8 (rows, columns, BGR)."""
    size = (ZOOM * image.shape[1], ZOOM * image.shape[0])
    picture = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)

    def at(point: np.ndarray) -> tuple[int, int]:
        x, y = np.round(ZOOM * (point + 0.5)).astype(int)
        return int(x), int(y)

    for *_, data in tree.graph.edges(data=True):
        colour = CATHETER if data["catheter"] else GAP if data["gap"] else VESSEL
        line = np.array([at(point) for point in data["points"]], np.int32)
        cv2.polylines(picture, [line], False, colour, 3 if data["catheter"] else 2, cv2.LINE_AA)
    for point in tree.nodes("branch"):
        cv2.circle(picture, at(point), 4, BRANCH, cv2.FILLED, cv2.LINE_AA)
    sure = {tuple(point) for point in tree.nodes("crossing", sure=True)}
    for point in tree.nodes("crossing"):
        colour = CROSSING if tuple(point) in sure else DOUBTFUL
        cv2.drawMarker(picture, at(point), colour, cv2.MARKER_TILTED_CROSS, 16, 3, cv2.LINE_AA)
    if tree.root is not None:
        cv2.circle(picture, at(tree.position(tree.root)), 12, ROOT, 3, cv2.LINE_AA)
    return picture


def legend(picture: np.ndarray) -> np.ndarray:
    """The picture with a line of words below."""
    strip = np.full((44, picture.shape[1], 3), 30, np.uint8)
    x = 16
    for kind, colour, word in (
        ("line", VESSEL, "vessel"),
        ("line", CATHETER, "catheter"),
        ("ring", ROOT, "root"),
        ("dot", BRANCH, "branch point"),
        ("cross", CROSSING, "crossing"),
        ("cross", DOUBTFUL, "crossing, doubtful"),
    ):
        if kind == "line":
            cv2.line(strip, (x, 22), (x + 24, 22), colour, 4)
        elif kind == "cross":
            cv2.drawMarker(strip, (x + 12, 22), colour, cv2.MARKER_TILTED_CROSS, 16, 3, cv2.LINE_AA)
        else:
            filled = kind == "dot"
            cv2.circle(strip, (x + 12, 22), 5 if filled else 10, colour, cv2.FILLED if filled else 3, cv2.LINE_AA)
        cv2.putText(strip, word, (x + 34, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (230, 230, 230), 1, cv2.LINE_AA)
        x += 34 + cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0] + 26
    return np.vstack([picture, strip])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "tree.png")
    output = parser.parse_args().output
    angiogram, scene = make_angiogram(SEED), make_scene(SEED, 512, None)
    catheter = (tube(scene.catheter, scene.catheter_radius, 512) > 0) & scene.collimator.field
    grey = angiogram.image.astype(np.float32) / 255
    attenuation = -np.log(np.maximum(grey, 1 / 255)).T
    tree = vessel_tree((angiogram.mask | catheter).T.copy(), attenuation, field_of_view(grey.T))
    cv2.imwrite(str(output), legend(draw(angiogram.image, tree)))


if __name__ == "__main__":
    main()
