"""The bundle from Python: load once, segment arrays or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .bundle import build, load_parser
from .errors import DataError
from .images import MIN_SIDE, read_angiogram
from .preprocessing import intensity_range

__all__ = ["Segmentation", "Segmenter"]


@dataclass(frozen=True)
class Segmentation:
    """Result on the source's own grid.

    Attributes:
        mask: bool, (rows, columns) or, for a cine, (frames, rows, columns); True where a coronary artery is.
        probability: float32 of the same shape, in [0, 1], before refinement.
    """

    mask: np.ndarray
    probability: np.ndarray


class Segmenter:
    """Segments angiograms with the bundle's inference configuration.

    >>> from casr_net import Segmenter
    >>> segmenter = Segmenter()
    >>> mask = segmenter("angiogram.png").mask

    Args:
        config: overlays of ``configs/inference.json``, paths or shipped names such as "paper".
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        overrides: single configuration values, such as ``refine=False`` or ``weights="my.pt"``.

    Raises:
        CASRError: when a configuration, the device or the weights cannot be used.
    """

    def __init__(self, config: str | Path | Sequence[str | Path] = (), device: str = "auto", **overrides: Any) -> None:
        overlays = [config] if isinstance(config, (str, Path)) else list(config)
        parser = load_parser(overlays, device_name=device, **overrides)
        self.device: torch.device = build(parser, "device")
        self.network: torch.nn.Module = build(parser, "network")
        self.inferer = build(parser, "inferer")
        self.preprocessing = build(parser, "preprocessing")
        self.postprocessing = build(parser, "postprocessing")
        self.network.eval()

    def __call__(self, image: str | Path | np.ndarray) -> Segmentation:
        """Segment a file, or an array.

        Args:
            image: a path, or grey values (rows, columns) or (frames, rows, columns): uint8 as they are, other types
                scaled from their 0.1 to their 99.9 percentile.

        Raises:
            DataError: when the file or the array is no angiogram.
        """
        from monai.data import MetaTensor

        if isinstance(image, np.ndarray):
            frames = _checked(image)
            window = intensity_range(frames, bits=8 if frames.dtype == np.uint8 else 0)
            tensors = [
                MetaTensor(torch.from_numpy(f.T.astype(np.float32))[None], meta={"intensity_range": window})
                for f in frames
            ]
            results = [self._segment({"image": tensor}, first=1) for tensor in tensors]
            single = image.ndim == 2
        else:
            count = read_angiogram(image).frames
            results = [self._segment({"image": str(image), "frame": i}, first=0) for i in range(count)]
            single = count == 1
        masks, probabilities = (np.stack(part) for part in zip(*results, strict=True))
        return Segmentation(masks[0], probabilities[0]) if single else Segmentation(masks, probabilities)

    def _segment(self, item: dict[str, Any], first: int) -> tuple[np.ndarray, np.ndarray]:
        """Run the transforms from number ``first`` on (0 loads a file), the network and the postprocessing."""
        data: Any = self.preprocessing(item, start=first)
        with torch.no_grad():
            data["pred"] = self.inferer(data["image"][None].to(self.device), self.network)[0].cpu()
        data = self.postprocessing(data)
        mask, probability = (data[key][0].numpy().T for key in ("pred", "probability"))
        return mask > 0, probability


def _checked(image: np.ndarray) -> np.ndarray:
    frames = image[None] if image.ndim == 2 else image
    if frames.ndim != 3 or frames.size == 0 or min(frames.shape[1:]) < MIN_SIDE:
        raise DataError(
            f"array of shape {image.shape}: expected (rows, columns) or (frames, rows, columns), {MIN_SIDE} or more."
        )
    if frames.dtype.kind not in "uif" or not np.isfinite(frames).all():
        raise DataError(f"array of {image.dtype}: expected finite real values.")
    if frames.min() == frames.max():
        raise DataError(f"array: constant image, every pixel is {frames.min()}.")
    return frames
