"""How a network does on worse images, in subgroups, without contrast, and on ARCADE's labelled segments.

python experiments/robustness.py --data ../shared/data --weights FILE [--config compact] --fold 0 \
    --output experiments/results/robustness_NAME.json [--count 20] [--arcade 200] [--negatives 20]

Everything by the bundle's own inference; what is done is kept in --state, so that it goes on where it was stopped.
--count images of each data set are perturbed; --groups images of each are taken for the subgroups.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casr_net import Segmenter
from casr_net.evaluation.heldout import evaluate_cases, evaluate_negatives, summarise
from casr_net.evaluation.metrics import cldice, dice
from casr_net.evaluation.perturbations import PERTURBATIONS, perturbed
from casr_net.evaluation.segments import evaluate_segments, summarise_segments
from casr_net.evaluation.usage import append_line, hardware, read_lines
from casr_net.files.masks import read_mask
from casr_net.inference.provenance import package_versions
from casr_net.network.weights import sha256
from casr_net.training.cases import load_cases
from probabilities import spread

SUBGROUPS = ("artery", "projection")


def on_worse_images(cases: list[dict[str, Any]], segmenter: Segmenter, path: Path) -> dict[str, Any]:
    """Mean Dice and clDice of each perturbation and level, refined; "none" beside them."""
    rows = {(row["name"], row["kind"], row["level"]): row for row in read_lines(path)}
    wanted = [("none", 0.0), *((kind, float(level)) for kind, levels in PERTURBATIONS.items() for level in levels)]
    for case in cases:
        image, truth = cv2.imread(case["image"], cv2.IMREAD_GRAYSCALE), read_mask(case["label"])[..., 0].T
        assert image is not None, case["image"]
        for kind, level in wanted:
            if (case["name"], kind, level) in rows:
                continue
            changed, reference = (image, truth) if kind == "none" else perturbed(kind, level, image, truth)
            found = segmenter(changed)
            row = {"name": case["name"], "kind": kind, "level": level, "dice": round(dice(found.mask, reference), 5),
                   "cldice": round(cldice(found.mask, reference), 5)}  # fmt: skip
            append_line(path, row)
            rows[case["name"], kind, level] = row
    names = {case["name"] for case in cases}
    table: dict[str, Any] = {}
    for kind, level in wanted:
        own = [row for (name, *what), row in rows.items() if name in names and what == [kind, level]]
        means = {metric: round(statistics.fmean(row[metric] for row in own), 5) for metric in ("dice", "cldice")}
        table.setdefault(kind, []).append({"level": level, **means})
    return {"images": len(cases), "table": table}


def subgroups(rows: list[dict[str, Any]], data: Path) -> dict[str, Any]:
    """Means of each data set by artery and by projection."""
    with open(data / "cases.csv", newline="", encoding="utf-8") as stream:
        known = {f"{row['dataset']}/{row['file']}": row for row in csv.DictReader(stream)}
    result: dict[str, Any] = {}
    for key in SUBGROUPS:
        for row in rows:
            name = f"{row['dataset']}, {known[row['name']][key] or 'not stated'}"
            result.setdefault(key, {}).setdefault(name, []).append(row["refined"])
        result[key] = {
            name: {"images": len(own), **{metric: round(statistics.fmean(r[metric] for r in own), 5)
                                          for metric in ("dice", "cldice", "sensitivity", "precision")}}
            for name, own in sorted(result[key].items())
        }  # fmt: skip
    return result


def before_contrast(folder: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Pixels found in the first frame of each real cine; some may show a little contrast already."""
    frames = [min(cine.iterdir()) for cine in sorted(folder.iterdir()) if cine.is_dir() and any(cine.iterdir())]
    pixels = {frame.parent.name: int(segmenter(str(frame)).mask.sum()) for frame in frames}
    return {"cines": len(pixels), "median_pixels": float(np.median([*pixels.values()])), "pixels": pixels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--config", nargs="*", default=[], help="overlays of inference.json")
    parser.add_argument("--fold", type=int, default=0, help="that the network has held out")
    parser.add_argument("--count", type=int, default=20, help="perturbed images of each data set")
    parser.add_argument("--groups", type=int, help="images of each data set for the subgroups; all by default")
    parser.add_argument("--arcade", type=int, help="images of ARCADE's val split; all by default")
    parser.add_argument("--negatives", type=int, default=20)
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--network", default="", help="what the weights are, for the record")
    parser.add_argument("--state", type=Path, default=Path("runs/robustness"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    digest = sha256(options.weights)
    state = options.state / f"{digest[:12]}{'-tta' if options.tta else ''}"
    state.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter(options.config, device="cpu", weights=str(options.weights), tta=options.tta)
    cases = load_cases(options.data, only_folds=[options.fold])

    def quiet() -> None:
        """No pace to keep."""

    rows = evaluate_cases(spread(cases, options.groups), segmenter, state / "cases.jsonl", quiet)
    segments = evaluate_segments(
        options.data / "arcade", segmenter, state / "segments.jsonl", quiet, limit=options.arcade
    )
    record = {
        "what": "refined masks at native size; perturbations and subgroups on a fold that the network has not seen; "
        "recall of the centre lines of ARCADE's labelled segments, val split; false pixels without contrast",
        "network": options.network, "weights_sha256": digest, "config": options.config, "tta": options.tta,
        "fold": options.fold, "hardware": hardware(), "versions": package_versions(),
        "recall_by_width": {name: table["recall_by_width"] for name, table in summarise(rows).items()},
        "subgroups": {"images": len(rows), **subgroups(rows, options.data)},
        "perturbations": on_worse_images(spread(cases, options.count), segmenter, state / "perturbed.jsonl"),
        "arcade_segments": summarise_segments(segments),
        "negatives": evaluate_negatives(options.negatives, segmenter, state / "negatives.jsonl", quiet),
        "first_frames": before_contrast(options.data / "cines", segmenter),
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: record[key] for key in ("subgroups", "perturbations", "arcade_segments")})[:3000])


if __name__ == "__main__":
    main()
