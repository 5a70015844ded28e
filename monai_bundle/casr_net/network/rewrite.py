"""The same function with fewer operations, for inference: exact up to rounding.

BatchNorm is folded into the convolution before it. In the decoder the powers are taken before the nearest upsampling,
with which they commute. The convolution over the concatenation is split into one over what comes from below and one
over the skip, which are summed. "Nearest x2, then 3 x 3" becomes one transposed 4 x 4 convolution of stride 2, with 4
in place of 9 products a pixel.

Layers of few channels are written so that vectors are full and large tensors are not copied, see experiments/narrow.py:
powers go into a convolution each, whose results are summed, in place of being joined before one; the transposed
convolution is one of 2 x 2 with four times the channels, whose pixels are put in order afterwards; the head gives 2 x 2
pixels at once.
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

NARROW = 32
"""Up to so many channels out, powers are not joined. Our choice: above it, that takes less than more convolutions."""

VECTOR = 16
"""Numbers of single precision in a vector of AVX-512; transposed convolutions whose channels do not fill them are
written as convolutions."""

# Which of the three taps of a row meet the same source pixel, by the place in the transposed kernel.
_TAPS = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def rewritten(network: CASRNet, narrow: bool = True) -> CASRNet:
    """A copy of a network for inference; weights are no parameters of its decoder's blocks that could be loaded.

    Args:
        network: in evaluation mode; it is left as it is.
        narrow: whether layers of few channels are written for the vectors of a CPU, which takes a few more products.
            Without it the network has the fewest, and the form that is put into 8 bits.
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
            blocks.append(_SplitBlock(first, second, width, narrow))
            width = first.out_channels
        copied.decoder = nn.ModuleList(blocks)
        if narrow:
            copied.add_module("head", _BlockHead(copied.head))
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

    def __init__(self, first: SelfONN2d, second: SelfONN2d, width: int, narrow: bool) -> None:
        super().__init__()
        self.q, self.second, self.bias = first.q, second, first.bias
        self.padding = second.padding
        self.shuffled = narrow and first.out_channels % VECTOR > 0
        self.apart = narrow and first.out_channels <= NARROW
        kernels = first.weight.detach().reshape(first.out_channels, first.q, first.in_channels, 3, 3)
        below = torch.einsum("ay,oqcyx,bx->qcoab", _TAPS, kernels[:, :, :width], _TAPS)
        below = below.reshape(-1, first.out_channels, 4, 4)
        if self.shuffled:
            below = _as_convolution(below)
            assert first.bias is not None
            self.bias = nn.Parameter(first.bias.detach().repeat_interleave(4), requires_grad=False)
        self.below = nn.Parameter(below.contiguous(), requires_grad=False)
        beside = kernels[:, :, width:].reshape(first.out_channels, -1, 3, 3).contiguous()
        self.beside = nn.Parameter(beside, requires_grad=False)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        if self.shuffled:
            y = F.conv2d(_powers(x, self.q), self.below, self.bias, padding=1)
            y = F.pixel_shuffle(y, 2)[:, :, 1:-1, 1:-1]
        else:
            y = F.conv_transpose2d(_powers(x, self.q), self.below, self.bias, stride=2, padding=1)
        if skip is not None:
            y = y + self._of_powers(skip, self.beside, None)
        return torch.tanh(self._of_powers(torch.tanh(y), self.second.weight, self.second.bias))

    def _of_powers(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The 3 x 3 convolution of the powers of x."""
        if not self.apart:
            return F.conv2d(_powers(x, self.q), weight, bias, padding=self.padding)
        x = _exact(x)
        first, *further = weight.chunk(self.q, dim=1)
        found, power = F.conv2d(x, first, bias, padding=self.padding), x
        for part in further:
            power = power * x
            found = found + F.conv2d(power, part, padding=self.padding)
        return found


def _as_convolution(kernel: torch.Tensor) -> torch.Tensor:
    """Kernel (4 O, I, 2, 2) of the convolution with padding 1 whose result, with pixels shuffled and a pixel cut off at
    each side, is that of the transposed one of kernel (I, O, 4, 4), stride 2 and padding 1."""
    # Output row r is row r + 1 of the shuffled one, 2 i + a. Its two products are with rows i - 1 and i of the input,
    # by rows 2 + a and a of the kernel.
    rows = torch.stack((kernel[:, :, 2:], kernel[:, :, :2]), dim=3)
    taps = torch.stack((rows[..., 2:], rows[..., :2]), dim=5)  # I, O, a, row, b, column
    return taps.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)


class _BlockHead(nn.Module):
    """A 3 x 3 convolution that gives 2 x 2 pixels at once."""

    def __init__(self, head: nn.Conv2d) -> None:
        super().__init__()
        kernel = torch.zeros(head.out_channels, 2, 2, head.in_channels, 4, 4)
        for row, column in itertools.product(range(2), range(2)):
            kernel[:, row, column, :, row : row + 3, column : column + 3] = head.weight.detach()
        self.weight = nn.Parameter(kernel.flatten(0, 2), requires_grad=False)
        assert head.bias is not None
        self.bias = nn.Parameter(head.bias.detach().repeat_interleave(4), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, stride=2, padding=1), 2)


def _exact(x: torch.Tensor) -> torch.Tensor:
    """In single precision, so that powers are rounded once, where they enter a convolution."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x


def _powers(x: torch.Tensor, q: int) -> torch.Tensor:
    """The powers 1 to q, one after the other along the channels: the largest tensors of all, so that each is written to
    its place at once, in the type that the convolution is computed in."""
    x = _exact(x)
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
