"""A network on a GPU: by torch, in half precision where the GPU computes in it, or by TensorRT."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from torch import nn

from ...errors import UsageError
from .compiled import CompiledNetwork
from .networks import must_stay, network_state
from .packages import installed_runtimes, require_runtime, wanted_runtime
from .store import Store, store_folder
from .tensorrt import TensorRTEngine

__all__ = ["GpuEngine", "gpu_format"]

logger = logging.getLogger("casr_net")

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

TENSOR_CORES = (7, 0)
"""Compute capability from which CUDA's GPUs multiply float16 faster than single precision (Volta)."""


def gpu_format(precision: str, device: torch.device) -> torch.dtype:
    """Number format of torch's products; sums and what is stored stay in single precision.

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
    """A network as it is, under autocast, or one that TensorRT has compiled.

    Args:
        precision: as of :func:`gpu_format`; TensorRT takes float16 for "auto".
        runtime: "torch", "tensorrt", or "auto": the faster of the two where TensorRT is installed, measured once on a
            kind of GPU. Others, which run on the CPU, are torch here.
        weights: file beside which compiled networks are kept.
        channels: preprocessing of an image, for the shipped sample on which TensorRT is tried.

    Attributes:
        used: runtime and number format; empty before the first call.

    Raises:
        UsageError: when packages of the runtime are missing.
    """

    def __init__(
        self,
        precision: str,
        runtime: str = "torch",
        weights: str | Path | None = None,
        channels: Callable[[dict[str, Any]], dict[Any, Any]] | None = None,
    ) -> None:
        self._precision, self.used = precision, ""
        self._formats: dict[torch.device, torch.dtype] = {}
        self._runtime = wanted_runtime(runtime, gpu=True)
        if self._runtime == "tensorrt":
            require_runtime("tensorrt")
        # Whether TensorRT may compute; looked for once.
        self._tensorrt = self._runtime in ("auto", "tensorrt") and "tensorrt" in installed_runtimes(gpu=True)
        self._channels, self._store = channels, Store(store_folder(weights))
        self._lock = threading.Lock()
        self._compiled: dict[torch.device, TensorRTEngine | None] = {}
        self._network: weakref.ref[nn.Module] | None = None
        self._state: tuple[int, ...] = ()

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(N, C, X, Y) to logits, float32. Where they are not finite in half precision, single precision takes over."""
        device = inputs.device
        compiled = None if args or kwargs else self._by_tensorrt(network, device)
        if compiled is not None and compiled.takes(inputs.shape):
            logits = compiled(inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs)
            if torch.isfinite(logits).all():
                self.used = compiled.name
                return MetaTensor(logits, meta=inputs.meta) if isinstance(inputs, MetaTensor) else logits
            logger.warning("%s: the network overflows in %s; torch takes over.", device, compiled.name)
            self._compiled[device] = None
        return self._by_torch(inputs, network, *args, **kwargs)

    def _by_torch(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        device = inputs.device
        kind = self._formats.get(device)
        if kind is None:
            kind = self._formats[device] = gpu_format(self._precision, device)
        logits = self._run(kind, inputs, network, *args, **kwargs)
        if kind != torch.float32 and not torch.isfinite(logits).all():
            logger.warning("%s: the network overflows in %s; single precision is used.", device, NAMES[kind])
            kind = self._formats[device] = torch.float32
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

    def _by_tensorrt(self, network: Any, device: torch.device) -> TensorRTEngine | None:
        """The compiled network; None where torch is to compute it."""
        if not self._tensorrt or device.type != "cuda" or not isinstance(network, nn.Module) or must_stay(network):
            return None
        gpu_format(self._precision, device)  # refuses 8 bits
        state = network_state(network)
        with self._lock:
            if self._network is None or self._network() is not network or self._state != state:
                self._compiled.clear()
                self._network, self._state = weakref.ref(network), state
            if device not in self._compiled:
                made = CompiledNetwork(network, device, self._precision, self._store, self._channels)
                self._compiled[device] = (
                    made.engine() if self._runtime == "tensorrt" else made.if_faster(self._by_torch)
                )
            return self._compiled[device]
