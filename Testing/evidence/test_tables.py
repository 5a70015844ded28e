"""What README, model card and metadata say is what the JSONs of the experiments say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

NAMES = ("dice", "iou", "cldice", "sensitivity", "precision", "false_positive_components")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def experiments(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script of the experiments by its name."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module


def test_tables_are_those_of_the_results(experiments: Any) -> None:
    for path, text in experiments("tables").texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run experiments/tables.py"


def test_evidence_is_that_of_the_results(experiments: Any) -> None:
    report, card = experiments("evidence_tables").texts()
    told = ROOT / "experiments" / "results" / "evidence.md"
    assert told.read_text(encoding="utf-8") == report, "run experiments/evidence_tables.py"
    path = ROOT / "monai_bundle" / "docs" / "README.md"
    assert path.read_text(encoding="utf-8") == experiments("tables").filled(path, card, "evidence")


def test_sentence_about_the_baselines_is_what_was_measured(experiments: Any) -> None:
    """The lead is that of the start: intervals above 0 with it, below 0 without, against all three others."""
    path = ROOT / "experiments" / "results" / "evidence_differences.json"
    found = json.loads(path.read_text(encoding="utf-8"))["comparisons"]
    for start, sign in (("light - MONAI", 1), ("light from random weights - MONAI", -1)):
        differences = [one["sets"]["together"] for one in found if one["label"].startswith(start)]
        assert len(differences) == 3
        for metric in ("dice", "cldice"):
            assert all(min(sign * one[metric]["low"], sign * one[metric]["high"]) > 0 for one in differences)
    assert "behind all three" in experiments("evidence_tables").START


def unit(name: str, fold: int, gain: float, datasets: tuple[str, ...] = ("ica_nj",)) -> dict[str, Any]:
    """A result as the plan's runs leave it, of 6 images of 3 patients a set; the gain differs by patient."""
    cases = []
    for dataset in datasets:
        for i in range(6):
            figures = dict.fromkeys(NAMES, 0.8 + gain * (1 + i // 2))
            masks = {kind: {**figures, "counts": [80, 20, 20, 10, 8, 10, 8]} for kind in ("refined", "threshold")}
            cases.append({"name": f"{dataset}/{fold}{i}.png", "dataset": dataset, **masks,
                          "recall_by_width": {"0-4": [1, 2]}})  # fmt: skip
    crossing = {"stenoses": 4, "rate": {"refined": 0.75, "threshold": 0.5}, "images": [
        {"name": f"syntax_val_{i}.jpg", "refined": [1, int(i > 0)], "threshold": [1, 0]} for i in range(2)
    ]}  # fmt: skip
    return {"name": f"{name}-fold{fold}", "weights_sha256": f"{name}{fold}", "cases": cases, "crossing": crossing,
            "images_seen": 8, "usage": {"cpu_hours": 0.1, "starts": [{"commit": "0123456789"}]}}  # fmt: skip


def test_differences_of_results(experiments: Any, tmp_path: Path) -> None:
    module = experiments("evidence_differences")
    for record in (unit("claim-q1", 0, 0.0), unit("claim-q1", 1, 0.0), unit("claim-base", 0, 0.01)):
        (tmp_path / f"{record['name']}.json").write_text(json.dumps(record))
    (wanted,) = (c for c in module.comparisons() if c.label == "Self-ONN q = 3 - q = 1")
    groups = {f"ica_nj/{fold}{i}.png": f"p{fold}{i // 2}" for fold in (0, 1) for i in range(6)}
    entry = module.compared(wanted, tmp_path, groups)
    assert entry["folds"] == [0], "the other fold is not finished on both sides"
    dice = entry["sets"]["ica_nj"]["dice"]
    assert (dice["mean"], dice["low"], dice["high"], dice["groups"]) == (0.02, 0.01, 0.03, 3)
    assert entry["crossing_rate"]["mean"] == 0 and entry["crossing_rate"]["cases"] == 4
    assert [*module.stale({"comparisons": [entry]}, tmp_path)] == ["stage 3 on - off (claim-base)"]
    record = unit("claim-base", 1, 0.01)
    (tmp_path / "claim-base-fold1.json").write_text(json.dumps(record))
    assert "Self-ONN q = 3 - q = 1" in [*module.stale({"comparisons": [entry]}, tmp_path)]
    assert module.compared(wanted, tmp_path, groups | {f"ica_nj/1{i}.png": i for i in range(6)})["folds"] == [0, 1]


def test_every_comparison_stands_in_the_plan(experiments: Any) -> None:
    """A run that is renamed in the plan would be "not run yet" for ever."""
    from casr_net.evaluation import load_plan

    units = {unit.name for unit in load_plan(ROOT / "experiments" / "plan.json")}
    differences, tables = experiments("evidence_differences"), experiments("evidence_tables")
    runs = {run for c in differences.comparisons() for run in (c.first, c.second)}
    runs |= {*tables.NETWORKS, *tables.BASELINES, *tables.RECIPE, *tables.CROSSING}
    assert [run for run in sorted(runs) if not {f"{run}-fold0", f"{run}-fold1"} & units] == []


def test_what_is_missing_is_not_run_yet(experiments: Any, tmp_path: Path) -> None:
    tables = experiments("evidence_tables")
    (tmp_path / "light-teacher-fold0.json").write_text(json.dumps(unit("light-teacher", 0, 0.0, ("ica_nj", "dca1"))))
    lines = tables.accuracy({"light-teacher": "A", "light": "B"}, (0, 1), tmp_path)
    assert lines[2] == "| A | 0 | ica_nj | 6 | 0.8000 (0.8000) | 0.8000 (0.6667) | 0.8000 (0.8000) |"
    assert lines[3].startswith("| A | 0 | dca1 | 6 |") and lines[4].startswith("| A | 0 | together | 12 |")
    assert lines[5:] == ["| B | 0, 1 | not run yet | - | - | - | - |"]
    assert tables.cell({"mean": 0.01, "low": 0.002, "high": 0.02}) == "**+1.00 (+0.20 to +2.00)**"
    assert tables.cell({"mean": 0.01, "low": -0.002, "high": 0.02}) == "+1.00 (-0.20 to +2.00)"
