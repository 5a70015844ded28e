"""Double of ``slicer.i18n``: every text stays as it is, and a call with anything but text raises."""

from __future__ import annotations

__all__ = ["getContext", "tr", "translate"]


def tr(text: str) -> str:
    """The text."""
    if not isinstance(text, str):
        raise TypeError(f"tr() takes a str, not {type(text).__name__}.")
    return text


def translate(context: str, text: str) -> str:
    """The text."""
    if not isinstance(context, str) or not isinstance(text, str):
        raise TypeError("translate() takes two str.")
    return text


def getContext(sourceFile: str) -> str:  # noqa: N802, N803
    """The file's name without extension."""
    return sourceFile.rsplit("/", 1)[-1].removesuffix(".py")
