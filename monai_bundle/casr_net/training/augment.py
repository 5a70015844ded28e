"""Augmentation of whole batches on any device of PyTorch, for training on an accelerator (:mod:`.resident`).

The same steps, in the same order and with the same ranges as the transforms of ``train.json``, which draw one image at
a time on the CPU: grey values first, then the channels of stage 1, then one warp to the crop.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ..preprocessing.batched import BatchedChannels

__all__ = ["BatchAugment"]


class BatchAugment:
    """Random grey values, channels and geometry of a batch.

    Args:
        config: of a training, resolved: the values of ``train#gamma``, ``train#contrast``, ``train#low_resolution``,
            ``train#blur``, ``train#noise``, ``train#deform``, ``channel_names`` and ``crop_size`` are read.
        generator: of the random numbers, on the device of the batches.
    """

    def __init__(self, config: Mapping[str, Any], generator: torch.Generator) -> None:
        self.train, self.crop, self.generator = config["train"], tuple(config["crop_size"]), generator
        self.random = random.Random(generator.initial_seed())  # noqa: S311
        self.channels = BatchedChannels(config["channel_names"])

    def state_dict(self) -> dict[str, Any]:
        """Of the random numbers."""
        version, numbers, normal = self.random.getstate()
        return {"generator": self.generator.get_state(), "version": version, "numbers": list(numbers), "normal": normal}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Draw on from there."""
        self.generator.set_state(state["generator"])
        self.random.setstate((state["version"], tuple(state["numbers"]), state["normal"]))

    def __call__(
        self, grey: torch.Tensor, field: torch.Tensor | None, planes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one view of each image.

        Args:
            grey: float (N, 1, X, Y) in [0, 1], filled outside the field.
            field: bool (N, 1, X, Y), True inside the exposed field; None means everywhere.
            planes: float (N, P, X, Y) of 0 and 1: what is warped along with the image, such as its mask.

        Returns:
            the network's input (N, C, *crop) in [-1, 1], and the planes (N, P, *crop), interpolated.
        """
        image = self.channels(self._appearance(grey), field)
        grid = self._grid(len(grey), grey.shape[-2:])
        warped = F.grid_sample(
            torch.cat([image, planes], 1), grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        return warped[:, : image.shape[1]], warped[:, image.shape[1] :]

    def _uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(N, 1, 1, 1), evenly distributed."""
        drawn = torch.rand(count, 1, 1, 1, device=self.generator.device, generator=self.generator)
        return low + (high - low) * drawn

    def _chosen(self, count: int, settings: Mapping[str, Any]) -> torch.Tensor:
        return self._uniform(count) < settings["prob"]

    def _appearance(self, grey: torch.Tensor) -> torch.Tensor:
        count, train = len(grey), self.train
        low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
        gamma = torch.where(self._chosen(count, train["gamma"]), self._uniform(count, *train["gamma"]["gamma"]), 1.0)
        extent = (high - low).clamp(min=1e-6)
        grey = ((grey - low) / extent) ** gamma * extent + low
        factor = self._uniform(count, *train["contrast"]["factors"])
        factor = torch.where(self._chosen(count, train["contrast"]), factor, 0.0)
        mean = grey.mean((1, 2, 3), keepdim=True)
        grey = torch.minimum(torch.maximum(mean + (grey - mean) * (1 + factor), low), high)
        grey = self._coarse(grey, train["low_resolution"])
        grey = self._blurred(grey, train["blur"])
        noise = torch.randn(grey.shape, device=grey.device, generator=self.generator)
        sigma = self._uniform(count, 0.0, train["noise"]["std"])
        return (grey + torch.where(self._chosen(count, train["noise"]), sigma, 0.0) * noise).clamp(0, 1)

    def _coarse(self, grey: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
        """Some images at a lower resolution and back: one zoom for all of a batch that are chosen."""
        zoom = self.random.uniform(*settings["zoom_range"])  # not from the device, which would have to be waited for
        size = [max(1, round(side * zoom)) for side in grey.shape[-2:]]
        coarse = F.interpolate(F.interpolate(grey, size=size, mode="nearest"), size=grey.shape[-2:], mode="bilinear")
        return torch.where(self._chosen(len(grey), settings), coarse, grey)

    def _blurred(self, grey: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
        """A Gaussian of its own for each image, as a convolution with one group an image, rows then columns."""
        count, radius = len(grey), max(1, math.ceil(3 * max(*settings["sigma_x"], *settings["sigma_y"])))
        chosen = self._chosen(count, settings)
        offsets = torch.arange(-radius, radius + 1, device=grey.device, dtype=torch.float32)
        result = grey.transpose(0, 1)
        for shape, key in (((count, 1, -1, 1), "sigma_x"), ((count, 1, 1, -1), "sigma_y")):
            sigma = torch.where(chosen, self._uniform(count, *settings[key]), 1e-3).view(count, 1)
            taps = torch.exp(-(offsets[None] ** 2) / (2 * sigma**2))
            kernel = (taps / taps.sum(1, keepdim=True)).view(shape)
            pad = [0, 0, radius, radius] if key == "sigma_x" else [radius, radius, 0, 0]
            result = F.conv2d(F.pad(result, pad, mode="reflect"), kernel, groups=count)
        return result.transpose(0, 1)

    def _grid(self, count: int, size: Sequence[int]) -> torch.Tensor:
        """Where each pixel of the crops comes from, for ``grid_sample``: (N, *crop, 2), the last axis (Y, X)."""
        deform, device = self.train["deform"], self.generator.device

        def flat(low: float, high: float) -> torch.Tensor:
            return self._uniform(count, low, high).view(count)

        points = torch.stack(
            torch.meshgrid(
                *(torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2 for side in self.crop),
                indexing="ij",
            )
        )[None] + self._elastic(count)
        scale = [1 + flat(*span) for span in deform["scale_range"]]
        angle = flat(-deform["rotate_range"], deform["rotate_range"])
        shift = [flat(-extent, extent) for extent in deform["translate_range"]]
        # Flips and quarter turns are part of the matrix: sign of each axis, and their exchange.
        signs = [torch.where(flat(0, 1) < 0.5, -1.0, 1.0) for _ in range(2)]
        turned = flat(0, 1) < 0.5
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = [
            [cos * scale[0] * signs[0], -sin * scale[1] * signs[1]],
            [sin * scale[0] * signs[0], cos * scale[1] * signs[1]],
        ]
        matrix = torch.stack([torch.stack(row, 1) for row in rows], 1)
        matrix = torch.where(turned[:, None, None], matrix.flip(2), matrix)
        sheared = deform.get("shear_range")
        if sheared is not None:
            one = torch.ones(count, device=device)
            shear = [[one, flat(-sheared[0], sheared[0])], [flat(-sheared[1], sheared[1]), one]]
            matrix = matrix @ torch.stack([torch.stack(row, 1) for row in shear], 1)
        places = torch.einsum("nij,njxy->nixy", matrix, points) + torch.stack(shift, 1)[:, :, None, None]
        # In units of half the image, from its centre; grid_sample wants the fastest axis first.
        half = torch.tensor([side / 2 for side in size], device=device).view(1, 2, 1, 1)
        return (places / half).flip(1).permute(0, 2, 3, 1)

    def _elastic(self, count: int) -> torch.Tensor:
        """Smooth random offsets in pixels, (N, 2, *crop): normal at knots ``spacing`` apart, cubic between them."""
        deform = self.train["deform"]
        knots = [math.ceil(side / step) + 1 for side, step in zip(self.crop, deform["spacing"], strict=True)]
        drawn = torch.randn(count, 2, *knots, device=self.generator.device, generator=self.generator)
        drawn = drawn * self._uniform(count, *deform["magnitude_range"])
        if deform["prob"] < 1:
            drawn = torch.where(self._chosen(count, deform), drawn, 0.0)
        return F.interpolate(drawn, size=self.crop, mode="bicubic", align_corners=True)
