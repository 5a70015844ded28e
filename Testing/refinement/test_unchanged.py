"""Shortcuts give what the plain way gives; masks are those of before (with real images: golden_masks.py)."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import skeletonize
from torch.nn import functional as F

from casr_net.preprocessing.field import _blades, _largest, _line_medians, _nearest_inside, field_of_view
from casr_net.preprocessing.filters import _gaussian
from casr_net.refinement.contours import refine
from casr_net.refinement.ends import CUT, GUARD, REACH, _joined, _thinned_again, vessel_ends
from casr_net.refinement.fieldmask import MaskOutsideFieldd
from casr_net.refinement.parts import Parts, depth_of
from casr_net.refinement.reconnection import BridgeLimits, find_bridges

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.mark.parametrize("seed", [1, 2, 3, 6])
def test_masks_and_fields_are_those_of_before(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXPERIMENTS), *sys.path])
    script = runpy.run_path(str(EXPERIMENTS / "golden_masks.py"))
    known = json.loads((EXPERIMENTS / "results" / "golden_masks.json").read_text())[f"synthetic {seed}"]
    made = script["make_angiogram"](seed=seed, size=(512, 384, 300)[seed % 3])
    levels = script["broken"](made.mask.T > 0, seed)
    assert script["digest"](refine(levels)) == known["mask"]
    assert script["digest"](refine(levels[::2, ::2])) == known["mask of half"]
    if made.image.shape[0] == 512:  # smaller ones are resized before
        field = field_of_view(script["with_rim"](made.image.T.astype(np.float32) / 255, seed))
        assert script["digest"](torch.from_numpy(field[None].astype(np.float32))) == known["field"]


@pytest.mark.parametrize("axis", [0, 1])
def test_medians_of_lines_are_those_of_numpy(axis: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((41, 64)).astype(np.float32)
    known = rng.random(image.shape) < 0.4
    known[3], known[:, 7] = True, True
    expected = np.ma.median(np.ma.masked_array(image, known), axis=1 - axis).filled(0)
    assert np.array_equal(_line_medians(image, axis, known), expected)
    assert np.array_equal(_line_medians(image, axis), np.median(image, axis=1 - axis))


@pytest.mark.parametrize(("dark", "found"), [(0.1, True), (0.26, False), (0.3, False)])
def test_blades_are_decided_at_their_limit(dark: float, found: bool) -> None:
    """A flat image of 0.62: the outermost line must be at most 0.7 x 0.6 x 0.62 = 0.2604."""
    image = np.full((100, 100), 0.62, np.float32)
    image[:4] = dark + 0.004 if dark == 0.26 else dark
    assert _blades(image, np.zeros(image.shape, bool), 0.6, 0.12)[:4].any() == found
    image[:4] = 0.26
    assert _blades(image, np.zeros(image.shape, bool), 0.6, 0.12)[:4].all()


@pytest.mark.parametrize("seed", range(24))
def test_nearest_pixels_of_a_field_are_those_of_scipy(seed: int) -> None:
    """Ties too."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(2, 180, 2).tolist()
    x, y = np.indices((rows, columns))
    field = (
        rng.random((rows, columns)) < rng.random(),
        (x >= rows // 4) & (y > columns // 5) & (y < columns - 1),
        np.hypot(x - rows / 2, y - columns / 2) < 0.45 * min(rows, columns),
        cv2.GaussianBlur(rng.random((rows, columns)), (0, 0), 3) > 0.5,
    )[seed % 4]
    field[rows // 2, columns // 2] = True
    position, nearest = _nearest_inside(field)
    expected = ndimage.distance_transform_edt(~field, return_distances=False, return_indices=True)
    assert np.array_equal(position, np.nonzero(~field))
    assert all(np.array_equal(found, places[position]) for found, places in zip(nearest, expected, strict=True))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.6, 0.9, 1.0])
def test_largest_part_of_a_field_is_that_of_its_labels(share: float) -> None:
    """Whether it holds the middle, and is more than half, or not; None where there is nothing."""
    for seed in range(6):
        noise = cv2.GaussianBlur(np.random.default_rng(seed).random((90, 71)), (0, 0), 4)
        mask = noise <= np.quantile(noise, share) if share else np.zeros(noise.shape, bool)
        labels, count = ndimage.label(mask)
        found = _largest(mask)
        if not count:
            assert found is None
        else:
            assert np.array_equal(found, labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))


@pytest.mark.parametrize("shape", [(512, 512), (512, 300), (41, 64), (8, 3)])
@pytest.mark.parametrize("kind", ["noise", "field", "smooth"])
def test_wide_gaussian_is_that_of_opencv(shape: tuple[int, int], kind: str) -> None:
    """Noise and edges are what a filter by slow cosines could miss. The gain behind it is 4, a grey level 1 / 255."""
    rng = np.random.default_rng(2)
    image = rng.random(shape).astype(np.float32)
    if kind != "noise":
        image = cv2.GaussianBlur(image, (0, 0), 2)
    if kind == "field":
        image = (image > 0.5).astype(np.float32)
    sigma = max(max(shape) / 30, 0.5)
    expected = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(_gaussian(image, sigma) - expected).max() < 2e-5


@pytest.mark.parametrize("seed", range(12))
def test_components_of_a_mask_that_grew_are_those_of_a_new_one(seed: int) -> None:
    """Labels but for their numbers, sizes, boxes and largest depths; up to a blob deeper than all that was there."""
    rng = np.random.default_rng(seed)
    mask = cv2.GaussianBlur(rng.random((160, 130)), (0, 0), 4) > 0.52
    parts = Parts(mask)
    assert parts.deepest.max() > 2
    more = mask.astype(np.uint8)
    for _ in range(seed):
        center, size = rng.integers(0, 130, 2).tolist(), int(rng.integers(0, 4) if seed < 10 else rng.integers(3, 40))
        cv2.circle(more, center, size, 1, cv2.FILLED)
    grown, new = parts.grown(more > 0), Parts(more > 0)
    assert np.array_equal(grown.mask, new.mask)
    assert np.array_equal(grown.labels > 0, new.labels > 0)
    assert np.count_nonzero(grown.sizes) == new.count - 1
    for label in range(1, new.count):
        own = np.unique(grown.labels[new.labels == label])
        assert len(own) == 1
        assert grown.sizes[own[0]] == new.sizes[label]
        assert np.array_equal(grown.boxes[own[0]], new.boxes[label])
        assert grown.deepest[own[0]] == pytest.approx(new.deepest[label], rel=1e-6)
    assert np.allclose(grown.depth, new.depth, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("shape", [(60, 47), (1, 9), (33, 150), (7, 1)])
def test_boxes_and_sizes_of_components_are_those_of_opencv(shape: tuple[int, int], share: float) -> None:
    mask = np.random.default_rng(5).random(shape) < share
    parts = Parts(mask)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    assert np.array_equal(parts.labels, labels)
    assert np.array_equal(parts.boxes[1:], stats[1:, :4])
    assert np.array_equal(parts.sizes[1:], stats[1:, cv2.CC_STAT_AREA])
    assert parts.sizes[0] == 0


@pytest.mark.parametrize("seed", range(4))
def test_ends_with_no_box_around_join_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = cv2.GaussianBlur(rng.random((200, 170)), (0, 0), 3).astype(np.float32)
    levels = np.clip((levels - levels.min()) / np.ptp(levels) + 0.05, 0, 1)
    parts = Parts(levels >= 0.6)
    ends = vessel_ends(parts.labels, parts.depth, 6.0)
    joinable = parts.sizes > 20
    limits = BridgeLimits(12.0, 45.0, 0.85)
    looked_at = find_bridges(levels, parts.labels, ends, joinable, limits)
    passed_over = find_bridges(levels, parts.labels, ends, joinable, limits, parts.boxes)
    assert looked_at
    assert [bridge.path.tolist() for bridge in passed_over] == [bridge.path.tolist() for bridge in looked_at]


@pytest.mark.parametrize("shape", [(60, 47), (1, 9), (33, 150)])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.2, 0.6, 1.0])
def test_depths_are_those_of_the_distance_transform(shape: tuple[int, int], share: float) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(3).random(shape), (0, 0), 3)
    mask = noise <= np.quantile(noise, share)
    mask[:, :2] |= share == 0.03  # along the border too
    padded = np.pad(mask, 1).astype(np.uint8)
    expected = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    assert np.allclose(depth_of(mask), expected, rtol=1e-6)  # OpenCV's square roots are not rounded the same each time


def test_depth_of_a_deep_mask_with_few_pixels() -> None:
    mask = np.zeros((400, 400), bool)
    mask[100:210, 30:140] = True
    assert depth_of(mask).max() == 55


@pytest.mark.parametrize("seed", range(6))
def test_a_skeleton_is_thinned_again_where_it_lost_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    skeleton = np.pad(skeletonize(cv2.GaussianBlur(rng.random((150, 170)), (0, 0), 4) > 0.51), 1)
    points = np.argwhere(skeleton)
    boxes = []
    for point in points[rng.integers(0, len(points), 4 * seed + 1)]:
        low, high = point - rng.integers(0, 4), point + rng.integers(0, 4)
        skeleton[max(low[0], 1) : high[0] + 1, max(low[1], 1) : high[1] + 1] = False
        boxes.append((*low.tolist(), *high.tolist()))
    expected = np.pad(skeletonize(skeleton[1:-1, 1:-1]), 1)
    assert np.array_equal(_thinned_again(skeleton, _joined(boxes, 2 * (CUT + GUARD + REACH))), expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_field_is_widened_as_by_pooling(share: float) -> None:
    torch.manual_seed(0)
    field = (torch.rand(1, 60, 47) < share**4).float()
    levels = torch.rand(1, 60, 47)
    expected = levels * F.max_pool2d(field[None], 9, stride=1, padding=4)[0]
    assert torch.equal(MaskOutsideFieldd("pred")({"pred": levels, "field": field})["pred"], expected)
