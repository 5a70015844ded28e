"""The module ``qt`` as PythonQt gives it to Slicer's Python, on PySide6: properties are attributes, signatures strings.

A class of the module is a subclass, made on first use, of the PySide6 class of that name. It is stricter than either
library: a property called as a method, and a signal or an attribute that does not exist all raise, where Slicer
 would fail in silence or only at run time.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

__all__ = ["PythonQtObject", "QtModule", "is_user_class", "python_qt_class"]

# Virtual functions of C++ that are also properties; Qt itself asks for them, so they stay methods.
_VIRTUAL_PROPERTIES = frozenset({"sizeHint", "minimumSizeHint"})
# Signals of Qt 6 that Slicer 5.10, which has Qt 5.15, does not have.
_QT6_SIGNALS = frozenset({"checkStateChanged"})
# Methods that return objects made by C++; those are plain PySide6 objects and need a cover that speaks PythonQt.
_COVERED_METHODS = frozenset(
    [
        "button",
        "horizontalHeader",
        "verticalHeader",
        "horizontalScrollBar",
        "verticalScrollBar",
        "lineEdit",
        "selectionModel",
    ]
)
_SIGNATURE = re.compile(r"^\s*(\w+)\s*\(([^()]*(?:\([^()]*\))?[^()]*)\)\s*$")
_INTERNAL = "_standin"
# True while a .ui file is loaded: PySide6 then makes every widget an attribute of the outermost one, PythonQt does not.
loading = False


def is_user_class(cls: type) -> bool:
    """Whether the class was written outside the stand-ins: Python subclasses may have attributes of their own."""
    return not cls.__module__.startswith(("standins", "PySide6"))


def _split(signature: str) -> tuple[str, str]:
    match = _SIGNATURE.match(signature)
    if match is None:
        raise ValueError(f"{signature!r} is no signature of a signal, like 'clicked(bool)'.")
    return match.group(1), re.sub(r"\s+|\bconst\b|&", "", match.group(2))


def _accepted_arguments(slot: Callable[..., Any]) -> int | None:
    """How many arguments PythonQt passes to the slot at most; None: all of the signal's."""
    function = getattr(slot, "__func__", slot)
    if not isinstance(function, types.FunctionType):
        return None
    if function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - (1 if inspect.ismethod(slot) else 0)


def _receiver(slot: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function of exactly the signal's arguments, by which PySide6 tells clicked() from clicked(bool)."""
    accepted = _accepted_arguments(slot)
    limit = count if accepted is None else min(count, accepted)
    makers: list[Callable[..., Any]] = [
        lambda: slot(),
        lambda a: slot(*(a,)[:limit]),
        lambda a, b: slot(*(a, b)[:limit]),
        lambda a, b, c: slot(*(a, b, c)[:limit]),
        lambda a, b, c, d: slot(*(a, b, c, d)[:limit]),
    ]
    return makers[count]


class PythonQtObject:
    """What all objects of PythonQt have: ``connect("signal(types)", slot)``, ``name``, ``className()``."""

    # Signals that a stand-in declares in Python, whose C++ signature PySide6 cannot tell: {"name(type)", ...}
    declared_signals: frozenset[str] = frozenset()

    def connect(self, *arguments: Any) -> bool:
        """``connect("clicked(bool)", function)``; a signal that the class does not have raises ValueError."""
        if len(arguments) != 2 or not isinstance(arguments[0], str) or not callable(arguments[1]):
            raise TypeError(f"connect('signal(types)', function) was called with {arguments!r}.")
        signature, slot = arguments
        name, parameters = _split(signature)
        known = self._signatures(name)
        if f"{name}({parameters})" not in known:
            raise ValueError(
                f"{type(self).__name__} has no signal {signature}; it has {sorted(known) or 'none so named'}."
            )
        receive = _receiver(slot, parameters.count(",") + 1 if parameters else 0)
        signal = getattr(self, name)
        signal.connect(receive)
        self.__dict__.setdefault("_standin_slots", {}).setdefault((name, parameters, slot), []).append(receive)
        return True

    def disconnect(self, *arguments: Any) -> bool:
        """``disconnect("clicked(bool)", function)``: False if it was not connected, as in PythonQt."""
        if len(arguments) != 2 or not isinstance(arguments[0], str):
            raise TypeError(f"disconnect('signal(types)', function) was called with {arguments!r}.")
        name, parameters = _split(arguments[0])
        if f"{name}({parameters})" not in self._signatures(name):
            raise ValueError(f"{type(self).__name__} has no signal {arguments[0]}.")
        receivers = self.__dict__.get("_standin_slots", {}).pop((name, parameters, arguments[1]), [])
        for receive in receivers:
            getattr(self, name).disconnect(receive)
        return bool(receivers)

    def _signatures(self, name: str) -> set[str]:
        meta = QtCore.QObject.metaObject(self)
        methods = (meta.method(index) for index in range(meta.methodCount()))
        found = {
            bytes(m.methodSignature().data()).decode()
            for m in methods
            if m.methodType() == QtCore.QMetaMethod.MethodType.Signal
        }
        found |= self.declared_signals
        return {text for text in found if text.split("(")[0] == name and name not in _QT6_SIGNALS}

    def __setattr__(self, attribute: str, value: Any) -> None:
        kind = type(self)
        descriptor = inspect.getattr_static(kind, attribute, None)
        if loading and descriptor is None and not attribute.startswith(_INTERNAL) and isinstance(value, QtCore.QObject):
            return
        if hasattr(type(descriptor), "__set__") or attribute.startswith(_INTERNAL) or is_user_class(kind):
            super().__setattr__(attribute, value)
            return
        reason = "is a method or a signal" if descriptor is not None else "does not exist"
        raise AttributeError(f"{kind.__name__}.{attribute} {reason}; PythonQt creates no attributes on Qt objects.")

    def __getattribute__(self, attribute: str) -> Any:
        if attribute in ("connect", "disconnect"):  # PySide6 looks these two up in its own way
            return types.MethodType(getattr(PythonQtObject, attribute), self)
        value = super().__getattribute__(attribute)
        if attribute in _COVERED_METHODS and callable(value):
            return lambda *arguments: cover(value(*arguments))
        if attribute in _QT6_SIGNALS:
            raise AttributeError(f"{attribute} is not in Qt 5.15, which Slicer 5.10 has.")
        return value

    def className(self) -> str:  # noqa: N802
        """Name of the C++ class."""
        for cls in type(self).__mro__:
            if cls.__module__.startswith(("standins", "PySide6")):
                return cls.__name__
        raise AssertionError("no stand-in class")

    def delete(self) -> None:
        """Delete the C++ object, here in the next round of the event loop."""
        QtCore.QObject.deleteLater(self)

    def inherits(self, name: str) -> bool:
        """Whether the class, or one that it derives from, has this name."""
        return any(cls.__name__ == name for cls in type(self).__mro__)

    def dynamicPropertyNames(self) -> list[str]:  # noqa: N802
        """Names of the properties that were added to this object."""
        return [bytes(name.data()).decode() for name in QtCore.QObject.dynamicPropertyNames(self)]

    def findChildren(self, kind: Any = None, name: str = "") -> list[Any]:  # noqa: N802
        """All objects below this one, of a class or of the name of a class."""
        found = [
            child for child in QtCore.QObject.findChildren(self, QtCore.QObject) if isinstance(child, PythonQtObject)
        ]
        if isinstance(kind, str):
            found = [child for child in found if child.inherits(kind)]
        elif kind is not None:
            found = [child for child in found if isinstance(child, native(kind))]
        return [child for child in found if not name or QtCore.QObject.objectName(child) == name]

    def findChild(self, kind: Any = None, name: str = "") -> Any:  # noqa: N802
        """The first of :meth:`findChildren`, or None."""
        return next(iter(self.findChildren(kind, name)), None)

    @property
    def name(self) -> str:
        """PythonQt's other name of ``objectName``."""
        return QtCore.QObject.objectName(self)

    @name.setter
    def name(self, value: str) -> None:
        QtCore.QObject.setObjectName(self, value)


def native(cls: type) -> type:
    """The PySide6 class below one of ours; a hand-written stand-in itself."""
    return cls.__dict__.get("_standin_native", cls)


class _Property:
    """A Qt property as an attribute. On the class it gives what the class has of that name (``QTimer.singleShot``)."""

    def __init__(self, name: str, base: type, writable: bool) -> None:
        self.name, self.base, self.writable = name, base, writable
        capital = name[0].upper() + name[1:]
        self.getter = getattr(base, name, None) or getattr(base, f"is{capital}", None)
        self.setter = getattr(base, f"set{capital}", None)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return getattr(self.base, self.name, self)
        if self.getter is not None and not (self.base is QtCore.QTimer and self.name == "singleShot"):
            return self.getter(instance)
        return QtCore.QObject.property(instance, self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"{type(instance).__name__}.{self.name} is read-only.")
        if self.setter is not None:
            self.setter(instance, value)
        elif not QtCore.QObject.setProperty(instance, self.name, value):
            raise TypeError(f"{type(instance).__name__}.{self.name} does not take {value!r}.")


_classes: dict[type, type] = {}


def python_qt_class(base: type) -> type:
    """The PythonQt-flavoured subclass of a QObject class of PySide6."""
    if base not in _classes:
        namespace: dict[str, Any] = {"__module__": __name__, "_standin_native": base}
        meta = base.staticMetaObject  # type: ignore[attr-defined]
        for index in range(meta.propertyCount()):
            item = meta.property(index)
            if item.name() not in _VIRTUAL_PROPERTIES:
                namespace[item.name()] = _Property(item.name(), base, item.isWritable())
        if hasattr(base, "exec") and not hasattr(base, "exec_"):
            namespace["exec_"] = base.exec
        if issubclass(base, QtWidgets.QWidget) and hasattr(base, "addAction"):
            namespace["addAction"] = _add_action(base)
        _classes[base] = type(base.__name__, (PythonQtObject, base), namespace)
    return _classes[base]


def _add_action(base: Any) -> Callable[..., Any]:
    def add_action(self: Any, *arguments: Any) -> Any:
        """``addAction(action)`` or ``addAction([icon,] text)``; the action that C++ would make is made here."""
        if len(arguments) == 1 and isinstance(arguments[0], QtGui.QAction):
            base.addAction(self, arguments[0])
            return arguments[0]
        action = python_qt_class(QtGui.QAction)(*arguments, self)
        base.addAction(self, action)
        return action

    return add_action


class _Cover:
    """Speaks PythonQt for an object that C++ has made, such as a dialog's button or a table's header."""

    def __init__(self, target: QtCore.QObject) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_kind", python_qt_class(type(target)))

    def __getattr__(self, attribute: str) -> Any:
        descriptor = inspect.getattr_static(self._kind, attribute)
        if isinstance(descriptor, _Property):
            return descriptor.__get__(self._target)
        if attribute == "name":
            return self._target.objectName()
        if attribute in ("connect", "disconnect"):
            return self._connect if attribute == "connect" else None
        return getattr(self._target, attribute)

    def _connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        name, parameters = _split(signature)
        if self._target.metaObject().indexOfSignal(f"{name}({parameters})") < 0:
            raise ValueError(f"{type(self._target).__name__} has no signal {signature}.")
        getattr(self._target, name).connect(_receiver(slot, parameters.count(",") + 1 if parameters else 0))
        return True

    def __setattr__(self, attribute: str, value: Any) -> None:
        descriptor = inspect.getattr_static(self._kind, attribute, None)
        if not isinstance(descriptor, _Property):
            raise AttributeError(f"{type(self._target).__name__}.{attribute} is no property.")
        descriptor.__set__(self._target, value)


def cover(value: Any) -> Any:
    """A plain PySide6 object under a cover; anything else as it is."""
    return _Cover(value) if isinstance(value, QtCore.QObject) and not isinstance(value, PythonQtObject) else value


class QtModule(types.ModuleType):
    """The module ``qt``: classes of QtCore, QtGui and QtWidgets by name. Signal, Slot and Property are not there."""

    def __init__(self, replacements: dict[str, Any]) -> None:
        super().__init__("qt", __doc__)
        self.__dict__.update(replacements)

    def __getattr__(self, name: str) -> Any:
        for module in (QtWidgets, QtGui, QtCore):
            value = getattr(module, name, None)
            if value is not None and (name == "Qt" or (name.startswith("Q") and isinstance(value, type))):
                if isinstance(value, type) and issubclass(value, QtCore.QObject) and value is not QtCore.QObject:
                    value = python_qt_class(value)
                setattr(self, name, value)
                return value
        raise AttributeError(f"module qt has no {name}.")
