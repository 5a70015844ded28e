"""torch on a GPU: half precision where the GPU computes in it."""

from __future__ import annotations

import logging
from typing import Any

import torch

from ...errors import UsageError

__all__ = ["GpuEngine", "gpu_format"]

logger = logging.getLogger("casr_net")

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

TENSOR_CORES = (7, 0)
"""Compute capability from which CUDA's GPUs multiply float16 faster than single precision (Volta)."""


def gpu_format(precision: str, device: torch.device) -> torch.dtype:
    """Number format of products; sums and what is stored stay in single precision.

    Args:
        precision: "fp32", "bf16", or "auto": bfloat16, else float16, where the GPU is made for it.
        device: a GPU.

    Raises:
        UsageError: for "int8".
    """
    if precision == "int8":
        raise UsageError(f"precision 'int8' is for the CPU, not for {device}; use device cpu.")
    if precision == "bf16":
        return torch.bfloat16
    if precision == "auto" and device.type == "cuda":
        with torch.cuda.device(device):
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return torch.bfloat16
        if torch.cuda.get_device_capability(device) >= TENSOR_CORES:
            return torch.float16
    return torch.float32


class GpuEngine:
    """A network as it is, under autocast.

    Args:
        precision: as of :func:`gpu_format`.

    Attributes:
        used: "torch" and the number format; empty before the first call.
    """

    def __init__(self, precision: str) -> None:
        self._precision, self.used = precision, ""
        self._formats: dict[torch.device, torch.dtype] = {}

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(N, C, X, Y) to logits, float32. Where they are not finite in half precision, single precision takes over."""
        kind = self._formats.get(inputs.device)
        if kind is None:
            kind = self._formats[inputs.device] = gpu_format(self._precision, inputs.device)
        logits = self._run(kind, inputs, network, *args, **kwargs)
        if kind != torch.float32 and not torch.isfinite(logits).all():
            logger.warning(
                "%s: the network overflows in %s; single precision is used.", inputs.device, NAMES[kind]
            )  # fmt: skip
            kind = self._formats[inputs.device] = torch.float32
            logits = self._run(kind, inputs, network, *args, **kwargs)
        self.used = f"torch {NAMES[kind]}"
        return logits

    def _run(self, kind: torch.dtype, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if kind == torch.float32:
            return network(inputs, *args, **kwargs)
        # Convolutions in half precision are made for channels last.
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, kind):
            logits: torch.Tensor = network(inputs, *args, **kwargs)
        return logits.float()
