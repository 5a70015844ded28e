"""Stage 1 on batches gives what it gives image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from casr_net.preprocessing.batched import BatchedChannels, ben_graham_batch, clahe_batch
from casr_net.preprocessing.field import fill_outside
from casr_net.preprocessing.filters import ben_graham, clahe
from casr_net.preprocessing.transforms import MultichannelPreprocessd
from casr_net.synthetic import make_angiogram


@pytest.fixture(scope="module")
def greys() -> np.ndarray:
    """A synthetic angiogram, noise of uneven brightness, and a constant image: (3, 128, 96)."""
    generator = np.random.default_rng(3)
    made = np.asarray(make_angiogram(5, size=128).image, np.float32)[:, :96]
    made = (made - made.min()) / np.ptp(made)
    noise = generator.random((128, 96), dtype=np.float32) ** 3
    return np.stack([made, noise, np.full((128, 96), 0.4, np.float32)])


@pytest.mark.parametrize(("clip_limit", "tiles"), [(2.0, 8), (40.0, 4), (0.01, 2)])
def test_clahe_is_that_of_opencv(greys: np.ndarray, clip_limit: float, tiles: int) -> None:
    found = clahe_batch(torch.from_numpy(greys)[:, None], clip_limit, tiles)[:, 0].numpy()
    for one, grey in zip(found, greys, strict=True):
        assert np.abs(one - clahe(grey, clip_limit, tiles)).max() < 1.01 / 255
        assert (np.abs(one - clahe(grey, clip_limit, tiles)) > 1e-4).mean() < 1e-3


def test_clahe_names_the_size_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="images are 30 x 32; 8 tiles"):
        clahe_batch(torch.zeros(1, 1, 30, 32))


def test_ben_graham_inside_a_field(greys: np.ndarray) -> None:
    x, y = np.indices(greys.shape[1:])
    field = np.hypot(x - 64, y - 48) < 50
    batch = torch.from_numpy(greys)[:, None]
    everywhere, inside = ben_graham_batch(batch), ben_graham_batch(batch, torch.from_numpy(field).expand(3, 1, -1, -1))
    for i, grey in enumerate(greys):
        np.testing.assert_allclose(everywhere[i, 0], ben_graham(grey), atol=5e-5)
        np.testing.assert_allclose(inside[i, 0], ben_graham(grey, field), atol=5e-5)


def test_channels_are_those_of_the_transform(greys: np.ndarray) -> None:
    names = ("ben_graham", "zero", "clahe", "grey")
    field = np.ones(greys.shape[1:], bool)
    field[:9] = False
    filled = np.stack([fill_outside(grey, field) for grey in greys])
    found = BatchedChannels(names)(torch.from_numpy(filled)[:, None], torch.from_numpy(field).expand(3, 1, -1, -1))
    transform = MultichannelPreprocessd("image", names, field_key="field")
    for one, grey in zip(found, greys, strict=True):
        data = {"image": torch.from_numpy(grey)[None], "field": torch.from_numpy(field)[None].float()}
        assert float((one - transform(data)["image"]).abs().max()) < 2.02 / 255
    with pytest.raises(ValueError, match="known are grey, clahe"):
        BatchedChannels(["red"])
