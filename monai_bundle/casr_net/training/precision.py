"""Number format and memory layout of training: bfloat16 where the machine computes in it, channels last."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SimpleInferer
from torch import nn

from ..errors import UsageError

__all__ = ["PrecisionInferer", "place_network", "uses_bfloat16"]

PRECISIONS = ("auto", "fp32", "bf16")


def uses_bfloat16(precision: str = "auto", device: torch.device | str = "cpu") -> bool:
    """Whether the network runs under autocast to bfloat16.

    On CPUs "auto" asks for the AVX512-BF16 instructions: oneDNN's own test also says yes where they are emulated, and
    there bfloat16 is several times slower than single precision.

    Args:
        precision: "auto" (where the hardware has it), "fp32" (never) or "bf16" (always).
        device: where the network runs.

    Raises:
        UsageError: for another precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; known are {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return precision == "bf16"
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and torch.cpu._is_avx512_bf16_supported()


class PrecisionInferer(SimpleInferer):
    """MONAI's plain inferer under ``torch.autocast`` to bfloat16, where :func:`uses_bfloat16` says so.

    MONAI's own ``amp`` is ``autocast("cuda")``, in trainer and evaluator, and does nothing on a CPU. The result is
    single precision in any case, so that the loss is computed in it. bfloat16 has the exponents of single precision:
    no gradient scaler is needed.

    Args:
        precision, device: as of :func:`uses_bfloat16`.
    """

    def __init__(self, precision: str = "auto", device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.bfloat16, self.kind = uses_bfloat16(precision, device), torch.device(device).type

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.autocast(self.kind, torch.bfloat16, enabled=self.bfloat16):
            return super().__call__(inputs, network, *args, **kwargs).float()


def place_network(network: nn.Module, device: torch.device | str = "cpu", channels_last: bool = True) -> nn.Module:
    """Move a network to a device, in place, with its kernels stored channels last.

    Convolutions then work channels last throughout, which is faster on CPUs (``experiments/training_speed.py``).

    Returns:
        the network itself.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return network.to(device=torch.device(device), memory_format=layout)  # type: ignore[call-overload]
