"""Loads .ui files with the stand-ins. A class that is neither Qt's nor among the stand-ins raises.

Connections of the file ``mrmlSceneChanged(vtkMRMLScene*)`` -> ``setMRMLScene(vtkMRMLScene*)`` are kept in the widgets that
send them, so that a forgotten connection leaves a selector without scene here as in Slicer. Other connections are made
by Qt's loader, if sender and receiver have that signal and slot in C++; if not, loading raises.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from standins.pythonqt import native, python_qt_class

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
        device = file if not isinstance(file, str) else QtCore.QFile(file)
        if not device.isOpen():
            device.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(device, parent)
        if self._unknown:
            raise UnknownWidgetError(f"{path}: no stand-in for {', '.join(sorted(set(self._unknown)))}.")
        widget.__dict__["_standin_kept"] = self._made
        by_name = {QtCore.QObject.objectName(item): item for item in self._made}
        for connection in root.iter("connection"):
            self._connect(path, connection, by_name)
        return widget

    def _connect(self, path: str, connection: ElementTree.Element, by_name: dict[str, Any]) -> None:
        sender, signal, receiver, slot = (str(connection.findtext(k)) for k in ("sender", "signal", "receiver", "slot"))
        if sender not in by_name or receiver not in by_name:
            raise UnknownWidgetError(f"{path}: connection of {sender} with {receiver}, which are not both in the file.")
        source, target = by_name[sender], by_name[receiver]
        if (signal, slot) == ("mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"):
            if not hasattr(source, "mrmlSceneChanged") or not hasattr(target, "setMRMLScene"):
                raise UnknownWidgetError(f"{path}: {sender} sends no scene, or {receiver} takes none.")
            source.mrmlSceneChanged.connect(target.setMRMLScene)
        elif "::" not in signal:
            in_cpp = [native(type(item)).__module__.startswith("PySide6") for item in (source, target)]
            name = slot.split("(")[0]
            if not all(in_cpp):
                if not hasattr(target, name) and not hasattr(target, _property_of(name)):
                    raise UnknownWidgetError(f"{path}: {receiver} has no slot {slot}.")
                source.connect(signal, getattr(target, name))


def _property_of(slot: str) -> str:
    return slot[3:4].lower() + slot[4:] if slot.startswith("set") else slot
