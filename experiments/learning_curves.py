"""Picture and tables of the label app's guide, from results/active_learning.json and label_scores.json.

python experiments/learning_curves.py        # needs the extra "experiments"
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "monai_bundle" / "label_app"
PICTURE = ROOT / "docs" / "learning_curves.png"
LABELS = {
    "random": "random", "first": "first (arbitrary order)", "uncertain": "uncertain",
    "diverse": "uncertain and diverse",
}  # fmt: skip
COLORS = {"random": "#000000", "first": "#999999", "uncertain": "#d55e00", "diverse": "#0072b2"}  # for all eyes


def curves(record: dict[str, Any]) -> dict[str, np.ndarray]:
    """Dice, (seeds, rounds), of each strategy."""
    found: dict[str, list[list[float]]] = {name: [] for name in LABELS}
    for run in sorted(record["runs"]):
        name, _, _seed = run.rpartition("-")
        found[name].append(record["runs"][run])
    return {name: np.array(values) for name, values in found.items() if values}


def draw(record: dict[str, Any]) -> None:
    """Mean over the seeds, and every seed as a thin line."""
    figure, axes = plt.subplots(figsize=(7, 4.5), dpi=130)
    for name, values in curves(record).items():
        for one in values:
            axes.plot(record["labelled"], one, color=COLORS[name], linewidth=0.6, alpha=0.4)
        axes.plot(record["labelled"], values.mean(0), color=COLORS[name], linewidth=2, marker="o", label=LABELS[name])
    axes.set_xlabel(f"labelled images (of {record['images']} in folds 1 to 4 of ICA_NJ)")
    axes.set_ylabel(f"mean Dice on fold 0 ({record['test_images']} images), 128 pixels")
    axes.set_xticks(record["labelled"])
    axes.grid(alpha=0.3)
    axes.legend(title="thick: mean of the seeds; thin: each seed")
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Software": ""})
    plt.close(figure)


def learning_table(record: dict[str, Any]) -> str:
    """Dice by labelled images, and the gain over random selection within each seed."""
    found = curves(record)
    lines = [
        "| strategy | " + " | ".join(map(str, record["labelled"])) + " | rounds 1 to 5, against random (each seed) |",
        "| --- |" + " --- |" * (len(record["labelled"]) + 1),
    ]
    for name, values in found.items():
        cells = [f"{value:.3f}" for value in values.mean(0)]
        gains = (values[:, 1:] - found["random"][: len(values), 1:]).mean(1)
        told = "" if name == "random" else f"{gains.mean():+.3f} ({', '.join(f'{gain:+.3f}' for gain in gains)})"
        lines.append(f"| {LABELS[name]} | " + " | ".join(cells) + f" | {told} |")
    return "\n".join(lines)


def calibration_table(record: dict[str, Any]) -> str:
    """Calibration and errors; correlations of the scores with Dice."""
    names = {"single": "one run of the network", "tta": "mean over four mirrored copies"}
    lines = [
        "| probability | 1 / temperature, below and above one half | calibration error, all pixels "
        "| where it is between 0.05 and 0.95 |",
        "| --- | --- | --- | --- |",
    ]
    for kind, name in names.items():
        error, fit = record["calibration_error"][kind], record["calibration"][kind]
        lines.append(
            f"| {name} | {fit['below']:.2f}, {fit['above']:.2f} | {error['before']:.4f} → {error['after']:.4f} "
            f"| {error['before_unsure']:.3f} → {error['after_unsure']:.3f} |"
        )
    sets = list(next(iter(record["spearman_of_score_and_dice"].values())))
    lines += ["", "| score | " + " | ".join(f"rank correlation with Dice, {name}" for name in sets) + " |"]
    lines.append("| --- |" + " --- |" * len(sets))
    for score in ("entropy", "dropout", "disagreement", "quality"):
        label = "`tta`" if score == "entropy" else f"`{score}`"
        values = record["spearman_of_score_and_dice"][score]
        cells = ["constant" if values[name] is None else f"{values[name]:+.2f}" for name in sets]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def insert(name: str, table: str) -> None:
    """Between the guide's marks of that name."""
    guide = APP / "README.md"
    text = guide.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    assert pattern.search(text), f"{guide}: no marks {name}"
    guide.write_text(pattern.sub(lambda m: f"{m[1]}{table}\n{m[2]}", text), encoding="utf-8")


def main() -> None:
    results = ROOT / "experiments" / "results"
    learning = json.loads((results / "active_learning.json").read_text())
    draw(learning)
    insert("learning", learning_table(learning))
    insert("calibration", calibration_table(json.loads((results / "label_scores.json").read_text())))


if __name__ == "__main__":
    main()
