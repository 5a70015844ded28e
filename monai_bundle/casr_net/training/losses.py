"""Training loss: region overlap, cross-entropy and centreline continuity."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss, SoftclDiceLoss
from torch import nn

__all__ = ["UNKNOWN", "DiceCEclDiceLoss"]

#: value of a label's pixel of which nothing is known
UNKNOWN = 255


class DiceCEclDiceLoss(nn.Module):
    """``Dice + cross-entropy + weight * soft clDice`` of one-channel logits.

    Sum of MONAI's ``DiceCELoss`` (Dice over the pixels of the whole batch, as in the paper's group's code) and
    ``SoftclDiceLoss`` (Shit et al., CVPR 2021, arXiv 2003.07311, equation 3). The paper does not state its loss; both
    the sum and the weights are our choice.

    Pixels whose target is :data:`UNKNOWN` say nothing: they count as background that the network has found, and
    have no gradient.

    Args:
        cldice_weight: factor of the clDice term; 0 leaves it out.
        iterations: erosions of the soft skeleton; vessels wider than about twice as many pixels keep a thick skeleton.
    """

    def __init__(self, cldice_weight: float = 0.2, iterations: int = 5) -> None:
        super().__init__()
        self.dice_ce = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
        self.cldice = SoftclDiceLoss(iter_=iterations, smooth=1e-5, sigmoid=True)
        self.cldice_weight = cldice_weight

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """input: logits (N, 1, H, W); target: (N, 1, H, W) in {0, 1, UNKNOWN}; gives a scalar."""
        unknown = target == UNKNOWN
        # A sigmoid of -30 is 1e-13: nothing in any of the three terms, and the constant has no gradient.
        logits = torch.where(unknown, -30.0, input.float())
        truth = torch.where(unknown, 0.0, target.float())
        loss = self.dice_ce(logits, truth)
        if self.cldice_weight > 0:
            loss = loss + self.cldice_weight * self.cldice(logits, truth)
        return loss
