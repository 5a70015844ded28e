"""Loads .ui files with the stand-ins. A class that is neither Qt's nor among the stand-ins raises.

Connections of the file are made by name, ``mrmlSceneChanged(vtkMRMLScene*)`` -> ``setMRMLScene(vtkMRMLScene*)`` among
them, so that a forgotten one leaves a selector without scene here as in Slicer. Unknown signals and slots raise.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from standins import pythonqt
from standins.pythonqt import python_qt_class

__all__ = ["QUiLoader", "UnknownWidgetError", "standin"]

_standins: dict[str, type] = {}


class UnknownWidgetError(RuntimeError):
    """The .ui file wants a class that has no stand-in, or a signal or slot that its class does not have."""


def standin(cls: Any) -> Any:
    """Decorator: the class can be used in .ui files by its name."""
    _standins[cls.__name__] = cls
    return cls


class QUiLoader(QtUiTools.QUiLoader):
    """``qt.QUiLoader``: only ``load(file[, parent])``."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._made: list[Any] = []

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:  # noqa: N802
        """Called by Qt for every widget."""
        cls = _standins.get(class_name)
        if cls is None:
            base = getattr(QtWidgets, class_name, None)
            if not (isinstance(base, type) and issubclass(base, QtWidgets.QWidget)):
                self._unknown.append(class_name)
                base = QtWidgets.QWidget
            cls = python_qt_class(base)
        widget = cls(parent)
        QtCore.QObject.setObjectName(widget, name)
        self._made.append(widget)
        return widget

    def createLayout(self, class_name: str, parent: Any = None, name: str = "") -> Any:  # noqa: N802
        """Called by Qt for every layout."""
        layout = python_qt_class(getattr(QtWidgets, class_name))(
            parent if isinstance(parent, QtWidgets.QWidget) else None
        )
        QtCore.QObject.setObjectName(layout, name)
        self._made.append(layout)
        return layout

    def createAction(self, parent: Any = None, name: str = "") -> Any:  # noqa: N802
        """Called by Qt for every action."""
        action = python_qt_class(QtGui.QAction)(parent)
        QtCore.QObject.setObjectName(action, name)
        self._made.append(action)
        return action

    def load(self, file: Any, parent: Any = None) -> Any:
        """The widget of a .ui file that is open or a path.

        Raises:
            UnknownWidgetError: for a widget that has no stand-in.
        """
        self._made, self._unknown = [], []
        path = file if isinstance(file, str) else file.fileName()
        root = ElementTree.parse(path).getroot()
        connections = list(root.iter("connection"))
        for section in root.findall("connections"):  # made below: Qt's loader only knows signals and slots of C++
            root.remove(section)
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ElementTree.tostring(root)))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        self.setWorkingDirectory(QtCore.QFileInfo(path).dir())
        pythonqt.loading = True
        try:
            widget = super().load(buffer, parent)
        finally:
            pythonqt.loading = False
        if self._unknown:
            raise UnknownWidgetError(f"{path}: no stand-in for {', '.join(sorted(set(self._unknown)))}.")
        widget.__dict__["_standin_kept"] = self._made
        by_name = {QtCore.QObject.objectName(item): item for item in self._made}
        for connection in connections:
            self._connect(path, connection, by_name)
        return widget

    def _connect(self, path: str, connection: ElementTree.Element, by_name: dict[str, Any]) -> None:
        keys = ("sender", "signal", "receiver", "slot")
        sender, signal, receiver, slot = (str(connection.findtext(key)) for key in keys)
        if sender not in by_name or receiver not in by_name:
            raise UnknownWidgetError(f"{path}: connection of {sender} with {receiver}, which are not both in the file.")
        function = getattr(by_name[receiver], slot.split("(")[0], None)
        if not callable(function):
            raise UnknownWidgetError(f"{path}: {receiver} has no slot {slot}.")
        try:
            by_name[sender].connect(signal, lambda *values: function(*values))
        except ValueError as error:
            raise UnknownWidgetError(f"{path}: {error}") from error
