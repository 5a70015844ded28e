"""How the grey values of a result were made: in words, and on the segmentation that it went to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from slicer.i18n import tr as _

__all__ = ["ATTRIBUTE", "note_rule", "rule_text"]

ATTRIBUTE = "CASR.GreyValues"
"""Attribute of a segmentation node, of a cine of each frame's own: how the grey values of the last result were made."""


def rule_text(message: Mapping[str, Any]) -> str:
    """One sentence for the worker's message ``rule``."""
    name, low, high = message.get("rule", "?"), message.get("low"), message.get("high")
    limits = f", {low:g} - {high:g}" if isinstance(low, (int, float)) and isinstance(high, (int, float)) else ""
    source = message.get("source")
    if source:
        return _("Grey values as the command line reads them from {file}: {rule}{limits}.").format(
            file=PurePath(str(source)).name, rule=name, limits=limits
        )
    return _("Grey values of the volume itself: {rule}{limits}.").format(rule=name, limits=limits)


def note_rule(segmentation: Any, text: str) -> None:
    """Keep what :func:`rule_text` has said on a segmentation node; nothing replaces nothing."""
    if text and segmentation is not None and segmentation.GetAttribute(ATTRIBUTE) != text:
        segmentation.SetAttribute(ATTRIBUTE, text)
