"""Training loss: region overlap, cross-entropy and centreline continuity."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from monai.losses.cldice import soft_skel
from torch import nn

__all__ = ["SKELETON", "UNKNOWN", "DiceCEclDiceLoss"]

#: value of a label's pixel that lies on the vessels' tubed skeleton (:class:`MarkSkeletond`)
SKELETON = 2
#: value of a label's pixel of which nothing is known
UNKNOWN = 255


class DiceCEclDiceLoss(nn.Module):
    """``Dice + cross-entropy + weight * soft clDice + weight * skeleton recall`` of one-channel logits.

    Sum of MONAI's ``DiceCELoss`` (Dice over the pixels of the whole batch, as in the paper's group's code) and
    soft clDice (Shit et al., CVPR 2021, arXiv 2003.07311, equation 3; mean over the images), as MONAI's
    ``SoftclDiceLoss`` computes it. The paper does not state its loss; both the sum and the weights are our choice.

    Skeleton Recall (Kirchhoff et al., ECCV 2024, arXiv 2404.03010, equation 4) is one less the share of the label's
    tubed skeleton that the prediction covers, over the whole batch; its authors add it with weight 1. The skeleton is
    made with the label, on the CPU, once a crop: it costs the loss one product in place of the soft skeletons of
    clDice. It needs labels with :data:`SKELETON`.

    Pixels whose target is :data:`UNKNOWN` say nothing: they count as background that the network has found, and
    have no gradient.

    Args:
        cldice_weight: factor of the clDice term; 0 leaves it out.
        iterations: erosions of the soft skeleton; vessels wider than about twice as many pixels keep a thick skeleton.
        skeleton_weight: factor of the Skeleton Recall term; 0 leaves it out.
    """

    def __init__(self, cldice_weight: float = 0.2, iterations: int = 5, skeleton_weight: float = 0.0) -> None:
        super().__init__()
        self.dice_ce = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
        self.iterations = iterations
        self.cldice_weight, self.skeleton_weight = cldice_weight, skeleton_weight

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """input: logits (N, 1, H, W); target: (N, 1, H, W) in {0, 1, SKELETON, UNKNOWN}; gives a scalar."""
        unknown = target == UNKNOWN
        # A sigmoid of -30 is 1e-13: nothing in any of the three terms, and the constant has no gradient.
        logits = torch.where(unknown, -30.0, input.float())
        truth = torch.where(unknown, 0.0, (target > 0).float())
        loss = self.dice_ce(logits, truth)
        if self.cldice_weight > 0:
            loss = loss + self.cldice_weight * self._cldice(torch.sigmoid(logits), truth)
        if self.skeleton_weight > 0:
            skeleton = (target == SKELETON).float()
            recall = ((torch.sigmoid(logits) * skeleton).sum() + 1) / (skeleton.sum() + 1)
            loss = loss + self.skeleton_weight * (1 - recall)
        return loss

    def _cldice(self, probability: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """``SoftclDiceLoss`` of MONAI; the skeletons of all images are made at once."""
        skeleton, true_skeleton = self._skeleton(probability), self._skeleton(truth)
        precision = _covered(truth, skeleton)
        sensitivity = _covered(probability, true_skeleton)
        return 1 - (2 * precision * sensitivity / (precision + sensitivity + 1e-5)).mean()

    def _skeleton(self, image: torch.Tensor) -> torch.Tensor:
        # On CPUs, pooling channels last takes a fraction of the time of one channel, and treats them one by one.
        stacked = image.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        return soft_skel(stacked, self.iterations).transpose(0, 1)


def _covered(region: torch.Tensor, skeleton: torch.Tensor) -> torch.Tensor:
    """Share of each image's skeleton that lies in the region, smoothed by one pixel: (N)."""
    axes = (1, 2, 3)
    return ((region * skeleton).sum(axes) + 1) / (skeleton.sum(axes) + 1)
