"""Paired differences between finished runs of the plan, with bootstrap intervals over patients.

python experiments/evidence_differences.py --data ../shared/data

Takes experiments/results/evidence/UNIT.json and writes experiments/results/evidence_differences.json; comparisons whose
runs are not finished are left out, and those finished on some folds are made on these. Then run evidence_tables.py.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from casr_net.evaluation.bootstrap import LEVEL, SAMPLES, SEED, case_values, paired_difference
from casr_net.evaluation.plan import unit_name

RESULTS = Path(__file__).resolve().parent / "results"
SETS = ("ica_nj", "dca1", "arcade", "together")
METRICS = ("dice", "cldice", "sensitivity", "precision", "false_positive_components")


class Comparison(NamedTuple):
    """Second minus first, on the folds that both have.

    ``kinds`` are the masks of both: "refined", or "threshold" for that without stage 3.
    """

    section: str
    label: str
    first: str
    second: str
    folds: tuple[int, ...]
    kinds: tuple[str, str] = ("refined", "refined")


def comparisons() -> list[Comparison]:
    """All of them: what the claims, the baselines, the networks and the recipe are compared with."""
    claims = {
        "all three channels - grey alone": "claim-grey",
        "all three channels - CLAHE alone": "claim-clahe",
        "all three channels - Ben Graham alone": "claim-ben-graham",
        "all three channels - CLAHE and Ben Graham (the paper's pair)": "claim-clahe-ben-graham",
        "all three channels - grey and CLAHE": "claim-grey-clahe",
        "Self-ONN q = 3 - q = 1": "claim-q1",
        "Self-ONN q = 3 - q = 2": "claim-q2",
        "Self-ONN q = 3 - convolutions, as many parameters": "claim-convolution",
    }
    found = [Comparison("claims", label, run, "claim-base", (0, 1)) for label, run in claims.items()]
    off_on = ("threshold", "refined")
    found.append(Comparison("claims", "stage 3 on - off (claim-base)", "claim-base", "claim-base", (0, 1), off_on))
    found.append(Comparison("claims", "stage 3 on - off (densenet121)", "densenet121", "densenet121", (0,), off_on))
    paper = Comparison("claims", "densenet121: q = 3 - q = 1", "densenet121-claim-q1", "densenet121-claim-base", (0, 1))
    found.append(paper)
    networks = {
        "densenet121 - light-teacher": ("light-teacher", "densenet121"),
        "light - light-teacher": ("light-teacher", "light"),
        "light, taught by densenet121 - light": ("light", "light-taught"),
        "densenet121 - light": ("light", "densenet121"),
        "densenet121 - light, taught by it": ("light-taught", "densenet121"),
    }
    found += [Comparison("networks", label, *runs, (0,)) for label, runs in networks.items()]
    more = "light, trained on with larger crops - before"
    found.append(Comparison("networks", more, "baseline-light", "light-continued", (1, 2, 3, 4)))
    baselines = {
        "the same from random weights": "baseline-scratch", "MONAI BasicUNet": "baseline-basicunet",
        "MONAI SegResNet": "baseline-segresnet", "MONAI FlexibleUNet, EfficientNet-b0": "baseline-flexibleunet",
    }  # fmt: skip
    found += [
        Comparison("baselines", f"light - {label}", run, "baseline-light", (0,)) for label, run in baselines.items()
    ]
    found += [
        Comparison("baselines", f"light from random weights - {label}", run, "baseline-scratch", (0,))
        for label, run in baselines.items()
        if run != "baseline-scratch"
    ]
    recipe = {
        "Skeleton Recall in place of soft clDice": "recipe-skeleton", "deep supervision": "recipe-deep",
        "heavy augmentation": "recipe-heavy", "synthetic negatives": "recipe-negatives",
        "no weight average": "recipe-no-average",
    }  # fmt: skip
    found += [Comparison("recipe", f"{label} - base", "recipe-base", run, (1,)) for label, run in recipe.items()]
    return found


def results_of(run: str, folds: tuple[int, ...], folder: Path) -> dict[int, dict[str, Any]]:
    """Results of a run by fold, of the folds that are finished."""
    paths = {fold: folder / f"{unit_name(run, fold)}.json" for fold in folds}
    return {fold: json.loads(path.read_text(encoding="utf-8")) for fold, path in paths.items() if path.is_file()}


def groups_of(data: Path) -> dict[str, str]:
    """Patient group of each case of the own sets, by its name."""
    with open(data / "cases.csv", newline="", encoding="utf-8") as stream:
        return {f"{row['dataset']}/{row['file']}": f"{row['dataset']}/{row['group']}" for row in csv.DictReader(stream)}


def compared(wanted: Comparison, folder: Path, groups: dict[str, str]) -> dict[str, Any] | None:
    """One comparison's differences; None where no fold of it is finished on both sides."""
    sides = [results_of(run, wanted.folds, folder) for run in (wanted.first, wanted.second)]
    folds = [fold for fold in wanted.folds if all(fold in side for side in sides)]
    if not folds:
        return None
    first, second = ([side[fold] for fold in folds] for side in sides)
    units = {record["name"]: record["weights_sha256"] for record in (*first, *second)}
    entry: dict[str, Any] = {**wanted._asdict(), "folds": folds, "units": units, "sets": {}}
    for dataset in SETS:
        table = {}
        for metric in METRICS:
            one, other = (
                case_values(side, metric, kind, None if dataset == "together" else dataset)
                for side, kind in zip((first, second), wanted.kinds, strict=True)
            )
            if one:
                table[metric] = paired_difference(one, other, groups).as_dict()
        if table:
            entry["sets"][dataset] = table
    if all("crossing" in record for record in (*first, *second)):
        one, other = (
            {f"{fold}/{row['name']}": row[kind] for fold, record in zip(folds, side, strict=True)
             for row in record["crossing"]["images"]}
            for side, kind in zip((first, second), wanted.kinds, strict=True)
        )  # fmt: skip
        # Both folds' networks see the same images: an image is drawn with all its networks.
        images = {name: name.partition("/")[2] for name in one}
        entry["crossing_rate"] = paired_difference(one, other, images).as_dict()
    return entry


def stale(record: dict[str, Any], folder: Path) -> Iterator[str]:
    """Comparisons that were made with other results than those that are there, or lack some."""
    there = {entry["label"]: entry for entry in record["comparisons"]}
    for wanted in comparisons():
        sides = [results_of(run, wanted.folds, folder) for run in (wanted.first, wanted.second)]
        folds = [fold for fold in wanted.folds if all(fold in side for side in sides)]
        units = {side[fold]["name"]: side[fold]["weights_sha256"] for side in sides for fold in folds}
        if units != there.get(wanted.label, {"units": {}})["units"]:
            yield wanted.label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS / "evidence")
    parser.add_argument("--output", type=Path, default=RESULTS / "evidence_differences.json")
    options = parser.parse_args()
    groups = groups_of(options.data)
    found = [entry for wanted in comparisons() if (entry := compared(wanted, options.results, groups)) is not None]
    record = {
        "what": "paired differences of means over the images (second minus first), with percentile intervals of the "
        "bootstrap over patient groups; crossing rate over the stenoses of ARCADE's val split, drawn by image",
        "level": LEVEL, "samples": SAMPLES, "seed": SEED, "comparisons": found,
    }  # fmt: skip
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{options.output}: {len(found)} of {len(comparisons())} comparisons.")


if __name__ == "__main__":
    main()
