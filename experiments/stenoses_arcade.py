"""Stenoses of ARCADE found by measuring: sensitivity, PPV and F1 by the threshold of percent diameter stenosis.

    python experiments/stenoses_arcade.py --data DIR --cache DIR --output experiments/results/stenoses_arcade.json

A hit is a lesion whose minimum lies in a marked polygon, dilated by 8 pixels. The threshold is chosen on images of the
train split, the figures are of the val split. Only images with marked stenoses are used: of others nobody says that
they were looked at for stenoses.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from arcade_masks import WEIGHTS, arcade_images, chosen
from casr_net.network.weights import sha256
from casr_net.vessels.measures import Lesion
from casr_net.vessels.tree import vessel_tree
from casr_net.vessels.treelesions import AUTOMATIC, tree_lesions

logger = logging.getLogger("experiments")

DILATION = 8
THRESHOLDS = tuple(range(20, 71, 5))
VESSELS = (0.0, 5.0, 7.0, 9.0, 11.0, 13.0)
"""Least reference diameters in pixels that are tried."""


class Result(NamedTuple):
    """Of one image: its lesions, the polygons that each hits, and the share of each polygon in the mask."""

    lesions: list[Lesion]
    hits: list[list[int]]
    covered: list[float]


def region_of(polygon: np.ndarray, shape: tuple[int, int], dilation: int) -> np.ndarray:
    """bool (X, Y), a polygon dilated by a disc."""
    region = np.zeros((shape[1], shape[0]), np.uint8)
    cv2.fillPoly(region, [np.round(polygon).astype(np.int32)], (1,))
    size = 2 * dilation + 1
    return cv2.dilate(region, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))).T > 0


def results(data: Path, cache: Path, split: str, count: int | None) -> list[Result]:
    found = []
    search = replace(AUTOMATIC, least=float(THRESHOLDS[0]), vessel=0.0)
    for image in arcade_images(data, chosen(data, split, count), cache):
        lesions: list[Lesion] = []
        if image.mask.any():
            tree = vessel_tree(image.mask, image.attenuation)
            lesions = [one for *_, several in tree_lesions(tree, image.attenuation, image.mask, search=search)
                       for one in several]  # fmt: skip
        regions = [region_of(polygon, image.mask.shape, DILATION) for polygon in image.polygons]
        at = [tuple(np.floor(np.array(one.position) + 0.5).astype(int)) for one in lesions]
        hits = [[number for number, region in enumerate(regions) if region[place]] for place in at]
        tight = [region_of(polygon, image.mask.shape, 0) for polygon in image.polygons]
        covered = [float(image.mask[region].mean()) if region.any() else 0.0 for region in tight]
        found.append(Result(lesions, hits, covered))
        if len(found) % 25 == 0:
            logger.info("%s: %d images", split, len(found))
    return found


def counted(found: list[Result], least: float, vessel: float, unsure: bool) -> dict[str, float]:
    hit, marked, right, lesions = 0, 0, 0, 0
    for result in found:
        marked += len(result.covered)
        taken: set[int] = set()
        for lesion, hits in zip(result.lesions, result.hits, strict=True):
            if usable(lesion, least, vessel, unsure):
                lesions += 1
                right += bool(hits)
                taken.update(hits)
        hit += len(taken)
    sensitivity, ppv = hit / max(marked, 1), right / max(lesions, 1)
    f1 = 2 * sensitivity * ppv / max(sensitivity + ppv, 1e-9)
    return {
        "percent_diameter": least, "least_reference_px": vessel, "with_unsure": unsure, "stenoses": marked,
        "lesions": lesions, "sensitivity": round(sensitivity, 3), "ppv": round(ppv, 3), "f1": round(f1, 3),
    }  # fmt: skip


def usable(lesion: Lesion, least: float, vessel: float, unsure: bool) -> bool:
    return lesion.percent_diameter >= least and lesion.reference >= vessel and (unsure or not lesion.unsure)


def misses(found: list[Result], least: float, vessel: float, unsure: bool) -> dict[str, Any]:
    """Why marked stenoses were not found, the first reason that holds."""
    reasons: Counter[str] = Counter()
    for result in found:
        for number, covered in enumerate(result.covered):
            near = [lesion for lesion, hits in zip(result.lesions, result.hits, strict=True) if number in hits]
            if any(usable(lesion, least, vessel, unsure) for lesion in near):
                reasons["found"] += 1
            elif covered < 0.3:
                reasons["not segmented"] += 1
            elif any(lesion.unsure and usable(lesion, least, vessel, True) for lesion in near):
                reasons["crossing, branch point or border"] += 1
            elif any(usable(lesion, least, 0.0, True) for lesion in near):
                reasons["vessel too thin"] += 1
            elif near:
                reasons["narrowed, below the threshold"] += 1
            else:
                reasons["not narrow by our measure"] += 1
    return dict(reasons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--train", type=int, default=150)
    parser.add_argument("--val", type=int)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train = results(options.data, options.cache, "train", options.train)
    grid = [counted(train, t, v, u) for t in THRESHOLDS for v in VESSELS for u in (False, True)]
    best = max(grid, key=lambda row: row["f1"])
    least, vessel, unsure = best["percent_diameter"], best["least_reference_px"], bool(best["with_unsure"])
    val = results(options.data, options.cache, "val", options.val)
    record = {
        "what": "stenoses of ARCADE found by measuring in predicted masks; hit: its minimum is in the dilated polygon",
        "weights_sha256": sha256(WEIGHTS),
        "train": {"images": len(train), "chosen": best, "grid": grid},
        "val": {
            "images": len(val),
            "at_chosen": counted(val, least, vessel, unsure),
            "without_unsure": counted(val, least, vessel, False),
            "by_threshold": [counted(val, t, vessel, unsure) for t in THRESHOLDS],
            "why_missed": misses(val, least, vessel, unsure),
        },
        "published": {"best detectors of the ARCADE challenge, F1": 0.535},
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    logger.info("%s", json.dumps(record["val"]))


if __name__ == "__main__":
    main()
