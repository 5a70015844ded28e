"""What a user would have been shown and asked. No stand-in ever waits for a person."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["Dialogs", "Shown", "UnexpectedDialog"]


class UnexpectedDialog(AssertionError):
    """A question was asked for which the test has prepared no answer: in Slicer it would wait for the user."""


@dataclass(frozen=True)
class Shown:
    """One dialog.

    Attributes:
        kind: info, warning, error, message, okcancel, yesno, retry, directory, openfile, savefile, dialog, menu, ...
        text: main text; for file dialogs the title.
        detailed: the text behind "Show details".
        options: everything else that was given.
    """

    kind: str
    text: str
    detailed: str
    options: dict[str, Any]


class Dialogs:
    """Record of dialogs, and answers to be given in order."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.answers: deque[Any] = deque()

    def clear(self) -> None:
        """Forget everything."""
        self.shown.clear()
        self.answers.clear()

    def answer(self, *values: Any) -> None:
        """Prepare answers: True/False for OK/Cancel and Yes/No, a path (str) for file dialogs, else what is returned.

        A function is called with the dialog, the result is the answer; so a test can press its buttons.
        """
        self.answers.extend(values)

    def record(self, kind: str, text: str, **options: Any) -> None:
        """Note a dialog that needs no answer."""
        detailed = str(options.pop("detailedText", "") or "")
        self.shown.append(Shown(kind, str(text), detailed, options))

    def ask(self, kind: str, text: str, subject: Any = None, **options: Any) -> Any:
        """Note a question and take the next answer.

        Raises:
            UnexpectedDialog: when none is prepared.
        """
        self.record(kind, text, **options)
        if not self.answers:
            raise UnexpectedDialog(f"no answer prepared for {kind}: {text!r}")
        value = self.answers.popleft()
        return value(subject) if callable(value) else value

    def texts(self, kind: str | None = None) -> list[str]:
        """Texts of the dialogs so far, of one kind or all."""
        return [item.text for item in self.shown if kind is None or item.kind == kind]
