from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor
from monai.transforms import Compose

from casr_net.preprocessing.field import field_of_view, fill_outside
from casr_net.preprocessing.filters import ben_graham, clahe
from casr_net.preprocessing.load import LoadAngiogramd, LoadMaskd
from casr_net.preprocessing.transforms import (
    BenGrahamd,
    CLAHEd,
    FieldOfViewd,
    MultichannelPreprocessd,
)

UNIT_IMAGES = hnp.arrays(
    np.float32, st.tuples(st.integers(8, 40), st.integers(8, 40)), elements=st.floats(0, 1, width=32)
)  # fmt: skip


def framed(size: int = 120, rim: int = 15, dark: float = 0.02, noise: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """An uneven bright field inside a rim, and the truth of the field."""
    rng = np.random.default_rng(0)
    image = 0.5 + 0.1 * np.linspace(-1, 1, size)[None] + rng.normal(0, noise, (size, size))
    field = np.zeros((size, size), bool)
    field[rim : size - rim, rim : size - rim] = True
    return np.where(field, image, dark).astype(np.float32), field


# -- each transform by itself


@pytest.mark.parametrize("size", [(30, 40), (40, 50)])
def test_a_mask_has_the_size_of_its_image(size: tuple[int, int], tmp_path: Path) -> None:
    """Resized to the same longest side, both would fit the network, and what is learned would be shifted."""
    cv2.imwrite(str(tmp_path / "image.png"), np.random.default_rng(0).integers(0, 255, (50, 40)).astype(np.uint8))
    data = {"image": str(tmp_path / "image.png"), "label": str(tmp_path / "mask.png")}
    load = Compose([LoadAngiogramd("image"), LoadMaskd(["label", "unknown"], allow_missing_keys=True)])
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((50, 40), np.uint8))
    assert load(data)["label"].shape == (1, 40, 50)
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros(size, np.uint8))
    with pytest.raises(RuntimeError) as caught:
        load(data)
    cause = str(caught.value.__cause__)
    assert f"mask.png: the mask has {size[1]} x {size[0]} pixels; its image has 40 x 50." in cause


def test_clahe_raises_local_contrast() -> None:
    rng = np.random.default_rng(0)
    dull = (0.5 + rng.normal(0, 0.02, (256, 256))).astype(np.float32)
    assert clahe(dull).std() > 1.5 * dull.std()
    assert clahe(dull, clip_limit=4).std() > clahe(dull, clip_limit=1).std()


def test_ben_graham_by_hand() -> None:
    image = np.zeros((31, 31), np.float32)
    image[15, 15] = 0.1
    result = ben_graham(image, alpha=4.0, sigma_fraction=2 / 31)
    assert result[15, 15] == pytest.approx(0.5 + 4 * 0.1 * (1 - 1 / (2 * np.pi * 4)), abs=2e-3)
    assert result[0, 0] == pytest.approx(0.5, abs=1e-3)


def test_ben_graham_has_no_halo_at_the_rim() -> None:
    image, field = framed(noise=0.0)
    halo = np.abs(ben_graham(image, None)[field] - 0.5).max()
    normalised = np.abs(ben_graham(image, field)[field] - 0.5).max()
    assert normalised < 0.1 < halo
    assert (ben_graham(image, field)[~field] == 0.5).all()


@given(image=UNIT_IMAGES)
@settings(max_examples=30, deadline=None)
def test_channels_have_their_shape_and_range(image: np.ndarray) -> None:
    data = {"image": torch.from_numpy(image)[None]}
    result = MultichannelPreprocessd("image")(data)["image"]
    assert result.shape == (3, *image.shape)
    assert result.dtype == torch.float32
    assert result.min() >= -1 and result.max() <= 1
    for transform in (CLAHEd("image"), BenGrahamd("image")):
        single = transform(data)["image"]
        assert single.shape == (1, *image.shape)
        assert single.min() >= 0 and single.max() <= 1


def test_channels_are_chosen_by_name() -> None:
    image = torch.rand(1, 40, 40)
    every = MultichannelPreprocessd("image")({"image": image})["image"]
    chosen = MultichannelPreprocessd("image", channels=("zero", "ben_graham", "grey"))({"image": image})["image"]
    assert torch.equal(chosen[0], torch.zeros(40, 40))
    assert torch.equal(chosen[1], every[2])
    assert torch.equal(chosen[2], every[0])
    assert torch.allclose(every[0], image[0] * 2 - 1)
    with pytest.raises(ValueError, match="known are grey, clahe"):
        MultichannelPreprocessd("image", channels=("gray",))


def test_metadata_survive() -> None:
    image = MetaTensor(torch.rand(1, 32, 32), affine=torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0])))
    result = MultichannelPreprocessd("image")({"image": image})["image"]
    assert torch.equal(result.affine, image.affine)


def test_stored_field_is_used() -> None:
    image, _ = framed()
    data = {"image": torch.from_numpy(image)[None]}
    stored = FieldOfViewd("image")(data)
    assert stored["field"].shape == (1, 120, 120)
    with_field = MultichannelPreprocessd("image", field_key="field")(stored)["image"]
    assert torch.equal(with_field, MultichannelPreprocessd("image")(data)["image"])
    stored["field"] = torch.ones(1, 120, 120)
    assert not torch.equal(MultichannelPreprocessd("image", field_key="field")(stored)["image"], with_field)


# -- the exposed field


@pytest.mark.parametrize("dark", [0.0, 0.05, 1.0])
def test_rectangular_rim_is_found(dark: float) -> None:
    image, truth = framed(dark=dark)
    field = field_of_view(image)
    assert not (field & ~truth).any()
    assert field.sum() > 0.85 * truth.sum()


def test_noisy_blurred_blades_are_found() -> None:
    rng = np.random.default_rng(1)
    image, truth = framed(size=200, rim=10, dark=0.08)
    noisy = np.clip(image + rng.normal(0, 0.03, image.shape), 0, 1).astype(np.float32)
    field = field_of_view(noisy)
    assert not field[0].any() and not field[-1].any() and not field[:, 0].any() and not field[:, -1].any()
    assert field.sum() > 0.85 * truth.sum()


def test_round_field_is_found() -> None:
    image, _ = framed(rim=0)
    x, y = np.mgrid[:120, :120]
    disc = (x - 60) ** 2 + (y - 60) ** 2 < 58**2
    field = field_of_view(np.where(disc, image, 0.01).astype(np.float32))
    assert not (field & ~disc).any()
    assert field.sum() > 0.85 * disc.sum()


def test_dark_vessel_that_leaves_the_image_is_no_rim() -> None:
    image, _ = framed(rim=0)
    image[58:63] = 0.0
    assert field_of_view(image).all()


def test_wide_dark_anatomy_is_no_rim() -> None:
    image, _ = framed(rim=0, noise=0.03)
    image[:, 80:] *= 0.5
    assert field_of_view(image).all()


@given(image=UNIT_IMAGES)
@settings(max_examples=30, deadline=None)
def test_field_is_never_nearly_empty(image: np.ndarray) -> None:
    field = field_of_view(image)
    assert field.shape == image.shape
    assert field.mean() >= 0.2


def test_tiny_images_have_a_full_field() -> None:
    assert field_of_view(np.zeros((3, 200), np.float32)).all()


def test_outside_is_filled_by_reflection() -> None:
    image = np.tile(np.arange(10.0, dtype=np.float32), (6, 1))
    field = np.ones((6, 10), bool)
    field[:, :3] = False
    filled = fill_outside(image, field)
    assert filled[2].tolist() == [6, 5, 4, 3, 4, 5, 6, 7, 8, 9]


@given(image=UNIT_IMAGES, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_filling_keeps_the_inside_and_takes_values_from_it(image: np.ndarray, seed: int) -> None:
    field = np.random.default_rng(seed).random(image.shape) < 0.3
    field.flat[0] = True
    filled = fill_outside(image, field)
    assert (filled[field] == image[field]).all()
    assert np.isin(filled, image[field]).all()
