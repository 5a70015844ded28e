"""A plan: all that a run with the shipped stages needs to know, so that neither torch nor MONAI has to be imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...preprocessing.channels import network_channels
from ...preprocessing.field import field_of_view
from ...preprocessing.grid import cropped, divisible_padding, longest_size, padded, resampled
from ...refinement.contours import RefinementParameters, refine
from ...refinement.probability import masked_outside, probability
from ..mirrored import is_mirrored, mirrored_logits

__all__ = ["KIND", "NO_PLAN", "Plan", "Preparation"]

KIND = "plan"
"""What plans are called in a :class:`casr_net.inference.runtimes.store.Store`."""

NO_PLAN = b"null"
"""What is kept in place of one where there is none for what was asked: torch computes the network, for example."""


@dataclass(frozen=True)
class Preparation:
    """Stage 1: arguments of ``ResizeLongestd``, ``MultichannelPreprocessd`` and ``DivisiblePadd``."""

    spatial_size: int
    anti_aliasing: bool
    channels: tuple[str, ...]
    clip_limit: float
    tiles: int
    alpha: float
    sigma_fraction: float
    k: int


@dataclass(frozen=True)
class Plan:
    """What the stages of ``configs/inference.json`` do with a frame, by the functions that they themselves call.

    Attributes:
        engine: name of what computes the network, such as "openvino bf16".
        model: description of the converted network in the store, or of the one in 8 bits.
        choice: description of the measured choice in the store and its content, where the runtime was chosen by that.
        threads: that torch may use.
        settings: of the stages, as ``run.json`` has them.
        tta: see :class:`casr_net.inference.FrameInferer`.
        window: centre and width that files are shown with.
        pipeline: several frames on their way at once.
        preparation: stage 1.
        margin: of ``MaskOutsideFieldd``.
        refinement: stage 3.
    """

    engine: str
    model: dict[str, Any]
    choice: tuple[dict[str, Any], str] | None
    threads: int
    settings: list[Any]
    tta: bool | str
    window: tuple[float, float] | None
    pipeline: bool
    preparation: Preparation
    margin: int
    refinement: RefinementParameters

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, grey (X, Y) in [0, 1], becomes the network's input (C, X, Y), and ``field``, (1, X, Y) of 0 and 1,
        and ``size`` are added."""
        grey, own = np.asarray(data["image"], np.float32), self.preparation
        size = (grey.shape[0], grey.shape[1])
        grey = resampled(grey, longest_size(size, own.spatial_size), own.anti_aliasing)
        field = field_of_view(grey)
        image = network_channels(grey, field, own.channels, own.clip_limit, own.tiles, own.alpha, own.sigma_fraction)
        padding = divisible_padding(grey.shape, own.k)
        whole = padded(field[None].astype(np.float32), padding)
        return {**data, "image": padded(image, padding, "edge"), "field": whole, "size": size}

    def logits(self, image: np.ndarray, network: Callable[[np.ndarray], np.ndarray], frames: int) -> np.ndarray:
        """Logits (1, X, Y) of a frame.

        Args:
            image: (C, X, Y), as :meth:`prepare` gives it.
            network: from (N, C, X, Y) to logits (N, 1, X, Y).
            frames: of its file.
        """
        if is_mirrored(self.tta, frames):
            return mirrored_logits(image[None], network)[0]
        return network(image[None])[0]

    def refine(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """``pred``, logits (1, X, Y), becomes the mask, bool (X, Y) of ``size``; ``probability`` is added."""
        size = data["size"]
        inside = masked_outside(probability(data["pred"]), data["field"], self.margin)[0]
        fitted = longest_size(size, self.preparation.spatial_size)
        found = resampled(cropped(inside, divisible_padding(fitted, self.preparation.k)), size)
        return {**data, "pred": refine(found, self.refinement), "probability": found}

    def as_json(self) -> bytes:
        """For the store."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of_json(cls, content: bytes) -> Plan:
        """Read back what :meth:`as_json` gave.

        Raises:
            Exception: of any class, for another content.
        """
        read = json.loads(content)
        read["preparation"] = Preparation(**{**read["preparation"], "channels": (*read["preparation"]["channels"],)})
        read["refinement"] = RefinementParameters(**read["refinement"])
        for name in ("choice", "window"):
            read[name] = None if read[name] is None else tuple(read[name])
        return cls(**read)
