"""Singular and plural of what is counted: translators get both as whole sentences."""

from __future__ import annotations

from typing import Any

__all__ = ["counted"]


def counted(count: int, one: str, several: str, **values: Any) -> str:
    """A sentence about a number of things.

    Args:
        count: of the things; the texts may name it as ``{count}``.
        one, several: the sentence for one thing, and for any other number, both translated.
        values: what else the texts name.
    """
    return (one if count == 1 else several).format(count=count, **values)
