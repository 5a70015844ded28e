"""Where the network runs."""

from __future__ import annotations

import torch

from ..errors import UsageError

__all__ = ["resolve_device"]


def resolve_device(name: str = "auto") -> torch.device:
    """Device by name: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:<index>".

    Raises:
        UsageError: for another name, or a device that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"device is {name!r}; known are auto, cpu, cuda and cuda:<index>.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there; this machine has {torch.cuda.device_count()} CUDA devices.")
    return torch.device(name)
