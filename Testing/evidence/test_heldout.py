from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from casr_net.errors import DataError
from casr_net.evaluation import (
    crosses,
    evaluate_cases,
    evaluate_stenoses,
    load_stenoses,
    recall_by_width,
    summarise,
)
from casr_net.evaluation.usage import append_line, read_lines
from casr_net.training import load_cases

BOX = np.array([[20.0, 30.0], [80.0, 30.0], [80.0, 40.0], [20.0, 40.0]])


def vessel(start: int, end: int) -> np.ndarray:
    mask = np.zeros((70, 110), bool)
    mask[33:37, start:end] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (vessel(0, 110), True),
        (vessel(0, 50) | vessel(52, 110), False),
        (vessel(30, 71), True),  # the ends are the outer quarters of 12 to 88
        (vessel(33, 67), False),
        (vessel(0, 0), False),
    ],
)
def test_crossing(mask: np.ndarray, expected: bool) -> None:
    assert crosses(mask, BOX) is expected
    assert crosses(mask.T, BOX[:, ::-1]) is expected
    assert crosses(mask.astype(np.uint8) * 255, BOX) is expected


def test_a_way_round_outside_the_polygon_does_not_count() -> None:
    mask = vessel(0, 50) | vessel(52, 110)
    mask[5:9] = True
    mask[5:37, 2:6] = mask[5:37, 100:104] = True
    assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2, "one component in the whole image"
    assert not crosses(mask, BOX)


def test_list_of_stenoses(data: Path, tmp_path: Path) -> None:
    found = load_stenoses(data / "arcade")
    assert len(found) == 5 and found["syntax_val_3.jpg"][0].tolist() == [[20, 20], [60, 20], [60, 30], [20, 30]]
    with pytest.raises(DataError, match=r"stenoses\.csv: cannot be read"):
        load_stenoses(tmp_path)
    (tmp_path / "stenoses.csv").write_text('file,polygon\na.jpg,"1,2 3,4"\n')
    with pytest.raises(DataError, match=r"line 2: not a polygon \(2 points"):
        load_stenoses(tmp_path)


def test_recall_by_width() -> None:
    truth = np.zeros((120, 200), bool)
    truth[10:13], truth[30:36], truth[50:59], truth[90:110] = True, True, True, True
    found = truth.copy()
    found[10:13, :100] = False  # half of the narrow one is missed
    table = recall_by_width(found, truth)
    assert list(table) == ["0-4", "4-7", "7-10", "10-"]
    shares = {name: covered / total for name, (covered, total) in table.items()}
    assert shares == pytest.approx({"0-4": 0.5, "4-7": 1, "7-10": 1, "10-": 1}, abs=0.03)


class Truth:
    """A "network" that knows the truth of the synthetic set, but for one image, of which it finds nothing."""

    def __init__(self, missed: str = "") -> None:
        self.missed, self.seen = missed, 0

    def __call__(self, path: str) -> SimpleNamespace:
        self.seen += 1
        mask = cv2.imread(path.replace("images", "masks"), 0) > 127
        if self.missed and self.missed in path:
            mask = np.zeros_like(mask)
        return SimpleNamespace(mask=mask, probability=mask.astype(np.float32))


def test_evaluation_goes_on_after_a_kill(synthetic_set: Path, tmp_path: Path) -> None:
    cases, path = load_cases(synthetic_set, only_folds=[0, 1]), tmp_path / "evaluation.jsonl"
    missed = Path(cases[3]["image"]).name
    rows = evaluate_cases(cases, Truth(missed), path, lambda: None)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])  # cut off in the middle of a line
    network = Truth(missed)
    assert evaluate_cases(cases, network, path, lambda: None) == rows and 1 <= network.seen < 4
    assert [row["name"] for row in rows] == [case["name"] for case in cases]
    result = summarise(rows)
    assert list(result) == ["synthetic", "together"]
    for kind in ("refined", "threshold"):
        assert result["together"][kind]["mean"]["dice"] == pytest.approx(0.75)
        assert 0.75 < result["together"][kind]["pooled"]["dice"] < 1
    recalls = result["together"]["recall_by_width"].values()
    assert any(0 < found["recall"] < 1 for found in recalls if found["recall"] is not None)


def test_stenoses_of_the_validation_split_only(data: Path, tmp_path: Path) -> None:
    def everything(path: str) -> SimpleNamespace:
        return SimpleNamespace(mask=np.ones((96, 96), bool), probability=np.zeros((96, 96)))

    rows = evaluate_stenoses(data / "arcade", everything, tmp_path / "stenoses.jsonl", lambda: None)
    assert [row["name"] for row in rows] == ["syntax_val_3.jpg", "syntax_val_4.jpg"]
    assert all(row["refined"] == [1] and row["threshold"] == [0] for row in rows)


def test_lines_after_a_cut_one(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    append_line(path, {"a": 1})
    path.write_bytes(path.read_bytes() + b'{"b":')
    append_line(path, {"c": torch.tensor(3).item()})
    assert read_lines(path) == [{"a": 1}, {"c": 3}]
