"""Tables of what a result is worth: mirrored inference, calibration, quality score, robustness, centre lines of ARCADE.

Each is made from one JSON of experiments/results, and is "not run yet" where that is missing.
"""

from __future__ import annotations

import json
from typing import Any

from evidence_differences import RESULTS
from tables import row

Part = tuple[str, list[str]]
NOT_YET = ["not run yet"]
METRICS = ("dice", "cldice", "sensitivity", "precision", "false_positive_components")


def load(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def tta_table(record: dict[str, Any]) -> list[str]:
    lines = [
        f"{record['network']}, folds {', '.join(map(str, record['folds']))}, stage 3 on; means of the images, "
        "difference with 95 % interval.",
        "", row("set", "metric", "one pass", "mean of four mirror images", "difference"), row(*["---"] * 5),
    ]  # fmt: skip
    for dataset, table in record["results"].items():
        for metric in METRICS:
            part = table["refined"][metric]
            gain = part["difference"]
            text = f"{gain['mean']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"
            lines.append(row(dataset, metric, f"{part['off']:.4f}", f"{part['on']:.4f}", text))
    ece = record["mean_ece_of_images"]
    pooled = {kind: record["results"]["together"]["refined"]["pooled"][kind] for kind in ("off", "on")}
    words = [f"Dice {p['dice']:.4f}, IoU {p['iou']:.4f}, clDice {p['cldice']:.4f}" for p in pooled.values()]
    lines += ["", f"Both sets pooled: {words[0]}, with mirror images {words[1]}."]
    return [*lines, "", f"Mean calibration error of the images: {ece['off']:.4f}, with mirror images {ece['on']:.4f}."]


def calibration_table(record: dict[str, Any]) -> list[str]:
    found, fit = record["report"]["calibration"], record["fit"]
    lines = [f"{record['network']}; {record['how']}. Picture: `trust.png`.", "",
             row("calibration", "fit", "ECE, all pixels", "ECE, pixels from 0.05 to 0.95"),
             row(*["---"] * 4)]  # fmt: skip
    kinds = {"before": "none", "platt": "slope and intercept", "temperature": "slope alone",
             "sides": "a slope below 0.5 and one above"}  # fmt: skip
    for name, label in kinds.items():
        values = fit.get(name)
        text = "-" if values is None else ", ".join(f"{value:.3f}" for value in values.values())
        lines.append(row(label, text, f"{found[name]['ece']:.4f}", f"{found[name]['ece_unsure']:.4f}"))
    return lines


def quality_table(record: dict[str, Any]) -> list[str]:
    found = record["report"]["quality"]
    within: dict[str, dict[str, float]] = found["spearman_within"]
    error = {
        name: f"{found[key]:.3f}"
        for name, key in (
            ("fit", "mean_absolute_error"),
            ("mean", "mean_absolute_error_of_the_mean"),
            ("promised", "mean_absolute_error_of_soft_dice_confidence"),
            ("calibrated", "mean_absolute_error_of_calibrated"),
        )
    }
    lines = [
        f"Prediction of the refined mask's Dice from the probability map; {record['how']}. Mean absolute error "
        f"{error['fit']} ({error['mean']} when the mean is told for all, {error['promised']} of the soft Dice "
        f"confidence of what the network gives, {error['calibrated']} of that of the probabilities calibrated with two "
        "temperatures, which is `quality` in run.json).",
        "",
        row(
            "score",
            "Spearman with Dice, all images",
            *(f"within {name}" for name in within),
            "area under risk and coverage",
        ),
        row(*["---"] * (3 + len(within))),
    ]
    for name, area in found["area_under_risk_coverage"].items():
        ranks = (part.get(name, "-") for part in (found["spearman"], *within.values()))
        lines.append(row(name, *ranks, f"{area:.4f}"))
    return lines


def robustness_tables(record: dict[str, Any]) -> list[str]:
    worse, segments = record["perturbations"], record["arcade_segments"]
    lines = [
        f"{record['network']}, fold {record['fold']}; {worse['images']} images, stage 3 on.", "",
        row("change", "level", "Dice", "clDice"), row(*["---"] * 4),
    ]  # fmt: skip
    for kind, levels in worse["table"].items():
        lines += [row(kind, f"{e['level']:g}", f"{e['dice']:.4f}", f"{e['cldice']:.4f}") for e in levels]
    lines += ["", row("subgroup", "images", "Dice", "clDice", "sensitivity", "precision"), row(*["---"] * 6)]
    for key in ("artery", "projection"):
        for name, e in record["subgroups"][key].items():
            figures = (f"{e[metric]:.4f}" for metric in ("dice", "cldice", "sensitivity", "precision"))
            lines.append(row(name, e["images"], *figures))
    widths = ", ".join(f"{name}: {e['recall']}" for name, e in segments["by_width"].items())
    negatives, frames = record["negatives"], record["first_frames"]
    return [
        *lines, "",
        f"Centre-line recall on ARCADE's labelled segments, val split ({segments['images']} images): "
        f"{segments['refined']['mean']:.4f} (mean of the images), {segments['refined']['pooled']:.4f} (pooled); "
        f"without stage 3 {segments['threshold']['mean']:.4f}. By width in pixels: {widths}.", "",
        f"Without contrast: {negatives['count']} synthetic images with catheters and wires, "
        f"{100 * negatives['images_with_vessel']['refined']:.0f} % with a false vessel, "
        f"{negatives['false_pixels']['refined']:.0f} false pixels an image; first frames of {frames['cines']} real "
        f"cines, median {frames['median_pixels']:.0f} pixels (some show a little contrast).",
    ]  # fmt: skip


def trust_tables() -> list[Part]:
    """Title and lines of each part."""
    mirrored = [record for record in (load("tta_continued"), load("tta")) if record is not None]
    trust = load("trust")
    parts = [
        (
            "## Mirror images at inference (`--tta`)",
            [line for record in mirrored for line in (*tta_table(record), "")] or NOT_YET,
        ),
        ("## Calibration", NOT_YET if trust is None else calibration_table(trust)),
        ("## Quality score", NOT_YET if trust is None else quality_table(trust)),
    ]
    for name in ("light", "densenet121"):
        record = load(f"robustness_{name}")
        parts.append((f"## Robustness, subgroups and ARCADE's segments: {name}",
                      NOT_YET if record is None else robustness_tables(record)))  # fmt: skip
    return parts
