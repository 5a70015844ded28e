"""The one way in which a network runs on frames: evaluator, :class:`Segmenter`, label task and validation take it."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SimpleInferer

__all__ = ["FrameInferer", "predict"]


class FrameInferer(SimpleInferer):
    """Whole frames through the network, without gradients. (N, C, X, Y) to logits (N, 1, X, Y)."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return super().__call__(inputs, network, *args, **kwargs)


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
