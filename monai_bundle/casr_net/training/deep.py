"""Deep supervision: coarse levels of the decoder learn the label too, by heads that only training has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import UsageError
from .losses import DiceCEclDiceLoss

__all__ = ["DeepSupervision"]

#: decoder blocks that get a head, of five from coarse to fine: those at a half and a quarter of the resolution
LEVELS = (3, 2)


class DeepSupervision(nn.Module):
    """A loss, and the loss of 1 x 1 heads on decoder blocks of the network (Lee et al., AISTATS 2015).

    The network stays as it is: the heads belong to this module, and reach its feature maps by forward hooks while it
    trains. Their logits are upsampled to the label's size; they learn by Dice and cross-entropy alone.

    Args:
        loss: of the network's own logits.
        network: a :class:`casr_net.network.CASRNet`, whose decoder blocks are supervised.
        weights: factor of the loss at a half of the resolution, at a quarter; empty leaves all of it out.
        device: of the heads.

    Raises:
        UsageError: for a network without such a decoder, too many weights, or in a distributed run (the heads of the
            processes would part).
    """

    def __init__(
        self,
        loss: nn.Module,
        network: nn.Module,
        weights: Sequence[float] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.loss, self.weights = loss, tuple(weights)
        self.plain = DiceCEclDiceLoss(cldice_weight=0)
        self.heads = nn.ModuleList()
        # Plain functions and one dictionary: copies of the network (its moving average) take neither heads nor loss.
        features: dict[int, torch.Tensor] = {}
        self._features = (features,)
        if not self.weights:
            return
        settings = getattr(network, "settings", {})
        if "decoder_channels" not in settings or len(self.weights) > len(LEVELS):
            raise UsageError(
                f"{len(self.weights)} weights of deep supervision on {type(network).__name__}; at most {len(LEVELS)}, "
                "and a network with a decoder of blocks (CASRNet), are possible."
            )
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            raise UsageError("deep supervision works in one process only; leave its weights empty on several GPUs.")
        decoder: Any = network.decoder
        for level, _ in zip(LEVELS, self.weights, strict=False):
            self.heads.append(nn.Conv2d(settings["decoder_channels"][level], settings["out_channels"], 1))
            decoder[level].register_forward_hook(_keeper(features, level))
        self.heads.to(torch.device(device))

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """input: logits (N, 1, H, W) of the network's latest pass; target: as of the loss; gives a scalar."""
        value = self.loss(input, target)
        (features,) = self._features
        for level, head, weight in zip(LEVELS, self.heads, self.weights, strict=False):
            logits = head(features.pop(level).float())
            full = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
            value = value + weight * self.plain(full, target)
        return value


def _keeper(features: dict[int, torch.Tensor], level: int) -> Any:
    def keep(module: nn.Module, args: Any, output: torch.Tensor) -> None:
        if module.training and torch.is_grad_enabled():
            features[level] = output

    return keep
