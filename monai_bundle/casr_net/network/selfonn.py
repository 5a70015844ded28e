"""Self-organised operational layer (generative neurons) as a drop-in for ``torch.nn.Conv2d``."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["SelfONN2d"]

NARROW = 32
"""Up to so many channels out, training on a CPU has a convolution a power. Our choice: joined powers take longer there,
as their gradients are slices of few channels; with more channels out, both take the same time."""


class SelfONN2d(nn.Module):
    """Two-dimensional Self-ONN layer: a convolution over the first ``q`` powers of its input.

    Every kernel element is a truncated Maclaurin series instead of one weight (Kiranyaz et al., "Self-Organized
    Operational Neural Networks with Generative Neurons", arXiv 2004.11778)::

        y = b + sum_{p=1..q} W_p * x^p

    Powers are multiplied up in at least single precision, also under autocast: ``x**q`` of a half-precision value
    overflows easily. Only training under autocast to bfloat16, which has the exponents of single precision, takes them
    in bfloat16, since it is faster. The caller bounds the input (tanh), since powers of unbounded activations do not
    train.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: edge length of the square kernel, in pixels.
        padding: zero padding on every side, in pixels.
        q: order of the series; ``q=1`` is exactly ``torch.nn.Conv2d``.
        bias: adds a learnable offset for each output channel.

    Raises:
        ValueError: when ``q`` or a channel count is below 1.

    Shape:
        input (N, in_channels, H, W), output (N, out_channels, H', W') with H' = H + 2 * padding - kernel_size + 1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, padding: int = 1, q: int = 3, bias: bool = True
    ) -> None:
        super().__init__()
        if q < 1:
            raise ValueError(f"Self-ONN order q is {q}; it must be at least 1.")
        if min(in_channels, out_channels) < 1:
            raise ValueError(f"Self-ONN channels are {in_channels} in, {out_channels} out; both must be at least 1.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding, self.q = kernel_size, padding, q
        # Input channels are ordered by power, [x | x^2 | ... | x^q], so that W_1 is a plain convolution kernel.
        self.weight = nn.Parameter(torch.empty(out_channels, q * in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform weights with tanh gain (5/3) and biases uniform within 1 / sqrt(fan in)."""
        nn.init.xavier_uniform_(self.weight, gain=nn.init.calculate_gain("tanh"))
        if self.bias is not None:
            bound = 1.0 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rounded = False
        if not torch.jit.is_scripting():
            # The convolution rounds to bfloat16 anyway, and in training its noise is far above that of two products.
            rounded = self.training and x.dtype == torch.bfloat16 and torch.is_autocast_enabled(x.device.type)
            if rounded and self.out_channels <= NARROW and x.device.type == "cpu":
                return self._summed(x)
        if not rounded and (x.dtype == torch.float16 or x.dtype == torch.bfloat16):
            x = x.float()
        powers = [x]
        for _ in range(self.q - 1):
            powers.append(powers[-1] * x)
        return F.conv2d(torch.cat(powers, dim=1), self.weight, self.bias, padding=self.padding)

    def _summed(self, x: torch.Tensor) -> torch.Tensor:
        """The layer as one convolution a power, whose results are summed."""
        power, total = x, torch.zeros(())
        for i, kernel in enumerate(self.weight.split(self.in_channels, dim=1)):
            power = power * x if i else x
            result = F.conv2d(power, kernel, None if i else self.bias, padding=self.padding)
            total = total + result if i else result
        return total

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, q={self.q}"
