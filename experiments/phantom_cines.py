"""Widths of the same vessel over the frames of real phantom cines: how far they repeat.

    python experiments/phantom_cines.py --data DIR --output experiments/results/phantom_cines.json

The longest path of the frame with the most vessels is measured in the grey values of every frame, in that frame's mask:
so the figures hold what noise and contrast change, and what moves by less than a few pixels, not the segmentation.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from casr_net.errors import CASRError
from casr_net.files.images import read_angiogram
from casr_net.inference.segmenter import Segmenter
from casr_net.vessels.diameters import measure_widths
from casr_net.vessels.tree import vessel_tree

logger = logging.getLogger("experiments")


def cine(path: Path, segmenter: Segmenter) -> dict[str, Any]:
    source = read_angiogram(path)
    masks = [segmenter.of(source, frame).mask.T.copy() for frame in range(source.frames)]
    best = int(np.argmax([mask.sum() for mask in masks]))
    paths = vessel_tree(masks[best], source.attenuation(best).values).paths() if masks[best].any() else []
    if not paths:
        return {"frames": source.frames, "note": "no vessel was segmented"}
    chosen = paths[0]
    measured = []
    for frame in range(source.frames):
        try:
            image = source.attenuation(frame).values
            measured.append((frame, measure_widths(image, masks[best], chosen, vessel_tree(masks[best], image))))
        except CASRError as error:
            logger.info("%s, frame %d: %s", path.name, frame, error)
    base = dict(measured)[best]
    table = np.full((len(measured), len(base.along)), np.nan)
    for row, (_, widths) in enumerate(measured):
        distance, index = KDTree(widths.points).query(base.points)
        ok = (distance < 1) & (widths.method[index] != 3) & (widths.unsure[index] == 0)
        table[row, ok] = widths.diameter[index[ok]]
    seen = np.isfinite(table).sum(axis=0) >= max(len(measured) // 2, 3)
    spread = np.nanstd(table[:, seen], axis=0, ddof=1) / np.nanmean(table[:, seen], axis=0)
    return {
        "frames": source.frames,
        "frame_of_the_path": best,
        "samples": int(seen.sum()),
        "diameter_px_median": round(float(np.nanmedian(table[:, seen])), 2),
        "coefficient_of_variation_median": round(float(np.median(spread)), 3),
        "coefficient_of_variation_p90": round(float(np.percentile(spread, 90)), 3),
        "coefficient_of_variation_of_means": round(
            float(np.std(np.nanmean(table[:, seen], axis=1), ddof=1) / np.nanmean(table[:, seen])), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the phantom cines")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    segmenter = Segmenter()
    what = "widths of one path, in the mask of one frame and the grey values of each; lengths in pixels"
    record: dict[str, Any] = {"what": what}
    for path in sorted(options.data.iterdir()):
        if path.name.startswith("phantom"):
            record[path.name] = cine(path, segmenter)
            logger.info("%s %s", path.name, record[path.name])
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
