"""From a network to what TensorRT has compiled of it: built once for a kind of GPU, tried, measured against torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...errors import CASRError, UsageError
from ..threads import BATCH
from .choice import as_record, fastest, measure, read_record
from .networks import described_network
from .store import Store
from .tensorrt import FORMATS, TensorRTEngine, described
from .trial import RefusedError, converted, packed_mask, sample_input, title, try_engine

__all__ = ["CompiledNetwork"]

logger = logging.getLogger("casr_net")


class CompiledNetwork:
    """The way of one network to TensorRT.

    Args:
        network: in evaluation mode, on the GPU.
        device: the GPU.
        precision: "fp32", "bf16" or "auto".
        store: where compiled networks are kept.
        channels: preprocessing of an image, for the shipped sample on which it is tried.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        precision: str,
        store: Store,
        channels: Callable[[dict[str, Any]], dict[Any, Any]] | None,
    ) -> None:
        self._network, self._device, self._precision, self._store = network, device, precision, store
        self._channels, self._about = channels, described_network(network)

    def engine(self) -> TensorRTEngine:
        """The engine in the first number format that finds on the sample what torch finds in single precision.

        Raises:
            UsageError: when none does.
        """
        try:
            return self._tried(self._sample())
        except RefusedError as error:
            raise UsageError(f"{title('tensorrt')} is refused: {error}.") from error

    def if_faster(self, by_torch: Callable[[torch.Tensor, nn.Module], torch.Tensor]) -> TensorRTEngine | None:
        """The engine where a batch goes there and back clearly faster than by torch, which is measured once for a kind
        of GPU; None where it does not, or the engine is refused.

        Args:
            by_torch: inputs on the GPU and the network to logits.
        """
        ready: list[TensorRTEngine] = []
        try:
            sample = self._sample()
            about = {**self._about, **described(self._device, self._precision, _side(sample))}
            kept = self._store.get("choice", about, lambda: self._compared(sample, by_torch, ready))
            if read_record(kept) != "tensorrt":
                return None
            return ready[0] if ready else self._tried(sample)
        except (RefusedError, CASRError) as error:
            _not_used(error)
            return None

    def _sample(self) -> torch.Tensor:
        if self._channels is None:
            raise RefusedError("there is no preprocessing for the sample on which it is tried")
        return sample_input(self._channels)

    def _compared(
        self,
        sample: torch.Tensor,
        by_torch: Callable[[torch.Tensor, nn.Module], torch.Tensor],
        ready: list[TensorRTEngine],
    ) -> bytes:
        """Try and measure; ``ready`` gets the engine. That it is refused is kept as well: to build takes minutes."""
        try:
            engine = self._tried(sample)
        except RefusedError as error:
            _not_used(error)
            return as_record("torch", {})

        def torch_itself(inputs: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return by_torch(inputs.to(self._device), self._network).cpu()

        batch = sample.repeat(BATCH, 1, 1, 1)
        torch_itself(batch)  # cuDNN chooses its kernels
        engine(batch)
        times = measure({"torch": torch_itself, "tensorrt": engine}, batch)
        chosen = fastest(times)
        if chosen == "tensorrt":
            ready.append(engine)
        logger.info(
            "runtime: %s, measured on this GPU (ms for %d frames: torch %g, %s %g); kept in %s.",
            engine.name if ready else "torch", BATCH, times["torch"], engine.name, times["tensorrt"],
            self._store.folder,
        )  # fmt: skip
        return as_record(chosen, times)

    def _tried(self, sample: torch.Tensor) -> TensorRTEngine:
        with torch.no_grad():
            reference = packed_mask(self._network(sample.to(self._device)).cpu())
        refusal = RefusedError("no number format is allowed")
        for number_format in FORMATS[self._precision]:
            try:
                engine = converted(lambda: self._built(number_format, sample))  # noqa: B023 - called at once
                try_engine(engine, sample, reference)
                return engine
            except RefusedError as error:
                refusal = error
        raise refusal

    def _built(self, number_format: str, sample: torch.Tensor) -> TensorRTEngine:
        """From the plan that is kept, or a new one, which is kept."""
        built: list[TensorRTEngine] = []

        def of(plan: bytes) -> TensorRTEngine:
            return TensorRTEngine(self._network, self._device, number_format, sample.shape[1], _side(sample), plan)

        def build() -> bytes:
            logger.info("TensorRT compiles the network for this GPU, once; this can take minutes.")
            built.append(of(b""))
            return built[0].plan

        about = {**self._about, **described(self._device, number_format, _side(sample))}
        plan = self._store.get("tensorrt", about, build)
        return built[0] if built else of(plan)


def _side(sample: torch.Tensor) -> int:
    return int(max(sample.shape[2:]))


def _not_used(error: Exception) -> None:
    logger.warning("%s is not used: %s.", title("tensorrt"), str(error).rstrip("."))
