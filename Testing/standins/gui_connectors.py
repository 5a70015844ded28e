"""Which widget can show which type of parameter, as in Slicer's parameterNodeWrapper. The class must match exactly."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from standins import parameter_node as node

__all__ = ["connector"]


class Connector:
    """Reads and writes one widget, and calls back when the user changes it."""

    def __init__(self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.widget, self.signal, self.read, self.write = widget, signal, read, write
        self._receive: Any = None

    def start(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after every change."""
        self._receive = lambda *_: callback()
        getattr(self.widget, self.signal).connect(self._receive)

    def stop(self) -> None:
        """No more calls."""
        getattr(self.widget, self.signal).disconnect(self._receive)


def connector(widget: Any, field: node.Field) -> Connector:
    """The connector of a widget and a field.

    Raises:
        RuntimeError: for a pair that Slicer does not know.
    """
    kind, cls = field.kind, type(widget)
    if kind is bool and cls in (qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton):
        if cls is qt.QPushButton and not widget.checkable:
            raise RuntimeError(f"{widget.name}: a push button for a bool must be checkable.")
        return _attribute(widget, "toggled", "checked")
    if kind is int and cls in (qt.QSpinBox, qt.QSlider):
        return _number(widget, field, int)
    if kind in (int, float) and cls in (
        qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox, slicer.qMRMLSliderWidget
    ):  # fmt: skip
        return _number(widget, field, kind)
    if cls in (qt.QComboBox, ctk.ctkComboBox) and (kind is str or _is_enum(kind)):
        return _combo(widget, field)
    if kind is str and cls in (qt.QLineEdit, qt.QLabel):
        if cls is qt.QLabel:
            return Connector(widget, "linkActivated", lambda: widget.text, lambda value: setattr(widget, "text", value))
        return _attribute(widget, "textChanged", "text")
    if kind is str and cls is qt.QTextEdit:
        return _attribute(widget, "textChanged", "plainText")
    if kind is pathlib.Path and cls is ctk.ctkPathLineEdit:
        return _path(widget, "currentPathChanged", "currentPath")
    if kind is pathlib.Path and cls is ctk.ctkDirectoryButton:
        return _path(widget, "directoryChanged", "directory")
    if field.is_node and cls is slicer.qMRMLNodeComboBox:
        return Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{cls.__name__}'")


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _attribute(widget: Any, signal: str, name: str) -> Connector:
    def write(value: Any) -> None:
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return Connector(widget, signal, lambda: getattr(widget, name), write)


def _path(widget: Any, signal: str, name: str) -> Connector:
    def write(value: pathlib.Path) -> None:
        if getattr(widget, name) != str(value):
            setattr(widget, name, str(value))

    return Connector(widget, signal, lambda: pathlib.Path(getattr(widget, name)), write)


def _number(widget: Any, field: node.Field, kind: type) -> Connector:
    limits = field.annotation(node.WithinRange)
    low = field.annotation(node.Minimum)
    high = field.annotation(node.Maximum)
    minimum = limits.minimum if limits else low.minimum if low else None
    maximum = limits.maximum if limits else high.maximum if high else None
    if isinstance(widget, (ctk.ctkSliderWidget, qt.QSlider)) and (minimum is None or maximum is None):
        raise RuntimeError(f"Cannot have a connection to {type(widget).__name__} where the type is unbounded.")
    for annotation, attribute in ((node.Decimals, "decimals"), (node.SingleStep, "singleStep")):
        item = field.annotation(annotation)
        if item is not None:
            setattr(widget, attribute, item.value)
    # As in Slicer the range of the .ui file is replaced; an open end becomes the widest.
    widget.minimum = kind(minimum) if minimum is not None else (-(2**31) if kind is int else float("-inf"))
    widget.maximum = kind(maximum) if maximum is not None else (2**31 - 1 if kind is int else float("inf"))
    return Connector(
        widget, "valueChanged", lambda: kind(widget.value), lambda value: setattr(widget, "value", kind(value))
    )


def _combo(widget: Any, field: node.Field) -> Connector:
    if _is_enum(field.kind):
        values = list(field.kind)
        label = getattr(field.kind, "label", lambda item: item.name)
        labels = [label(value) for value in values]
    else:
        choice = field.annotation(node.Choice)
        if choice is None:
            raise RuntimeError(f"{field.name}: a combo box for str needs the annotation Choice.")
        values = list(choice.choices)
        labels = [str(value) for value in values]
    widget.clear()
    for text in labels:
        widget.addItem(text)

    def write(value: Any) -> None:
        widget.currentIndex = values.index(value)

    return Connector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)
