"""From a network to the engine that computes it: chosen, converted, tried, kept as long as the weights are the same."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import CASRError, DataError, UsageError
from ...network.casrnet import CASRNet
from ...network.rewrite import rewritten
from ...training.precision import uses_bfloat16
from ..provenance import describe
from .buffers import return_memory
from .choice import INT8, as_record, chained, fastest, measure, read_record
from .engines import Engine, OnnxEngine, OpenVINOEngine, TorchEngine, as_onnx
from .machine import avx2_supported, bfloat16_supported, machine, vnni_supported
from .networks import described_network, must_stay, network_state
from .packages import OF_INT8, checked_runtime, installed_runtimes, runtime_versions
from .quantised import ENDING, Quantised, find_quantised
from .store import Store, store_folder
from .trial import RefusedError, converted, packed_mask, sample_input, title, try_engine

__all__ = ["Runtimes"]

logger = logging.getLogger("casr_net")


class Runtimes:
    """Prepares networks for one runtime.

    Args:
        runtime: "torch", "onnx", "openvino", or "auto": the fastest of those that are installed, measured once on a
            machine. All of them compute on the CPU.
        weights: file beside which converted networks are kept.
        channels: preprocessing of an image, for the shipped sample on which each runtime is tried.
        precision: "fp32", "bf16", "int8" (OpenVINO, for weights that have such a network), or "auto":
            bfloat16 where the CPU computes in it, and 8 bits where there are any and they are clearly faster.

    Raises:
        UsageError: for a runtime or precision that is not known, whose packages are missing, or that do not go
            together.
    """

    def __init__(
        self,
        runtime: str = "auto",
        weights: str | Path | None = None,
        channels: Callable[[dict[str, Any]], dict[Any, Any]] | None = None,
        precision: str = "auto",
    ) -> None:
        runtime = checked_runtime(runtime, precision)
        self._runtime, self._channels, self._precision = runtime, channels, precision
        if precision != "int8":
            uses_bfloat16(precision)  # refuses what is not known
        self._weights = weights
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

    def release(self) -> None:
        """Give the memory of the engine back; the next call prepares it anew."""
        with self._lock:
            self._engine = None
        return_memory()

    def engine(self, network: nn.Module) -> Engine | None:
        """The engine of a network on the CPU; None for one that must run as it is, as it is in part in training or
        watched by hooks.

        Raises:
            UsageError: when the runtime that was asked for is refused.
        """
        if must_stay(network):
            return None
        state = network_state(network)
        with self._lock:
            if self._engine is None or self._network is None or self._network() is not network or self._state != state:
                self._engine = None
                self._engine = self._prepare(network)
                return_memory()  # of those that were not chosen
                self._network, self._state = weakref.ref(network), network_state(network)
            return self._engine

    def _prepare(self, network: nn.Module) -> Engine:
        return _Preparation(network, self._store, self._channels, self._precision, self._weights).engine(self._runtime)


class _Preparation:
    """The way of one network to its engine."""

    def __init__(
        self, network: nn.Module, store: Store, channels: Any, precision: str, weights: str | Path | None
    ) -> None:
        self.network, self.store, self.channels, self.precision = network, store, channels, precision
        self.about = described_network(network)
        # Where bfloat16 was not asked for, single precision stands in for one that is refused. What is not in 8 bits
        # of a network in 8 bits is in one of the two.
        open_choice = precision in ("auto", "int8")
        bfloat16 = uses_bfloat16("auto") and bfloat16_supported() if open_choice else uses_bfloat16(precision)
        self.formats = [True, False] if bfloat16 and open_choice else [bfloat16]
        self.quantised = self._quantised(weights)
        self._sample: torch.Tensor | None = None
        self._fast: nn.Module | None = None
        self._reference = b""

    def _quantised(self, weights: str | Path | None) -> Quantised | None:
        if self.precision not in ("auto", "int8") or OF_INT8 not in installed_runtimes():
            return None
        if not (vnni_supported() or avx2_supported()):
            if self.precision == "int8":
                raise UsageError(
                    "precision 'int8': this processor has neither VNNI nor AVX2, which 8 bits need; use precision auto."
                )
            return None
        try:
            return find_quantised(str(self.about["network"]), weights)
        except DataError as error:
            if self.precision == "int8":
                raise
            logger.warning("%s", error)
            return None

    def engine(self, runtime: str) -> Engine:
        if self.precision == "int8":
            if self.quantised is None:
                raise UsageError(
                    f"precision 'int8': there is none for these weights; expected a file *{ENDING} of them beside them "
                    "or in the bundle's models. Use precision auto."
                )
            names = [OF_INT8 + INT8]
        else:
            names = installed_runtimes() if runtime == "auto" else [runtime]
            if self.quantised is not None and OF_INT8 in names:
                names.append(OF_INT8 + INT8)
        try:
            return self._of(names)
        except UsageError as error:
            if runtime != "auto" or self.precision == "int8":
                raise
            logger.warning("%s torch in single precision is used.", error)
            return TorchEngine(self.network)

    def _of(self, names: list[str]) -> Engine:
        """The engine of the only one of these, or of the one that is measured to be the fastest, once."""
        if len(names) == 1:
            return self._wanted(names[0])
        about = {
            **self.about, "machine": machine(), "formats": self.formats,
            "versions": runtime_versions([name for name in names if not name.endswith(INT8)]), "names": names,
            "int8": self.quantised.digest if self.quantised is not None else "",
        }  # fmt: skip
        ready: dict[str, Engine] = {}
        chosen = read_record(self.store.get("choice", about, lambda: self._compare(names, ready)))
        return ready.get(chosen) or self._wanted(chosen)

    def _wanted(self, name: str) -> Engine:
        try:
            return self._tried(name)
        except RefusedError as error:
            raise UsageError(f"{title(name)} is refused: {error}.") from error

    def _compare(self, names: list[str], ready: dict[str, Engine]) -> bytes:
        """Build and try each runtime, and measure it in turns with the fastest before it, so that no more than two are
        held at once; ``ready`` gets the fastest."""
        times: dict[str, float] = {}
        titles: dict[str, str] = {}
        for name in sorted(names, key="onnx".__eq__):  # last: with torch beside it, it needs most memory
            try:
                ready[name] = self._tried(name)
            except (RefusedError, CASRError) as error:
                logger.warning("%s is not used: %s.", title(name), str(error).rstrip("."))
                if name != "torch":
                    continue
                ready[name] = TorchEngine(self.network)
            titles[name] = ready[name].name
            return_memory()  # what conversion and trial took
            if len(ready) > 1:
                times = chained(times, measure(ready, self.sample))
                best = fastest({each: times[each] for each in ready})
                for slower in ready.keys() - {best}:
                    del ready[slower]
                return_memory()  # what the slower one took
        if not ready:
            raise UsageError(f"{title(names[0])} is refused in every number format.")
        (chosen,) = ready
        if times:
            listed = ", ".join(f"{titles[name]} {value:g}" for name, value in times.items())
            logger.info(
                "runtime: %s, measured on this machine (ms a frame: %s); kept in %s.",
                titles[chosen], listed, self.store.folder,
            )  # fmt: skip
        return as_record(chosen, times)

    def _tried(self, name: str) -> Engine:
        """The engine of a runtime, in the first number format that passes the trial."""
        refusal = RefusedError("no number format is allowed")
        for bfloat16 in self.formats:
            try:
                # torch in single precision is what the others are held against; it needs most memory, and goes first.
                reference = self.reference if name != "torch" or bfloat16 else b""
                engine = self._built(name, bfloat16)
                if reference:
                    try_engine(engine, self.sample, reference)
                return engine
            except RefusedError as error:
                refusal = error
                if bfloat16 and len(self.formats) > 1:
                    logger.warning("%s in bfloat16 is refused: %s.", title(name), error)
        raise refusal

    def _built(self, runtime: str, bfloat16: bool) -> Engine:
        if runtime == "torch":
            return TorchEngine(self.fast, bfloat16)
        if runtime.endswith(INT8):
            return converted(lambda: self._in_int8(bfloat16))
        return converted(lambda: self._of_onnx(runtime, bfloat16))

    def _of_onnx(self, runtime: str, bfloat16: bool) -> Engine:
        about = {**self.about, "torch": torch.__version__, "onnx": version("onnx")}
        model = self.store.get("onnx", about, lambda: as_onnx(self.fast, self.sample.shape[1]))
        self._fast = None  # made anew where it is needed again; two other copies are held from here on
        return_memory()
        return OnnxEngine(model) if runtime == "onnx" else OpenVINOEngine(model, bfloat16)

    def _in_int8(self, bfloat16: bool) -> Engine:
        assert self.quantised is not None
        self.store.given["int8"] = self.quantised.described
        return OpenVINOEngine(self.quantised.model, bfloat16, self.quantised.weights)

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
            return_memory()  # torch took more for it than another runtime needs
        return self._reference
