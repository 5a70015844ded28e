"""Make the shipped sample and the README's picture; both are synthetic.

python experiments/pictures.py --sample      # the angiogram and its mask, by seed
python experiments/pictures.py               # docs/example.png and Testing/data/sample_mask.png, by the shipped weights
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from casr_net import Segmenter
from casr_net.files.images import read_angiogram
from casr_net.files.overlay import draw_overlay
from casr_net.synthetic.angiogram import make_angiogram

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "monai_bundle" / "sample"
SEED = 604133646  # the third of `casr synth --seed 7`


def make_sample() -> None:
    angiogram = make_angiogram(SEED)
    for folder, image in (("images", angiogram.image), ("masks", angiogram.mask.astype(np.uint8) * 255)):
        (SAMPLE / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(SAMPLE / folder / "angiogram.png"), image)


def make_pictures() -> None:
    image = read_angiogram(SAMPLE / "images" / "angiogram.png").stored(0)[0].T.copy()
    mask = Segmenter()(image).mask
    cv2.imwrite(str(ROOT / "Testing" / "data" / "sample_mask.png"), mask.astype(np.uint8) * 255)
    overlay = draw_overlay(image / 255, mask)
    (ROOT / "docs").mkdir(exist_ok=True)
    cv2.imwrite(str(ROOT / "docs" / "example.png"), np.hstack([np.dstack([image] * 3), overlay[..., ::-1]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true")
    if parser.parse_args().sample:
        make_sample()
    else:
        make_pictures()


if __name__ == "__main__":
    main()
