"""From a network to the engine that computes it: chosen, converted, tried, kept as long as the weights are the same."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import weakref
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import __version__
from ...errors import CASRError, UsageError
from ...network.casrnet import CASRNet
from ...network.rewrite import rewritten
from ...network.weights import state_digest
from ...training.precision import uses_bfloat16
from ..provenance import describe
from .choice import as_record, fastest, measure, read_record
from .engines import Engine, OnnxEngine, OpenVINOEngine, TorchEngine, as_onnx
from .machine import machine
from .packages import installed_runtimes, require_runtime, runtime_versions
from .store import Store, store_folder
from .trial import RefusedError, packed_mask, sample_input, try_engine

__all__ = ["Runtimes"]

logger = logging.getLogger("casr_net")

REWRITING = 2
"""Number of the way from a network to what is converted; files of another one are made anew."""

VARIABLE = "CASR_RUNTIME"
"""Environment variable with the runtime that "auto" stands for, where it is set."""


class Runtimes:
    """Prepares networks for one runtime.

    Args:
        runtime: "torch", "onnx", "openvino", or "auto": the fastest of those that are installed, measured once on a
            machine.
        weights: file beside which converted networks are kept.
        channels: preprocessing of an image, for the shipped sample on which each runtime is tried.
        precision: "fp32", "bf16", or "auto": bfloat16 where the CPU computes in it.

    Raises:
        UsageError: for a runtime or precision that is not known, or whose packages are missing.
    """

    def __init__(
        self,
        runtime: str = "auto",
        weights: str | Path | None = None,
        channels: Callable[[dict[str, Any]], dict[Any, Any]] | None = None,
        precision: str = "auto",
    ) -> None:
        if runtime == "auto":
            runtime = os.environ.get(VARIABLE) or "auto"
        if runtime != "auto":
            require_runtime(runtime)
        self._runtime, self._channels = runtime, channels
        # Where bfloat16 was not asked for, single precision stands in for one that is refused.
        self._formats = (
            [True, False] if uses_bfloat16(precision) and precision == "auto" else [uses_bfloat16(precision)]
        )
        self._store = Store(store_folder(weights))
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._network: weakref.ref[nn.Module] | None = None
        self._state: tuple[int, ...] = ()

    @property
    def used(self) -> str:
        """Runtime and number format of the network that was prepared last; empty before."""
        return self._engine.name if self._engine is not None else ""

    @property
    def store(self) -> Store:
        """Where converted networks are kept."""
        return self._store

    def engine(self, network: nn.Module) -> Engine | None:
        """The engine of a network on the CPU; None for one that must run as it is, as it is in part in training or
        watched by hooks.

        Raises:
            UsageError: when the runtime that was asked for is refused.
        """
        modules = list(network.modules())
        if any(module.training or module._forward_hooks or module._forward_pre_hooks for module in modules):
            return None
        state = _state(network)
        with self._lock:
            if self._engine is None or self._network is None or self._network() is not network or self._state != state:
                self._engine = None
                self._engine = self._prepare(network)
                self._network, self._state = weakref.ref(network), _state(network)
            return self._engine

    def _prepare(self, network: nn.Module) -> Engine:
        return _Preparation(network, self._store, self._channels, self._formats).engine(self._runtime)


class _Preparation:
    """The way of one network to its engine."""

    def __init__(self, network: nn.Module, store: Store, channels: Any, formats: list[bool]) -> None:
        self.network, self.store, self.channels, self.formats = network, store, channels, formats
        settings = json.dumps(getattr(network, "settings", {}), sort_keys=True, default=str)
        text = f"{type(network).__qualname__} {settings} {state_digest(network.state_dict())}"
        self.about = {
            "network": hashlib.sha256(text.encode()).hexdigest(), "casr-net": __version__, "rewriting": REWRITING
        }  # fmt: skip
        self._sample: torch.Tensor | None = None
        self._fast: nn.Module | None = None
        self._reference = b""

    def engine(self, runtime: str) -> Engine:
        if runtime == "auto":
            return self._automatic()
        try:
            return self._tried(runtime)
        except RefusedError as error:
            raise UsageError(f"runtime {runtime!r} is refused: {error}.") from error

    def _automatic(self) -> Engine:
        names = installed_runtimes()
        about = {
            **self.about, "machine": machine(), "formats": self.formats, "versions": runtime_versions(names)
        }  # fmt: skip
        ready: dict[str, Engine] = {}
        chosen = "torch"
        if len(names) > 1:
            chosen = read_record(self.store.get("choice", about, lambda: self._compare(names, ready)))
        try:
            return ready.get(chosen) or self.engine(chosen)
        except UsageError as error:
            logger.warning("%s torch in single precision is used.", error)
            return TorchEngine(self.network)

    def _compare(self, names: list[str], ready: dict[str, Engine]) -> bytes:
        """Build and try each runtime, and take the fastest; ``ready`` gets those that are usable."""
        for name in names:
            try:
                ready[name] = self._tried(name)
            except (RefusedError, CASRError) as error:
                logger.warning("runtime %r is not used: %s.", name, str(error).rstrip("."))
        if "torch" not in ready:
            ready["torch"] = TorchEngine(self.network)
        if len(ready) == 1:
            return as_record("torch", {})
        times = measure(ready, self.sample)
        chosen = fastest(times)
        listed = ", ".join(f"{ready[name].name} {value:g}" for name, value in times.items())
        logger.info(
            "runtime: %s, measured on this machine (ms a frame: %s); kept in %s.",
            ready[chosen].name, listed, self.store.folder,
        )  # fmt: skip
        return as_record(chosen, times)

    def _tried(self, runtime: str) -> Engine:
        """The engine of a runtime, in the first number format that passes the trial."""
        refusal = RefusedError("no number format is allowed")
        for bfloat16 in self.formats:
            try:
                engine = self._built(runtime, bfloat16)
                if runtime != "torch" or bfloat16:  # torch in single precision is what the others are held against
                    try_engine(engine, self.sample, self.reference)
                return engine
            except RefusedError as error:
                refusal = error
                if bfloat16 and len(self.formats) > 1:
                    logger.warning("runtime %r in bfloat16 is refused: %s.", runtime, error)
        raise refusal

    def _built(self, runtime: str, bfloat16: bool) -> Engine:
        if runtime == "torch":
            return TorchEngine(self.fast, bfloat16)
        try:
            about = {**self.about, "torch": torch.__version__, "onnx": version("onnx")}
            model = self.store.get("onnx", about, lambda: as_onnx(self.fast, self.sample.shape[1]))
            if runtime == "onnx":
                return OnnxEngine(model)
            return OpenVINOEngine(model, bfloat16)
        except (CASRError, RefusedError):
            raise
        except Exception as error:  # what a converter or a runtime raises for a network that it does not know
            reason = " ".join(str(error).split())[:160]
            raise RefusedError(f"the network cannot be converted ({reason or type(error).__name__})") from error

    @property
    def fast(self) -> nn.Module:
        """The network with fewer operations, where we know how to make it."""
        if self._fast is None:
            self._fast = rewritten(self.network) if type(self.network) is CASRNet else self.network
        return self._fast

    @property
    def sample(self) -> torch.Tensor:
        if self._sample is None:
            if self.channels is None:
                raise RefusedError("there is no preprocessing for the sample on which it is tried")
            self._sample = sample_input(self.channels)
        return self._sample

    @property
    def reference(self) -> bytes:
        """Mask of the sample by torch in single precision; kept, since it takes as long as a frame."""
        if not self._reference:
            about = {**self.about, "preprocessing": describe(self.channels), "torch": torch.__version__}
            self._reference = self.store.get(
                "sample", about, lambda: packed_mask(TorchEngine(self.network)(self.sample))
            )
        return self._reference


def _state(network: nn.Module) -> tuple[int, ...]:
    """Changes whenever weights are replaced, or changed in place."""
    found: list[int] = []
    for tensor in (*network.parameters(), *network.buffers()):
        found += (tensor.data_ptr(), tensor._version)
    return tuple(found)
