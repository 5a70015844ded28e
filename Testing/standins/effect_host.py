"""Doubles of qSlicerSegmentEditorScriptedEffect and its factory. Data calls go to the real logic."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer

__all__ = ["AbstractEffect", "AbstractScriptedSegmentEditorEffect", "EffectFactory", "ScriptedEffect"]


class AbstractEffect:
    """``slicer.qSlicerSegmentEditorAbstractEffect``: the modes and the answers of confirmations."""

    ModificationModeSet = 0
    ModificationModeAdd = 1
    ModificationModeRemove = 2
    ModificationModeRemoveAll = 3
    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = 0, 1, 2


_MODES = ("ModificationModeSet", "ModificationModeAdd", "ModificationModeRemove", "ModificationModeRemoveAll")


class AbstractScriptedSegmentEditorEffect:
    """Base of effects in Python (package ``SegmentEditorEffects``)."""

    def __init__(self, scriptedEffect: Any) -> None:  # noqa: N803
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        """Give the effect to the factory."""
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self) -> None:
        """Called before deletion."""


class EffectFactory:
    """``slicer.qSlicerSegmentEditorEffectFactory``: a second effect of the same name is refused, as in C++."""

    _instance: EffectFactory | None = None

    def __init__(self) -> None:
        self.effects: list[ScriptedEffect] = []

    @classmethod
    def instance(cls) -> EffectFactory:
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def registerEffect(self, effect: ScriptedEffect) -> bool:  # noqa: N802
        if not effect.name or any(known.name == effect.name for known in self.effects):
            return False
        self.effects.append(effect)
        return True

    def registeredEffects(self) -> list[ScriptedEffect]:  # noqa: N802
        return list(self.effects)


class ScriptedEffect:
    """``qSlicerSegmentEditorScriptedEffect``. What the C++ class does not have raises AttributeError.

    Attributes (of the stand-in only):
        actors: (view name, actor) added and not removed; selected: names given to ``selectEffect``.
    """

    __slots__ = (
        "_active", "_frame", "_logic", "_python", "actors", "captureMouseMoveEventsInSliceView",
        "captureMouseMoveEventsInThreeDView", "name", "perSegment", "requireSegments", "selected",
        "showEffectCursorInSliceView",
        "showEffectCursorInThreeDView", "title",
    )  # fmt: skip

    def __init__(self, parent: Any = None) -> None:
        self.name, self.title = "", ""
        self.perSegment = self.requireSegments = self.showEffectCursorInSliceView = True
        self.showEffectCursorInThreeDView = False
        self.captureMouseMoveEventsInSliceView = self.captureMouseMoveEventsInThreeDView = False
        self._python: Any = None
        self._logic: Any = None
        self._frame: Any = None
        self._active = False
        self.actors: list[tuple[str, Any]] = []
        self.selected: list[str] = []

    # Python side
    def setPythonSource(self, path: str) -> bool:  # noqa: N802
        """Take the class by Slicer's rule: package = folder's name, class = file's name (+ "Effect")."""
        if not path.endswith(".py") or "\\" in path:
            raise ValueError(f"setPythonSource({path!r}): a .py file with forward slashes is needed.")
        file = Path(path)
        class_name = file.stem if file.stem.endswith("Effect") else f"{file.stem}Effect"
        module = sys.modules.get(file.parent.name)
        cls = getattr(module, class_name, None)
        if cls is None:
            name = f"{file.parent.name}.{file.stem}"
            specification = importlib.util.spec_from_file_location(name, path)
            if specification is None or specification.loader is None:
                return False
            module = importlib.util.module_from_spec(specification)
            sys.modules[name] = module
            specification.loader.exec_module(module)
            cls = getattr(module, class_name)
        self._python = cls(self)
        return True

    def self(self) -> Any:
        """The Python object."""
        return self._python

    # What the editor calls
    def setSegmentEditorLogic(self, logic: Any) -> None:  # noqa: N802
        self._logic = logic

    def active(self) -> bool:
        return self._active

    def activate(self) -> None:
        self._active = True
        if self._frame is not None:
            self._frame.visible = True
        self._python.activate()

    def deactivate(self) -> None:
        if self._frame is not None:
            self._frame.visible = False
        self._python.deactivate()
        self._active = False

    def optionsFrame(self) -> Any:  # noqa: N802
        import qt

        if self._frame is None:
            self._frame = qt.QFrame()
            self._frame.setLayout(qt.QFormLayout())
        return self._frame

    def optionsLayout(self) -> Any:  # noqa: N802
        return self.optionsFrame().layout()

    def addOptionsWidget(self, item: Any) -> None:  # noqa: N802
        self.optionsLayout().addRow(item)

    def addLabeledOptionsWidget(self, label: str, item: Any) -> Any:  # noqa: N802
        import qt

        widget = qt.QLabel(label)
        self.optionsLayout().addRow(widget, item)
        return widget

    # Parameters
    def parameterSetNode(self) -> Any:  # noqa: N802
        return self._logic.GetSegmentEditorNode() if self._logic is not None else None

    def scene(self) -> Any:
        node = self.parameterSetNode()
        return node.GetScene() if node is not None else None

    def _attribute(self, name: str) -> str | None:
        node = self.parameterSetNode()
        value = node.GetAttribute(f"{self.name}.{name}")
        return node.GetAttribute(name) if value is None else value

    def parameterDefined(self, name: str) -> bool:  # noqa: N802
        return self.parameterSetNode().GetAttribute(f"{self.name}.{name}") is not None

    def commonParameterDefined(self, name: str) -> bool:  # noqa: N802
        return self.parameterSetNode().GetAttribute(name) is not None

    def setParameter(self, name: str, value: Any) -> None:  # noqa: N802
        self._set(f"{self.name}.{name}", value)

    def setParameterDefault(self, name: str, value: Any) -> None:  # noqa: N802
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    def setCommonParameter(self, name: str, value: Any) -> None:  # noqa: N802
        self._set(name, value)

    def setCommonParameterDefault(self, name: str, value: Any) -> None:  # noqa: N802
        if not self.commonParameterDefined(name):
            self._set(name, value)

    def _set(self, key: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(f"parameter {key}: str, int or float is needed, not {value!r}.")
        # QString::number keeps six digits of a double
        text = format(value, ".6g") if isinstance(value, float) else str(value)
        node = self.parameterSetNode()
        if node.GetAttribute(key) != text:
            node.SetAttribute(key, text)
            node.InvokeCustomModifiedEvent(node.EffectParameterModified)

    def parameter(self, name: str) -> str:
        return self._attribute(name) or ""

    def integerParameter(self, name: str) -> int:  # noqa: N802
        text = self.parameter(name)
        return int(text) if text.lstrip("-").isdigit() else 0

    def doubleParameter(self, name: str) -> float:  # noqa: N802
        try:
            return float(self.parameter(name))
        except ValueError:
            return 0.0

    def nodeReference(self, name: str) -> Any:  # noqa: N802
        node = self.parameterSetNode()
        return node.GetNodeReference(f"{self.name}.{name}") or node.GetNodeReference(name)

    def setNodeReference(self, name: str, node: Any) -> None:  # noqa: N802
        self.parameterSetNode().SetNodeReferenceID(f"{self.name}.{name}", node.GetID() if node is not None else None)

    def setCommonNodeReference(self, name: str, node: Any) -> None:  # noqa: N802
        self.parameterSetNode().SetNodeReferenceID(name, node.GetID() if node is not None else None)

    # Data: the real logic
    def sourceVolumeImageData(self) -> Any:  # noqa: N802
        self._logic.UpdateAlignedSourceVolume()
        return self._logic.GetAlignedSourceVolume()

    def modifierLabelmap(self) -> Any:  # noqa: N802
        return self._logic.GetModifierLabelmap()

    def defaultModifierLabelmap(self) -> Any:  # noqa: N802
        self._logic.ResetModifierLabelmapToDefault()
        return self._logic.GetModifierLabelmap()

    def maskLabelmap(self) -> Any:  # noqa: N802
        self._logic.UpdateMaskLabelmap()
        return self._logic.GetMaskLabelmap()

    def selectedSegmentLabelmap(self) -> Any:  # noqa: N802
        self._logic.UpdateSelectedSegmentLabelmap()
        return self._logic.GetSelectedSegmentLabelmap()

    def referenceGeometryImage(self) -> Any:  # noqa: N802
        self._logic.UpdateReferenceGeometryImage()
        return self._logic.GetReferenceGeometryImage()

    def saveStateForUndo(self) -> None:  # noqa: N802
        self._logic.SaveStateForUndo()

    def modifySelectedSegmentByLabelmap(self, labelmap: Any, mode: int, *rest: Any) -> None:  # noqa: N802
        self.modifySegmentByLabelmap(
            self._logic.GetSegmentationNode(), self._logic.GetCurrentSegmentID(), labelmap, mode, *rest
        )

    def modifySegmentByLabelmap(self, node: Any, segment_id: str, labelmap: Any, mode: int, *rest: Any) -> None:  # noqa: N802
        extent = list(rest[0]) if rest and not isinstance(rest[0], bool) else [0, -1, 0, -1, 0, -1]
        bypass = bool(rest and rest[-1] is True)
        mode = getattr(self._logic, _MODES[mode])
        self._logic.ModifySegmentByLabelmap(node, segment_id, labelmap, mode, extent, self.perSegment, bypass)

    def confirmCurrentSegmentVisible(self) -> int:  # noqa: N802
        if self._logic.IsSelectedSegmentVisible():
            return AbstractEffect.ConfirmedWithoutDialog
        answer = slicer.app.dialogs.ask("visible", "The currently selected segment is hidden.")
        return AbstractEffect.ConfirmedWithDialog if answer else AbstractEffect.NotConfirmed

    def segmentationDisplayableInView(self, view_node: Any) -> bool:  # noqa: N802
        return bool(self._logic.IsSegmentationDisplayableInView(view_node))

    def selectEffect(self, name: str) -> None:  # noqa: N802
        self.selected.append(name)
        self.parameterSetNode().SetActiveEffectName(name)

    # Views
    def addActor2D(self, widget: Any, actor: Any) -> None:  # noqa: N802
        self.actors.append((widget.sliceViewName, actor))
        if widget.sliceView().renderer is not None:
            widget.sliceView().renderer.AddActor2D(actor)

    def removeActor2D(self, widget: Any, actor: Any) -> None:  # noqa: N802
        self.actors.remove((widget.sliceViewName, actor))
        if widget.sliceView().renderer is not None:
            widget.sliceView().renderer.RemoveActor2D(actor)

    def renderWindow(self, widget: Any) -> Any:  # noqa: N802
        return widget.sliceView().renderWindow()

    def renderer(self, widget: Any) -> Any:
        return widget.sliceView().renderer

    def viewNode(self, widget: Any) -> Any:  # noqa: N802
        return widget.mrmlSliceNode()

    def scheduleRender(self, widget: Any) -> None:  # noqa: N802
        widget.sliceView().scheduleRender()

    def forceRender(self, widget: Any) -> None:  # noqa: N802
        widget.sliceView().forceRender()


def install(package: Any) -> None:
    """``slicer.qSlicer...`` and the two modules that effects import."""
    package.qSlicerSegmentEditorAbstractEffect = AbstractEffect
    package.qSlicerSegmentEditorEffectFactory = EffectFactory
    effects = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
    effects.qSlicerSegmentEditorScriptedEffect = ScriptedEffect  # type: ignore[attr-defined]
    effects.qSlicerSegmentEditorAbstractEffect = AbstractEffect  # type: ignore[attr-defined]
    sys.modules[effects.__name__] = effects
    base = types.ModuleType("SegmentEditorEffects")
    base.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect  # type: ignore[attr-defined]
    base.__dict__["__all__"] = ["AbstractScriptedSegmentEditorEffect"]
    sys.modules["SegmentEditorEffects"] = base
