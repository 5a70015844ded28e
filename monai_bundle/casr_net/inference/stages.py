"""The network as a stage of frames on their way, and what is to be read before it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from ..preprocessing.load import LoadAngiogramd
from .mirrored import FRAMES

__all__ = ["FrameNetwork", "loading_apart"]

logger = logging.getLogger("casr_net")


class FrameNetwork:
    """Prepared frames through the network. On a GPU those of equal size go together, as many as its memory holds; where
    one does not fit, the CPU takes over. Both are said once. May be called by several threads on a CPU.

    Args:
        network: in evaluation mode, on ``device``.
        inferer: of ``configs/inference.json``.
        device: where it runs.
        batch: most frames at once.
        moved: called with the text for the user when the network has gone to the CPU, in place of a warning.

    Attributes:
        device, batch: as they are now.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        inferer: Any,
        device: torch.device | str,
        batch: int = 1,
        moved: Callable[[str], object] = logger.warning,
    ) -> None:
        self.network, self.inferer, self.device, self.batch = network, inferer, torch.device(device), batch
        self._moved, self._said = moved, False
        self._lock = threading.Lock()

    def __call__(self, prepared: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
        """Each with ``pred``, the logits (1, X, Y) on the CPU; ``image`` is (C, X, Y)."""
        alike: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
        for data in prepared:
            alike.setdefault((*data["image"].shape, _is_single(data["image"])), []).append(data)
        for group in alike.values():
            start = 0
            while start < len(group):
                start += self._first_of(group[start:])
        return prepared

    def one(self, data: dict[Any, Any]) -> dict[Any, Any]:
        """One frame."""
        return self([data])[0]

    def _first_of(self, group: list[dict[Any, Any]]) -> int:
        """Run as many of the first frames as go at once; returns their number."""
        part = group[: self.batch]
        images = [data["image"] for data in part]
        device = self.device
        try:
            inputs = images[0][None]  # of one frame the tensor itself, with its metadata
            if len(images) > 1:
                inputs = torch.stack([torch.as_tensor(image) for image in images])
                inputs = MetaTensor(inputs, meta={FRAMES: 1}) if _is_single(images[0]) else inputs
            logits = self.inferer(inputs.to(device), self.network).cpu()
        except torch.OutOfMemoryError as error:
            if device.type == "cpu":
                raise
            reason = str(error).partition("\n")[0]
        else:
            for data, found in zip(part, logits, strict=True):
                data["pred"] = found
            return len(part)
        self._make_do(len(part), device, reason)
        return 0

    def _make_do(self, tried: int, device: torch.device, reason: str) -> None:
        """Half of the frames at once, or the CPU."""
        with self._lock:
            if self.device != device:
                return  # another thread has gone to the CPU
            if device.type == "cuda":
                torch.cuda.empty_cache()
            if tried > 1:
                self.batch = tried // 2
                if not self._said:
                    self._said = True
                    logger.warning("The GPU's memory did not suffice for %d frames at once; fewer are taken.", tried)
                return
            self.network.to("cpu")
            self.device = torch.device("cpu")
            self._moved(f"The GPU's memory did not suffice; going on with the CPU ({reason}).")


def _is_single(image: Any) -> bool:
    """Whether the metadata of a frame tell that its file has no other."""
    return isinstance(image, MetaTensor) and image.meta.get(FRAMES) == 1


def loading_apart(transform: Any) -> tuple[Any, Any]:
    """The first transforms of a ``Compose`` that read files, which go in the order of the frames, and those behind;
    (the transform, None) of any other."""
    if not isinstance(transform, Compose):
        return transform, None
    steps = list(transform.transforms)
    count = next((place for place, step in enumerate(steps) if not isinstance(step, LoadAngiogramd)), len(steps))
    return (Compose(steps[:count]), Compose(steps[count:])) if count else (transform, None)
