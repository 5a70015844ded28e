"""The network in TensorRT on one of NVIDIA's GPUs, by MONAI's ``trt_compile``. It has never been run: there was no
machine with a GPU and TensorRT.

Of what MONAI offers, ``bundle.trt_export`` and ``networks.utils.convert_to_trt`` leave the number of frames open only,
and need Torch-TensorRT's way by TorchScript. ``trt_compile`` leaves rows and columns open too, and loads a plan that is
kept.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...network.casrnet import CASRNet
from ...network.rewrite import rewritten
from ..threads import BATCH
from .engines import OPSET, TRACED
from .packages import require_runtime, runtime_package, runtime_versions
from .trial import RefusedError

__all__ = ["FORMATS", "TensorRTEngine", "compiling", "described"]

silent = logging.getLogger("casr_net.tensorrt")
silent.setLevel(logging.WARNING)  # not each step

FORMATS = {"auto": ("fp16", "fp32"), "bf16": ("bf16",), "fp32": ("fp32",)}
"""Number formats by the precision that is asked for; the first that passes the trial is taken."""

SMALLEST, LARGEST = 32, 2048
"""Pixels of the shortest side, and of the longest that a plan is made for; larger inputs are torch's."""

LEVEL = 3
"""How long the builder looks for the fastest kernels, 0 to 5: TensorRT's own default."""


def described(device: torch.device, number_format: str, side: int) -> dict[str, Any]:
    """What a plan hangs on beside the network: a GPU of that kind, TensorRT, the number format, the largest input."""
    major, minor = torch.cuda.get_device_capability(device)
    return {
        "gpu": torch.cuda.get_device_name(device), "capability": f"{major}.{minor}", "format": number_format,
        "side": side, "at once": BATCH, "level": LEVEL, "opset": OPSET, "versions": runtime_versions(["tensorrt"]),
    }  # fmt: skip


def compiling(number_format: str, name: str, channels: int, side: int) -> dict[str, Any]:
    """Arguments of MONAI's ``TrtCompiler``.

    Args:
        number_format: "fp32", "fp16" or "bf16".
        name: of the network's input.
        channels: of it.
        side: most pixels along rows and columns.
    """
    most = [BATCH, channels, side, side]
    return {
        "precision": number_format,
        "input_names": [name],
        "input_profiles": [{name: [[1, channels, SMALLEST, SMALLEST], most, most]}],
        # The exporter by tracing, as for the other runtimes.
        "export_args": {"dynamo": False, "opset_version": OPSET},
        "build_args": {"builder_optimization_level": LEVEL},
    }


class TensorRTEngine:
    """The network, compiled for all inputs up to a size. May be called by several threads: MONAI lets one in.

    Args:
        network: in evaluation mode.
        device: the GPU.
        number_format: "fp32", "fp16" or "bf16".
        channels: of the input.
        side: most pixels along rows and columns.
        plan: what :attr:`plan` was on a GPU of the same kind; empty: it is built, which takes minutes.

    Attributes:
        name: runtime and number format.
        plan: the compiled network.

    Raises:
        UsageError: without the packages.
        RefusedError: for inputs that are too large, or when MONAI compiles nothing.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, number_format: str, channels: int, side: int, plan: bytes = b""
    ) -> None:
        require_runtime("tensorrt")
        if side > LARGEST:
            raise RefusedError(f"the network's input has {side} pixels a side; {LARGEST} are possible")
        self.name, self._device, self._side = f"tensorrt {number_format}", device, side
        runtime_package("tensorrt", "tensorrt")  # broken ones are told; MONAI would pass them over
        runtime_package("tensorrt", "polygraphy")
        from monai.networks.trt_compiler import trt_compile
        from polygraphy.logger import G_LOGGER

        G_LOGGER.module_severity = G_LOGGER.ERROR  # it would print on standard output, as MONAI's own logger
        fast = rewritten(network, narrow=False) if type(network) is CASRNet else copy.deepcopy(network)
        (name, *_) = inspect.getfullargspec(fast.forward).args[1:]
        with tempfile.TemporaryDirectory(prefix="casr-") as folder:
            base = Path(folder) / "network"
            path = base.with_name("network.plan")  # as trt_compile names it
            if plan:
                path.write_bytes(plan)
            arguments = compiling(number_format, name, channels, side)
            compiled = trt_compile(fast.to(device), str(base), arguments, logger=silent)
            if not hasattr(compiled, "_trt_compiler"):
                raise RefusedError("MONAI finds no TensorRT, or no GPU for it")
            self._network = compiled
            # MONAI prints when it builds, where the worker says its messages; torch's exporter warns of what is meant.
            with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._run(torch.zeros(1, channels, *TRACED, device=device))
            self.plan = path.read_bytes()

    def takes(self, shape: torch.Size) -> bool:
        """Whether it was compiled for inputs (N, C, X, Y) of such a size."""
        return min(shape[2:]) >= SMALLEST and max(shape[2:]) <= self._side

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y) to logits of the same grid, float32, on the device of the inputs."""
        ready = inputs.to(self._device, torch.float32).contiguous()
        return torch.cat([self._run(part) for part in ready.split(BATCH)]).to(inputs.device)

    def _run(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), torch.cuda.device(self._device):
            logits: torch.Tensor = self._network(inputs)
        return logits.float().clone()  # the next call writes to the same place
