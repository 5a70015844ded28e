"""The one way in which a network runs on frames: evaluator, :class:`Segmenter`, label task and validation take it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Compose, Invertd, apply_transform

from ..errors import UsageError
from .mirrored import FRAMES, checked_tta, is_mirrored, mirrored_logits
from .runtimes.gpu import GpuEngine
from .runtimes.packages import GPU_RUNTIMES
from .runtimes.prepared import Runtimes
from .runtimes.store import Store

__all__ = ["FrameInferer", "postprocessed", "predict"]


TILE = 1024
OVERLAP = 0.25
"""Side of a tile in pixels, and share of it that neighbours have in common. Our choice: 128 pixels of surroundings to
each side of what counts most."""

WHOLE = 2048 * 2048
"""Pixels of the network's input up to which a frame goes through it whole. Our choice: torch needs 2.5 GB for that."""


class FrameInferer(SimpleInferer):
    """Frames through the network, without gradients. (N, C, X, Y) to logits (N, 1, X, Y).

    Frames of any size are reduced to ``network_size`` before, 512 pixels as shipped, so that the network's memory does
    not depend on the file. Where a configuration asks for more, an input above :data:`WHOLE` goes through in tiles that
    overlap, whose logits are averaged with Gaussian weights (MONAI's ``SlidingWindowInferer``).

    On the CPU the network is computed by the runtime that is wanted, once it is prepared for that (the first frame
    takes longer). On a GPU torch computes it, in half precision where the GPU is made for that and ``precision`` is
    "auto", or TensorRT; a network that is in training or watched by hooks runs in torch as it is.

    Args:
        runtime, weights, channels, precision: of :class:`casr_net.inference.runtimes.Runtimes`, and of
            :class:`casr_net.inference.runtimes.gpu.GpuEngine`. Without arguments torch computes the network in single
            precision.
        tta: run the frame and its three mirror images (test-time augmentation), and give the logits of the mean of the
            four probabilities, mirrored back; it takes four times as long. "auto": where the metadata of the input say
            that its file has one frame, see :mod:`casr_net.inference.mirrored`.

    Raises:
        UsageError: for a runtime that cannot be used.
    """

    def __init__(
        self,
        runtime: str = "torch",
        weights: str | Path | None = None,
        channels: Callable[[dict[str, Any]], dict[Any, Any]] | None = None,
        precision: str = "fp32",
        tta: bool | str = False,
    ) -> None:
        super().__init__()
        # Private: as the device, the runtime is recorded, but results of another one are no results of other settings.
        self._runtime = runtime
        if runtime in GPU_RUNTIMES and not torch.cuda.is_available():
            raise UsageError(f"runtime {runtime!r} is for NVIDIA's GPUs, and there is none; use runtime auto.")
        # On the CPU, which takes over when the memory of a GPU ends, the runtime of a GPU is any.
        self._runtimes = Runtimes("auto" if runtime in GPU_RUNTIMES else runtime, weights, channels, precision)
        self._gpu = GpuEngine(precision, runtime, weights, channels)
        self.tta = checked_tta(tta)
        self._tiles = SlidingWindowInferer((TILE, TILE), 1, OVERLAP, "gaussian")

    @property
    def used(self) -> str:
        """Runtime and number format of the last network, such as "openvino bf16"; empty before the first frame."""
        return self._runtimes.used or self._gpu.used

    @property
    def store(self) -> Store:
        """Where converted networks are kept."""
        return self._runtimes.store

    def release(self) -> None:
        """Give the memory of the converted network back; the next frame prepares it anew."""
        self._runtimes.release()

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        known = inputs.meta.get(FRAMES) if isinstance(inputs, MetaTensor) else None
        with torch.no_grad():
            if not is_mirrored(self.tta, known):
                return self._run(inputs, network, *args, **kwargs)
            plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs

            def run(images: np.ndarray) -> np.ndarray:
                logits = self._run(torch.from_numpy(images).to(plain.device), network, *args, **kwargs)
                return np.asarray(torch.as_tensor(logits).float().cpu())

            logits = torch.from_numpy(mirrored_logits(plain.cpu().numpy(), run)).to(plain.device)
            return MetaTensor(logits, meta=inputs.meta) if isinstance(inputs, MetaTensor) else logits

    def _run(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        if inputs.shape[-1] * inputs.shape[-2] > WHOLE:
            plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
            logits = self._tiles(plain, lambda part: self._whole(part, network, *args, **kwargs))
            return MetaTensor(logits, meta=inputs.meta) if isinstance(inputs, MetaTensor) else logits
        return self._whole(inputs, network, *args, **kwargs)

    def _whole(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        if inputs.device.type == "cpu" and self._runtime in GPU_RUNTIMES and not self._gpu.used:
            raise UsageError(f"runtime {self._runtime!r} is for NVIDIA's GPUs, not for the CPU; use runtime auto.")
        if inputs.device.type != "cpu" and self._runtime not in ("auto", "torch", *GPU_RUNTIMES):
            raise UsageError(f"runtime {self._runtime!r} runs on the CPU, not on {inputs.device}; use device cpu.")
        if inputs.device.type == "cuda":
            return self._gpu(inputs, network, *args, **kwargs)
        plain = inputs.device.type != "cpu" or args or kwargs or not isinstance(network, torch.nn.Module)
        engine = None if plain else self._runtimes.engine(network)
        if engine is None:
            return super().__call__(inputs, network, *args, **kwargs)
        if not isinstance(inputs, MetaTensor):
            return engine(inputs)
        logits = MetaTensor(engine(inputs.as_tensor()))
        logits.copy_meta_from(inputs, copy_attr=False)
        return logits


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
    return postprocessed(postprocessing, prepared)


_inverting = threading.Lock()


def postprocessed(transform: Any, data: dict[Any, Any]) -> dict[Any, Any]:
    """Apply transforms; several threads may do so at once.

    MONAI's ``Invertd`` lets the transforms that it inverts miss keys while it does, and must be alone with them.
    """
    if isinstance(transform, Compose):
        for step in transform.transforms:
            data = postprocessed(step, data)
        return data
    with _inverting if isinstance(transform, Invertd) else nullcontext():
        done: Any = apply_transform(transform, data)
    return cast(dict[Any, Any], done)
