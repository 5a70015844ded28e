"""CASR-Net: U-Net of an ImageNet encoder and a Self-ONN decoder (stage 2 of arXiv 2510.27315)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import shown
from .encoders import ENCODERS, load_pretrained_encoder
from .selfonn import SelfONN2d

__all__ = ["CASRNet", "SelfONN2d"]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


class _DecoderBlock(nn.Module):
    """Nearest x2 upsampling, concatenation of the skip, twice [Self-ONN 3x3, batch normalisation, tanh]."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, q: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SelfONN2d(in_channels + skip_channels, out_channels, 3, 1, q),
            nn.BatchNorm2d(out_channels),
            nn.Tanh(),
            SelfONN2d(out_channels, out_channels, 3, 1, q),
            nn.BatchNorm2d(out_channels),
            nn.Tanh(),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.layers(x)


class CASRNet(nn.Module):
    """Coronary artery segmentation network of CASR-Net.

    The paper states the encoder and the kind of decoder only. Widths, order q = 3, tanh and the layout of a block
    follow its group's public code. Our choice: the encoder's features are normalised (BatchNorm) and bounded (tanh)
    before their powers are taken. They reach +-40 in EfficientNet-lite0, where tanh alone would only leave their signs.

    Three documented configurations:

    - paper: ``encoder="densenet121", decoder_channels=(256, 128, 64, 32, 16)``, 26.9 M parameters;
    - compact: ``encoder="densenet121", decoder_channels=(128, 64, 48, 32, 16)``, 16.3 M;
    - light: ``encoder="efficientnet_lite0", decoder_channels=(96, 64, 40, 24, 16)``, 4.9 M.

    Args:
        encoder: ``"densenet121"`` or ``"efficientnet_lite0"``.
        in_channels: channels of the preprocessed angiogram.
        out_channels: channels of the logits.
        q: order of the Self-ONN layers.
        decoder_channels: widths of the five decoder blocks, coarse to fine.
        dropout: probability to drop a channel after each decoder block, in [0, 1).
        pretrained: local ImageNet state dict of the encoder; nothing is ever downloaded.

    Raises:
        ValueError: for an unknown encoder, a wrong number of decoder widths, or a value outside its range.
        WeightsError: when ``pretrained`` does not fit the encoder.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], H and W multiples of 32; output (N, out_channels, H, W), logits.
    """

    def __init__(
        self,
        encoder: str = "densenet121",
        in_channels: int = 3,
        out_channels: int = 1,
        q: int = 3,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        dropout: float = 0.0,
        pretrained: str | Path | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, str) or encoder not in ENCODERS:
            raise ValueError(f"encoder is {shown(encoder)}; known are {', '.join(ENCODERS)}.")
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("q", q)):
            if not _is_count(value):
                raise ValueError(f"{name} is {shown(value)}; it must be a whole number from 1.")
        if not isinstance(decoder_channels, (list, tuple)) or not all(map(_is_count, decoder_channels)):
            raise ValueError(f"decoder_channels is {shown(decoder_channels)}; it must be 5 whole numbers from 1.")
        if len(decoder_channels) != 5:
            raise ValueError(f"decoder_channels has {len(decoder_channels)} widths; the decoder has 5 blocks.")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout is {shown(dropout)}; it must be a number from 0 and below 1.")
        #: the arguments that shape the network, for records of a run
        self.settings = {"encoder": encoder, "in_channels": in_channels, "out_channels": out_channels, "q": q,
                         "decoder_channels": list(decoder_channels), "dropout": dropout}  # fmt: skip
        self.encoder = ENCODERS[encoder](in_channels)
        if pretrained is not None:
            load_pretrained_encoder(self.encoder, pretrained)
        *skips, width = self.encoder.channels
        blocks = []
        for skip, out in zip([*reversed(skips), 0], decoder_channels, strict=True):
            blocks.append(_DecoderBlock(width, skip, out, q, dropout))
            width = out
        self.bounds = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(n), nn.Tanh()) for n in self.encoder.channels)
        self.decoder = nn.ModuleList(blocks)
        self.head = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.encoder(x)
        pyramid: list[torch.Tensor] = []
        for i, bound in enumerate(self.bounds):
            pyramid.append(bound(features[i]))
        y = pyramid.pop()
        for block in self.decoder:
            # The last block works at full resolution, where the encoder has no feature map.
            skip: torch.Tensor | None = None
            if len(pyramid) > 0:
                skip = pyramid.pop()
            y = block(y, skip)
        return self.head(y)
