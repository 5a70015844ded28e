"""The module ``ctk``: widgets of the Common Toolkit that a module is likely to use. Others raise AttributeError."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtWidgets

from standins.pythonqt import python_qt_class
from standins.ui_loader import standin
from standins.widgets import QMessageBox

__all__ = ["CtkModule", "forwarded"]


class CtkModule(types.ModuleType):
    """``ctk``."""

    def __init__(self) -> None:
        super().__init__("ctk", __doc__)
        self.__dict__.update(_classes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"module ctk has no stand-in for {name}.")


_classes: dict[str, type] = {}


def _ctk(cls: Any) -> Any:
    _classes[cls.__name__] = cls
    return standin(cls)


def forwarded(name: str, default: Any) -> Any:
    """A property kept by the stand-in as Qt's dynamic property, so that .ui files can set it."""

    def get(self: Any) -> Any:
        value = QtCore.QObject.property(self, name)
        return default if value is None else value

    def put(self: Any, value: Any) -> None:
        QtCore.QObject.setProperty(self, name, value)

    return property(get, put)


class _UiProperties:
    """Properties that a .ui file sets by name reach the Python property of that name."""

    ui_properties: tuple[str, ...] = ()

    def event(self, event: QtCore.QEvent) -> bool:
        if event.type() == QtCore.QEvent.Type.DynamicPropertyChange:
            name = bytes(event.propertyName().data()).decode()  # type: ignore[attr-defined]
            value = QtCore.QObject.property(self, name)
            if name in self.ui_properties and value is not None and value != getattr(self, name):
                setattr(self, name, value)
        return super().event(event)  # type: ignore[misc]


@_ctk
class ctkCollapsibleButton(_UiProperties, python_qt_class(QtWidgets.QGroupBox)):  # type: ignore[misc] # noqa: N801
    contentsCollapsed = QtCore.Signal(bool)  # noqa: N815
    clicked = QtCore.Signal()
    ui_properties = ("text", "collapsed")
    _standin_collapsed = False
    contentsLayoutSpacing = forwarded("contentsLayoutSpacing", 0)  # noqa: N815

    @property
    def text(self) -> str:
        return QtWidgets.QGroupBox.title(self)

    @text.setter
    def text(self, value: str) -> None:
        QtWidgets.QGroupBox.setTitle(self, value)

    @property
    def collapsed(self) -> bool:
        return self._standin_collapsed

    @collapsed.setter
    def collapsed(self, value: bool) -> None:
        changed = self._standin_collapsed != bool(value)
        self._standin_collapsed = bool(value)
        self._standin_apply()
        if changed:
            self.contentsCollapsed.emit(self._standin_collapsed)

    def _standin_apply(self) -> None:
        for child in QtCore.QObject.children(self):
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self._standin_collapsed)

    def childEvent(self, event: QtCore.QChildEvent) -> None:  # noqa: N802
        if self._standin_collapsed and event.added() and isinstance(event.child(), QtWidgets.QWidget):
            event.child().setVisible(False)

    def setText(self, value: str) -> None:  # noqa: N802
        self.text = value

    def setCollapsed(self, value: bool) -> None:  # noqa: N802
        self.collapsed = value


@_ctk
class ctkCollapsibleGroupBox(python_qt_class(QtWidgets.QGroupBox)):  # type: ignore[misc] # noqa: N801
    @property
    def collapsed(self) -> bool:
        return not QtWidgets.QGroupBox.isChecked(self)

    @collapsed.setter
    def collapsed(self, value: bool) -> None:
        QtWidgets.QGroupBox.setChecked(self, not value)


@_ctk
class ctkCheckBox(python_qt_class(QtWidgets.QCheckBox)):  # type: ignore[misc] # noqa: N801
    pass


@_ctk
class ctkComboBox(python_qt_class(QtWidgets.QComboBox)):  # type: ignore[misc] # noqa: N801
    defaultText = forwarded("defaultText", "")  # noqa: N815


@_ctk
class ctkPushButton(python_qt_class(QtWidgets.QPushButton)):  # type: ignore[misc] # noqa: N801
    pass


@_ctk
class ctkMenuButton(python_qt_class(QtWidgets.QPushButton)):  # type: ignore[misc] # noqa: N801
    pass


@_ctk
class ctkFittedTextBrowser(python_qt_class(QtWidgets.QTextBrowser)):  # type: ignore[misc] # noqa: N801
    collapsed = forwarded("collapsed", True)
    collapsibleText = forwarded("collapsibleText", "")  # noqa: N815


@_ctk
class ctkSliderWidget(_UiProperties, python_qt_class(QtWidgets.QWidget)):  # type: ignore[misc]
    """A slider of floats with a spin box beside it, as ctkSliderWidget; ``valueChanged(double)``."""

    valueChanged = QtCore.Signal(float)  # noqa: N815
    valueChanging = QtCore.Signal(float)  # noqa: N815
    ui_properties = (
        "value",
        "minimum",
        "maximum",
        "singleStep",
        "decimals",
        "suffix",
        "prefix",
        "tracking",
        "pageStep",
    )
    tracking = forwarded("tracking", True)
    pageStep = forwarded("pageStep", 10.0)  # noqa: N815

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._standin_slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._standin_spin = QtWidgets.QDoubleSpinBox(self)
        self._standin_slider.setRange(0, 1000)
        self._standin_spin.setRange(0.0, 99.0)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._standin_slider, 1)
        row.addWidget(self._standin_spin)
        self._standin_spin.valueChanged.connect(lambda value: self._standin_changed(value))
        self._standin_slider.sliderMoved.connect(lambda position: self._standin_moved(position))

    def _standin_changed(self, value: float) -> None:
        low, high = self.minimum, self.maximum
        self._standin_slider.setValue(round(1000 * (value - low) / (high - low)) if high > low else 0)
        self.valueChanged.emit(value)

    def _standin_moved(self, position: int) -> None:
        self._standin_spin.setValue(self.minimum + (self.maximum - self.minimum) * position / 1000)

    value = property(lambda s: s._standin_spin.value(), lambda s, v: s._standin_spin.setValue(v))
    minimum = property(lambda s: s._standin_spin.minimum(), lambda s, v: s._standin_spin.setMinimum(v))
    maximum = property(lambda s: s._standin_spin.maximum(), lambda s, v: s._standin_spin.setMaximum(v))
    singleStep = property(lambda s: s._standin_spin.singleStep(), lambda s, v: s._standin_spin.setSingleStep(v))  # noqa: N815
    decimals = property(lambda s: s._standin_spin.decimals(), lambda s, v: s._standin_spin.setDecimals(v))
    suffix = property(lambda s: s._standin_spin.suffix(), lambda s, v: s._standin_spin.setSuffix(v))
    prefix = property(lambda s: s._standin_spin.prefix(), lambda s, v: s._standin_spin.setPrefix(v))

    def setValue(self, value: float) -> None:  # noqa: N802
        self.value = value

    def setRange(self, low: float, high: float) -> None:  # noqa: N802
        self._standin_spin.setRange(low, high)


@_ctk
class ctkDoubleSpinBox(python_qt_class(QtWidgets.QDoubleSpinBox)):  # type: ignore[misc] # noqa: N801
    pass


@_ctk
class ctkPathLineEdit(_UiProperties, python_qt_class(QtWidgets.QWidget)):  # type: ignore[misc]
    ui_properties = (
        "currentPath",
        "label",
        "nameFilters",
        "showBrowseButton",
        "showHistoryButton",
        "settingKey",
        "filters",
    )
    currentPathChanged = QtCore.Signal(str)  # noqa: N815
    validInputChanged = QtCore.Signal(bool)  # noqa: N815
    declared_signals = frozenset({"currentPathChanged(QString)", "validInputChanged(bool)"})
    label, settingKey = forwarded("label", ""), forwarded("settingKey", "")  # noqa: N815
    nameFilters = forwarded("nameFilters", [])  # noqa: N815
    showBrowseButton = forwarded("showBrowseButton", True)  # noqa: N815
    showHistoryButton = forwarded("showHistoryButton", True)  # noqa: N815
    filters = forwarded("filters", 0)
    # ctkPathLineEdit::Filter
    Dirs, Drives, Files, NoDot, NoDotDot, Readable, Writable, Executable = 1, 4, 2, 0x2000, 0x4000, 0x10, 0x20, 0x40

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._standin_edit = QtWidgets.QLineEdit(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._standin_edit)
        self._standin_button = QtWidgets.QToolButton(self)
        self._standin_button.setText("...")
        row.addWidget(self._standin_button)
        self._standin_edit.textChanged.connect(lambda text: self.currentPathChanged.emit(text))
        self._standin_button.clicked.connect(lambda: self.browse())

    currentPath = property(lambda s: s._standin_edit.text(), lambda s, v: s._standin_edit.setText(v))  # noqa: N815

    def setCurrentPath(self, path: str) -> None:  # noqa: N802
        self.currentPath = path

    def addCurrentPathToHistory(self) -> None:  # noqa: N802
        pass

    def browse(self) -> None:
        """The dialog of the button "..."; the test answers it."""
        import slicer

        path = slicer.app.dialogs.ask("directory", self.label)
        if path:
            self.currentPath = str(path)


@_ctk
class ctkDirectoryButton(python_qt_class(QtWidgets.QPushButton)):  # type: ignore[misc] # noqa: N801
    directoryChanged = QtCore.Signal(str)  # noqa: N815
    directorySelected = QtCore.Signal(str)  # noqa: N815
    _standin_directory = ""

    @property
    def directory(self) -> str:
        return self._standin_directory

    @directory.setter
    def directory(self, value: str) -> None:
        changed, self._standin_directory = value != self._standin_directory, value
        QtWidgets.QPushButton.setText(self, value)
        if changed:
            self.directoryChanged.emit(value)


@_ctk
class ctkMessageBox(QMessageBox):  # noqa: N801
    dontShowAgainSettingsKey = forwarded("dontShowAgainSettingsKey", "")  # noqa: N815
    dontShowAgainVisible = forwarded("dontShowAgainVisible", False)  # noqa: N815
