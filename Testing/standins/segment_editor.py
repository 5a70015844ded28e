"""Double of qMRMLSegmentEditorWidget: what it does with its effects, on the real logic and parameter node."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from standins.effect_host import EffectFactory, ScriptedEffect

__all__ = ["SegmentEditor"]


class SegmentEditor:
    """Clones the effects of the factory, activates one, and tells it about changes as the widget does.

    Attributes:
        logic: real vtkSlicerSegmentEditorLogic; node: real vtkMRMLSegmentEditorNode; effects: by name.
    """

    def __init__(self) -> None:
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetSegmentEditorNode(self.node)
        self.logic.SetMaximumNumberOfUndoStates(10)
        self.effects: dict[str, ScriptedEffect] = {}
        self._active: ScriptedEffect | None = None
        self._tags: list[tuple[Any, int]] = []
        self._observe(self.node, vtk.vtkCommand.ModifiedEvent, self._node_modified)
        for widget in self._slice_widgets():
            self._observe(
                widget.mrmlSliceNode(),
                vtk.vtkCommand.ModifiedEvent,
                lambda caller, event, widget=widget: self._view_modified(caller, widget),
            )
        self._updating = False
        for registered in EffectFactory.instance().registeredEffects():
            effect = registered.self().clone()
            effect.setSegmentEditorLogic(self.logic)
            self.effects[effect.name] = effect
            effect.self().setupOptionsFrame()
            effect.self().setMRMLDefaults()
            effect.self().updateGUIFromMRML()

    def set_segmentation(self, segmentation: Any) -> None:
        """The user chooses a segmentation, or None."""
        self.logic.SetSegmentationNode(segmentation)
        self._tell("referenceGeometryChanged")

    def set_source_volume(self, volume: Any) -> None:
        """The user chooses a source volume, or None."""
        self.logic.SetSourceVolumeNode(volume)
        self._tell("sourceVolumeNodeChanged")
        self._tell("referenceGeometryChanged")

    def select_segment(self, segment_id: str) -> None:
        """The user selects a segment."""
        self.logic.SetCurrentSegmentID(segment_id)

    def activate(self, name: str) -> Any:
        """The user chooses an effect ("" for none); its Python object."""
        if self._active is not None:
            self._active.deactivate()
            self._active = None
        self.node.SetActiveEffectName(name)
        if not name:
            return None
        self._active = self.effects[name]
        self._active.activate()
        self._active.self().updateGUIFromMRML()
        return self._active.self()

    def undo(self) -> None:
        """The button Undo."""
        self.logic.Undo()

    def redo(self) -> None:
        """The button Redo."""
        self.logic.Redo()

    def close(self) -> None:
        """The widget is deleted."""
        self.activate("")
        for target, tag in self._tags:
            target.RemoveObserver(tag)
        self._tags.clear()
        for effect in self.effects.values():
            if hasattr(effect.self(), "cleanup"):
                effect.self().cleanup()
        self.logic.SetSegmentEditorNode(None)
        self.logic.SetMRMLScene(None)

    def _observe(self, target: Any, event: Any, function: Any) -> None:
        self._tags.append((target, target.AddObserver(event, function)))

    @staticmethod
    def _slice_widgets() -> list[Any]:
        layout = slicer.app.layoutManager()
        return [] if layout is None else [layout.sliceWidget(name) for name in layout.sliceViewNames()]

    def _tell(self, method: str) -> None:
        """Call a method of every effect that has it, as the widget does."""
        for effect in self.effects.values():
            function = getattr(effect.self(), method, None)
            if function is not None:
                function()

    def _node_modified(self, caller: Any, event: str) -> None:
        if self._active is not None and self.node.GetActiveEffectName() != self._active.name:
            self._active.deactivate()
            self._active = None
        if not self._updating:
            self._updating = True
            try:
                self._tell("updateGUIFromMRML")
            finally:
                self._updating = False

    def _view_modified(self, node: Any, widget: Any) -> None:
        if self._active is not None:
            function = getattr(self._active.self(), "processViewNodeEvents", None)
            if function is not None:
                function(node, int(vtk.vtkCommand.ModifiedEvent), widget)
