"""Mean over mirror images: the inferer, the setting and the option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from casr_net import Segmenter
from casr_net.errors import UsageError
from casr_net.inference import FrameInferer
from casr_net.inference.stages import FrameNetwork
from casr_net.preprocessing.load import image_tensor


class Steep(torch.nn.Module):
    """Logits that depend on the place, so that a mirrored frame gives others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] + torch.linspace(0, 3, x.shape[-2])[:, None] - torch.linspace(0, 1, x.shape[-1])


def test_mean_of_the_mirror_images() -> None:
    x = torch.rand(1, 3, 32, 64)
    plain, mirrored = FrameInferer()(x, Steep()), FrameInferer(tta=True)(x, Steep())
    expected = torch.stack(
        [torch.sigmoid(Steep()(x.flip(axes)).flip(axes)) for axes in ([], [-2], [-1], [-2, -1])]
    ).mean(dim=0)
    torch.testing.assert_close(torch.sigmoid(mirrored), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mirrored, plain) and torch.equal(plain, Steep()(x))
    symmetric = torch.nn.Conv2d(3, 1, 1)
    torch.testing.assert_close(FrameInferer(tta=True)(x, symmetric), symmetric(x), atol=1e-5, rtol=1e-5)
    assert torch.isfinite(FrameInferer(tta=True)(1e4 * (x - 0.5), symmetric)).all()


def test_single_images_are_mirrored_and_cines_are_not(random_weights: Path, angiogram: np.ndarray) -> None:
    """As shipped, by the metadata of the input, in whatever batch it comes."""
    options: dict[str, Any] = {"weights": str(random_weights), "network_size": 64, "device": "cpu", "refine": False}
    auto, off, on = Segmenter(**options), Segmenter(**options, tta=False), Segmenter(**options, tta=True)
    cine = np.stack([angiogram, angiogram[::-1]])
    assert (auto(angiogram).probability == on(angiogram).probability).all()
    assert (auto(cine).probability == off(cine).probability).all()
    assert (auto(cine).probability != on(cine).probability).any()
    assert (auto.frame(angiogram).probability == off.frame(angiogram).probability).all(), "one frame of a cine"

    images = [image_tensor(np.random.default_rng(i).random((32, 64), np.float32), np.eye(4), frames=i) for i in (1, 2)]
    images += [image_tensor(np.ones((32, 64), np.float32), np.eye(4))]
    inferer = FrameInferer(tta="auto")
    network = FrameNetwork(Steep(), inferer, "cpu", batch=4)
    found = [data["pred"] for data in network([{"image": image.repeat(3, 1, 1)} for image in images + images])]
    for image, logits, again in zip(images, found[:3], found[3:], strict=True):
        stack = image.repeat(3, 1, 1)[None]
        plain, mirrored = FrameInferer()(stack, Steep())[0], FrameInferer(tta=True)(stack, Steep())[0]
        assert not torch.equal(plain, mirrored)
        expected = mirrored if image.meta.get("frames") == 1 else plain
        assert torch.equal(torch.as_tensor(logits), torch.as_tensor(expected)) and torch.equal(logits, again)


def test_mirrored_segmenter_is_a_setting(random_weights: Path, angiogram: np.ndarray) -> None:
    options = {"weights": str(random_weights), "network_size": 64, "device": "cpu", "refine": False}
    off, on = Segmenter(**options, tta=False)(angiogram), Segmenter(**options, tta=True)(angiogram)
    turned = Segmenter(**options, tta=True)(angiogram[::-1].copy())
    assert not np.allclose(off.probability, on.probability, atol=1e-4)
    assert np.abs(turned.probability[::-1] - on.probability).mean() < np.abs(off.probability - on.probability).mean()
    with pytest.raises(UsageError, match="tta is 'yes'; expected true, false or auto"):
        Segmenter(**options, tta="yes")
    with pytest.raises(UsageError, match="tta is 'false'; expected true, false or auto, the first two of which"):
        FrameInferer(tta="false")  # as monai.bundle's command line makes it


def test_tta_on_the_command_line(segment: Any, png: Path, mirrored_config: Path) -> None:
    maps = []
    for more in (("--no-tta",), ("--tta", "--overwrite"), ("--overwrite",)):
        options = ("--probability", "--no-refine", "--config", mirrored_config, *more)
        code, output = segment(png, options=options)
        assert code == 0
        maps.append(cv2.imread(str(output / "angio_probability.png"), 0).astype(int))
    assert (maps[0] != maps[1]).any() and (maps[1] == maps[2]).all()
    record = json.loads((output / "run.json").read_text())
    settings = [
        next(part["tta"] for part in record["configs"][run["config_sha256"]] if "tta" in part) for run in record["runs"]
    ]
    assert settings == [False, True, "auto"], "the record of the run says so"
