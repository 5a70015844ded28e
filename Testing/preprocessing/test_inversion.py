"""The way to the network's grid and back, as the shipped configuration has it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose

from casr_net.inference.bundle import load_parser
from casr_net.preprocessing.load import image_tensor


@cache
def transforms() -> tuple[Compose, Compose]:
    parser = load_parser(network_size=128, probability=True)
    return parser.get_parsed_content("channels"), parser.get_parsed_content("postprocessing")


def there(image: np.ndarray) -> Any:
    return transforms()[0]({"image": image_tensor(image.astype(np.float32), np.eye(4))})


@given(columns=st.integers(32, 400), rows=st.integers(32, 400))
@example(columns=128, rows=128)
@example(columns=400, rows=32)
@settings(max_examples=25, deadline=None)
def test_any_size_comes_back_to_its_own_grid(columns: int, rows: int) -> None:
    x, y = np.mgrid[:columns, :rows]
    smooth = 0.5 + 0.25 * np.sin(3 * x / columns) * np.cos(2 * y / rows)
    data = there(smooth)
    size = data["image"].shape[1:]
    assert max(size) == 128 and all(side % 32 == 0 for side in size)
    # A network that only repeats its grey channel, as a logit, gives the image back.
    grey = ((data["image"][:1] + 1) / 2).clamp(1e-4, 1 - 1e-4)
    data["pred"] = torch.logit(grey)
    back = transforms()[1](data)
    assert back["probability"].shape == back["pred"].shape == (1, columns, rows)
    assert set(np.unique(back["pred"].numpy())) <= {0.0, 1.0}
    inner = np.abs(back["probability"].numpy()[0] - smooth)[columns // 8 : -columns // 8, rows // 8 : -rows // 8]
    assert inner.max() < 0.06


def test_nothing_is_found_outside_the_field() -> None:
    image = np.full((200, 200), 0.0)
    image[30:170, 30:170] = 0.6 + 0.01 * np.random.default_rng(0).standard_normal((140, 140))
    data = there(image)
    data["pred"] = MetaTensor(torch.full((1, 128, 128), 9.0))
    data["pred"].applied_operations = data["image"].applied_operations
    mask = transforms()[1](data)["pred"].numpy()[0]
    assert mask[60:140, 60:140].all()
    assert not mask[:20].any() and not mask[-20:].any() and not mask[:, :20].any() and not mask[:, -20:].any()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_image_is_prepared_like_the_turned_result(turns: int) -> None:
    image = np.random.default_rng(1).random((128, 128))
    turned = there(np.rot90(image, turns).copy())["image"].numpy()
    expected = np.rot90(there(image)["image"].numpy(), turns, axes=(1, 2))
    assert np.abs(turned[[0, 2]] - expected[[0, 2]]).max() < 1e-3  # CLAHE's tables interpolate with an offset
