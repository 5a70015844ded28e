"""The moving picture of README: a synthetic cine, and beside it the contours that the network finds, as animated WebP.

    python experiments/cine_picture.py docs/cine.webp

The same seed as in ``make demo``: nothing was chosen for its looks. It must stay below :data:`LIMIT`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from casr_net import Segmenter
from casr_net.files.atomic import write_atomically
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.files.moving import write_animation
from casr_net.files.overlay import draw_overlay
from casr_net.files.rate import frame_rate
from casr_net.synthetic.dataset import write_dataset

FRAMES, SIZE, SEED = 24, 512, 4
SIDE = 384
"""Rows and columns of each half of the picture."""
QUALITY = 45
LIMIT = 1_000_000
"""Bytes."""


def pictures(cine: Angiogram, segmenter: Segmenter) -> Iterator[np.ndarray]:
    """uint8 (SIDE, 2 * SIDE, 3), RGB, a frame: as it is, and with its contours."""
    for frame in range(cine.frames):
        grey, mask = cine.grey(frame).T, segmenter.of(cine, frame).mask
        small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        contours = cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.4
        yield np.hstack([draw_overlay(small, np.zeros_like(contours)), draw_overlay(small, contours)])


def main(place: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(folder, 1, SEED, FRAMES, SIZE)
        cine = read_angiogram(next((Path(folder) / "synthetic" / "images").iterdir()))
        made = list(pictures(cine, Segmenter()))
        write_atomically(place, lambda path: write_animation(path, made, frame_rate(cine.header), QUALITY))
    size = place.stat().st_size
    assert size < LIMIT, f"{place} has {size} bytes; at most {LIMIT} are wanted"
    print(f"{place}: {size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
