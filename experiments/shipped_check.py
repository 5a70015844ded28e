"""New weights against those that ship, on images that neither has seen, before they replace them.

python experiments/shipped_check.py --data ../shared/data --first models/model.pt --second NEW.pt [--config compact] \\
    --cache FOLDER --output experiments/results/shipped_check.json [--worse 40]

Networks of all folds have seen every image of the own sets. ARCADE's val split is in no training: crossing of its
stenoses, and recall of its labelled centre lines. Recall alone would praise a network that finds too much: hence also
the share of the image that is vessel, and false vessels on synthetic angiograms without contrast. --worse images of the
split are made noisy, pale and so on as well. Differences are second minus first, with intervals of the bootstrap over
images.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casr_net import Segmenter
from casr_net.evaluation.bootstrap import paired_difference
from casr_net.evaluation.heldout import evaluate_negatives, evaluate_stenoses
from casr_net.evaluation.perturbations import perturbed
from casr_net.evaluation.segments import evaluate_segments, summarise_segments
from casr_net.evaluation.usage import hardware
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256

NEGATIVES = 20
WORSE = (("noise", 10), ("noise", 20), ("jpeg", 20), ("contrast", 0.4), ("contrast", 0.2), ("blur", 2))
"""Kinds and levels of :mod:`casr_net.evaluation.perturbations`."""


def on_worse_images(segmenter: Segmenter, data: Path, folder: Path, count: int) -> dict[str, Any]:
    """Rows of labelled segments of changed images, and the share of each that is vessel, by what was changed."""
    found: dict[str, Any] = {}
    for kind, level in WORSE:
        shares: dict[str, float] = {}

        def segment(path: Any, kind: str = kind, level: float = level, shares: dict[str, float] = shares) -> Any:
            image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
            assert image is not None, path
            result = segmenter(perturbed(kind, level, image, np.zeros(image.shape, bool))[0])
            shares[Path(path).name] = float(result.mask.mean())
            return result

        name = f"{kind} {level}"
        rows = folder / f"{kind}_{level}.jsonl"
        segments = evaluate_segments(data / "arcade", segment, rows, lambda: None, limit=count)
        found[name] = {"segments": segments, "areas": kept(folder / f"{kind}_{level}.json", shares)}
    return found


def kept(path: Path, values: Mapping[str, float]) -> dict[str, float]:
    """With those of earlier runs."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    both = {**before, **values}
    path.write_text(json.dumps(both), encoding="utf-8")
    return both


def measured(
    weights: Path, config: Sequence[str], data: Path, cache: Path, worse: int, tta: bool = False
) -> dict[str, Any]:
    """Rows of all images; those that are in the cache are not computed again."""
    digest = sha256(weights)
    folder = cache / f"{digest[:12]}{'-tta' if tta else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter(list(config), device="cpu", weights=str(weights), runtime="onnx", tta=tta)
    areas: dict[str, float] = {}

    def segment(image: Any) -> Any:
        found = segmenter(image)
        if isinstance(image, str):
            areas[Path(image).name] = float(found.mask.mean())
        return found

    rows: dict[str, Any] = {
        "stenoses": evaluate_stenoses(data / "arcade", segment, folder / "stenoses.jsonl", lambda: None),
        "segments": evaluate_segments(data / "arcade", segment, folder / "segments.jsonl", lambda: None),
        "negatives": evaluate_negatives(NEGATIVES, segment, folder / "negatives.jsonl", lambda: None),
    }
    areas = kept(folder / "areas.json", areas)
    looked_at: list[Mapping[str, Any]] = [*rows["stenoses"], *rows["segments"]]
    for row in looked_at:  # those of a run that was stopped before it wrote its areas
        if row["name"] not in areas:
            segment(str(data / "arcade" / "images" / row["name"]))
    areas = kept(folder / "areas.json", areas)
    return {"sha256": digest, "areas": areas, **rows, "worse": on_worse_images(segmenter, data, folder, worse)}


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    crossed = [value for row in found["stenoses"] for value in row["refined"]]
    recall = summarise_segments(found["segments"])
    return {
        "sha256": found["sha256"],
        "stenoses": len(crossed),
        "crossing_rate": round(statistics.fmean(crossed), 5),
        "centre_line_recall": recall["refined"],
        "recall_by_width": recall["by_width"],
        "vessel_share": round(statistics.fmean(found["areas"].values()), 5),
        "false_pixels_without_contrast": found["negatives"]["false_pixels"]["refined"],
        "worse": {
            name: {
                "images": len(rows["segments"]),
                "centre_line_recall": summarise_segments(rows["segments"])["refined"]["mean"],
                "vessel_share": round(statistics.fmean(rows["areas"].values()), 5),
            }
            for name, rows in found["worse"].items()
        },
    }


def recalls(found: Mapping[str, Any]) -> dict[str, float]:
    return {row["name"]: row["refined"]["all"][0] / max(row["refined"]["all"][1], 1) for row in found["segments"]}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:

    def crossings(found: Mapping[str, Any]) -> dict[str, list[int]]:
        return {row["name"]: row["refined"] for row in found["stenoses"]}

    return {
        "crossing_rate": paired_difference(crossings(first), crossings(second)).as_dict(),
        "centre_line_recall": paired_difference(recalls(first), recalls(second)).as_dict(),
        "vessel_share": paired_difference(first["areas"], second["areas"]).as_dict(),
        "centre_line_recall_worse": {
            name: paired_difference(recalls(first["worse"][name]), recalls(second["worse"][name])).as_dict()
            for name in first["worse"]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path)
    parser.add_argument("--second-tta", action="store_true", help="the second with mirror images")
    parser.add_argument("--config", nargs="*", default=[])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worse", type=int, default=40, help="images that are changed, of ARCADE's val split")
    options = parser.parse_args()
    first = measured(options.first, options.config, options.data, options.cache, options.worse)
    record: dict[str, Any] = {"first": summary(first), "second_with_mirror_images": options.second_tta}
    if options.second:
        second = measured(
            options.second, options.config, options.data, options.cache, options.worse, options.second_tta
        )
        record |= {"second": summary(second), "second_minus_first": differences(first, second)}
    record |= {"hardware": hardware(), "versions": package_versions()}
    text = json.dumps(record, indent=1) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
