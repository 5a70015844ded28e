"""The same function with fewer operations, for inference: exact up to rounding.

BatchNorm is folded into the convolution before it. In the decoder the powers are taken before the nearest upsampling,
with which they commute. The convolution over the concatenation is split into one over what comes from below and one
over the skip, which are summed. "Nearest x2, then 3 x 3" becomes one transposed 4 x 4 convolution of stride 2, with 4
in place of 9 products a pixel.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .casrnet import CASRNet
from .encoders import _SameConv2d
from .selfonn import SelfONN2d

__all__ = ["rewritten"]

# Which of the three taps of a row meet the same source pixel, by the place in the transposed kernel.
_TAPS = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def rewritten(network: CASRNet) -> CASRNet:
    """A copy of a network for inference; weights are no parameters of its decoder's blocks that could be loaded.

    Args:
        network: in evaluation mode; it is left as it is.
    """
    copied = copy.deepcopy(network).eval()
    with torch.no_grad():
        for module in list(copied.modules()):
            if isinstance(module, nn.Sequential):
                _fold(module)
        width = copied.encoder.channels[-1]
        blocks = []
        for block in copied.decoder:
            first, second = block.layers[0], block.layers[3]  # type: ignore[index]
            assert isinstance(first, SelfONN2d) and isinstance(second, SelfONN2d)
            blocks.append(_SplitBlock(first, second, width))
            width = first.out_channels
        copied.decoder = nn.ModuleList(blocks)
    return copied


def _fold(layers: nn.Sequential) -> None:
    """BatchNorm into the convolution before it, in place."""
    for name, following in itertools.pairwise(list(layers._modules)):
        layer, norm = layers._modules[name], layers._modules[following]
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(layer, (nn.Conv2d, SelfONN2d)):
            continue
        assert norm.running_mean is not None and norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        if isinstance(layer, _SameConv2d):
            layers._modules[name] = _padded(layer, weight, bias)
        else:
            layer.weight, layer.bias = weight, bias
        layers._modules[following] = nn.Identity()


def _padded(layer: _SameConv2d, weight: nn.Parameter, bias: nn.Parameter) -> nn.Module:
    symmetric = layer.before == layer.after
    size, stride = ((sides[0], sides[1]) for sides in (layer.kernel_size, layer.stride))
    convolution = nn.Conv2d(
        layer.in_channels, layer.out_channels, size, stride, layer.before if symmetric else 0, groups=layer.groups
    )
    convolution.weight, convolution.bias = weight, bias
    if symmetric:
        return convolution
    return nn.Sequential(nn.ZeroPad2d((layer.before, layer.after, layer.before, layer.after)), convolution)


class _SplitBlock(nn.Module):
    """A decoder block whose convolutions are folded already; ``width`` channels come from below."""

    def __init__(self, first: SelfONN2d, second: SelfONN2d, width: int) -> None:
        super().__init__()
        self.q, self.second, self.bias = first.q, second, first.bias
        self.padding = second.padding
        kernels = first.weight.detach().reshape(first.out_channels, first.q, first.in_channels, 3, 3)
        below = torch.einsum("ay,oqcyx,bx->qcoab", _TAPS, kernels[:, :, :width], _TAPS)
        self.below = nn.Parameter(below.reshape(-1, first.out_channels, 4, 4).contiguous(), requires_grad=False)
        beside = kernels[:, :, width:].reshape(first.out_channels, -1, 3, 3).contiguous()
        self.beside = nn.Parameter(beside, requires_grad=False)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        y = F.conv_transpose2d(_powers(x, self.q), self.below, self.bias, stride=2, padding=1)
        if skip is not None:
            y = y + F.conv2d(_powers(skip, self.q), self.beside, padding=1)
        y = torch.tanh(y)
        return torch.tanh(F.conv2d(_powers(y, self.q), self.second.weight, self.second.bias, padding=self.padding))


def _powers(x: torch.Tensor, q: int) -> torch.Tensor:
    """The powers 1 to q, one after the other along the channels: the largest tensors of all, so that each is written to
    its place at once, in the type that the convolution is computed in."""
    if x.dtype == torch.float16 or x.dtype == torch.bfloat16:
        x = x.float()
    if torch.jit.is_tracing():
        powers = [x]
        for _ in range(q - 1):
            powers.append(powers[-1] * x)
        return torch.cat(powers, dim=1)
    device = x.device.type
    last = x.is_contiguous(memory_format=torch.channels_last)
    found = torch.empty(
        (x.shape[0], q * x.shape[1], *x.shape[2:]), device=x.device,
        dtype=torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )  # fmt: skip
    parts, power = found.chunk(q, dim=1), x
    parts[0].copy_(x)
    for before, part in itertools.pairwise(parts):
        if part.dtype == x.dtype:
            torch.mul(before, x, out=part)
        else:
            power = power * x
            part.copy_(power)
    return found
