"""What a training of :mod:`.resident` needs to go on exactly where it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ..errors import WeightsError
from ..files.atomic import write_atomically

__all__ = ["KEEP_SECONDS", "ResidentState"]

KEEP_SECONDS = 300.0
"""Between two states that are kept: what ``kill -9`` can cost. Our choice."""


class _HasState(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any) -> Any: ...


class ResidentState:
    """Keeps the state of a training in a file, and takes it from there.

    Random numbers of the global generators (dropout) are part of it.

    Args:
        path: of the file; None keeps nothing.
        parts: what has a state, by name.
        device: of the training.
        seconds: between two states.
    """

    def __init__(
        self,
        path: Path | None,
        parts: Mapping[str, _HasState],
        device: torch.device,
        seconds: float = KEEP_SECONDS,
    ) -> None:
        self.path, self.parts, self.device, self.seconds = path, dict(parts), device, seconds
        self._kept = time.monotonic()

    def load(self) -> bool:
        """Go on from the file, where there is one.

        Returns:
            whether there was.

        Raises:
            WeightsError: when it is damaged, or of another training.
        """
        if self.path is None or not self.path.is_file():
            return False
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            torch.set_rng_state(state["random"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random_cuda"], self.device)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(f"{self.path}: the training cannot go on from it ({reason}); delete it.") from error
        return True

    def keep(self) -> None:
        """Write the file."""
        if self.path is None:
            return
        state: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        state["random"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        write_atomically(self.path, lambda path: torch.save(state, path), sync=True)
        self._kept = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write the file."""
        return self.path is not None and time.monotonic() - self._kept >= self.seconds
