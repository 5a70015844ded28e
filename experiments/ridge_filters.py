"""Baseline without learning: scikit-image's Frangi and Sato ridge filters, tuned on folds 1 to 4, tested on fold 0.

A. Frangi et al., MICCAI 1998; Y. Sato et al., Med. Image Anal. 2(2), 1998. A grey image in [0, 1], filled outside the
exposed field, is filtered at several sigmas; what lies above one threshold and in a large enough component is vessel.

    python experiments/ridge_filters.py --data DIR --output experiments/results/ridge_filters.json
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import logging
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from skimage.filters import frangi, sato

from casr_net.evaluation.metrics import count_pixels, dice_from_counts, image_metrics, pooled_metrics
from casr_net.files.images import read_angiogram
from casr_net.files.masks import read_mask
from casr_net.preprocessing.field import field_of_view, fill_outside
from casr_net.training.cases import load_cases

logger = logging.getLogger("ridge_filters")

TEST_FOLD = 0
LARGE = 400  # longer sides above this are halved in the first pass, for speed
SIGMAS = (0.003, 0.0045, 0.0065, 0.009, 0.0125, 0.017)  # shares of the longer side
BETAS = (0.5, 1.0)
GAMMAS = (None, 0.05, 0.2)  # at sigma 1, in grey values; None: half of the image's largest Hessian norm
THRESHOLDS = {
    "percentile": np.arange(80, 97.1, 0.5),
    "absolute": np.geomspace(0.0002, 0.95, 80),
}
AREAS = (0.0, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)  # smallest component, shares of the image's pixels
FINALISTS = 2  # settings of each filter, scope and kind of threshold that reach the second pass
BELOW, ABOVE = 9, 2  # thresholds of the second pass around the first's best: removing components allows lower ones


class Setting(NamedTuple):
    """A filter: sigmas as shares of the longer side, and Frangi's parameters."""

    filter: str
    sigmas: tuple[float, ...]
    beta: float | None = None
    gamma: float | None = None


class Image(NamedTuple):
    """Grey in [0, 1] and filled, mask and exposed field, all (X, Y)."""

    grey: np.ndarray
    mask: np.ndarray
    field: np.ndarray


def settings() -> list[Setting]:
    """The grid: both filters with every run of neighbouring sigmas, Frangi also with every beta and gamma."""
    runs = [SIGMAS[a:b] for a, b in itertools.combinations(range(len(SIGMAS) + 1), 2)]
    grid = [Setting("sato", run) for run in runs]
    return grid + [Setting("frangi", run, beta, gamma) for run in runs for beta in BETAS for gamma in GAMMAS]


def read_case(case: dict[str, Any], halve: bool = False) -> Image:
    """Read one case; with ``halve``, large images at half their size (grey by area, mask by majority)."""
    source = read_angiogram(case["image"])
    grey = source.grey(0)
    mask = read_mask(case["label"])[..., 0]
    if halve and max(grey.shape) > LARGE:
        size = (grey.shape[1] // 2, grey.shape[0] // 2)
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    field = field_of_view(grey)
    return Image(fill_outside(grey, field), mask, field)


class Responses:
    """Filter responses of one image. Those of single sigmas are kept: the response of a set is their maximum."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._single: dict[Setting, np.ndarray] = {}

    def __call__(self, setting: Setting) -> np.ndarray:
        """(X, Y), at least 0; 0 outside the field."""
        parts = [self._one(setting._replace(sigmas=(sigma,))) for sigma in setting.sigmas]
        return np.where(self.image.field, np.maximum.reduce(parts), 0)

    def _one(self, setting: Setting) -> np.ndarray:
        if setting not in self._single:
            sigma = setting.sigmas[0] * max(self.image.grey.shape)
            if setting.filter == "sato":
                response = sato(self.image.grey, sigmas=[sigma], black_ridges=True)
            else:
                # scikit-image does not scale Frangi's Hessian by sigma^2; scaling gamma instead is the same.
                gamma = None if setting.gamma is None else setting.gamma / sigma**2
                response = frangi(self.image.grey, sigmas=[sigma], beta=setting.beta, gamma=gamma, black_ridges=True)
            self._single[setting] = response
        return self._single[setting]


def cut(response: np.ndarray, field: np.ndarray, kind: str, threshold: float, area: float) -> np.ndarray:
    """Mask of a response above the threshold ("percentile": of the values in the field), without small components."""
    level = np.percentile(response[field], threshold) if kind == "percentile" else threshold
    mask = (response > level).astype(np.uint8)
    if area == 0:
        return mask > 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= area * mask.size
    kept[0] = False
    return kept[labels]


def threshold_dice(response: np.ndarray, image: Image) -> dict[str, np.ndarray]:
    """Dice of all thresholds of either kind, without a smallest area."""
    inside, vessel = np.sort(response[image.field]), np.sort(response[image.field & image.mask])
    result = {}
    for kind, thresholds in THRESHOLDS.items():
        levels = np.percentile(inside, thresholds) if kind == "percentile" else thresholds
        predicted = inside.size - np.searchsorted(inside, levels, side="right")
        hit = vessel.size - np.searchsorted(vessel, levels, side="right")
        result[kind] = dice_from_counts(hit, predicted, image.mask.sum())
    return result


def first_pass(cases: Sequence[dict[str, Any]], grid: Sequence[Setting]) -> dict[str, np.ndarray]:
    """Dice of every image, setting and threshold, by kind of threshold: (images, settings, thresholds)."""
    scores: dict[str, list[list[np.ndarray]]] = {kind: [] for kind in THRESHOLDS}
    for number, case in enumerate(cases, start=1):
        image = read_case(case, halve=True)
        responses = Responses(image)
        rows = [threshold_dice(responses(setting), image) for setting in grid]
        for kind in scores:
            scores[kind].append([row[kind] for row in rows])
        if number % 10 == 0:
            logger.info("first pass: %d of %d images", number, len(cases))
    return {kind: np.array(values, dtype=np.float32) for kind, values in scores.items()}


def mean_over_sets(values: np.ndarray, names: np.ndarray, scope: str) -> np.ndarray:
    """Mean over a set's images (first axis); for the scope "joint", the mean of the means of all sets."""
    chosen = np.unique(names) if scope == "joint" else [scope]
    return np.mean([values[names == name].mean(axis=0) for name in chosen], axis=0)


def finalists(
    scores: dict[str, np.ndarray], names: np.ndarray, grid: Sequence[Setting], scopes: Sequence[str]
) -> set[tuple[Setting, str, int]]:
    """The best settings of every filter, scope and kind of threshold, with the index of their best threshold."""
    found = set()
    for scope, (kind, values) in itertools.product(scopes, scores.items()):
        mean = mean_over_sets(values, names, scope)  # (settings, thresholds)
        order = np.argsort(-mean.max(axis=1))
        for name in ("sato", "frangi"):
            best = [i for i in order if grid[i].filter == name][:FINALISTS]
            found |= {(grid[i], kind, int(mean[i].argmax())) for i in best}
    return found


def second_pass(
    cases: Sequence[dict[str, Any]], chosen: set[tuple[Setting, str, int]]
) -> dict[tuple[Setting, str, float, float], np.ndarray]:
    """Dice of every image at native size, for the thresholds around the best one, with every smallest area."""
    candidates = set()
    for setting, kind, index in chosen:
        near = THRESHOLDS[kind][max(0, index - BELOW) : index + ABOVE + 1]
        candidates |= {(setting, kind, float(threshold)) for threshold in near}
    ordered = sorted(candidates, key=str)
    scores: dict[tuple[Setting, str, float, float], list[float]] = {}
    for number, case in enumerate(cases, start=1):
        image = read_case(case)
        responses = Responses(image)
        size, total = image.mask.size, int(image.mask.sum())
        for setting, group in itertools.groupby(ordered, key=lambda candidate: candidate[0]):
            response = responses(setting)
            for _, kind, threshold in group:
                mask = cut(response, image.field, kind, threshold, 0)
                _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
                areas = stats[1:, cv2.CC_STAT_AREA]
                hits = np.bincount(labels[image.mask], minlength=len(stats))[1:]
                for area in AREAS:
                    kept = areas >= area * size
                    dice = dice_from_counts(hits[kept].sum(), areas[kept].sum(), total)
                    scores.setdefault((setting, kind, threshold, area), []).append(float(dice))
        if number % 10 == 0:
            logger.info("second pass: %d of %d images", number, len(cases))
    return {key: np.array(values) for key, values in scores.items()}


def test(cases: Sequence[dict[str, Any]], setting: Setting, kind: str, threshold: float, area: float) -> dict[str, Any]:
    """Metrics at native size: means over images, and from the pixels of all images."""
    counts, rows = [], []
    for case in cases:
        image = read_case(case)
        mask = cut(Responses(image)(setting), image.field, kind, threshold, area)
        counts.append(count_pixels(mask, image.mask))
        rows.append(image_metrics(mask, image.mask, counts[-1]))
    pooled = pooled_metrics(counts)
    mean = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
    return {"images": len(cases), "mean": mean, "pooled": {name: round(value, 4) for name, value in pooled.items()}}


def run(data: Path, subset: int) -> dict[str, Any]:
    """Tune and test; gives what is written to the output file."""
    training = load_cases(data, exclude_folds=[TEST_FOLD])
    testing = load_cases(data, only_folds=[TEST_FOLD])
    sets = sorted({case["dataset"] for case in training})
    tuning = [case for name in sets for case in _spread([c for c in training if c["dataset"] == name], subset)]
    names = np.array([case["dataset"] for case in tuning])
    scopes = ["joint", *sets]
    grid = settings()
    logger.info("%d settings, %d images to tune on, %d to test on", len(grid), len(tuning), len(testing))
    chosen = finalists(first_pass(tuning, grid), names, grid, scopes)
    scores = second_pass(tuning, chosen)
    results: list[dict[str, Any]] = []
    tested = functools.cache(lambda name, *best: test([case for case in testing if case["dataset"] == name], *best))
    for filter_name, scope in itertools.product(("sato", "frangi"), scopes):
        keys = [key for key in scores if key[0].filter == filter_name]
        setting, kind, threshold, area = best = max(keys, key=lambda key: mean_over_sets(scores[key], names, scope))
        targets = sets if scope == "joint" else [scope]
        parameters = {
            **{name: value for name, value in setting._asdict().items() if filter_name == "frangi" or name == "sigmas"},
            "filter": filter_name, "threshold_kind": kind, "threshold": round(threshold, 5), "smallest_component": area,
        }  # fmt: skip
        results.append(
            {
                "filter": filter_name,
                "tuned_on": scope,
                "parameters": parameters,
                "tuning_dice": {name: round(float(mean_over_sets(scores[best], names, name)), 4) for name in targets},
                "test": {name: tested(name, *best) for name in targets},
            }
        )
        logger.info("%s", json.dumps(results[-1]))
    return {
        "what": "tuned scikit-image ridge filters, the baseline without learning",
        "data": {
            name: {"tuning": int((names == name).sum()), "test": results[0]["test"][name]["images"]} for name in sets
        },
        "folds": {"tuning": "all but 0, whole patients", "test": [TEST_FOLD]},
        "protocol": _protocol(subset),
        "grid": {
            "sigmas": SIGMAS, "frangi_beta": BETAS, "frangi_gamma": GAMMAS, "smallest_component": AREAS,
            **{kind: [round(float(value), 5) for value in values] for kind, values in THRESHOLDS.items()},
        },
        "results": results,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("scikit-image", "numpy", "opencv-python-headless", "monai")},
        },
    }  # fmt: skip


def _protocol(subset: int) -> list[str]:
    return [
        f"Tuned on at most {subset} images of each set, evenly spread over its list; the test fold is not looked at.",
        "Objective: mean Dice over a set's images; for 'joint', averaged over the sets (one parameter set for all).",
        f"First pass: every run of neighbouring sigmas, every beta, gamma and threshold; sides above {LARGE} halved.",
        f"Second pass, native size: the {FINALISTS} best settings of each filter, scope and kind of threshold, with "
        f"{BELOW} thresholds below and {ABOVE} above the first pass's best and every smallest component.",
        "Grey in [0, 1], filled outside the exposed field; no response outside it. Sigmas are shares of the longer "
        "side, smallest components shares of the image's pixels, gammas are divided by sigma squared in pixels (null: "
        "half of the image's largest Hessian norm). Percentiles are those of the responses in the image's field.",
        "Test: native size; 'mean' over images, 'pooled' from the pixels of all images; hd95 in pixels.",
    ]


def _spread(cases: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    kept = min(count, len(cases))
    return (cases[i * len(cases) // kept] for i in range(kept))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Tune and test the Frangi and Sato filters.")
    parser.add_argument("--data", type=Path, required=True, help="folder of cases.csv")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--subset", type=int, default=40, help="most images of a set to tune on (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    result = run(options.data, options.subset)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
