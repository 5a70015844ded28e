"""The shipped weights on the shipped sample."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from casr_net import Segmenter
from casr_net.evaluation.metrics import image_metrics
from casr_net.files.masks import read_mask

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "sample_mask.png"


@pytest.fixture(scope="module")
def found(bundle: Path):
    return Segmenter(device="cpu")(bundle / "sample" / "images" / "angiogram.png").mask


def test_sample_gives_the_stored_mask(found) -> None:
    """Not to the last pixel: rounding differs between processors, and refinement decides by thresholds."""
    golden = cv2.imread(str(GOLDEN), cv2.IMREAD_GRAYSCALE) > 0
    assert found.shape == golden.shape
    assert image_metrics(found.T, golden.T)["dice"] > 0.995


def test_sample_is_segmented_well(found, bundle: Path) -> None:
    truth = read_mask(bundle / "sample" / "masks" / "angiogram.png")[..., 0]
    result = image_metrics(found.T, truth)
    assert result["dice"] > 0.84
    assert result["cldice"] > 0.79
