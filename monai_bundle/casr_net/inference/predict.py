"""The one way in which a network runs on frames: evaluator, :class:`Segmenter`, label task and validation take it."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SimpleInferer

__all__ = ["FrameInferer", "predict"]


FLIPS: tuple[tuple[int, ...], ...] = ((), (-2,), (-1,), (-2, -1))
EDGE = 1e-6  # mean probabilities are kept this far from 0 and 1, whose logits are infinite


class FrameInferer(SimpleInferer):
    """Whole frames through the network, without gradients. (N, C, X, Y) to logits (N, 1, X, Y).

    Args:
        tta: run the frame and its three mirror images (test-time augmentation), and give the logits of the mean of the
            four probabilities, mirrored back; it takes four times as long.
    """

    def __init__(self, tta: bool = False) -> None:
        super().__init__()
        self.tta = tta

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            if not self.tta:
                return super().__call__(inputs, network, *args, **kwargs)
            mean: Any = 0.0
            for axes in FLIPS:
                logits = super().__call__(torch.flip(inputs, axes), network, *args, **kwargs)
                mean = mean + torch.sigmoid(torch.flip(logits, axes)) / len(FLIPS)
            return torch.logit(mean, EDGE)


def predict(
    data: dict[Any, Any], channels: Any, network: torch.nn.Module, inferer: Any, postprocessing: Any, device: Any
) -> dict[Any, Any]:
    """One frame from grey to mask, with the parts of a parsed inference configuration.

    Args:
        data: ``image``, grey (1, X, Y) in [0, 1].
        channels, inferer, postprocessing: of those names in ``configs/inference.json``.
        network: in evaluation mode, on ``device``.
        device: where it runs.

    Returns:
        ``data`` with ``pred``, the mask (1, X, Y) on the grid of the image, and ``probability``, before refinement.
    """
    prepared = channels(data)
    prepared["pred"] = inferer(prepared["image"][None].to(device), network)[0].cpu()
    result: dict[Any, Any] = postprocessing(prepared)
    return result
