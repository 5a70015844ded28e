"""Widths and stenoses measured on digital phantoms and synthetic angiograms, against their truth.

    python experiments/phantoms.py --output experiments/results/phantoms.json

Constants of ``casr_net.vessels`` were chosen with ``--seeds choosing``; the figures are of other seeds.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from casr_net.errors import CASRError
from casr_net.network.weights import sha256
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.vessels.diameters import Settings, measure_widths
from casr_net.vessels.doubt import with_intervals
from casr_net.vessels.measures import METHODS, Widths
from casr_net.vessels.stenosis import Search, narrowest
from casr_net.vessels.tree import vessel_tree
from casr_net.vessels.treelesions import AUTOMATIC, tree_lesions
from phantom_images import make_phantom

logger = logging.getLogger("phantoms")

SEEDS = {"choosing": 0, "reporting": 5000, "intervals": 9000}
WIDTHS = (0.5, 0.7, 0.9, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0)
PIXELS = (0.1, 0.2, 0.3)
METHOD = ("both", "edges", "cylinder", "mask")
MM = 0.25  # a pixel of the synthetic angiograms, taken for their figures in mm: they state none


def against(widths: Widths, line: np.ndarray, diameter: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Measured and true diameters in pixels where nothing disturbs, away from the ends."""
    inside = (widths.along > margin) & (widths.along < widths.along[-1] - margin) & (widths.unsure == 0)
    distance, index = KDTree(line).query(widths.points)
    inside &= (distance < 3) & np.isfinite(widths.diameter)
    return widths.diameter[inside], diameter[index[inside]]


def summary(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Bias, SD and slope in mm of (measured, true) means of vessels or samples."""
    if len(pairs) < 3:
        return {"count": len(pairs)}
    got, true = np.array(pairs).T
    return {
        "count": len(pairs),
        "bias_mm": round(float((got - true).mean()), 3),
        "sd_mm": round(float((got - true).std(ddof=1)), 3),
        "slope": round(float(np.polyfit(true, got, 1)[0]), 3) if np.ptp(true) > 0.2 else None,
    }


def tubes(base: int, repeats: int) -> dict[str, Any]:
    """Every sample of straight and curved tubes; by method, by width."""
    samples: dict[str, list[tuple[float, float, float]]] = {name: [] for name in METHOD}
    shares = np.zeros(len(METHODS))
    for width in WIDTHS:
        for pixel in PIXELS:
            for number in range(repeats):
                phantom = make_phantom(base + number, ("straight", "curved")[number % 2], width, pixel)
                for name in METHOD:
                    try:
                        widths = measure_widths(
                            phantom.attenuation, phantom.mask, phantom.line[:: len(phantom.line) // 40],
                            settings=Settings(method=name),
                        )  # fmt: skip
                    except CASRError:  # thinner than the pixels: no mask
                        continue
                    got, true = against(widths, phantom.line, phantom.diameter, 5.0)
                    samples[name] += zip(got * pixel, true * pixel, [width] * len(got), strict=True)
                    if name == "both":
                        shares += np.bincount(widths.method, minlength=len(METHODS))
    record: dict[str, Any] = {"share_of_methods": dict(zip(METHODS, (shares / shares.sum()).round(3), strict=True))}
    for name, found in samples.items():
        pairs = [(got, true) for got, true, _ in found]
        record[name] = {
            "all": summary(pairs),
            "from_1_mm": summary([pair for pair in pairs if pair[1] >= 0.99]),
            "below_1_mm": summary([pair for pair in pairs if pair[1] < 0.99]),
            "by_width_mm": {
                str(width): summary([(got, true) for got, true, of in found if of == width]) for width in WIDTHS
            },
        }
    return record


def stenoses(base: int, repeats: int) -> dict[str, Any]:
    """Minimum lumen diameter and percent stenosis, with the coverage of the intervals."""
    rows = []
    for width in (2.0, 2.5, 3.0, 4.0):
        for percent in (30.0, 50.0, 70.0):
            for pixel in PIXELS:
                for number in range(repeats):
                    phantom = make_phantom(base + 100 + number, "stenosis", width, pixel, percent)
                    line = phantom.line[:: len(phantom.line) // 40]
                    widths = measure_widths(phantom.attenuation, phantom.mask, line)
                    lesion = narrowest(widths)
                    if lesion is None:
                        continue
                    lesion = with_intervals([lesion], widths, phantom.attenuation, phantom.mask)[0]
                    rows.append((phantom, lesion))
    mld = np.array([(lesion.mld * p.pixel, p.diameter.min() * p.pixel) for p, lesion in rows])
    percents = np.array([(lesion.percent_diameter, p.percent) for p, lesion in rows])
    area = np.array([
        (lesion.percent_area_densitometric, 100 * (1 - (1 - p.percent / 100) ** 2))
        for p, lesion in rows if lesion.percent_area_densitometric is not None
    ])  # fmt: skip
    round_area = np.array([(lesion.percent_area, 100 * (1 - (1 - p.percent / 100) ** 2)) for p, lesion in rows])
    held = [
        (lesion.mld_interval.low <= p.diameter.min() <= lesion.mld_interval.high,
         lesion.percent_interval.low <= p.percent <= lesion.percent_interval.high)
        for p, lesion in rows if lesion.mld_interval and lesion.percent_interval
    ]  # fmt: skip
    size = [(lesion.mld_interval.high - lesion.mld_interval.low) * p.pixel for p, lesion in rows if lesion.mld_interval]
    return {
        "count": len(rows),
        "mld": summary([tuple(row) for row in mld]),
        "mld_from_1_mm": summary([tuple(row) for row in mld if row[1] >= 1]),
        "mld_below_1_mm": summary([tuple(row) for row in mld if row[1] < 1]),
        "percent_diameter": points(percents),
        "percent_area": points(round_area),
        "percent_area_densitometric": points(area),
        "coverage_of_90": dict(zip(("mld", "percent_diameter"), np.mean(held, axis=0).round(3).tolist(), strict=True)),
        "width_of_mld_interval_mm_median": round(float(np.median(size)), 3),
    }


def points(pairs: np.ndarray) -> dict[str, Any]:
    """Bias and SD in percentage points."""
    if len(pairs) < 3:
        return {"count": len(pairs)}
    off = pairs[:, 0] - pairs[:, 1]
    return {
        "count": len(off),
        "bias": round(float(off.mean()), 2),
        "sd": round(float(off.std(ddof=1)), 2),
        "slope": round(float(np.polyfit(pairs[:, 1], pairs[:, 0], 1)[0]), 3),
    }


def angiograms(base: int, count: int, predicted: bool) -> dict[str, Any]:
    """Synthetic angiograms, from true masks or from those of the shipped network.

    Samples that are flagged do not count. A lesion is found when the minimum of one lies within 8 pixels of the true
    one. Stenoses count whose reference is at least the search's.
    """
    segmenter = None
    if predicted:
        from casr_net.inference.segmenter import Segmenter

        segmenter = Segmenter()
    samples: list[tuple[float, float]] = []
    hits, true_count, found_count, false, percents, mlds = 0, 0, 0, 0, [], []
    held: list[tuple[bool, bool]] = []
    for seed in range(base, base + count):
        angiogram = make_angiogram(seed, stenoses=2)
        attenuation = 1 - angiogram.image.T.astype(np.float32) / 255
        mask = angiogram.mask.T.copy() if segmenter is None else segmenter(angiogram.image).mask.T.copy()
        tree = vessel_tree(mask, attenuation)
        branches = angiogram.truth["branches"]
        line = np.concatenate([np.array(branch["points"]) for branch in branches])
        width = 2 * np.concatenate([np.array(branch["radii"]) for branch in branches])
        found = tree_lesions(tree, attenuation, mask)
        for _, widths, _ in found:
            samples += [tuple(MM * np.array(pair)) for pair in zip(*against(widths, line, width, 4.0), strict=True)]
        lesions = [(lesion, widths) for _, widths, several in found for lesion in several if not lesion.unsure]
        found_count += len(lesions)
        taken: set[int] = set()
        for stenosis in angiogram.truth["stenoses"]:
            if stenosis["reference_diameter"] < AUTOMATIC.vessel:
                continue
            true_count += 1
            place = np.array([stenosis["x"], stenosis["y"]])
            near = [i for i, (lesion, _) in enumerate(lesions) if np.hypot(*(place - lesion.position)) <= 8]
            if near:
                best = max(near, key=lambda i: lesions[i][0].percent_diameter)
                taken.update(near)
                hits += 1
                lesion, widths = lesions[best]
                percents.append((lesion.percent_diameter, stenosis["percent_diameter"]))
                mlds.append((MM * lesion.mld, MM * stenosis["minimal_lumen_diameter"]))
                lesion = with_intervals([lesion], widths, attenuation, mask, tree, search=AUTOMATIC)[0]
                if lesion.mld_interval and lesion.percent_interval:
                    held.append((
                        lesion.mld_interval.low <= stenosis["minimal_lumen_diameter"] <= lesion.mld_interval.high,
                        lesion.percent_interval.low <= stenosis["percent_diameter"] <= lesion.percent_interval.high,
                    ))  # fmt: skip
        false += len(lesions) - len(taken)
    return {
        "angiograms": count,
        "mm_per_pixel_assumed": MM,
        "widths_all": summary(samples),
        "widths_from_1_mm": summary([pair for pair in samples if pair[1] >= 1]),
        "widths_below_1_mm": summary([pair for pair in samples if pair[1] < 1]),
        "stenoses": {"true": true_count, "found": hits, "lesions_not_unsure": found_count, "false": false},
        "percent_diameter": points(np.array(percents).reshape(-1, 2)),
        "mld": summary(mlds),
        "coverage_of_90": np.mean(held, axis=0).round(3).tolist() if held else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", choices=tuple(SEEDS), default="reporting")
    parser.add_argument("--repeats", type=int, default=6, help="phantoms of each kind and size")
    parser.add_argument("--angiograms", type=int, default=30)
    parser.add_argument("--only", nargs="+", help="names of the record's parts")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    base = SEEDS[options.seeds]
    weights = Path(__file__).resolve().parents[1] / "monai_bundle" / "models" / "model.pt"
    record: dict[str, Any] = {
        "what": "measured against true widths on digital phantoms; every sample along a tube counts once",
        "seeds": options.seeds,
        "search": vars(Search()),
        "weights_sha256": sha256(weights),
        "hardware": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "opencv-python-headless")},
        },
    }
    parts = {
        "tubes": lambda: tubes(base, options.repeats),
        "stenoses": lambda: stenoses(base, options.repeats),
        "angiograms_true_masks": lambda: angiograms(base, options.angiograms, False),
        "angiograms_predicted_masks": lambda: angiograms(base, options.angiograms, True),
    }
    for name, part in parts.items():
        if name in (options.only or parts):
            record[name] = part()
            logger.info("%s: %s", name, json.dumps(record[name]))
            options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
