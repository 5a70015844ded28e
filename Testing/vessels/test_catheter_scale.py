"""The size of a pixel by a catheter of known size: drawn ones of known width, and those of synthetic angiograms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from casr_net.errors import DataError, UsageError
from casr_net.synthetic.angiogram import make_angiogram
from casr_net.synthetic.background import tube
from casr_net.synthetic.scene import make_scene
from casr_net.vessels.catheter_scale import catheter_scale
from casr_net.vessels.scale import pixel_size
from casr_net.vessels.tree import VesselTree, vessel_tree

SIZE = 320
Drawn = tuple[np.ndarray, np.ndarray, VesselTree]


def drawn(radius: float, noise: float = 0.0, aspect: float = 1.0, bend: float = 40.0) -> Drawn:
    """Attenuation and mask (X, Y), and tree, of a catheter that comes in at the top and a wider artery at its tip.

    Args:
        radius: of the catheter, in widths of a pixel.
        noise: standard deviation, in widths of a pixel of full contrast.
        aspect: height of a pixel over its width.
        bend: how far the shaft bends aside, in pixels.
    """
    t = np.linspace(0, 1, 200)[:, None]
    start, end = np.array([60.0, -12.0]), np.array([150.0, 200.0])
    shaft = start + (end - start) * t + np.array([bend, 0.0]) * np.sin(np.pi * t)
    trunk = shaft[-1] + np.array([[0, 0], [25, 25], [60, 60], [100, 65]])
    branch = trunk[1] + np.array([[0, 0], [-15, 40], [-30, 70]])
    thickness = np.zeros((SIZE, SIZE), np.float32)
    fine = 4  # drawn finely and averaged, so that its outline is exact
    for line, size in ((shaft, radius), (trunk, 1.5 * radius), (branch, 1.2 * radius)):
        points = (line * [1, aspect] + 0.5) * fine - 0.5
        one = tube(points, size * fine, int(fine * SIZE * max(aspect, 1))) / fine
        one = one[: round(fine * SIZE * aspect), : fine * SIZE]
        thickness = np.maximum(thickness, cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    mask = np.ascontiguousarray(thickness.T) > 0.25 * radius
    blurred = cv2.GaussianBlur(thickness, (0, 0), 1.2)
    grey = blurred + np.random.default_rng(2).normal(0, 1, blurred.shape).astype(np.float32) * noise
    return grey.T.copy(), mask, vessel_tree(mask, grey.T.copy())


@pytest.fixture(scope="module")
def plain() -> Drawn:
    return drawn(5.0)


@pytest.mark.parametrize(("radius", "french"), [(3.0, 5), (5.0, 6), (8.0, 7.5)])
def test_width_and_size_give_the_pixel(radius: float, french: float) -> None:
    found = catheter_scale(*drawn(radius), french)
    assert found.kind == "catheter" and not found.estimated
    assert found.row_mm == found.column_mm == pytest.approx(french / 3 / (2 * radius), rel=0.03)
    assert found.spread is not None and found.spread < 0.02
    assert f"{french:g} F" in found.note and "places" in found.note and "up to its outer wall" in found.note


def test_noise_is_in_the_spread(plain: Drawn) -> None:
    noisy = catheter_scale(*drawn(5.0, noise=1.5), 6)
    assert noisy.column_mm == pytest.approx(0.2, rel=0.05)
    assert noisy.spread is not None and 0.005 < noisy.spread < 0.1
    assert noisy.spread > 2 * (catheter_scale(*plain, 6).spread or 0)


@pytest.mark.parametrize("aspect", [0.8, 1.25])
def test_pixels_that_are_not_square(aspect: float) -> None:
    found = catheter_scale(*drawn(5.0, aspect=aspect), 6, aspect)
    assert found.column_mm == pytest.approx(0.2, rel=0.04) and found.row_mm == pytest.approx(0.2 * aspect, rel=0.04)
    assert found.spread is not None and found.spread < 0.03


def test_no_catheter_is_no_scale_and_is_said(plain: Drawn) -> None:
    grey, mask, _ = plain
    lower = mask.copy()
    lower[:, :40] = False  # what does not come in at the border is no catheter
    found = catheter_scale(grey, lower, vessel_tree(lower, grey), 6)
    assert (found.kind, found.row_mm, found.spread) == ("none", None, None)
    assert found.note == "The catheter gives no pixel size: no catheter was found among the vessels."
    empty = np.zeros((SIZE, SIZE), bool)
    assert "no catheter was found" in catheter_scale(grey, empty, vessel_tree(empty), 6).note
    header = {"PixelSpacing": [0.3, 0.3], "PixelSpacingCalibrationType": "GEOMETRY"}
    assert pixel_size(header, None, found).kind == "geometry"


def test_what_cannot_be_measured_is_no_scale(plain: Drawn) -> None:
    grey, mask, tree = plain
    flat = catheter_scale(np.zeros_like(grey), mask, tree, 6)
    assert flat.kind == "none" and "can be measured at 0 places only, 5 are needed" in flat.note
    wild = np.random.default_rng(1).normal(0, 30, grey.shape)
    assert catheter_scale(grey + wild, mask, tree, 6).kind == "none"


@pytest.mark.parametrize("french", [0, -6, 2.9, 12.1, 60, float("nan"), float("inf"), "6", None, True])
def test_absurd_sizes_are_refused(plain: Drawn, french: object) -> None:
    with pytest.raises(UsageError, match=r"^The catheter is .* French; it must be 3 to 12\.$"):
        catheter_scale(*plain, french)  # type: ignore[arg-type]


@pytest.mark.parametrize("aspect", [0, -1, float("nan"), float("inf")])
def test_impossible_pixels_are_refused(plain: Drawn, aspect: float) -> None:
    with pytest.raises(UsageError, match="height of a pixel over its width"):
        catheter_scale(*plain, 6, aspect)


def test_arrays_that_do_not_fit(plain: Drawn) -> None:
    with pytest.raises(DataError, match="attenuation"):
        catheter_scale(plain[0][1:], plain[1], plain[2], 6)


def test_synthetic_angiogram() -> None:
    """With ribs, noise, sharpening and JPEG: see experiments/catheter_scale.py for the figures."""
    angiogram, scene = make_angiogram(2002), make_scene(2002, 512, None)
    mask = angiogram.mask.T | (tube(scene.catheter, scene.catheter_radius, 512).T > 0)
    grey = -np.log(np.maximum(angiogram.image.T.astype(np.float32), 1) / 255)
    found = catheter_scale(grey, mask, vessel_tree(mask, grey), 6)
    assert found.column_mm == pytest.approx(2 / (2 * scene.catheter_radius), rel=0.1)


def test_a_scale_that_makes_arteries_of_another_kind_is_doubted(plain: Drawn) -> None:
    """The artery of the drawing is one and a half catheters wide: 3 mm by 6 F, 1.5 mm by 3 F."""
    assert catheter_scale(*plain, 6).contradictions == ()
    (doubt,) = catheter_scale(*plain, 3).contradictions
    assert doubt.startswith("By the catheter the widest vessel measures 1.5 mm, where 2 to 7 mm are usual")
