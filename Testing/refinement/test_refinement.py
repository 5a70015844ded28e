"""Stage 3: each rule acts and is stopped by its limit; properties that hold for any probability map."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from skimage.morphology import skeletonize

from casr_net.refinement.contours import RefinementParameters, fill_pinholes, refine
from casr_net.refinement.reconnection import vessel_ends
from casr_net.refinement.transform import RefineVesselsd

OFF = {"reconnect": False, "fill_pinholes": False, "remove_components": False}
TREE = [
    ([(40, 80), (150, 100), (240, 180), (300, 300), (330, 450)], 11),
    ([(150, 100), (260, 70), (380, 110), (470, 100)], 7),
    ([(240, 180), (350, 220), (440, 300)], 6),
    ([(300, 300), (230, 370), (210, 450)], 5),
]


def removing(**limits: float) -> RefinementParameters:
    """Removal only, by the given limits only."""
    none = {"min_area": 0.0, "min_mean_probability": 0.0, "min_elongation": 0.0, "max_distance": 2.0}
    return RefinementParameters(reconnect=False, fill_pinholes=False, **(none | limits))


def joining(**limits: float) -> RefinementParameters:
    """Patch lines only."""
    return RefinementParameters(fill_pinholes=False, remove_components=False, **limits)


def stroke(image: np.ndarray, points: list[tuple[float, float]], width: float, value: float) -> None:
    """Draw a polyline given in pixels of a 512 x 512 image, (column, row), into an image of any size."""
    factor = image.shape[0] / 512
    corners = np.round(np.array(points) * factor).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(image, [corners], False, value, max(1, round(width * factor)))


def canvas(size: int = 512) -> np.ndarray:
    return np.zeros((size, size), np.float32)


def components(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


def tree(size: int = 512) -> np.ndarray:
    image = canvas(size)
    for points, width in TREE:
        stroke(image, points, width, 0.95)
    return image


def two_pieces(gap: float = 24, shift: float = 0, value: float = 0.3, widths: tuple[int, int] = (7, 7)) -> np.ndarray:
    """Two horizontal vessels end to end, with a faint line between them."""
    image = canvas()
    stroke(image, [(240, 256), (240 + gap, 256 + shift)], min(widths), value)
    stroke(image, [(60, 256), (240, 256)], widths[0], 0.9)
    stroke(image, [(240 + gap, 256 + shift), (450, 256 + shift)], widths[1], 0.9)
    return image


# --- false positives -------------------------------------------------------------------------------------------------


def check_removed(
    image: np.ndarray, place: tuple[int, int], acts: RefinementParameters, spares: RefinementParameters
) -> None:
    """``place`` (row, column) is dropped by the one and kept by the other; the rest of the picture stays in both."""
    before = image >= 0.5
    assert before[place]
    doubtful = cv2.connectedComponents(before.astype(np.uint8))[1]
    rest = before & (doubtful != doubtful[place])
    np.testing.assert_array_equal(refine(image, acts), rest)
    np.testing.assert_array_equal(refine(image, spares), before)


def test_small_components_are_dropped() -> None:
    image = tree()
    stroke(image, [(100, 300), (112, 300)], 3, 0.9)
    check_removed(image, (300, 105), removing(min_area=80 / 512**2), removing(min_area=20 / 512**2))


def test_uncertain_components_are_dropped() -> None:
    image = tree()
    stroke(image, [(60, 300), (160, 330)], 6, 0.58)
    check_removed(image, (300, 60), removing(min_mean_probability=0.65), removing(min_mean_probability=0.55))


def test_compact_components_are_dropped() -> None:
    image = tree()
    cv2.circle(image, (120, 300), 12, 0.9, -1)
    check_removed(image, (300, 120), removing(min_elongation=2), removing(min_elongation=0.5))


def test_elongated_components_of_the_same_area_as_a_blob_stay() -> None:
    image = tree()
    stroke(image, [(60, 300), (135, 320)], 6, 0.9)
    np.testing.assert_array_equal(refine(image, removing(min_elongation=4)), image >= 0.5)


def test_far_components_are_dropped() -> None:
    image = tree()
    stroke(image, [(60, 440), (100, 470)], 5, 0.9)
    check_removed(image, (440, 60), removing(max_distance=0.15), removing(max_distance=0.5))


def test_far_components_stay_when_they_are_large() -> None:
    image = tree()
    stroke(image, [(30, 380), (100, 470)], 9, 0.9)
    check_removed(
        image, (380, 30), removing(max_distance=0.15, far_area=0.01), removing(max_distance=0.15, far_area=0.002)
    )


def test_main_tree_stays_when_it_is_uncertain() -> None:
    image = tree() * 0.6
    cv2.circle(image, (95, 390), 75, 1.0, -1)  # larger in area, not in length
    expected = (image >= 0.5) & (image < 0.9)
    assert components(expected) == 1
    assert (image > 0.9).sum() > expected.sum()
    np.testing.assert_array_equal(
        refine(image, removing(min_mean_probability=0.7, max_distance=0.01, far_area=1)), expected
    )


def test_mean_probability_leaves_patch_lines_out() -> None:
    image = two_pieces(value=0.2)
    stroke(image, [(60, 400), (450, 400)], 9, 0.9)
    limits = {"min_area": 0, "max_distance": 2, "max_gap": 0.05, "min_mean_probability": 0.89}
    refined = refine(image, RefinementParameters(**limits))
    assert components(refined) == 2
    assert refined[256, 100]
    assert refined[256, 252]


# --- patch lines -----------------------------------------------------------------------------------------------------


def check_joined(image: np.ndarray, acts: RefinementParameters, stops: RefinementParameters) -> None:
    """Two components are joined within one limit, and left alone within the other."""
    mask = image >= 0.5
    assert components(mask) == 2
    joined = refine(image, acts)
    assert components(joined) == 1
    assert joined[mask].all()
    np.testing.assert_array_equal(refine(image, stops), mask)


def test_gap_is_bridged_up_to_its_longest_length() -> None:
    check_joined(two_pieces(), joining(max_gap=20 / 512), joining(max_gap=14 / 512))


def test_gap_is_bridged_up_to_its_highest_cost() -> None:
    check_joined(two_pieces(value=0.3), joining(max_cost=0.75), joining(max_cost=0.65))


def test_gap_is_bridged_up_to_its_largest_angle() -> None:
    check_joined(two_pieces(shift=18), joining(max_angle=45, max_gap=0.06), joining(max_angle=25, max_gap=0.06))


def test_vessel_that_starts_across_is_not_joined_at_its_end() -> None:
    """The direction of the other vessel's end counts too: only its side may be met at a right angle."""
    for top, joined in ((150, True), (252, False)):
        image = canvas()
        stroke(image, [(240, 256), (264, 256)], 7, 0.3)
        stroke(image, [(60, 256), (240, 256)], 7, 0.9)
        stroke(image, [(264, top), (264, 420)], 7, 0.9)
        assert components(image >= 0.5) == 2
        assert components(refine(image, joining())) == (1 if joined else 2)


def test_ends_side_by_side_are_not_joined() -> None:
    image = canvas()
    stroke(image, [(300, 250), (300, 266)], 7, 0.45)
    stroke(image, [(60, 250), (300, 250)], 7, 0.9)
    stroke(image, [(60, 266), (300, 266)], 7, 0.9)
    np.testing.assert_array_equal(refine(image, joining()), image >= 0.5)


def test_vessel_alongside_is_not_joined() -> None:
    """A path may end at the side of a vessel, but within the angle only."""
    image = canvas()
    stroke(image, [(238, 256), (238, 276)], 9, 0.45)
    stroke(image, [(60, 256), (240, 256)], 7, 0.9)
    stroke(image, [(30, 276), (480, 276)], 7, 0.9)
    np.testing.assert_array_equal(refine(image, joining()), image >= 0.5)


def test_path_follows_the_probability() -> None:
    """The least-cost path takes the visible detour instead of the straight line."""
    image = canvas()
    stroke(image, [(240, 256), (254, 265), (268, 256)], 5, 0.4)
    stroke(image, [(60, 256), (240, 256)], 5, 0.9)
    stroke(image, [(268, 256), (450, 256)], 5, 0.9)
    refined = refine(image, joining(max_gap=0.08))
    assert components(refined) == 1
    assert refined[263, 254]
    assert not refined[255, 254]


def test_patch_line_has_the_local_width() -> None:
    even = refine(two_pieces(), joining())
    assert even[:, 252].sum() == pytest.approx(even[:, 150].sum(), abs=1)
    image = two_pieces(gap=34, widths=(13, 5))
    refined = refine(image, joining(max_gap=0.08))
    widths = refined[:, 249:269].sum(axis=0)
    assert components(refined) == 1
    assert widths.min() >= 7
    assert widths.max() <= 15
    assert widths[:5].mean() > widths[-5:].mean() + 2


def test_blunt_end_of_a_thick_vessel_is_joined() -> None:
    """The skeleton of a blunt end forks; the fork is no pair of ends."""
    image = canvas()
    image[240:266, 60:262] = 0.3
    image[240:266, 60:240] = image[240:266, 262:440] = 0.9
    refined = refine(image, joining())
    assert components(refined) == 1
    assert refined[:, 251].sum() == pytest.approx(26, abs=4)
    labels = (image >= 0.5).astype(np.int32)
    depth = cv2.distanceTransform(labels.astype(np.uint8), cv2.DIST_L2, 5)
    directions = vessel_ends(labels, depth, 13.0).directions
    assert len(directions) == 4
    assert np.abs(directions[:, 0]).max() < 0.2


def test_no_loop_is_closed() -> None:
    """A ring broken twice is joined once: both breaks lie between the same two components."""
    image = canvas()
    cv2.circle(image, (256, 256), 90, 0.3, 7)
    cv2.ellipse(image, (256, 256), (90, 90), 0, 150, 210, 0.45, 7)
    for start in (5, 185):
        cv2.ellipse(image, (256, 256), (90, 90), 0, start, start + 170, 0.9, 7)
    refined = refine(image, joining())
    assert components(image >= 0.5) == 2
    assert components(refined) == 1
    assert components(~refined) == 1
    assert refined[256, 166]
    assert not refined[256, 346]


def test_specks_are_not_joined() -> None:
    image = canvas()
    stroke(image, [(240, 256), (255, 256)], 5, 0.4)
    stroke(image, [(60, 256), (240, 256)], 7, 0.9)
    cv2.circle(image, (257, 256), 4, 0.9, -1)
    mask = image >= 0.5
    assert components(mask) == 2
    np.testing.assert_array_equal(refine(image, joining(min_area=100 / 512**2)), mask)
    assert components(refine(image, joining(min_area=30 / 512**2))) == 1


def test_connected_fragment_survives_removal() -> None:
    """Removal comes after reconnection: alone, the fragment is too small."""
    image = tree()
    stroke(image, [(330, 450), (334, 476)], 6, 0.4)
    stroke(image, [(333, 472), (338, 505)], 5, 0.9)
    alone = refine(image, RefinementParameters(reconnect=False, min_area=0.001))
    joined = refine(image, RefinementParameters(min_area=0.001))
    assert not alone[495, 336]
    assert joined[495, 336]
    assert components(joined) == 1


# --- pinholes --------------------------------------------------------------------------------------------------------


def test_pinhole_is_filled_and_loop_stays() -> None:
    image = tree()
    image[270:273, 285:288] = 0.1
    stroke(image, [(60, 300), (120, 300), (120, 350), (60, 350), (60, 300)], 7, 0.9)
    before = image >= 0.5
    only = RefinementParameters(fill_pinholes=True, reconnect=False, remove_components=False, max_hole_area=9 / 512**2)
    after = refine(image, only)
    assert not before[271, 286]
    assert after[271, 286]
    assert not after[325, 90]
    assert (after & ~before).sum() == 9
    smaller = RefinementParameters(
        fill_pinholes=True, reconnect=False, remove_components=False, max_hole_area=8 / 512**2
    )
    np.testing.assert_array_equal(refine(image, smaller), before)


def test_corner_of_the_image_is_no_hole() -> None:
    mask = np.zeros((40, 40), bool)
    mask[3, :4] = mask[:4, 3] = True
    np.testing.assert_array_equal(fill_pinholes(mask, 1e6), mask)


def test_touching_corners_enclose_a_hole() -> None:
    mask = np.zeros((9, 9), bool)
    mask[[3, 4, 4, 5], [4, 3, 5, 4]] = True
    assert fill_pinholes(mask, 1)[4, 4]


def test_background_beyond_a_vessel_is_no_hole() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1] = True
    np.testing.assert_array_equal(fill_pinholes(mask, 1e6), mask)


# --- the whole -------------------------------------------------------------------------------------------------------


def degraded(size: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A tree, and a network's view of it: soft, noisy, with gaps and false positives."""
    truth = tree(size) >= 0.5
    factor = size / 512
    view = tree(size)
    for (column, row), radius in (((270, 240), 9), ((330, 90), 8), ((395, 259), 7), ((265, 335), 7)):
        centre = (round(column * factor), round(row * factor))
        faint = np.zeros(view.shape, np.uint8)
        cv2.circle(faint, centre, round(radius * factor), 1, -1)
        view[faint > 0] *= 0.35
    for column, row, radius in ((80, 400, 9), (430, 420, 7), (90, 220, 5), (480, 30, 3)):
        cv2.circle(view, (round(column * factor), round(row * factor)), round(radius * factor), 0.9, -1)
    noise = cv2.resize(np.random.default_rng(seed).normal(0, 0.1, (128, 128)).astype(np.float32), (size, size))
    return np.clip(cv2.GaussianBlur(view, (0, 0), 1.2 * factor) + noise * (view > 0), 0, 1), truth


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def cl_dice(mask: np.ndarray, truth: np.ndarray) -> float:
    precision, recall = truth[skeletonize(mask)].mean(), mask[skeletonize(truth)].mean()
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(3))
def test_realistic_map_gets_better(seed: int) -> None:
    view, truth = degraded(512, seed)
    raw, refined = view >= 0.5, refine(view)
    assert components(raw) > 5
    assert components(refined) == 1
    assert cl_dice(refined, truth) > cl_dice(raw, truth) + 0.02
    assert dice(refined, truth) > dice(raw, truth)
    assert (refined & ~truth).sum() < (raw & ~truth).sum()


def test_decisions_follow_the_image_size() -> None:
    masks = [refine(degraded(size)[0]) for size in (256, 512, 1024)]
    assert [components(mask) for mask in masks] == [1, 1, 1]
    same = [cv2.resize(mask.astype(np.uint8), (512, 512), interpolation=cv2.INTER_AREA) > 0 for mask in masks]
    assert dice(same[0], same[1]) > 0.9
    assert dice(same[1], same[2]) > 0.9


def test_scale_is_that_of_the_whole_image() -> None:
    image = two_pieces()
    part = image[192:320, 188:316]
    parameters = joining(max_gap=20 / 512)
    assert components(refine(part, parameters)) == 2  # 20 / 512 of 128 pixels are 5
    np.testing.assert_array_equal(refine(part, parameters, 512), refine(image, parameters)[192:320, 188:316])
    small = removing(min_area=1000 / 512**2)
    assert refine(part, small).any()
    assert not refine(part, small, 512).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (2, 2), (3, 50), (33, 17)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_uniform_maps_stay_as_they_are(shape: tuple[int, int], value: float) -> None:
    refined = refine(np.full(shape, value))
    assert refined.shape == shape
    assert refined.dtype == bool
    assert (refined == (value == 1)).all()


def test_nan_is_refused_with_its_count() -> None:
    image = canvas(16)
    image[2, 3:6] = np.nan
    with pytest.raises(ValueError, match="3 NaN of 256"):
        refine(image)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (1, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        refine(np.zeros(shape))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0),
        ("threshold", 1.1),
        ("max_angle", 90),
        ("max_cost", 1),
        ("max_gap", -1),
        ("min_area", float("nan")),
        ("threshold", "high"),
        ("max_gap", None),
        ("min_area", True),
        ("reconnect", 1),
        ("remove_components", "no"),
    ],
)
def test_limits_outside_their_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        RefinementParameters(**{name: value})


def test_refinement_off_keeps_the_limits() -> None:
    off = RefinementParameters(threshold=0.7, min_area=0.1, fill_pinholes=True).threshold_only()
    assert (off.reconnect, off.fill_pinholes, off.remove_components) == (False, False, False)
    assert (off.threshold, off.min_area) == (0.7, 0.1)
    image = np.zeros((20, 20), np.float32)
    image[3, 4], image[10, 2:9] = 0.75, 0.6
    assert refine(image, off).sum() == 1


# --- properties ------------------------------------------------------------------------------------------------------

RAW_MAPS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.floats(0, 1, width=32)
)
SWITCHES = st.fixed_dictionaries({name: st.booleans() for name in OFF})
LIMITS = st.fixed_dictionaries(
    {
        "threshold": st.floats(0.2, 0.8),
        "max_gap": st.floats(0, 0.5),
        "max_angle": st.floats(0, 89),
        "max_cost": st.floats(0, 0.99),
        "direction_length": st.floats(0, 0.2),
        "max_hole_area": st.floats(0, 0.05),
        "min_area": st.floats(0, 0.05),
        "min_mean_probability": st.floats(0, 1),
        "min_elongation": st.floats(0, 4),
        "max_distance": st.floats(0, 0.5),
        "far_area": st.floats(0, 0.1),
    }
)


@st.composite
def smooth_maps(draw: st.DrawFn) -> np.ndarray:
    """Random fields with worm-like shapes, so that there are ends, holes and gaps."""
    shape = draw(st.tuples(st.integers(8, 64), st.integers(8, 64)))
    field = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal(shape)
    field = cv2.GaussianBlur(field, (0, 0), draw(st.floats(0.6, 3)))
    ridges = 1 - np.abs(field) / (field.std() + 1e-9) * draw(st.floats(0.5, 3))
    return np.clip(ridges, 0, 1).astype(np.float32)


MAPS = st.one_of(RAW_MAPS, smooth_maps())


@settings(max_examples=80, deadline=None)
@given(MAPS, SWITCHES, LIMITS)
def test_shape_and_type(image: np.ndarray, switches: dict[str, bool], limits: dict[str, float]) -> None:
    kept = image.copy()
    refined = refine(image, RefinementParameters(**switches, **limits))
    assert refined.shape == image.shape
    assert refined.dtype == bool
    np.testing.assert_array_equal(image, kept)


@settings(max_examples=150, deadline=None)
@given(MAPS, SWITCHES, LIMITS)
def test_refining_twice_changes_nothing(image: np.ndarray, switches: dict[str, bool], limits: dict[str, float]) -> None:
    if switches["reconnect"]:
        switches["remove_components"] = True
    parameters = RefinementParameters(**switches, **limits)
    once = refine(image, parameters)
    np.testing.assert_array_equal(refine(once.astype(np.float32), parameters), once)


@settings(max_examples=80, deadline=None)
@given(MAPS, LIMITS)
def test_each_step_goes_one_way(image: np.ndarray, limits: dict[str, float]) -> None:
    mask = refine(image, RefinementParameters(**(OFF | limits)))
    np.testing.assert_array_equal(mask, image >= np.float32(limits["threshold"]))
    removed = refine(image, RefinementParameters(**(OFF | limits | {"remove_components": True})))
    filled = refine(image, RefinementParameters(**(OFF | limits | {"fill_pinholes": True})))
    bridged = refine(image, RefinementParameters(**(OFF | limits | {"reconnect": True})))
    assert not (removed & ~mask).any()
    assert filled[mask].all()
    assert bridged[mask].all()
    assert components(filled) <= components(mask)
    assert components(bridged) <= components(mask)
    # Removal takes components as a whole.
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    assert not np.intersect1d(labels[removed], labels[mask & ~removed]).size


@settings(max_examples=60, deadline=None)
@given(MAPS, LIMITS)
def test_nothing_is_added_but_patch_lines_and_holes(image: np.ndarray, limits: dict[str, float]) -> None:
    bridged = refine(image, RefinementParameters(**(OFF | limits | {"reconnect": True})))
    refined = refine(image, RefinementParameters(**limits))
    added = refined & ~bridged
    enclosed = fill_pinholes(bridged, bridged.size)
    assert enclosed[added].all()


@settings(max_examples=60, deadline=None)
@given(smooth_maps(), LIMITS)
def test_mirrored_map_gives_mirrored_clean_up(image: np.ndarray, limits: dict[str, float]) -> None:
    """X and Y are treated alike (patch lines aside: the skeleton of even widths leans to one side)."""
    parameters = RefinementParameters(**(limits | {"reconnect": False, "min_mean_probability": 0, "max_distance": 2}))
    np.testing.assert_array_equal(refine(image.T, parameters), refine(image, parameters).T)


# --- the MONAI transform ---------------------------------------------------------------------------------------------


def as_tensor(image: np.ndarray) -> MetaTensor:
    return MetaTensor(
        torch.from_numpy(image[None]), affine=torch.diag(torch.tensor([0.3, 0.3, 1.0, 1.0])), meta={"name": "a"}
    )


def test_transform_keeps_metadata_and_probability() -> None:
    image = as_tensor(degraded(512)[0])
    data = {"pred": image, "other": 1}
    result = RefineVesselsd("pred")(data)
    mask = result["pred"]
    assert isinstance(mask, MetaTensor)
    assert mask.dtype == torch.float32
    assert mask.shape == (1, 512, 512)
    assert mask.meta["name"] == "a"
    torch.testing.assert_close(mask.affine, image.affine)
    np.testing.assert_array_equal(mask[0].numpy() > 0, refine(image[0].numpy()))
    assert set(torch.unique(mask.as_tensor()).tolist()) == {0.0, 1.0}
    assert result["probability"] is image
    assert data["pred"] is image
    assert result["other"] == 1


def test_transform_switched_off_applies_the_threshold() -> None:
    image = as_tensor(degraded(512)[0])
    result = RefineVesselsd("pred", enabled=False, threshold=0.7, probability_key=None)({"pred": image})
    assert set(result) == {"pred"}
    np.testing.assert_array_equal(result["pred"][0].numpy() > 0, image[0].numpy() >= 0.7)


def test_transform_takes_plain_tensors_and_several_keys() -> None:
    first, second = torch.rand(1, 20, 30), torch.rand(1, 20, 30)
    result = RefineVesselsd(["a", "b"])({"a": first, "b": second})
    assert type(result["a"]) is torch.Tensor
    assert result["a_probability"] is first
    assert result["b_probability"] is second


def test_transform_is_set_by_a_config() -> None:
    config: dict[str, Any] = {
        "_target_": "casr_net.refinement.RefineVesselsd",
        "keys": "pred",
        "max_gap": 14 / 512,
        "fill_pinholes": False,
        "remove_components": False,
    }
    image = as_tensor(two_pieces())
    for gap, count in ((14 / 512, 2), (20 / 512, 1)):
        transform = ConfigParser({"refine": config | {"max_gap": gap}}).get_parsed_content("refine")
        assert components(transform({"pred": image})["pred"][0].numpy()) == count


def test_transform_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="max_gaps"):
        RefineVesselsd("pred", max_gaps=1.0)
    with pytest.raises(ValueError, match=r"\(2, 8, 8\)"):
        RefineVesselsd("pred")({"pred": torch.zeros(2, 8, 8)})
    with pytest.raises(KeyError):
        RefineVesselsd("pred")({"image": torch.zeros(1, 8, 8)})
    assert RefineVesselsd("pred", allow_missing_keys=True)({"image": 1}) == {"image": 1}
