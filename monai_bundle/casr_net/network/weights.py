"""Reading and writing of network weights: plain state dicts, never pickled code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..errors import WeightsError
from ..files.digest import sha256

__all__ = ["load_weights", "network_digest", "read_state_dict", "save_weights", "sha256", "state_digest"]

SMALL = 20_000  # our choice: 2 % of DenseNet121's weights, near the input and the output
LEVELS, SCALE = "::int8", "::scale"  # ends of the names of a kernel that is stored in 8 bits


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 of a state dict's names, types, shapes and values, wherever its tensors are.

    Files of equal weights may differ in their bytes, since the archive holds its own name.
    """
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def network_digest(network: nn.Module) -> str:
    """Hexadecimal SHA-256 of a network's class, settings and weights."""
    settings = json.dumps(getattr(network, "settings", {}), sort_keys=True, default=str)
    text = f"{type(network).__qualname__} {settings} {state_digest(network.state_dict())}"
    return hashlib.sha256(text.encode()).hexdigest()


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict with ``weights_only=True``; a training checkpoint gives its entry ``model``.

    Raises:
        WeightsError: when the file is missing, damaged, or holds anything but tensors.
    """
    if not Path(path).is_file():
        what = "a folder; expected a weights file" if Path(path).is_dir() else "no such weights file"
        raise WeightsError(f"{path}: {what}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it likes on damaged files
        raise WeightsError(
            f"{path}: weights file cannot be read ({type(error).__name__}); it may be damaged."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not a state dict of tensors.")
    return _unpacked(state, path)


def _unpacked(state: dict[str, torch.Tensor], path: str | Path) -> dict[str, torch.Tensor]:
    """Single precision in place of 8 bits and scale."""
    result = {}
    for key, value in state.items():
        if key.endswith(LEVELS):
            name = key.removesuffix(LEVELS)
            scale = state.get(name + SCALE)
            if value.dtype != torch.int8 or scale is None or scale.shape != value.shape[:1]:
                raise WeightsError(f"{path}: {name} is stored in 8 bits without a scale for each output channel.")
            result[name] = value.float() * scale.float().view(-1, *[1] * (value.dim() - 1))
        elif not (key.endswith(SCALE) and key.removesuffix(SCALE) + LEVELS in state):
            result[key] = value
    return result


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Fill a network from a state dict of any floating type, in place, and set it to evaluation mode.

    Returns:
        the network itself.

    Raises:
        WeightsError: when the file cannot be read or any key or shape differs.
    """
    state = read_state_dict(path)
    own = network.state_dict()
    wrong = sorted(set(own) ^ set(state)) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise WeightsError(f"{path}: weights of another network: {len(wrong)} keys or shapes differ, first {wrong[0]}.")
    if any(not torch.isfinite(value).all() for value in state.values()):
        raise WeightsError(f"{path}: weights hold values that are not finite.")
    network.load_state_dict(state)
    return network.eval()


def save_weights(network: nn.Module, path: str | Path, dtype: torch.dtype = torch.float16) -> Path:
    """Write a network's state dict, floating tensors as ``dtype``, through a temporary name.

    With ``torch.int8`` large kernels take 8 bits a value: whole numbers of -127 to 127, and one scale for each output
    channel (symmetric quantisation; only the file is small, :func:`read_state_dict` gives single precision). Vectors
    and kernels of fewer than :data:`SMALL` values stay in half precision.

    Raises:
        WeightsError: when a value overflows ``dtype``.
    """
    state: dict[str, torch.Tensor] = {}
    for key, value in network.state_dict().items():
        value = value.detach().cpu()
        if dtype == torch.int8 and value.is_floating_point() and value.dim() > 1 and value.numel() >= SMALL:
            scale = value.float().abs().flatten(1).amax(1).clamp(min=1e-12) / 127
            spread = scale.view(-1, *[1] * (value.dim() - 1))
            state[key + LEVELS], state[key + SCALE] = (value.float() / spread).round().to(torch.int8), scale
        elif value.is_floating_point():
            state[key] = value.to(torch.float16 if dtype == torch.int8 else dtype)
        else:
            state[key] = value
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {key} does not fit {dtype}.")
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    torch.save(state, temporary)
    os.replace(temporary, target)
    return target
