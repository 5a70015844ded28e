"""Write experiments/results/evidence.md and the model card's section of evidence from the JSONs of finished runs.

python experiments/evidence_tables.py

What is not finished stands there as "not run yet". Differences come from evidence_differences.json: run
evidence_differences.py first when runs have finished.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from casr_net.evaluation.heldout import summarise
from casr_net.evaluation.plan import unit_name
from evidence_differences import RESULTS, comparisons, results_of, stale
from evidence_trust import trust_tables
from tables import ROOT, fill, row

NOT_YET = "not run yet"
SETS = ("ica_nj", "dca1", "together")
NETWORKS = {
    "light-teacher": "light, first run, own sets alone",
    "densenet121": "densenet121 (compact) from random weights, own sets and ARCADE by self-training",
    "light": "light, own sets and ARCADE by self-training",
    "light-taught": "light, gone on from it, ARCADE labelled by densenet121",
}
BASELINES = {
    "baseline-light": "light (the same budget)",
    "baseline-scratch": "light, random weights",
    "baseline-basicunet": "MONAI BasicUNet",
    "baseline-segresnet": "MONAI SegResNet",
    "baseline-flexibleunet": "MONAI FlexibleUNet, EfficientNet-b0",
}
RECIPE = {
    "recipe-base": "base: Dice + CE + soft clDice, weight average",
    "recipe-skeleton": "Skeleton Recall in place of soft clDice",
    "recipe-deep": "deep supervision",
    "recipe-heavy": "heavy augmentation",
    "recipe-negatives": "synthetic negatives",
    "recipe-no-average": "no weight average",
}
CROSSING = ("claim-base", "claim-q1", "claim-q2", "claim-convolution", "densenet121", "light-taught",
            "densenet121-claim-base", "densenet121-claim-q1")  # fmt: skip
SHORT = ("dice", "iou", "cldice")
FIVE = (0, 1, 2, 3, 4)
PROTOCOL = """\
The protocol of the paper: every image of both own sets once, by the network that held out its fold; folds are by
patient group. The light network at the budget of the baselines (8,480 crops, own sets alone, no self-training)."""
LONGER = """\
**The same protocol, longer.** Fold 0 by `light` (17,256 crops, a part of them ARCADE's by self-training); the other
folds by the networks of the table above, trained on for 4,000 larger crops of the own sets alone (`light-continued`,
12,480 crops in all)."""
LONGER_RUNS = ("light", "light-continued")
ACCURACY = """\
Held-out folds at native size, threshold 0.5, stage 3 on, no mirror images: mean of the images, in brackets pooled over
the pixels of all images. Each image is seen by the network that held out its fold."""
DIFFERENCES = """\
Differences of the means over the images of the folds that both have finished (second minus first), in points (Dice,
clDice and rate times 100), with 95 % intervals of the bootstrap over patient groups. **Bold**: the interval leaves
out 0."""
START = """\
8,480 crops of the own sets each. The first row's encoder begins with ImageNet weights, all others begin with random
ones. **The light network's lead is that of its encoder's start**: from random weights it is behind all three of MONAI's
networks at this budget."""
RIDGE = "Sato and Frangi filters: table of the README."
BENCHMARKED = {"arcade-benchmark": "densenet121, from models/compact.pt"}
BENCHMARK = """\
ARCADE labels the segments of its own scheme, not every vessel; a network that finds the others loses by it. The
paper's network in the box (`models/compact.pt`: own sets, and ARCADE's train split by self-training; val is in no
training) went on with the labels of the train split as they are: 3,200 crops of 384 pixels and 1,200 frames of 512, a
processor's budget. Published for the **test** split, which is kept back here, Dice and clDice in percent: U-Net from
random weights 71.4 and 70.7, U-Net++ with an ImageNet EfficientNet-b3 77.3 and 80.1, VasoMIM (arXiv 2602.11536),
trained before on angiograms without labels, 80.3 and 82.1 (all three as others report them)."""
CROSSED = """\
Share of the stenoses of ARCADE's val split that the mask crosses: one connected component of the mask, inside the
polygon dilated by 8 pixels, joins both ends (the outer quarters along its long axis)."""


def missing(columns: int) -> list[str]:
    """Cells of a run that is not finished."""
    return [NOT_YET, *["-"] * (columns - 1)]


def folds_text(folds: Sequence[int]) -> str:
    return ", ".join("all" if fold < 0 else str(fold) for fold in folds)


def accuracy(runs: dict[str, str], folds: tuple[int, ...], folder: Path, sets: Sequence[str] = SETS) -> list[str]:
    """A line a run and set: means of the images, pooled in brackets, over the folds that are finished."""
    lines = [row("network", "folds", "set", "images", "Dice", "IoU", "clDice"), row(*["---"] * 7)]
    for run, label in runs.items():
        found = results_of(run, folds, folder)
        cases = [case for record in found.values() for case in record.get("cases", [])]
        if not cases:
            lines.append(row(label, folds_text(folds), *missing(5)))
            continue
        tables = summarise(cases)
        for dataset in sets:
            if dataset in tables:
                both = tables[dataset]["refined"]
                figures = [f"{both['mean'][name]:.4f} ({both['pooled'][name]:.4f})" for name in SHORT]
                lines.append(row(label, folds_text([*found]), dataset, tables[dataset]["images"], *figures))
    return lines


def protocol_table(folder: Path, runs: Sequence[str] = ("baseline-light",)) -> list[str]:
    """A line a fold, with both sets together, then all finished folds by set, and how far the folds lie apart.

    A fold's network is that of the first of the runs that is finished on it.
    """
    any_order = {fold: record for run in reversed(runs) for fold, record in results_of(run, FIVE, folder).items()}
    found = dict(sorted(any_order.items()))
    lines = [row("folds", "set", "images", "Dice", "IoU", "clDice"), row(*["---"] * 6)]
    means: list[list[float]] = []

    def add(folds: str, cases: list[dict[str, Any]], sets: Sequence[str]) -> None:
        tables = summarise(cases)
        for dataset in (name for name in sets if name in tables):
            both = tables[dataset]["refined"]
            figures = [f"{both['mean'][name]:.4f} ({both['pooled'][name]:.4f})" for name in SHORT]
            lines.append(row(folds, dataset, tables[dataset]["images"], *figures))
            means.append([both["mean"][name] for name in SHORT])

    def label(fold: int) -> str:
        return f"{fold} ({found[fold]['plan']['name']})" if len(runs) > 1 else str(fold)

    for fold in FIVE:
        if fold in found:
            add(label(fold), found[fold]["cases"], ("together",))
        else:
            lines.append(row(fold, "together", *missing(4)))
    if len(found) > 1:
        spread = [f"{statistics.stdev(values):.4f}" for values in zip(*means, strict=True)]
        lines.append(row(folds_text([*found]), "standard deviation of the folds", "", *spread))
        add(folds_text([*found]), [case for record in found.values() for case in record["cases"]], SETS)
    return lines


def recall_table(folder: Path) -> list[str]:
    """Share of the reference's centre line that the masks cover, by the vessel's width in pixels."""
    lines: list[str] = []
    for run, label in NETWORKS.items():
        cases = [c for record in results_of(run, FIVE, folder).values() for c in record["cases"]]
        if not cases:
            lines.append(row(label, *missing(5)))
            continue
        for dataset, table in summarise(cases).items():
            if dataset != "together":
                recalls = table["recall_by_width"]
                cells = [f"{r['recall']:.3f}" if r["recall"] is not None else "-" for r in recalls.values()]
                lines.append(row(label, dataset, *cells))
    return [row("network", "set", "below 4", "4 to 7", "7 to 10", "10 and more"), row(*["---"] * 6), *lines]


def crossing_table(folder: Path) -> list[str]:
    lines = [row("run", "folds", "stenoses", "stage 3 on", "threshold only"), row(*["---"] * 5)]
    for run in CROSSING:
        found = {k: v for k, v in results_of(run, (0, 1), folder).items() if "crossing" in v}
        if not found:
            lines.append(row(run, "0, 1", *missing(3)))
            continue
        rates = [
            statistics.fmean(record["crossing"]["rate"][kind] for record in found.values())
            for kind in ("refined", "threshold")
        ]
        number = next(iter(found.values()))["crossing"]["stenoses"]
        lines.append(row(run, folds_text([*found]), number, *(f"{rate:.4f}" for rate in rates)))
    return lines


def cell(entry: dict[str, Any] | None, factor: float = 100) -> str:
    if entry is None:
        return "-"
    text = f"{factor * entry['mean']:+.2f} ({factor * entry['low']:+.2f} to {factor * entry['high']:+.2f})"
    return f"**{text}**" if entry["low"] > 0 or entry["high"] < 0 else text


def difference_table(section: str, record: dict[str, Any]) -> list[str]:
    there = {entry["label"]: entry for entry in record["comparisons"]}
    columns = [f"{dataset}, {name}" for dataset in SETS for name in ("Dice", "clDice")]
    lines = [row("comparison", "folds", *columns, "crossing rate"), row(*["---"] * 9)]
    for wanted in comparisons():
        if wanted.section != section:
            continue
        entry = there.get(wanted.label)
        if entry is None:
            lines.append(row(wanted.label, folds_text(wanted.folds), *missing(7)))
            continue
        cells = [cell(entry["sets"].get(dataset, {}).get(name)) for dataset in SETS for name in ("dice", "cldice")]
        lines.append(row(wanted.label, folds_text(entry["folds"]), *cells, cell(entry.get("crossing_rate"))))
    return lines


def negatives_table(folder: Path) -> list[str]:
    """False vessels on synthetic angiograms with catheter and wires, without contrast."""
    lines = [
        row("network", "images", "images with a false vessel", "false pixels an image (refined)", "threshold only"),
        row(*["---"] * 5),
    ]
    for run, label in RECIPE.items():
        found = results_of(run, (1,), folder).get(1, {}).get("negatives")
        if found is None:
            lines.append(row(label, *missing(4)))
            continue
        pixels = [f"{found['false_pixels'][kind]:.1f}" for kind in ("refined", "threshold")]
        lines.append(row(label, found["count"], f"{100 * found['images_with_vessel']['refined']:.0f} %", *pixels))
    return lines


def cost_table(folder: Path) -> list[str]:
    lines = [row("unit", "images seen", "processor hours", "code"), row(*["---"] * 4)]
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        commits = {start.get("commit", "-")[:9] for start in record["usage"]["starts"]}
        lines.append(
            row(record["name"], record["images_seen"], record["usage"]["cpu_hours"], ", ".join(sorted(commits)))
        )
    return lines


def texts(folder: Path = RESULTS / "evidence") -> tuple[str, str]:
    """The whole report, and the model card's section.

    Raises:
        SystemExit: when the differences are older than the results.
    """
    record = json.loads((RESULTS / "evidence_differences.json").read_text(encoding="utf-8"))
    old = [*stale(record, folder)]
    if old:
        raise SystemExit(f"evidence_differences.json is older than the results of {old[0]!r}; make it anew.")
    networks, baselines = accuracy(NETWORKS, FIVE, folder), accuracy(BASELINES, (0,), folder)
    benchmark = [BENCHMARK, "", *accuracy(BENCHMARKED, (-1,), folder, ("arcade",))]
    names = ("networks", "claims", "baselines", "recipe")
    protocol = [PROTOCOL, "", *protocol_table(folder), "", LONGER, "", *protocol_table(folder, LONGER_RUNS)]
    differences = {section: difference_table(section, record) for section in names}
    trust = trust_tables()
    parts: list[tuple[str, list[str]]] = [
        ("## Accuracy", [ACCURACY, "", *networks, "", DIFFERENCES, "", *differences["networks"]]),
        ("## Five folds", protocol),
        ("## Recall of the centre line by width (pixels)", recall_table(folder)),
        ("## Crossing of stenoses", [CROSSED, "", *crossing_table(folder)]),
        ("## The paper's claims", [DIFFERENCES, "", *differences["claims"]]),
        (
            "## Baselines on fold 0",
            [START, "", *baselines, "", RIDGE, "", *differences["baselines"]],
        ),
        (
            "## Recipe (fold 1 held out, fold 0 in no training)",
            [*accuracy(RECIPE, (1,), folder), "", *differences["recipe"], "", *negatives_table(folder)],
        ),
        ("## ARCADE's own benchmark, val split, labels as they are", benchmark),
        *trust,
        ("## What it took", cost_table(folder)),
    ]
    head = "# Evidence\n\nWritten by `experiments/evidence_tables.py` from the JSONs beside it; not to be edited."
    report = "\n\n".join([head, *("\n".join([title, "", *lines]) for title, lines in parts)]) + "\n"
    of_card = [
        f"**Cross-validation** (`experiments/plan.json`, {unit_name('light-teacher', 0)} and so on). {ACCURACY}", "",
        *networks, "", "**Five folds.**", "", *protocol, "",
        f"**The paper's claims.** {DIFFERENCES}", "", *differences["claims"], "",
        f"**Baselines**, fold 0. {START}", "", *baselines, "", *differences["baselines"], "",
        "**ARCADE's own benchmark**, val split, labels as they are.", "", *benchmark, "",
        "Crossing of stenoses, recall by width, recipe, calibration, robustness and what it took: "
        "`experiments/results/evidence.md` in the repository.",
    ]  # fmt: skip
    return report, "\n".join(of_card)


def main() -> None:
    report, card = texts()
    (RESULTS / "evidence.md").write_text(report, encoding="utf-8")
    fill(ROOT / "monai_bundle" / "docs" / "README.md", card, "evidence")


if __name__ == "__main__":
    main()
