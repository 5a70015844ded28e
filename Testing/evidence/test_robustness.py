from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from casr_net.errors import DataError, UsageError
from casr_net.evaluation import (
    PERTURBATIONS,
    evaluate_segments,
    perturbed,
    segment_recall,
    summarise_segments,
)


def picture() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.zeros((80, 120), bool)
    mask[30:38] = mask[:, 60:66] = True
    image = cv2.GaussianBlur((150 - 80 * mask + rng.normal(0, 2, mask.shape)).astype(np.float32), (0, 0), 1)
    return np.clip(image, 0, 255).astype(np.uint8), mask


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_image_and_mask_stay_together(kind: str) -> None:
    image, mask = picture()
    for level in PERTURBATIONS[kind]:
        changed, own = perturbed(kind, level, image, mask)
        assert changed.dtype == np.uint8 and own.dtype == bool and changed.shape == own.shape
        assert not np.array_equal(changed, image) or changed.shape != image.shape
        inside, outside = changed[own].mean(), changed[~own & (changed > 0)].mean()
        assert inside < outside - 5, "vessels stay where they are dark"
        again = perturbed(kind, level, image, mask)
        assert np.array_equal(again[0], changed) and np.array_equal(again[1], own)
    assert image.flags.writeable and np.array_equal(picture()[0], image), "what was given is left alone"


def test_known_values() -> None:
    image, mask = picture()
    soft, _ = perturbed("contrast", 0.2, image, mask)
    assert soft.std() == pytest.approx(0.2 * image.std(), rel=0.05) and soft.mean() == pytest.approx(
        image.mean(), abs=1
    )
    noisy, same = perturbed("noise", 10, np.full((100, 100), 120, np.uint8), np.zeros((100, 100), bool))
    assert noisy.std() == pytest.approx(10, rel=0.03) and not same.any()
    square, own = image[:80, :80], mask[:80, :80]
    turned, turned_mask = perturbed("rotation", 90, square, own)
    assert np.array_equal(turned, np.rot90(square)) and np.array_equal(turned_mask, np.rot90(own))
    small, small_mask = perturbed("scale", 0.5, image, mask)
    assert small.shape == (40, 60) and small_mask[15:19].all() and not small_mask[:14, :29].any()
    dark, seen = perturbed("collimator", 0.1, image, mask)
    assert not dark[:8].any() and not dark[:, 108:].any() and not seen[:8].any()
    assert np.array_equal(dark[8:72, 12:108], image[8:72, 12:108])
    assert np.array_equal(seen[8:72, 12:108], mask[8:72, 12:108])


def test_unknown_kind() -> None:
    with pytest.raises(UsageError, match="kind of perturbation is 'rain'; known are noise"):
        perturbed("rain", 1, *picture())


def test_recall_of_segments() -> None:
    segments = np.zeros((40, 100), np.uint8)
    segments[18:23, :50], segments[18:23, 50:] = 1, 7
    mask = segments == 1
    table = segment_recall(mask, segments)
    assert set(table) == {"all", "1", "7"} and table["7"][0] == 0 and table["1"][0] == table["1"][1]
    assert table["all"] == [table["1"][0], table["1"][1] + table["7"][1]]
    rows = [{"refined": table, "threshold": segment_recall(segments != 0, segments),
             "recall_by_width": {"0-4": [0, 0], "4-7": [3, 4]}}]  # fmt: skip
    found = summarise_segments(rows)
    assert found["refined"]["mean"] == found["refined"]["pooled"] == pytest.approx(0.5, abs=0.02)
    assert found["threshold"] == {"mean": 1.0, "pooled": 1.0} and found["by_segment"]["7"]["recall"] == 0
    assert found["by_width"] == {"0-4": {"pixels": 0, "recall": None}, "4-7": {"pixels": 4, "recall": 0.75}}


def test_segments_of_the_validation_split(data: Path, tmp_path: Path) -> None:
    folder, path = data / "arcade", tmp_path / "segments.jsonl"
    (folder / "segments").mkdir(exist_ok=True)
    for mask in (folder / "masks").glob("syntax_val_*.png"):
        cv2.imwrite(str(folder / "segments" / mask.name), (cv2.imread(str(mask), 0) > 0).astype(np.uint8) * 3)
    seen: list[str] = []

    def network(name: str) -> Any:
        seen.append(Path(name).name)
        mask = cv2.imread(name.replace("images", "masks").replace(".jpg", ".png"), 0) > 0
        return SimpleNamespace(mask=mask, probability=np.zeros(mask.shape))

    rows = evaluate_segments(folder, network, path, lambda: None)
    assert [row["name"] for row in rows] == ["syntax_val_3.jpg", "syntax_val_4.jpg"] == seen
    assert summarise_segments(rows)["refined"]["pooled"] == 1 and summarise_segments(rows)["threshold"]["mean"] == 0
    assert evaluate_segments(folder, network, path, lambda: None, limit=1) == rows[:1] and len(seen) == 2
    (folder / "segments" / "syntax_val_3.png").unlink()
    with pytest.raises(DataError, match=r"syntax_val_3\.png: cannot be read"):
        evaluate_segments(folder, network, tmp_path / "other.jsonl", lambda: None)
