"""Double of ``slicer.parameterNodeWrapper``: typed fields on a real vtkMRMLScriptedModuleNode, two-way with widgets.

It has the types and the pairs of type and widget that our module may use, and no others: whatever is not listed raises,
at the decorator for types and in ``connectGui`` for widgets.
"""

from __future__ import annotations

import enum
import pathlib
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import slicer
import vtk

__all__ = [
    "Choice", "Decimals", "Default", "Maximum", "Minimum", "SingleStep", "WithinRange", "isParameterNodeWrapper",
    "parameterNodeWrapper",
]  # fmt: skip


@dataclass(frozen=True)
class Default:
    """``Annotated[int, Default(3)]``."""

    value: Any


@dataclass(frozen=True)
class Decimals:
    """Decimals of the widget."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of the widget."""

    value: float


class _Validator:
    def validate(self, value: Any) -> None:
        """Raise ValueError for a value that is not allowed."""


@dataclass(frozen=True)
class Minimum(_Validator):
    """Not below."""

    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be not be less than {self.minimum}, value is '{value}'")


@dataclass(frozen=True)
class Maximum(_Validator):
    """Not above."""

    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be not be greater than {self.maximum}, value is '{value}'")


@dataclass(frozen=True)
class WithinRange(_Validator):
    """Both limits are allowed."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], value is '{value}'")


@dataclass(frozen=True)
class Choice(_Validator):
    """One of a list."""

    choices: list[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value must be one of the choices {self.choices}, value is '{value}'")


class Field:
    """One typed field and how it lies in the node."""

    def __init__(self, name: str, kind: Any, equals: Any) -> None:
        self.name = name
        self.annotations: tuple[Any, ...] = ()
        if typing.get_origin(kind) is Annotated:
            kind, *rest = typing.get_args(kind)
            self.annotations = tuple(rest)
        self.kind = kind
        self.is_node = isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)
        known = self.is_node or kind in (str, bool, int, float, pathlib.Path)
        if not known and not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
            raise TypeError(f"{name}: the stand-in of parameterNodeWrapper has no serializer for {kind}.")
        self.validators = [item for item in self.annotations if isinstance(item, _Validator)]
        given = [item.value for item in self.annotations if isinstance(item, Default)]
        self.default = equals if equals is not None else (given[0] if given else self._default())
        if not self.is_node:
            self.check(self.default)

    def _default(self) -> Any:
        if self.is_node:
            return None
        choice = self.annotation(Choice)
        if choice is not None:
            return choice.choices[0]
        limits = self.annotation(WithinRange) or self.annotation(Minimum)
        if limits is not None and self.kind in (int, float):
            return self.kind(limits.minimum)
        return next(iter(self.kind)) if issubclass(self.kind, enum.Enum) else self.kind()

    def annotation(self, kind: type) -> Any:
        """The first annotation of a class, or None."""
        return next((item for item in self.annotations if isinstance(item, kind)), None)

    def check(self, value: Any) -> Any:
        """The value as it is stored; TypeError or ValueError if it does not fit."""
        if self.is_node:
            if value is not None and not isinstance(value, self.kind):
                raise TypeError(f"{self.name}: {value!r} is no {self.kind.__name__}.")
            return value
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is pathlib.Path and isinstance(value, str):
            value = pathlib.Path(value)
        fits = isinstance(value, pathlib.PurePath) if self.kind is pathlib.Path else type(value) is self.kind
        if not fits and not isinstance(value, self.kind):
            raise TypeError(f"{self.name}: {value!r} is no {self.kind.__name__}.")
        if self.kind is int and isinstance(value, bool):
            raise TypeError(f"{self.name}: {value!r} is no int.")
        for validator in self.validators:
            validator.validate(value)
        return value

    def is_in(self, node: Any) -> bool:
        """Whether the node has a value."""
        return node.HasNodeReferenceRole(self.name) if self.is_node else node.GetParameter(self.name) != ""

    def read(self, node: Any) -> Any:
        """The node's value; the default if it has none, as after the scene was closed."""
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if text == "" and self.kind is not str:
            return self.default
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)

    def write(self, node: Any, value: Any) -> None:
        """Check and store."""
        value = self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))


class _Wrapper:
    """What every class decorated with ``@parameterNodeWrapper`` has."""

    allParameters: dict[str, Field] = {}  # noqa: N815, RUF012
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode: Any) -> None:  # noqa: N803
        self.parameterNode = parameterNode
        self._gui: dict[int, list[Any]] = {}
        self._tag = 0
        self._updating = False
        for field in self.allParameters.values():
            if not field.is_node and not field.is_in(parameterNode):
                field.write(parameterNode, field.default)

    def default(self, name: str) -> Default:
        return Default(self._field(name).default)

    def dataType(self, name: str) -> Any:  # noqa: N802
        return self._field(name).kind

    def getValue(self, name: str) -> Any:  # noqa: N802
        return self._field(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:  # noqa: N802
        self._field(name).write(self.parameterNode, value)

    def _field(self, name: str) -> Field:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}; known are {list(self.allParameters)}")
        return self.allParameters[name]

    def StartModify(self) -> int:  # noqa: N802
        return self.parameterNode.StartModify()

    def EndModify(self, state: int) -> int:  # noqa: N802
        return self.parameterNode.EndModify(state)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:  # noqa: N802
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:  # noqa: N802
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:  # noqa: N802
        self.parameterNode.Modified()

    def connectGui(self, gui: Any) -> int:  # noqa: N802
        """Connect every widget that has the dynamic property SlicerParameterName; gives the tag for disconnectGui."""
        widgets = gui.findChildren() if hasattr(gui, "findChildren") else list(vars(gui).values())
        named = [(widget.property("SlicerParameterName"), widget) for widget in widgets if hasattr(widget, "property")]
        return self.connectParametersToGui({name: widget for name, widget in named if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:  # noqa: N802
        """Connect parameters with widgets; RuntimeError for a pair that Slicer has no connector for."""
        from standins.gui_connectors import connector

        made = [(name, connector(widget, self._field(name))) for name, widget in mapping.items()]
        for name, item in made:
            item.write(self.getValue(name))
            item.start(lambda name=name, item=item: self._from_gui(name, item))
        self._tag += 1
        tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_gui(self._tag))
        self._gui[self._tag] = [made, tag]
        return self._tag

    def disconnectGui(self, tag: int) -> None:  # noqa: N802
        """Undo connectGui."""
        made, observer = self._gui.pop(tag)
        self.parameterNode.RemoveObserver(observer)
        for _, item in made:
            item.stop()

    def _from_gui(self, name: str, item: Any) -> None:
        if not self._updating:
            self.setValue(name, item.read())

    def _to_gui(self, tag: int) -> None:
        if self._updating or tag not in self._gui:
            return
        self._updating = True
        try:
            for name, item in self._gui[tag][0]:
                item.write(self.getValue(name))
        finally:
            self._updating = False


def parameterNodeWrapper(cls: Any = None) -> Any:  # noqa: N802
    """Class decorator: annotated attributes become fields of the parameter node."""
    if cls is None:
        return parameterNodeWrapper
    fields = {
        name: Field(name, kind, cls.__dict__.get(name))
        for name, kind in typing.get_type_hints(cls, include_extras=True).items()
    }
    taken = [name for name in fields if hasattr(_Wrapper, name)]
    if taken:
        raise ValueError(f"Cannot use reserved name '{taken[0]}' in a parameterNodeWrapper")
    members = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__")}
    members.update({name: _property(name) for name in fields})
    members["allParameters"] = fields
    return type(cls.__name__, (_Wrapper,), members)


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def isParameterNodeWrapper(item: Any) -> bool:  # noqa: N802
    """Whether a class or an object is one."""
    return bool(getattr(item, "_is_parameter_node_wrapper", False))
