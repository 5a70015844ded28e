"""One network in one runtime on the CPU: tensors in, logits out. Those of ONNX Runtime and OpenVINO do without torch,
which takes longer to import than a frame: from array to array."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..threads import current_shares
from .buffers import keep_buffers
from .graphs import suited
from .packages import runtime_package

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Engine", "OnnxEngine", "OpenVINOEngine", "TorchEngine", "as_onnx"]

SHAPES = 4
"""Sizes of input that stay compiled in OpenVINO. Our choice: a cine has one, a folder of images few."""

OPSET = 17
TRACED = (64, 96)
"""Rows and columns of the input that the network is traced with; other sizes are left open."""


class Engine(Protocol):
    """A network in a runtime. May be called by several threads at once.

    Attributes:
        name: of runtime and number format, such as "openvino bf16"; "int8+bf16" is 8 bits with bfloat16 where they are
            not used.
    """

    name: str

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y), float32 on the CPU, to logits of the same grid, float32."""


class TorchEngine:
    """torch itself, channels last, on request under autocast to bfloat16. The process keeps its large buffers.

    Args:
        network: in evaluation mode; its kernels are stored channels last from then on, which changes no value.
        bfloat16: products in bfloat16, sums in single precision.
    """

    def __init__(self, network: nn.Module, bfloat16: bool = False) -> None:
        import torch

        keep_buffers()
        self.name = f"torch {'bf16' if bfloat16 else 'fp32'}"
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._bfloat16 = bfloat16

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            logits = self._network(inputs.contiguous(memory_format=torch.channels_last))
        # A copy is no inference tensor: what follows may change it in place.
        return logits.to(torch.float32, memory_format=torch.contiguous_format, copy=True)


class OnnxEngine:
    """ONNX Runtime in single precision.

    Args:
        model: a file as :func:`as_onnx` makes it.

    Raises:
        UsageError: without the packages.
    """

    def __init__(self, model: bytes) -> None:
        self.name = "onnx fp32"
        self._runtime = runtime_package("onnx", "onnxruntime")
        self._model = model
        self._sessions: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._session(current_shares().each)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        return _through(self.run, inputs)

    def run(self, array: np.ndarray) -> np.ndarray:
        """As a call does, float32 (N, C, X, Y) to logits."""
        session = self._session(current_shares().each)
        return np.asarray(session.run(None, {session.get_inputs()[0].name: array})[0])

    def _session(self, threads: int) -> Any:
        with self._lock:
            if threads not in self._sessions:
                options = self._runtime.SessionOptions()
                options.intra_op_num_threads = threads
                options.log_severity_level = 3  # errors
                options.enable_mem_pattern = (
                    False  # for one size of input; without it, a frame takes a fifth less memory
                )
                made = self._runtime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
                self._sessions[threads] = made
            return self._sessions[threads]


_beginning, _begun = threading.Lock(), threading.Event()
"""The first inference of a process has OpenVINO for itself. Its Python binding (2026.4.1) fills a table of number types
in the first, lets go of the interpreter meanwhile, and a second thread that needs the table then waits for it with the
interpreter in its hands: both wait for ever."""


class OpenVINOEngine:
    """OpenVINO, compiled for each size of input and number of frames at once.

    Args:
        model: a file as :func:`as_onnx` makes it, or the ``.xml`` of a network in 8 bits.
        bfloat16: number format. It is stated in any case, since OpenVINO takes bfloat16 by itself where the CPU has it.
        weights: the ``.bin`` of a network in 8 bits, whose other layers compute in the number format.

    Raises:
        UsageError: without the packages.
    """

    def __init__(self, model: bytes, bfloat16: bool = False, weights: bytes = b"") -> None:
        numbers = "bf16" if bfloat16 else "fp32"
        if weights:
            numbers = "int8+bf16" if bfloat16 else "int8"
        self.name = f"openvino {numbers}"
        runtime = runtime_package("openvino", "openvino")
        self._core = runtime.Core()
        self._model = suited(self._core.read_model(model, weights))
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "ENABLE_CPU_PINNING": False,  # the processors are not ours alone
        }
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._requests = threading.local()

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        return _through(self.run, inputs)

    def run(self, array: np.ndarray) -> np.ndarray:
        """As a call does, float32 (N, C, X, Y) to logits."""
        if not _begun.is_set():
            with _beginning:
                if not _begun.is_set():
                    found = self._inferred(array)
                    _begun.set()
                    return found
        return self._inferred(array)

    def _inferred(self, array: np.ndarray) -> np.ndarray:
        return np.array(self._request(array.shape).infer({0: array}, share_inputs=True)[0])

    def _request(self, shape: tuple[int, ...]) -> Any:
        """A request holds buffers, so that each thread has its own."""
        shares = current_shares()
        key = (*shape, shares.total, shares.requests)
        with self._lock:
            compiled = self._compiled.get(key)
            if compiled is None:
                model = self._model.clone()
                model.reshape(list(shape))
                settings = {
                    **self._settings, "INFERENCE_NUM_THREADS": shares.total, "NUM_STREAMS": shares.requests
                }  # fmt: skip
                compiled = self._compiled[key] = self._core.compile_model(model, "CPU", settings)
            self._compiled.move_to_end(key)
            while len(self._compiled) > SHAPES:
                self._compiled.popitem(last=False)
        if getattr(self._requests, "of", None) is not compiled:
            self._requests.of, self._requests.request = compiled, compiled.create_infer_request()
        return self._requests.request


def _through(run: Callable[[np.ndarray], np.ndarray], inputs: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.from_numpy(run(np.ascontiguousarray(inputs.detach().numpy(), np.float32)))


def as_onnx(network: nn.Module, channels: int) -> bytes:
    """The network as an ONNX file whose batch, rows and columns are open.

    torch's exporter by tracing is taken: the one by ``torch.export`` needs ten times as long for the same file.

    Args:
        network: in evaluation mode.
        channels: of its input.
    """
    import torch

    example = torch.zeros(1, channels, *TRACED)
    open_sizes = {0: "batch", 2: "x", 3: "y"}
    with tempfile.TemporaryDirectory(prefix="casr-") as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")  # deprecations of the exporter, and constants that are meant to be constant
        torch.onnx.export(
            network, (example,), path, dynamo=False, opset_version=OPSET, input_names=["image"],
            output_names=["logits"], dynamic_axes={"image": open_sizes, "logits": open_sizes},
        )  # fmt: skip
        return path.read_bytes()
