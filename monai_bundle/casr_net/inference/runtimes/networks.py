"""What a network is at the moment: its weights, and whether another runtime may compute it."""

from __future__ import annotations

from typing import Any

from torch import nn

from ... import __version__
from ...network.weights import network_digest

__all__ = ["described_network", "must_stay", "network_state"]


REWRITING = 3
"""Number of the way from a network to what is converted; files of another one are made anew."""


def described_network(network: nn.Module) -> dict[str, Any]:
    """What all that is made from a network hangs on."""
    return {"network": network_digest(network), "casr-net": __version__, "rewriting": REWRITING}


def must_stay(network: nn.Module) -> bool:
    """Whether it must run as it is, as one that is in part in training or watched by hooks."""
    return any(module.training or module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def network_state(network: nn.Module) -> tuple[int, ...]:
    """Changes whenever weights are replaced, or changed in place."""
    found: list[int] = []
    for tensor in (*network.parameters(), *network.buffers()):
        found += (tensor.data_ptr(), tensor._version)
    return tuple(found)
