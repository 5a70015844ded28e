from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from casr_net.errors import DataError, UsageError
from casr_net.training import (
    UNKNOWN,
    ForgetUnknownd,
    MarkUnknownd,
    PseudoLabelRule,
    cases_digest,
    join_cases,
    load_pseudo_labels,
    load_split,
    write_pseudo_labels,
)


def test_rule_pixel_by_pixel() -> None:
    """Probability, in the refined mask, in the given mask; what becomes of the pixel."""
    table = [
        (0.90, True, False, "vessel"),
        (0.90, False, False, "unknown"),  # stage 3 took it away: a catheter, or a branch
        (0.40, True, False, "unknown"),  # a bridge of stage 3
        (0.30, False, False, "unknown"),
        (0.10, False, False, "background"),
        (0.16, False, True, "vessel"),
        (0.10, False, True, "unknown"),  # the outline is wide here, or the teacher misses a branch
        (0.90, True, True, "vessel"),
    ]
    probability, refined, given = (np.array([[row[i] for row in table]]) for i in range(3))
    vessel, unknown = PseudoLabelRule()(probability, refined, given)
    names = np.where(vessel, "vessel", np.where(unknown, "unknown", "background"))[0].tolist()
    assert names == [row[3] for row in table]
    assert not (vessel & unknown).any()
    without = PseudoLabelRule()(probability, refined)
    assert without[0].sum() == 2 and not without[1][0, 6]


def test_rule_out_of_order() -> None:
    with pytest.raises(UsageError, match="0 <= given <= vessel <= 1"):
        PseudoLabelRule(vessel=0.3, given=0.4)
    with pytest.raises(UsageError, match="background <= vessel"):
        PseudoLabelRule(background=0.6)


@pytest.fixture
def arcade(tmp_path: Path) -> Path:
    folder = tmp_path / "arcade"
    rows = [("a.jpg", "train", "segments"), ("b.jpg", "train", "no"), ("c.jpg", "val", "segments")]
    for name, _, labelled in rows:
        for kind, suffix in (("images", ".jpg"), ("masks", ".png")):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            if kind == "images" or labelled != "no":
                mask = np.zeros((40, 60), np.uint8)
                mask[10:14] = 255
                cv2.imwrite(str(folder / kind / name.replace(".jpg", suffix)), mask)
    with open(folder / "cases.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("file", "split", "labelled"), *rows])
    return folder


class Teacher:
    """Sees a vessel in the last rows of every image, and counts the images."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, path: str) -> SimpleNamespace:
        self.seen.append(Path(path).name)
        probability = np.full((40, 60), 0.18, np.float32)
        probability[30:] = 0.9
        return SimpleNamespace(mask=probability > 0.5, probability=probability)


def test_labels_are_written_once_and_read_back(arcade: Path, tmp_path: Path) -> None:
    teacher, folder = Teacher(), tmp_path / "labels"
    rows = write_pseudo_labels(arcade, folder, teacher)
    first = next(rows)
    assert first == {"file": "a.jpg", "vessel": pytest.approx(14 / 40), "unknown": 0.0}
    rows.close()
    assert [row["vessel"] for row in write_pseudo_labels(arcade, folder, teacher)] == pytest.approx([14 / 40, 10 / 40])
    assert teacher.seen == ["a.jpg", "b.jpg"], "each image once, none of another split"
    cases = load_pseudo_labels(arcade, folder)
    assert [case["name"] for case in cases] == ["arcade/a.jpg", "arcade/b.jpg"]
    label = cv2.imread(cases[0]["label"], 0)
    assert label[10:14].all() and label[30:].all() and label.mean() == pytest.approx(255 * 14 / 40)
    before = cases_digest(cases)
    cv2.imwrite(cases[0]["unknown"], np.full((40, 60), 255, np.uint8))
    assert cases_digest(cases) != before, "a run on other unknown regions is another run"
    Path(cases[1]["unknown"]).unlink()
    with pytest.raises(DataError, match=r"unknown.b\.png: no such file; unknown of arcade/b\.jpg"):
        load_pseudo_labels(arcade, folder)


def test_published_split_as_it_is(arcade: Path) -> None:
    (case,) = load_split(arcade)
    assert case["name"] == "arcade/a.jpg" and case["dataset"] == "arcade"
    assert [case["name"] for case in load_split(arcade, "val")] == ["arcade/c.jpg"]
    assert len(join_cases([load_split(arcade), load_split(arcade, "val")])) == 2
    with pytest.raises(DataError, match=r"cases\.csv: no image of split 'test'"):
        load_split(arcade, "test")
    (arcade / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: no such file; label of arcade/a\.jpg"):
        load_split(arcade)
    (arcade / "cases.csv").write_text("file,split\n")
    with pytest.raises(DataError, match="column 'labelled' is missing"):
        load_split(arcade)
    (arcade / "cases.csv").unlink()
    with pytest.raises(DataError, match=r"cases\.csv: cannot be read"):
        load_split(arcade)


def test_unknown_in_labels_and_metrics() -> None:
    label, unknown = torch.tensor([[[0.0, 1.0, 0.0, 1.0]]]), torch.tensor([[[0.0, 0.0, 1.0, 0.6]]])
    marked = MarkUnknownd("label")({"label": label, "unknown": unknown})
    assert marked["label"].flatten().tolist() == [0, 1, UNKNOWN, UNKNOWN]
    assert MarkUnknownd("label")({"label": label})["label"] is label
    known = ForgetUnknownd("pred")({"label": marked["label"], "pred": torch.ones(1, 1, 4)})
    assert known["pred"].flatten().tolist() == [1, 1, 0, 0] and known["label"].flatten().tolist() == [0, 1, 0, 0]
