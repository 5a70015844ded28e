"""Signals in pure Python: custom Qt signals on Python subclasses of QObject crash Slicer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Signal"]


class Signal:
    """Calls its receivers in the order in which they were connected.

    >>> heard = []
    >>> signal = Signal()
    >>> signal.connect(heard.append)
    >>> signal.emit(3)
    >>> heard
    [3]
    """

    def __init__(self) -> None:
        self._receivers: list[Callable[..., Any]] = []

    def connect(self, receiver: Callable[..., Any]) -> None:
        """Add a receiver; a second time changes nothing."""
        if receiver not in self._receivers:
            self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[..., Any] | None = None) -> None:
        """Remove a receiver, or all of them; an unknown one is ignored, since objects may die in any order."""
        self._receivers = [] if receiver is None else [r for r in self._receivers if r != receiver]

    def emit(self, *arguments: Any) -> None:
        """Call the receivers that are connected now; one that is disconnected by an earlier one is not called."""
        for receiver in list(self._receivers):
            if receiver in self._receivers:
                receiver(*arguments)
