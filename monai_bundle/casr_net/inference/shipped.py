"""Parameters of stage 3 as the configuration has them, without the network, MONAI or torch, which take seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from ..errors import UsageError
from ..refinement.contours import RefinementParameters
from .bundle import bundle_root

__all__ = ["shipped_refinement"]


def shipped_refinement() -> RefinementParameters | None:
    """Parameters of ``RefineVesselsd`` in ``configs/inference.json``, with refinement switched on.

    Returns:
        None when the configuration computes one of them, so that only MONAI can tell.

    Raises:
        UsageError: for a configuration that cannot be read, or a value outside its range.
    """
    path = bundle_root() / "configs" / "inference.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a JSON configuration.") from error
    names = {entry.name for entry in fields(RefinementParameters)}
    for component in _components(content):
        if component["_target_"].rpartition(".")[2] != "RefineVesselsd":
            continue
        values = {name: _resolved(component[name], content) for name in names & set(component)}
        if any(isinstance(value, str) for value in values.values()):
            return None
        try:
            return RefinementParameters(**values)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}: {error}") from error
    return None


def _components(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        if isinstance(content.get("_target_"), str):
            yield content
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _components(part)


def _resolved(value: Any, content: dict[str, Any]) -> Any:
    """What a plain reference ("@threshold") stands for; other values as they are."""
    return content.get(value[1:], value) if isinstance(value, str) and value.startswith("@") else value
