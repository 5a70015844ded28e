"""What the user reads below the effect's buttons, and in dialogs where a click has come to nothing."""

from __future__ import annotations

import logging

import slicer
from CASRSegmentationLib.signal import Signal

__all__ = ["Status"]


class Status:
    """A message and a warning.

    Attributes:
        changed: Signal(), the text has changed.
    """

    def __init__(self) -> None:
        self.changed = Signal()
        self._message = ""
        self._warning = ""

    @property
    def text(self) -> str:
        """What is shown."""
        return "\n".join(part for part in (self._message, self._warning) if part)

    def clear(self) -> None:
        """Nothing to say when the effect is entered."""
        self._message = ""

    def clear_warning(self) -> None:
        """A new click: what was said of the last one does not hold any more."""
        self._warning = ""

    def say(self, text: str) -> None:
        """Replace the message."""
        self._message = text
        self.changed.emit()

    def warn(self, text: str) -> None:
        """Show a warning below the message."""
        self._warning = text
        self.changed.emit()

    def dropped(self, reason: str) -> None:
        """Say, and keep in the log, why work was given up that the user did not cancel."""
        logging.info("Coronary artery (CASR): %s", reason)
        self.say(reason)

    def fail(self, text: str, details: str = "") -> None:
        """Say it, and show a dialog."""
        self.say(text)
        slicer.util.errorDisplay(text, detailedText=details)
