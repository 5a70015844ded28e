"""Classes of ``qt`` that would wait for a person, or write to the person's settings: tests answer them instead."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from standins.dialogs import Dialogs
from standins.pythonqt import python_qt_class

__all__ = ["replacements"]

_SETTINGS = Path(tempfile.mkdtemp(prefix="slicer-settings-")) / "Slicer.ini"


def _as_restarted(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


class QSettings(python_qt_class(QtCore.QSettings)):  # type: ignore[misc]
    """A temporary file instead of the user's settings. Numbers and bools come back as str, as after a restart."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(arguments or (str(_SETTINGS), QtCore.QSettings.Format.IniFormat)))

    def value(self, key: str, default: Any = None) -> Any:
        return _as_restarted(QtCore.QSettings.value(self, key)) if self.contains(key) else default


def _dialogs() -> Dialogs:
    import slicer

    return slicer.app.dialogs


class QDialog(python_qt_class(QtWidgets.QDialog)):  # type: ignore[misc]
    """``exec_()`` asks the test; the test's function gets the dialog and may press buttons in it."""

    def exec_(self) -> Any:
        answer = _dialogs().ask("dialog", self.windowTitle, self)
        return int(answer) if isinstance(answer, bool | int) else answer


class QMessageBox(python_qt_class(QtWidgets.QMessageBox)):  # type: ignore[misc]
    """``exec_()`` and the static functions ask the test; the answer is one of the buttons, or True/False."""

    def exec_(self) -> Any:
        return _button(_dialogs().ask("message", self.text, self, detailedText=self.detailedText))

    @staticmethod
    def information(parent: Any, title: str, text: str, *more: Any) -> Any:
        _dialogs().record("info", text, title=title)
        return QtWidgets.QMessageBox.StandardButton.Ok

    @staticmethod
    def warning(parent: Any, title: str, text: str, *more: Any) -> Any:
        _dialogs().record("warning", text, title=title)
        return QtWidgets.QMessageBox.StandardButton.Ok

    @staticmethod
    def critical(parent: Any, title: str, text: str, *more: Any) -> Any:
        _dialogs().record("error", text, title=title)
        return QtWidgets.QMessageBox.StandardButton.Ok

    @staticmethod
    def question(parent: Any, title: str, text: str, *more: Any) -> Any:
        answer = _dialogs().ask("yesno", text, title=title)
        buttons = QtWidgets.QMessageBox.StandardButton
        return (buttons.Yes if answer else buttons.No) if isinstance(answer, bool) else answer


def _button(answer: Any) -> Any:
    buttons = QtWidgets.QMessageBox.StandardButton
    return (buttons.Ok if answer else buttons.Cancel) if isinstance(answer, bool) else answer


class QFileDialog(python_qt_class(QtWidgets.QFileDialog)):  # type: ignore[misc]
    """The static functions give the prepared path as str ("" for cancel), as PythonQt does."""

    @staticmethod
    def getExistingDirectory(parent: Any = None, title: str = "", *more: Any) -> str:  # noqa: N802
        return str(_dialogs().ask("directory", title))

    @staticmethod
    def getOpenFileName(parent: Any = None, title: str = "", *more: Any) -> str:  # noqa: N802
        return str(_dialogs().ask("openfile", title))

    @staticmethod
    def getSaveFileName(parent: Any = None, title: str = "", *more: Any) -> str:  # noqa: N802
        return str(_dialogs().ask("savefile", title))

    def exec_(self) -> Any:
        return _dialogs().ask("filedialog", self.windowTitle, self)


class QMenu(python_qt_class(QtWidgets.QMenu)):  # type: ignore[misc]
    """``exec_()`` gives the prepared action."""

    def exec_(self, *arguments: Any) -> Any:
        return _dialogs().ask("menu", self.title, self)


class QDesktopServices:
    """Records the addresses that would be opened."""

    @staticmethod
    def openUrl(url: QtCore.QUrl) -> bool:  # noqa: N802
        _dialogs().record("url", url.toString())
        return True


def replacements() -> dict[str, Any]:
    """Names in ``qt`` and what stands there."""
    from standins.ui_loader import QUiLoader

    return {
        "QSettings": QSettings,
        "QDialog": QDialog,
        "QMessageBox": QMessageBox,
        "QFileDialog": QFileDialog,
        "QMenu": QMenu,
        "QDesktopServices": QDesktopServices,
        "QUiLoader": QUiLoader,
        "QObject": python_qt_class(QtCore.QObject),
        "QAction": python_qt_class(QtGui.QAction),
    }


def clear_settings() -> None:
    """As on the first start."""
    settings = QSettings()
    settings.clear()
    settings.sync()
