"""The shipped weights on the shipped sample."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from casr_net import Segmenter
from casr_net.evaluation.metrics import image_metrics
from casr_net.files.masks import read_mask

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "sample_mask.png"


@pytest.fixture(scope="module", params=["torch", "auto"])
def found(request: pytest.FixtureRequest, bundle: Path):
    """The mask by torch in single precision, and by whatever is fastest here."""
    precision = {"torch": "fp32", "auto": "auto"}[request.param]
    segmenter = Segmenter(device="cpu", runtime=request.param, precision=precision)
    return request.param, segmenter(bundle / "sample" / "images" / "angiogram.png").mask


def test_sample_gives_the_stored_mask(found) -> None:
    """Not to the last pixel: rounding differs between processors, and refinement decides by thresholds. In bfloat16
    more pixels at the edges of vessels change sides."""
    runtime, mask = found
    golden = cv2.imread(str(GOLDEN), cv2.IMREAD_GRAYSCALE) > 0
    assert mask.shape == golden.shape
    assert image_metrics(mask.T, golden.T)["dice"] > {"torch": 0.995, "auto": 0.99}[runtime]


def test_sample_is_segmented_well(found, bundle: Path) -> None:
    _runtime, found = found
    truth = read_mask(bundle / "sample" / "masks" / "angiogram.png")[..., 0]
    result = image_metrics(found.T, truth)
    assert result["dice"] > 0.84
    assert result["cldice"] > 0.79


def test_the_papers_encoder_finds_the_sample_too(bundle: Path) -> None:
    """Weights of the overlay ``compact``, whose kernels are stored in 8 bits."""
    found = Segmenter("compact", device="cpu", runtime="torch", precision="fp32")
    mask = found(bundle / "sample" / "images" / "angiogram.png").mask
    result = image_metrics(mask.T, read_mask(bundle / "sample" / "masks" / "angiogram.png")[..., 0])
    assert result["dice"] > 0.8
    assert result["cldice"] > 0.75
