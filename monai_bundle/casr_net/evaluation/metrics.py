"""Metrics of vessel masks: overlap, centreline, distance and topology, an image at a time or pooled over images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import astuple, dataclass

import cv2
import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric, compute_hausdorff_distance
from monai.metrics.utils import do_metric_reduction, ignore_background
from monai.utils import MetricReduction
from numpy.typing import ArrayLike
from skimage.morphology import skeletonize

__all__ = [
    "ClDiceMetric",
    "Counts",
    "cldice",
    "count_pixels",
    "dice",
    "dice_from_counts",
    "image_metrics",
    "pooled_metrics",
]


@dataclass(frozen=True)
class Counts:
    """Pixel counts of one image, or, added up, of many.

    Attributes:
        true_positive, false_positive, false_negative: pixels of the masks.
        prediction_skeleton, reference_skeleton: pixels of the skeletons.
        prediction_skeleton_inside: pixels of the prediction's skeleton that lie in the reference.
        reference_skeleton_inside: pixels of the reference's skeleton that lie in the prediction.
    """

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    prediction_skeleton: int = 0
    prediction_skeleton_inside: int = 0
    reference_skeleton: int = 0
    reference_skeleton_inside: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def count_pixels(prediction: np.ndarray, reference: np.ndarray) -> Counts:
    """Count what overlap and centreline metrics need.

    Args:
        prediction, reference: (X, Y), vessel where not 0.

    Raises:
        ValueError: when the arrays are not two-dimensional or differ in shape.
    """
    prediction, reference = _masks(prediction, reference)
    skeleton_p, skeleton_r = skeletonize(prediction), skeletonize(reference)
    return Counts(
        true_positive=int((prediction & reference).sum()),
        false_positive=int((prediction & ~reference).sum()),
        false_negative=int((~prediction & reference).sum()),
        prediction_skeleton=int(skeleton_p.sum()),
        prediction_skeleton_inside=int((skeleton_p & reference).sum()),
        reference_skeleton=int(skeleton_r.sum()),
        reference_skeleton_inside=int((skeleton_r & prediction).sum()),
    )


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient of two masks of one shape, vessel where not 0; 0 to 1, both empty 1.

    Raises:
        ValueError: when the shapes differ.
    """
    prediction, reference = np.asarray(prediction) != 0, np.asarray(reference) != 0
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape} and reference is {reference.shape}; both must be the same.")
    return float(dice_from_counts((prediction & reference).sum(), prediction.sum(), reference.sum()))


def dice_from_counts(shared: ArrayLike, predicted: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Dice coefficients, ``2 * shared / (predicted + reference)``, of numbers of pixels; 1 where there are none.

    Args:
        shared: pixels in both masks.
        predicted, reference: pixels of each; arrays are broadcast.

    Returns:
        float64, 0 to 1, of the broadcast shape.
    """
    total = np.add(predicted, reference, dtype=np.float64)
    return np.where(total > 0, 2 * np.asarray(shared) / np.maximum(total, 1), 1.0)


def cldice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Centreline Dice (Shit et al., CVPR 2021, arXiv 2003.07311, eq. 1 and 2).

    ``Tprec = |S_P & V_R| / |S_P|``, ``Tsens = |S_R & V_P| / |S_R|`` and ``clDice = 2 Tprec Tsens / (Tprec + Tsens)``,
    with the masks V and their skeletons S by :func:`skimage.morphology.skeletonize`. The authors' code gives NaN for
    empty skeletons; here two empty ones give 1, a single one 0.

    Args:
        prediction, reference: (X, Y), vessel where not 0.

    Returns:
        0 (worst) to 1.

    Raises:
        ValueError: when the arrays are not two-dimensional or differ in shape.
    """
    return _cldice(count_pixels(prediction, reference))


def pooled_metrics(counts: Counts | Iterable[Counts]) -> dict[str, float]:
    """Overlap and centreline metrics from counts; of many images, the pixels of all are pooled ("micro" average).

    Args:
        counts: of one image, or of every image.

    Returns:
        dice, iou, cldice, sensitivity and precision, each 0 to 1. Where a ratio is 0 / 0, it is 1 when prediction and
        reference are both empty and 0 otherwise.
    """
    total = counts if isinstance(counts, Counts) else sum(counts, Counts())
    tp, fp, fn = total.true_positive, total.false_positive, total.false_negative
    both_empty = tp + fp + fn == 0
    return {
        "dice": float(dice_from_counts(tp, tp + fp, tp + fn)),
        "iou": _ratio(tp, tp + fp + fn, both_empty),
        "cldice": _cldice(total),
        "sensitivity": _ratio(tp, tp + fn, both_empty),
        "precision": _ratio(tp, tp + fp, both_empty),
    }


def image_metrics(prediction: np.ndarray, reference: np.ndarray, counts: Counts | None = None) -> dict[str, float]:
    """All metrics of one image.

    Args:
        prediction, reference: (X, Y), vessel where not 0.
        counts: the result of :func:`count_pixels` for the same masks, if it is there already.

    Returns:
        dice, iou, cldice, sensitivity, precision:
            0 to 1; both masks empty 1, one empty 0.
        hd95:
            the larger of the two directed 95th percentiles of the distances between the outlines, in pixels (MONAI);
            both masks empty 0, one empty the image's diagonal.
        components, reference_components:
            8-connected components (Betti number 0) of prediction and reference.
        betti0_error:
            absolute difference of these two.
        false_positive_components:
            components of the prediction that share no pixel with the reference.

    Raises:
        ValueError: when the arrays are not two-dimensional or differ in shape.
    """
    prediction, reference = _masks(prediction, reference)
    found, labels = cv2.connectedComponents(prediction.astype(np.uint8), connectivity=8)
    expected, _ = cv2.connectedComponents(reference.astype(np.uint8), connectivity=8)
    hit = np.unique(labels[prediction & reference]).size
    # OpenCV counts the background as a component, also where there is none.
    components, reference_components = found - 1, expected - 1
    return {
        **pooled_metrics(count_pixels(prediction, reference) if counts is None else counts),
        "hd95": _hd95(prediction, reference),
        "components": float(components),
        "reference_components": float(reference_components),
        "betti0_error": float(abs(components - reference_components)),
        "false_positive_components": float(components - hit),
    }


class ClDiceMetric(CumulativeIterationMetric):
    """:func:`cldice` as a MONAI metric; MONAI has only the loss. Used as :class:`monai.metrics.DiceMetric` is.

    Called with binarised prediction and reference, batches (B, C, H, W) or lists of (C, H, W), it gives and keeps the
    clDice of every image and channel, (B, C). Values above 0.5 are vessel. Empty masks have defined values, see
    :func:`cldice`, so that no value is NaN.

    Args:
        include_background: also the first of several channels; a single channel always counts.
        reduction: of :meth:`aggregate`, as of :class:`monai.metrics.DiceMetric`.
        get_not_nans: let :meth:`aggregate` give (value, count of values).
    """

    def __init__(
        self,
        include_background: bool = True,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
    ) -> None:
        super().__init__()
        self.include_background = include_background
        self.reduction = reduction
        self.get_not_nans = get_not_nans

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        if y_pred.ndim != 4 or y_pred.shape != y.shape:
            raise ValueError(
                f"y_pred is {tuple(y_pred.shape)}, y is {tuple(y.shape)}; both must be (batch, channel, height, width)."
            )
        if not self.include_background and y.shape[1] > 1:  # MONAI would warn of a single channel
            y_pred, y = ignore_background(y_pred=y_pred, y=y)
        predictions, references = (array.detach().cpu().numpy() > 0.5 for array in (y_pred, y))
        values = [
            [cldice(p, r) for p, r in zip(channels_p, channels_r, strict=True)]
            for channels_p, channels_r in zip(predictions, references, strict=True)
        ]
        return torch.tensor(values, dtype=torch.float32, device=y_pred.device)

    def aggregate(
        self, reduction: MetricReduction | str | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Reduce the values of all images seen since the last reset.

        Args:
            reduction: in place of the one given at construction.

        Raises:
            ValueError: when no image was seen.
        """
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise ValueError(f"the data to aggregate must be PyTorch Tensor, got {type(data)}.")
        value, not_nans = do_metric_reduction(data, reduction or self.reduction)
        return (value, not_nans) if self.get_not_nans else value


def _masks(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, reference = np.asarray(prediction) != 0, np.asarray(reference) != 0
    if prediction.ndim != 2 or prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape} and reference is {reference.shape}; both must be (X, Y).")
    return prediction, reference


def _ratio(part: float, whole: float, both_empty: bool) -> float:
    return part / whole if whole else float(both_empty)


def _cldice(counts: Counts) -> float:
    if not counts.prediction_skeleton or not counts.reference_skeleton:
        return float(counts.prediction_skeleton == counts.reference_skeleton)
    precision = counts.prediction_skeleton_inside / counts.prediction_skeleton
    sensitivity = counts.reference_skeleton_inside / counts.reference_skeleton
    return _ratio(2 * precision * sensitivity, precision + sensitivity, both_empty=False)


def _hd95(prediction: np.ndarray, reference: np.ndarray) -> float:
    if not prediction.any() or not reference.any():
        return 0.0 if prediction.any() == reference.any() else float(np.hypot(*reference.shape))
    y_pred, y = (torch.from_numpy(mask[None, None]) for mask in (prediction, reference))
    with warnings.catch_warnings():  # MONAI 1.6 warns of an argument that it passes itself
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        return float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95))
