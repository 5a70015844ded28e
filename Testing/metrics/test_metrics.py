"""Metrics against values computed by hand, against MONAI's own, and by their properties."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from ignite.engine import Engine
from monai.handlers import IgniteMetricHandler
from monai.metrics import DiceMetric, MeanIoU
from monai.utils import MetricReduction

from casr_net.evaluation.metrics import (
    ClDiceMetric,
    Counts,
    cldice,
    count_pixels,
    dice,
    dice_from_counts,
    image_metrics,
    pooled_metrics,
)

RATIOS = ("dice", "iou", "cldice", "sensitivity", "precision")
EMPTY = np.zeros((30, 40), dtype=bool)


def line(start: int, stop: int, row: int = 15, thickness: int = 1) -> np.ndarray:
    """Mask (30, 40) of a straight bar along the second axis, from start to before stop."""
    mask = EMPTY.copy()
    mask[row : row + thickness, start:stop] = True
    return mask


@st.composite
def pairs(draw: Callable) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    return draw(arrays(bool, shape)), draw(arrays(bool, shape))


def test_overlap_by_hand() -> None:
    # 8 pixels predicted, 12 expected, 6 of them shared.
    values = image_metrics(line(4, 12), line(6, 18))
    assert values["dice"] == pytest.approx(12 / 20)
    assert values["iou"] == pytest.approx(6 / 14)
    assert values["sensitivity"] == pytest.approx(6 / 12)
    assert values["precision"] == pytest.approx(6 / 8)


def test_dice_alone_is_the_same() -> None:
    assert dice(line(4, 12), line(6, 18)) == pytest.approx(12 / 20)
    assert dice(EMPTY, EMPTY) == 1 and dice(EMPTY, line(0, 3)) == 0
    assert dice(255 * line(0, 3).astype(np.uint8), line(0, 3)) == 1
    assert dice_from_counts([6, 0, 0], [8, 0, 0], [12, 0, 5]).tolist() == pytest.approx([0.6, 1, 0])
    with pytest.raises(ValueError, match="must be the same"):
        dice(EMPTY, EMPTY[:, :3])


def test_cldice_of_thin_lines_by_hand() -> None:
    # A line of one pixel's width is its own skeleton.
    precision, sensitivity = 6 / 8, 6 / 12
    assert cldice(line(4, 12), line(6, 18)) == pytest.approx(2 * precision * sensitivity / (precision + sensitivity))


def test_cldice_forgives_width_where_dice_does_not() -> None:
    thick, thin = line(5, 35, row=13, thickness=5), line(5, 35)
    values = image_metrics(thin, thick)
    assert values["dice"] == pytest.approx(2 * 30 / (30 + 150))
    assert values["cldice"] > 0.95  # the ends of the skeleton fork into the corners


def test_cldice_of_disjoint_masks_is_zero() -> None:
    assert cldice(line(2, 10), line(20, 30)) == 0


def test_cldice_takes_the_skeleton_of_each_side() -> None:
    # The reference's skeleton lies in the prediction; of the prediction's, 10 of 30 pixels are outside the reference.
    prediction, reference = line(5, 35), line(5, 25)
    counts = count_pixels(prediction, reference)
    assert (counts.prediction_skeleton, counts.prediction_skeleton_inside) == (30, 20)
    assert (counts.reference_skeleton, counts.reference_skeleton_inside) == (20, 20)
    assert cldice(prediction, reference) == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))


def test_both_empty() -> None:
    values = image_metrics(EMPTY, EMPTY)
    assert {name: values[name] for name in RATIOS} == dict.fromkeys(RATIOS, 1.0)
    rest = {name: value for name, value in values.items() if name not in RATIOS}
    assert rest == {
        "hd95": 0, "components": 0, "reference_components": 0, "betti0_error": 0, "false_positive_components": 0,
    }  # fmt: skip


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty(swap: bool) -> None:
    masks = (EMPTY, line(4, 12))
    values = image_metrics(*(masks[::-1] if swap else masks))
    assert {name: values[name] for name in RATIOS} == dict.fromkeys(RATIOS, 0.0)
    assert values["hd95"] == pytest.approx(50)  # the diagonal of 30 x 40
    assert values["betti0_error"] == 1
    assert values["false_positive_components"] == (1 if swap else 0)


def test_hd95_of_parallel_lines_is_their_distance() -> None:
    values = image_metrics(line(5, 35, row=10), line(5, 35, row=17))
    assert values["hd95"] == pytest.approx(7)


def test_hd95_ignores_the_farthest_twentieth() -> None:
    reference = line(0, 40, row=10)
    prediction = reference.copy()
    prediction[29, 39] = True  # 1 of 41 pixels, 19 away
    assert image_metrics(prediction, reference)["hd95"] == 0
    prediction[29, 30:] = True  # 10 of 50
    assert image_metrics(prediction, reference)["hd95"] == pytest.approx(19)


def test_hd95_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_metrics(line(5, 35), line(5, 30))


def test_components_by_hand() -> None:
    reference = line(2, 10) | line(20, 30)
    prediction = line(2, 5) | line(7, 10) | line(20, 24, row=3) | line(30, 35, row=16)
    values = image_metrics(prediction, reference)
    # Two pieces of the first vessel; one far from everything; one beside the second vessel's end, sharing no pixel.
    assert values["components"] == 4
    assert values["reference_components"] == 2
    assert values["betti0_error"] == 2
    assert values["false_positive_components"] == 2


def test_diagonal_pixels_are_one_component() -> None:
    assert image_metrics(np.eye(30, dtype=bool), np.ones((30, 30), dtype=bool))["components"] == 1


def test_full_image_is_one_component() -> None:
    full = ~EMPTY
    values = image_metrics(full, full)
    assert (values["components"], values["false_positive_components"], values["dice"]) == (1, 0, 1)


def test_missing_component_counts_in_betti_error() -> None:
    assert image_metrics(line(2, 10), line(2, 10) | line(20, 30))["betti0_error"] == 1


def test_given_counts_are_used() -> None:
    known = Counts(true_positive=1, false_positive=1, prediction_skeleton=1, reference_skeleton=1)
    assert image_metrics(line(2, 10), line(2, 10), known)["precision"] == 0.5


@pytest.mark.parametrize("function", [count_pixels, image_metrics, cldice])
@pytest.mark.parametrize("shape", [(30, 41), (1, 30, 40)])
def test_shapes_must_match(function: Callable, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        function(np.zeros(shape, bool), EMPTY if len(shape) == 2 else np.zeros(shape, bool))


def test_pooling_adds_pixels_and_is_no_mean() -> None:
    small = count_pixels(line(0, 2), line(0, 2))  # Dice 1 on 2 pixels
    large = count_pixels(line(0, 30), line(20, 40))  # 10 shared, 20 false positive, 10 false negative
    values = pooled_metrics([small, large])
    assert values["dice"] == pytest.approx(2 * 12 / (2 * 12 + 20 + 10))
    assert values["iou"] == pytest.approx(12 / 42)
    assert values["sensitivity"] == pytest.approx(12 / 22)
    assert values["precision"] == pytest.approx(12 / 32)
    precision, sensitivity = 12 / 32, 12 / 22
    assert values["cldice"] == pytest.approx(2 * precision * sensitivity / (precision + sensitivity))


def test_pooling_nothing_is_both_empty() -> None:
    assert pooled_metrics([]) == dict.fromkeys(RATIOS, 1.0)


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_properties(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = pair
    values, swapped = image_metrics(prediction, reference), image_metrics(reference, prediction)
    assert all(0 <= values[name] <= 1 for name in RATIOS)
    assert 0 <= values["hd95"] <= math.hypot(*prediction.shape)
    assert values["dice"] == pytest.approx(2 * values["iou"] / (1 + values["iou"]))
    assert values["false_positive_components"] <= values["components"]
    for name in ("dice", "iou", "cldice", "hd95", "betti0_error"):
        assert values[name] == pytest.approx(swapped[name])
    assert values["sensitivity"] == swapped["precision"]
    assert values["components"] == swapped["reference_components"]


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_a_mask_is_perfect_against_itself(pair: tuple[np.ndarray, np.ndarray]) -> None:
    values = image_metrics(pair[0], pair[0])
    assert {name: values[name] for name in RATIOS} == dict.fromkeys(RATIOS, 1.0)
    assert (values["hd95"], values["betti0_error"], values["false_positive_components"]) == (0, 0, 0)


@given(st.lists(pairs(), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_pooled_dice_and_iou_agree(images: list[tuple[np.ndarray, np.ndarray]]) -> None:
    values = pooled_metrics(count_pixels(*pair) for pair in images)
    assert values["dice"] == pytest.approx(2 * values["iou"] / (1 + values["iou"]))
    # Pooled over images of any size is the value of one image that shows them all.
    flat = [np.concatenate([pair[side].ravel() for pair in images]) for side in (0, 1)]
    assert values["dice"] == pytest.approx(_dice(*flat))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_overlap_agrees_with_monai(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = pair
    batch = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in pair]
    values = image_metrics(prediction, reference)
    assert values["dice"] == pytest.approx(DiceMetric(ignore_empty=False)(*batch).item())
    assert values["iou"] == pytest.approx(MeanIoU(ignore_empty=False)(*batch).item())


def batch(*masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))


PREDICTIONS = (line(4, 12), line(5, 35), EMPTY, EMPTY)
REFERENCES = (line(6, 18), line(5, 25), EMPTY, line(1, 9))
VALUES = [0.6, 0.8, 1.0, 0.0]


def test_metric_class_gives_values_and_aggregates_over_batches() -> None:
    metric = ClDiceMetric()
    first = metric(batch(*PREDICTIONS[:3]), batch(*REFERENCES[:3]))
    assert first.shape == (3, 1)
    assert first[:, 0].tolist() == pytest.approx(VALUES[:3])
    metric(batch(PREDICTIONS[3]), batch(REFERENCES[3]))
    assert metric.aggregate().item() == pytest.approx(sum(VALUES) / 4)
    assert metric.aggregate("none")[:, 0].tolist() == pytest.approx(VALUES)
    assert metric.aggregate(MetricReduction.SUM).item() == pytest.approx(sum(VALUES))
    metric.reset()
    metric(batch(PREDICTIONS[1]), batch(REFERENCES[1]))
    assert metric.aggregate().item() == pytest.approx(VALUES[1])


def test_metric_class_reduction_and_count() -> None:
    metric = ClDiceMetric(reduction="mean_batch", get_not_nans=True)
    metric(batch(*PREDICTIONS), batch(*REFERENCES))
    value, count = metric.aggregate()
    assert value.tolist() == pytest.approx([0.6])
    assert count.tolist() == [4]


def test_metric_class_takes_lists_of_images() -> None:
    metric = ClDiceMetric()
    metric(list(batch(*PREDICTIONS)), list(batch(*REFERENCES)))
    assert metric.aggregate().item() == pytest.approx(0.6)


@pytest.mark.parametrize(("include_background", "expected"), [(True, [[0.6, 0.8]]), (False, [[0.8]])])
def test_background_channel(include_background: bool, expected: list[list[float]]) -> None:
    two = [torch.from_numpy(np.stack(masks[:2])[None].astype(np.float32)) for masks in (PREDICTIONS, REFERENCES)]
    values = ClDiceMetric(include_background=include_background)(*two)
    assert torch.allclose(values, torch.tensor(expected))


def test_single_channel_counts_without_background() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = ClDiceMetric(include_background=False)(batch(PREDICTIONS[0]), batch(REFERENCES[0]))
    assert values.item() == pytest.approx(0.6)


@pytest.mark.parametrize("other", [(1, 1, 30, 41), (1, 2, 30, 40)])
def test_metric_class_refuses_other_shapes(other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(batch, channel, height, width\)"):
        ClDiceMetric()(torch.zeros(1, 1, 30, 40), torch.zeros(other))


def test_metric_class_refuses_volumes() -> None:
    with pytest.raises(ValueError, match=r"\(batch, channel, height, width\)"):
        ClDiceMetric()(torch.zeros(1, 1, 5, 5, 5), torch.zeros(1, 1, 5, 5, 5))


def test_aggregate_needs_images() -> None:
    with pytest.raises(ValueError, match="aggregate"):
        ClDiceMetric().aggregate()


def test_ignite_handler_reports_the_mean_and_each_image() -> None:
    engine = Engine(lambda _engine, data: data)
    IgniteMetricHandler(ClDiceMetric()).attach(engine, "cldice")
    data = [(batch(p), batch(r)) for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    for _ in range(2):  # the second epoch must start from nothing
        state = engine.run(data, max_epochs=1)
        assert state.metrics["cldice"] == pytest.approx(0.6)
        assert state.metric_details["cldice"][:, 0].tolist() == pytest.approx(VALUES)
