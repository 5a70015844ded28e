"""Does it help to fuse the probability maps of neighbouring frames, and to empty the masks before the contrast?

    python experiments/temporal_fusion.py --cines DIR --output experiments/results/temporal_fusion.json

Synthetic cines with truth for every frame, as they are and made hard (contrast of 60 %, noise): Dice, clDice, flicker,
false pixels in frames without visible contrast. Real cines have no truth: flicker, and pixels found before the arrival
that the curve tells. Flicker: pixels that differ between a mask and the one before, moved along the flow between the
two grey frames, as a share of their mean area. The fusion moves maps along flow of the same kind, which favours it
there, and in no other number. Weights are compared on the first half of the seeds; the second half is reported.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from casr_net.cine.contrast import contrast_curve
from casr_net.cine.curve import BEFORE
from casr_net.cine.fusion import fused_maps
from casr_net.cine.motion import dense_flow, grey_levels, warp
from casr_net.evaluation.metrics import cldice, dice
from casr_net.inference.bundle import bundle_root
from casr_net.inference.segmenter import Segmenter
from casr_net.network.weights import sha256
from casr_net.synthetic.angiogram import make_cine

logger = logging.getLogger("temporal_fusion")

CHOICE, REPORT = range(2000, 2002), range(2003, 2005)
FRAMES = 12
WEIGHTS: dict[str, tuple[float, ...]] = {
    "none": (), "0.25": (0.25,), "0.5": (0.5,), "1": (1.0,), "0.5_0.25": (0.5, 0.25)
}  # fmt: skip
SEEN = 300
"""Pixels of the true mask from which on a frame counts for Dice and clDice."""

Cine = list[np.ndarray]


def hard(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Less contrast, and noise as a detector blurs it."""
    grain = cv2.GaussianBlur(rng.normal(size=image.shape).astype(np.float32), (0, 0), 0.7)
    level = float(np.median(image))
    return np.clip(np.round(level + 0.6 * (image - level) + 8 * grain / grain.std()), 0, 255).astype(np.uint8)


def maps(name: str, images: Cine, segmenter: Callable[[], Segmenter], cache: Path) -> np.ndarray:
    """Probability maps (frames, rows, columns), uint8, kept on the disk."""
    path = cache / f"{name}.npy"
    if not path.exists():
        network = segmenter()
        found = [network.grey((image.astype(np.float32) / 255).T).probability for image in images]
        np.save(path, np.round(255 * np.stack(found)).astype(np.uint8))
        logger.info("%s: %d maps", name, len(images))
    return np.load(path)


def flows(images: Cine) -> list[np.ndarray]:
    """From each frame but the first to the one before."""
    grey = [grey_levels(image, (0, 255)) for image in images]
    return [dense_flow(later, sooner) for sooner, later in pairwise(grey)]


def flicker(masks: Cine, back: list[np.ndarray]) -> float:
    changed = area = 0.0
    for sooner, later, flow in zip(masks, masks[1:], back, strict=False):
        moved = warp(sooner.astype(np.float32), flow) >= 0.5
        changed += float((moved != later).sum())
        area += float(moved.sum() + later.sum()) / 2
    return changed / max(area, 1)


def masks_of(images: Cine, probability: np.ndarray, weights: Sequence[float], refined: Any) -> Cine:
    greys = [image.astype(np.float32) / 255 for image in images]
    levels = [level.astype(np.float32) / 255 for level in probability]
    joined = list(fused_maps(zip(greys, levels, strict=True), weights)) if weights else levels
    return [refined(level) for level in joined]


def phases_of(images: Cine, probability: np.ndarray) -> tuple[str, ...]:
    pairs = (
        (level.T / np.float32(255), 1 - image.T / np.float32(255))
        for image, level in zip(images, probability, strict=True)
    )
    return contrast_curve(pairs).phases


def before_of(masks: Cine, phases: Sequence[str], truth: Cine | None = None) -> dict[str, int]:
    """What emptying the masks before the contrast takes away: pixels, and of them true ones."""
    at = [index for index, phase in enumerate(phases) if phase == BEFORE]
    found = {"frames_before": len(at), "pixels_emptied": int(sum(masks[index].sum() for index in at))}
    if truth is not None:
        found["of_them_true"] = int(sum((masks[index] & truth[index]).sum() for index in at))
    return found


def synthetic(seeds: Sequence[int], difficult: bool, segmenter: Callable[[], Segmenter], cache: Path) -> dict[str, Any]:
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in WEIGHTS}
    emptied: list[dict[str, int]] = []
    for seed in seeds:
        cine = make_cine(seed, FRAMES)
        rng = np.random.default_rng([seed, 3])
        images = [hard(frame.image, rng) if difficult else frame.image for frame in cine]
        probability = maps(f"synthetic_{seed}{'_hard' if difficult else ''}", images, segmenter, cache)
        back, truth = flows(images), [frame.mask for frame in cine]
        for name, weights in WEIGHTS.items():
            masks = masks_of(images, probability, weights, segmenter().refined)
            score = scores[name]
            score.setdefault("flicker", []).append(flicker(masks, back))
            empty = [mask for mask, true in zip(masks, truth, strict=True) if not true.any()]
            score.setdefault("false_pixels_before", []).append(float(np.mean([mask.sum() for mask in empty])))
            for mask, true in zip(masks, truth, strict=True):
                if true.sum() >= SEEN:
                    score.setdefault("dice", []).append(float(dice(mask, true)))
                    score.setdefault("cldice", []).append(float(cldice(mask, true)))
            if name == "none":
                emptied.append(before_of(masks, phases_of(images, probability), truth))
        logger.info("seed %d%s", seed, " hard" if difficult else "")
    return {
        "cines": len(seeds),
        **{name: {key: round(float(np.mean(v)), 5) for key, v in score.items()} for name, score in scores.items()},
        "emptying": {key: sum(found[key] for found in emptied) for key in emptied[0]},
    }


def real(folder: Path, segmenter: Callable[[], Segmenter], cache: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(place.glob("*.jpg"))]
        images = [image for image in found if image is not None]
        probability = maps(place.name, images, segmenter, cache)
        phases, back = phases_of(images, probability), flows(images)
        entry: dict[str, Any] = {"frames": len(images)}
        for name in ("none", "0.5"):
            masks = masks_of(images, probability, WEIGHTS[name], segmenter().refined)
            entry[name] = {"flicker": round(flicker(masks, back), 5), **before_of(masks, phases)}
        result[place.name] = entry
        logger.info("%s: %s", place.name, entry)
    entries = list(result.values())
    for name in ("none", "0.5"):
        result[f"mean_flicker_{name}"] = round(float(np.mean([entry[name]["flicker"] for entry in entries])), 5)
        result[f"pixels_before_{name}"] = sum(entry[name]["pixels_emptied"] for entry in entries)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cines", type=Path, help="folder with a folder of JPEG frames a cine; left out without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/temporal_fusion"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.cache.mkdir(parents=True, exist_ok=True)
    known: list[Segmenter] = []

    def segmenter() -> Segmenter:
        if not known:
            known.append(Segmenter(device="cpu"))
            known[0].network = known[0].network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return known[0]

    record: dict[str, Any] = {
        "what": "temporal fusion of probability maps, weights of the neighbours at distance 1, 2; masks refined",
        "frames_per_synthetic_cine": FRAMES,
        "seeds": {"choice": [CHOICE[0], CHOICE[-1]], "report": [REPORT[0], REPORT[-1]]},
        "weights_sha256": sha256(bundle_root() / "models" / "model.pt"),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "opencv-python-headless")},
        },
        "hardware": f"{platform.machine()}, CPU, one core",
    }
    for name, seeds in (("choice", CHOICE), ("report", REPORT)):
        for kind in ("plain", "hard"):
            record[f"{name}_{kind}"] = synthetic(seeds, kind == "hard", segmenter, options.cache)
            options.output.write_text(json.dumps(record, indent=1) + "\n")
    if options.cines:
        record["real"] = real(options.cines, segmenter, options.cache)
        options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
