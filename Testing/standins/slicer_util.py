"""The functions of ``slicer.util`` that show dialogs: they record and answer. All others are Slicer's own."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Callable
from typing import Any

import slicer

__all__ = ["replace"]

_NOTICES = {"infoDisplay": "info", "warningDisplay": "warning", "errorDisplay": "error"}
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_QUESTIONS = {"confirmOkCancelDisplay": "okcancel", "confirmYesNoDisplay": "yesno", "confirmRetryCloseDisplay": "retry"}


def replace(util: types.ModuleType) -> None:
    """Put the recording functions into ``slicer.util``; their signatures are those of the originals."""
    for name, kind in _NOTICES.items():
        setattr(util, name, _with_signature_of(getattr(util, name), _notice(kind)))
    for name, kind in _QUESTIONS.items():
        setattr(util, name, _with_signature_of(getattr(util, name), _question(kind, kind != "retry")))
    util.messageBox = _with_signature_of(util.messageBox, _message_box)
    util.delayDisplay = _with_signature_of(util.delayDisplay, _delay)
    for name in ("loadVolume", "saveNode", "exportNode", "loadScene", "saveScene", "loadSegmentation"):
        setattr(util, name, _unavailable(name))


def _with_signature_of(original: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    def call(*arguments: Any, **options: Any) -> Any:
        bound = signature.bind(*arguments, **options)  # raises TypeError as the original would
        values = dict(bound.arguments)
        values.update(values.pop("kwargs", {}))
        text = values.pop("text", values.pop("message", ""))
        values.pop("parent", None)
        return function(str(text), values)

    call.__name__, call.__doc__ = original.__name__, original.__doc__
    return call


def _notice(kind: str) -> Callable[[str, dict[str, Any]], Any]:
    def show(text: str, options: dict[str, Any]) -> Any:
        logging.log(_LEVELS[kind], text)
        slicer.app.dialogs.record(kind, text, **options)

    return show


def _question(kind: str, testing_answer: bool) -> Callable[[str, dict[str, Any]], bool]:
    def ask(text: str, options: dict[str, Any]) -> bool:
        if slicer.app.testingEnabled():
            slicer.app.dialogs.record(kind, text, **options)
            return testing_answer
        return bool(slicer.app.dialogs.ask(kind, text, **options))

    return ask


def _message_box(text: str, options: dict[str, Any]) -> Any:
    import qt

    buttons = options.get("standardButtons", qt.QMessageBox.Ok)
    if slicer.app.testingEnabled() or buttons == qt.QMessageBox.Ok:
        slicer.app.dialogs.record("message", text, **options)
        return qt.QMessageBox.Ok
    answer = slicer.app.dialogs.ask("message", text, **options)
    return (qt.QMessageBox.Ok if answer else qt.QMessageBox.Cancel) if isinstance(answer, bool) else answer


def _delay(text: str, options: dict[str, Any]) -> None:
    slicer.app.dialogs.record("delay", text, **options)
    slicer.app.processEvents()


def _unavailable(name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        raise NotImplementedError(
            f"slicer.util.{name} needs the readers of the desktop application; replace it in the test."
        )

    return call
