"""Scoring methods: how uncertain the network is of each image without a final label."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from casr_net.errors import DataError
from casr_net.evaluation.metrics import dice
from casr_net.files.images import read_angiogram
from casr_net.inference.mirrored import FLIPS
from casr_net.uncertainty.entropy import entropy_map, entropy_score
from casr_net.uncertainty.quality import soft_dice_confidence

from .inference import CASRInferTask, FrameResult
from .requests import checked_request
from .state import Embeddings

__all__ = ["DisagreementScoring", "DropoutScoring", "QualityScoring", "TTAScoring", "mirrored_mean"]

logger = logging.getLogger(__name__)


class _Scoring(ScoringMethod):
    """Scores what has no final label and no score by the weights that are used; of a cine its middle frame.

    Args:
        description: for clients.
        key: entry of the image's info; ``<key>_weights`` tells by which weights, and whether of a mask that is made
            with mirror images.
        task: inference.

    Attributes:
        of_mask: whether the score is of the mask that users are shown, and so another one with mirror images.
    """

    of_mask = False

    def __init__(self, description: str, key: str, task: CASRInferTask) -> None:
        super().__init__(description)
        self.key = key
        self.task = task

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Returns how many images were scored, and why others were not.

        Raises:
            UsageError: for a device that is not there.
        """
        options = {**checked_request({"device": request.get("device")}), "refine": False}
        stamp = _stamp(self.task.weights)
        executed, failed = 0, {}
        for image_id in sorted(datastore.get_unlabeled_images()):
            known = datastore.get_image_info(image_id).get(f"{self.key}_weights")
            if known == stamp and not self.of_mask:
                continue
            path = datastore.get_image_uri(image_id)
            try:
                frames = read_angiogram(path).frames
                made = f"{stamp}-mirrored" if self.of_mask and self.task.is_mirrored(frames) else stamp
                if known == made:
                    continue
                score = self.score(image_id, path, (frames - 1) // 2, options)
            except DataError as error:
                failed[image_id] = str(error)
                continue
            info = {self.key: round(score, 6), f"{self.key}_weights": made}
            datastore.update_image_info(image_id, info)
            executed += 1
        return {"executed": executed, "failed": failed}

    def score(self, image_id: str, path: str, frame: int, options: dict[str, Any]) -> float:
        """Uncertainty of a frame, in [0, 1]."""
        raise NotImplementedError


class TTAScoring(_Scoring):
    """Entropy of the mean over four mirrored copies (test-time augmentation), calibrated.

    Args:
        task: inference.
        embeddings: take the image's vector of the encoder's last feature map, mean over the image.
    """

    def __init__(self, task: CASRInferTask, embeddings: Embeddings) -> None:
        super().__init__("Entropy of the mean over mirrored copies", "casr_tta", task)
        self._embeddings = embeddings

    def score(self, image_id: str, path: str, frame: int, options: dict[str, Any]) -> float:
        mean, vector = mirrored_mean(self.task, path, frame, options)
        self._embeddings.store(image_id, vector)
        return entropy_score(self.task.calibrations().tta(mean))


def mirrored_mean(
    task: CASRInferTask, path: str, frame: int, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability (X, Y) over four mirrored copies of a frame, not calibrated; and the vector (n,) of the image as
    it is: the mean of the encoder's last feature map."""
    found = [_mirrored(task, path, frame, options, axes) for axes in FLIPS]
    return np.mean([probability for probability, _ in found], axis=0), found[0][1]


def _mirrored(
    task: CASRInferTask, path: str, frame: int, options: Mapping[str, Any], axes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    vectors: list[np.ndarray] = []

    def before(data: dict[str, Any]) -> dict[str, Any]:
        data["image"] = data["image"].flip(axes) if axes else data["image"]
        return data

    def after(data: dict[str, Any]) -> dict[str, Any]:
        for key in ("image", "pred"):
            data[key] = data[key].flip(axes) if axes else data[key]
        return data

    def work() -> FrameResult:
        network = task._get_network(options["device"], None)
        hook = network.encoder.register_forward_hook(lambda _module, _input, output: vectors.append(_pooled(output)))
        try:
            return task.segment_frame(path, frame, options, before, after, one_pass=True)
        finally:
            hook.remove()

    # From before the hook is set until it is gone: it must hear no other request's features, and the network must not
    # be loaded anew in between.
    result = task.alone(work)
    return result.probability, vectors[0]


class DropoutScoring(_Scoring):
    """Mutual information of prediction and weights (epistemic): entropy of the mean less mean entropy of runs.

    Gal, Islam, Ghahramani: Deep Bayesian Active Learning with Image Data, ICML 2017 (BALD).
    """

    PROBABILITY = 0.2
    RUNS = 8

    def __init__(self, task: CASRInferTask) -> None:
        super().__init__("Mutual information over dropout runs", "casr_dropout", task)

    def score(self, image_id: str, path: str, frame: int, options: dict[str, Any]) -> float:
        def run() -> FrameResult:
            return self.task.segment_frame(path, frame, options, one_pass=True)

        def work() -> np.ndarray:
            torch.manual_seed(0)  # the same image has the same score
            return np.stack([run().probability for _ in range(self.RUNS)])

        maps = self.task.alone(work)  # nobody else draws from the random numbers that make the dropout
        mean = maps.mean(axis=0)
        information = float(np.maximum(entropy_map(mean) - entropy_map(maps).mean(axis=0), 0).sum())
        total = float(entropy_map(mean).sum() + mean.sum())
        return information / total if total > 0 else 0.0


class DisagreementScoring(_Scoring):
    """1 - Dice between the network's mask and what contour refinement makes of it."""

    of_mask = True

    def __init__(self, task: CASRInferTask) -> None:
        super().__init__("Disagreement of network and refinement", "casr_disagreement", task)

    def score(self, image_id: str, path: str, frame: int, options: dict[str, Any]) -> float:
        result = self.task.segment_frame(path, frame, {**options, "refine": True})
        return 1.0 - dice(result.probability >= options["threshold"], result.mask)


class QualityScoring(_Scoring):
    """1 - the Dice coefficient that the calibrated probabilities promise the refined mask; 1 where that is empty."""

    of_mask = True

    def __init__(self, task: CASRInferTask) -> None:
        super().__init__("Dice coefficient that is missing from 1, as the probabilities promise", "casr_quality", task)

    def score(self, image_id: str, path: str, frame: int, options: dict[str, Any]) -> float:
        result = self.task.segment_frame(path, frame, {**options, "refine": True})
        calibrated = self.task.calibrations().of(result.mirrored)
        return 1.0 - soft_dice_confidence(calibrated(result.probability), result.mask)


def _pooled(output: Any) -> np.ndarray:
    last = output if isinstance(output, torch.Tensor) else output[-1]
    return np.asarray(last[0].mean(dim=(1, 2)).float().cpu())


def _stamp(weights: Path) -> str:
    status = weights.stat()
    return f"{weights.name}-{status.st_mtime_ns}-{status.st_size}"
