"""The bundle from Python: load once, segment arrays or files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..files.frames import MIN_SIDE
from ..files.images import Angiogram, read_angiogram
from ..preprocessing.load import image_tensor
from ..refinement.contours import RefinementParameters, refine
from ..refinement.transform import RefineVesselsd
from .bundle import build, load_parser
from .calibrated import WeightsCalibration
from .pipeline import Pipeline, Stage, Way
from .predict import predict
from .threads import planned, sharing

__all__ = ["Segmentation", "Segmenter", "segment_each"]


@dataclass(frozen=True)
class Segmentation:
    """Result on the source's own grid.

    Attributes:
        mask: bool, (rows, columns) or, for a cine, (frames, rows, columns); True where a coronary artery is.
        probability: float32 of the same shape, in [0, 1], before refinement, as the network gives it;
            ``Segmenter.calibration`` makes it what ``casr segment --probability`` writes.
    """

    mask: np.ndarray
    probability: np.ndarray


class Segmenter:
    """Segments angiograms with the bundle's inference configuration.

    Images of one frame go through the network with their mirror images, frames of cines without; ``tta=True`` or
    ``tta=False`` decides for all.

    Examples:
        >>> from casr_net import Segmenter
        >>> segmenter = Segmenter()
        >>> mask = segmenter("angiogram.png").mask

    Args:
        config: overlays of ``configs/inference.json``, paths or shipped names such as "paper".
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        overrides: single configuration values, such as ``refine=False`` or ``weights="my.pt"``.

    Attributes:
        calibration: called with the probabilities of a frame, gives calibrated ones; see
            :class:`casr_net.inference.WeightsCalibration`.

    Raises:
        CASRError: when a configuration, the device or the weights cannot be used.
    """

    def __init__(self, config: str | Path | Sequence[str | Path] = (), device: str = "auto", **overrides: Any) -> None:
        overlays = [config] if isinstance(config, (str, Path)) else list(config)
        parser = load_parser(overlays, device_name=device, **overrides)
        self.device: torch.device = build(parser, "device")
        self.network: torch.nn.Module = build(parser, "network")
        self.inferer = build(parser, "inferer")
        self.channels = build(parser, "channels")
        self.window = build(parser, "window")
        self.weights = Path(str(build(parser, "weights")))  # for the record of what was made with them
        self.calibration: WeightsCalibration = build(parser, "calibration")
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
                scaled as those of a file that states no window.

        Raises:
            DataError: when the file or the array is no angiogram.
        """
        if isinstance(image, np.ndarray):
            source = Angiogram.from_array(_checked(image), self.window)
            single = image.ndim == 2
        else:
            source = read_angiogram(image, self.window)
            single = source.frames == 1
        if single:
            return self.of(source, 0)
        results = []
        for way in segment_each(self, range(source.frames), lambda index: (source.grey(index),)):
            if way.error is not None:
                raise way.error
            results.append(way.value[0])
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
        frames = _checked(image)
        if window is None:
            return self.grey(Angiogram.from_array(frames, self.window).grey(0))
        low, high = window
        return self.grey(np.clip((frames[0].astype(np.float32) - low) / (high - low), 0, 1).T)

    def of(self, source: Angiogram, frame: int) -> Segmentation:
        """Segment one frame of an open file.

        Raises:
            DataError: when the frame cannot be used.
        """
        return self.grey(source.grey(frame), source.affine, source.frames)

    at_once = True
    """Whether several threads may call :meth:`grey` at once."""

    def grey(self, image: np.ndarray, affine: np.ndarray | None = None, frames: int | None = None) -> Segmentation:
        """Segment shown grey.

        Args:
            image: float32 (X, Y) in [0, 1], vessels dark.
            affine: (4, 4), of its pixels; matters to nothing in the result.
            frames: of its file; None counts as a cine. Mirror images are taken of files of one frame, if ``tta`` is
                "auto", as shipped.
        """
        data = {"image": image_tensor(image, np.eye(4) if affine is None else affine, frames=frames)}
        done = predict(data, self.channels, self.network, self.inferer, self.postprocessing, self.device)
        mask, probability = (done[key][0].numpy().T for key in ("pred", "probability"))
        return Segmentation(mask > 0, probability)


def segment_each(
    segmenter: Segmenter,
    frames: Sequence[Any],
    load: Callable[[Any], tuple[Any, ...]],
    run: Callable[[np.ndarray], Any] | None = None,
) -> Iterator[Way]:
    """Frames one after the other, several of which are on their way at once.

    Args:
        segmenter: whose :meth:`Segmenter.grey` several threads may call where it says so (``at_once``).
        frames: what tells each.
        load: called for each by one thread, in order; gives the grey (X, Y), and what else the caller wants back.
        run: called with the grey in place of :meth:`Segmenter.grey`.

    Yields:
        for each frame, in order, the way with its error, or its value: the :class:`Segmentation`, and what ``load``
        gave beside the grey.
    """
    network = segmenter.grey if run is None else run

    def done(loaded: tuple[Any, ...]) -> tuple[Any, ...]:
        return network(loaded[0]), *loaded[1:]

    device = getattr(segmenter, "device", "cpu")
    with sharing(planned(device, len(frames) if getattr(segmenter, "at_once", False) else 1)) as shares:
        stages = [Stage("decoding", lambda: load), Stage("network", lambda: done, shares.requests)]
        room = 1 if len(frames) < 2 else 2 * shares.requests + 1
        ways = Pipeline(stages, frames, room, lambda loaded: int(loaded[0].size))
        try:
            yield from ways
        finally:
            ways.close()


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
