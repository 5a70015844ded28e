"""The bundle from Python: load once, segment arrays or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..files.frames import MIN_SIDE
from ..files.images import read_angiogram
from ..files.intensity import intensity_range
from ..refinement.contours import RefinementParameters, refine
from ..refinement.transform import RefineVesselsd
from .bundle import build, load_parser

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

    def to(self, device: torch.device | str) -> None:
        """Move the network to another device."""
        self.device = torch.device(device)
        self.network.to(self.device)

    @property
    def refinement(self) -> RefinementParameters:
        """What stage 3 does with the probability map; may be set, and holds from the next frame on."""
        return self._refiner.parameters

    @refinement.setter
    def refinement(self, parameters: RefinementParameters) -> None:
        self._refiner.parameters = parameters

    @property
    def _refiner(self) -> RefineVesselsd:
        return next(step for step in self.postprocessing.transforms if isinstance(step, RefineVesselsd))

    def refined(self, probability: np.ndarray) -> np.ndarray:
        """The mask, bool (rows, columns), that a probability map of that shape gives; the network does not run.

        Raises:
            ValueError: for another shape, or NaN.
        """
        return refine(probability.T, self.refinement).T

    def __call__(self, image: str | Path | np.ndarray) -> Segmentation:
        """Segment a file, or an array.

        Args:
            image: a path, or grey values (rows, columns) or (frames, rows, columns): uint8 as they are, other types
                scaled from their 0.1 to their 99.9 percentile.

        Raises:
            DataError: when the file or the array is no angiogram.
        """
        if isinstance(image, np.ndarray):
            frames = _checked(image)
            window = intensity_range(frames, bits=8 if frames.dtype == np.uint8 else 0)
            results = [self._array(f, window) for f in frames]
            single = image.ndim == 2
        else:
            count = read_angiogram(image).frames
            results = [self._segment({"image": str(image), "frame": i}, first=0) for i in range(count)]
            single = count == 1
        if single:
            return results[0]
        return Segmentation(np.stack([r.mask for r in results]), np.stack([r.probability for r in results]))

    def frame(self, image: np.ndarray, window: tuple[float, float] | None = None) -> Segmentation:
        """Segment one frame of a cine, so that a caller gets the frames as they are done.

        Args:
            image: grey values (rows, columns).
            window: grey values that become 0 and 1; None chooses as ``__call__`` does, from this frame alone.

        Raises:
            DataError: when the array is no angiogram.
        """
        if image.ndim != 2:
            raise DataError(f"array of shape {image.shape}: expected one frame (rows, columns).")
        (frame,) = _checked(image)
        if window is None:
            window = intensity_range(frame, bits=8 if frame.dtype == np.uint8 else 0)
        return self._array(frame, window)

    def _array(self, frame: np.ndarray, window: tuple[float, float]) -> Segmentation:
        from monai.data import MetaTensor

        tensor = MetaTensor(torch.from_numpy(frame.T.astype(np.float32))[None], meta={"intensity_range": window})
        return self._segment({"image": tensor}, first=1)

    def _segment(self, item: dict[str, Any], first: int) -> Segmentation:
        """Run the transforms from number ``first`` on (0 loads a file), the network and the postprocessing."""
        data: Any = self.preprocessing(item, start=first)
        with torch.no_grad():
            data["pred"] = self.inferer(data["image"][None].to(self.device), self.network)[0].cpu()
        data = self.postprocessing(data)
        mask, probability = (data[key][0].numpy().T for key in ("pred", "probability"))
        return Segmentation(mask > 0, probability)


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
