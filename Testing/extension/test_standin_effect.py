"""The double of the effect's host, with a tiny effect on the real vtkSlicerSegmentEditorLogic. [real Slicer C++]"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from standins.effect_host import EffectFactory, ScriptedEffect
from standins.segment_editor import SegmentEditor

EFFECT = """
import qSlicerSegmentationsEditorEffectsPythonQt as effects
import qt
import slicer
import vtkSegmentationCorePython as vtkSegmentationCore
from SegmentEditorEffects import *
from vtk.util.numpy_support import vtk_to_numpy


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Dark"
        scriptedEffect.perSegment = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.log = []

    def clone(self):
        instance = effects.qSlicerSegmentEditorScriptedEffect(None)
        instance.setPythonSource(__file__)
        return instance

    def setupOptionsFrame(self):
        self.label = self.scriptedEffect.addLabeledOptionsWidget("Limit:", qt.QSpinBox())

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("Limit", 100)

    def updateGUIFromMRML(self):
        self.log.append(self.scriptedEffect.integerParameter("Limit"))

    def activate(self):
        self.log.append("activate")

    def deactivate(self):
        self.log.append("deactivate")

    def sourceVolumeNodeChanged(self):
        self.log.append("source")

    def processViewNodeEvents(self, node, event, widget):
        self.log.append(widget.sliceViewName)

    def onApply(self):
        effect = self.scriptedEffect
        image = effect.sourceVolumeImageData()
        labelmap = effect.defaultModifierLabelmap()
        values = vtk_to_numpy(labelmap.GetPointData().GetScalars())
        values[:] = vtk_to_numpy(image.GetPointData().GetScalars()) < effect.integerParameter("Limit")
        labelmap.Modified()
        effect.saveStateForUndo()
        effect.modifySelectedSegmentByLabelmap(labelmap, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeSet)
"""


@pytest.fixture
def editor(scene: Any, frame_volume: Any, tmp_path: Path) -> Iterator[SegmentEditor]:
    """A segment editor with the effect "Dark" and two segments, "a" selected."""
    file = tmp_path / "DarkEffectLib" / "SegmentEditorEffect.py"
    file.parent.mkdir()
    file.write_text(EFFECT)
    before = list(EffectFactory.instance().effects)
    prototype = ScriptedEffect(None)
    prototype.setPythonSource(file.as_posix())
    prototype.self().register()
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(frame_volume)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), segmentation)
    editor = SegmentEditor()
    editor.set_segmentation(segmentation)
    editor.set_source_volume(frame_volume)
    for name in ("a", "b"):
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    editor.select_segment("a")
    yield editor
    editor.close()
    EffectFactory.instance().effects[:] = before
    sys.modules.pop("DarkEffectLib.SegmentEditorEffect", None)


def _mask(editor: SegmentEditor, segment: str, volume: Any) -> np.ndarray:
    return slicer.util.arrayFromSegmentBinaryLabelmap(editor.logic.GetSegmentationNode(), segment, volume)[0]


def test_effect_writes_overwrites_and_is_undone(
    editor: SegmentEditor, frame_volume: Any, frame_pixels: np.ndarray
) -> None:
    effect = editor.activate("Dark")
    dark = frame_pixels < 100
    effect.onApply()
    assert np.array_equal(_mask(editor, "a", frame_volume), dark) and dark.any()
    editor.select_segment("b")
    effect.onApply()
    assert _mask(editor, "a", frame_volume).sum() == 0 and np.array_equal(_mask(editor, "b", frame_volume), dark)
    editor.undo()
    assert np.array_equal(_mask(editor, "a", frame_volume), dark) and _mask(editor, "b", frame_volume).sum() == 0
    editor.redo()
    assert np.array_equal(_mask(editor, "b", frame_volume), dark)


def test_effect_respects_the_mask(editor: SegmentEditor, frame_volume: Any, frame_pixels: np.ndarray) -> None:
    inside = np.zeros((1, *frame_pixels.shape), np.uint8)
    inside[0, :, :64] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, editor.logic.GetSegmentationNode(), "b", frame_volume)
    editor.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.node.SetMaskSegmentID("b")
    editor.node.SetOverwriteMode(editor.node.OverwriteNone)
    editor.activate("Dark").onApply()
    assert np.array_equal(_mask(editor, "a", frame_volume), (frame_pixels < 100) & (inside[0] > 0))


def test_effect_is_told_what_happens(editor: SegmentEditor, app: Any) -> None:
    effect = editor.activate("Dark")
    assert "activate" in effect.log and "source" in effect.log
    effect.log.clear()
    effect.scriptedEffect.setParameter("Limit", 80)
    assert 80 in effect.log
    red = app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetSliceOffset(red.GetSliceOffset() + 1)
    assert "Red" in effect.log
    editor.node.SetActiveEffectName("")
    assert "deactivate" in effect.log and not effect.scriptedEffect.active()


def test_host_is_strict(editor: SegmentEditor) -> None:
    host = editor.effects["Dark"]
    with pytest.raises(AttributeError):
        host.modifySelectedSegment  # noqa: B018
    with pytest.raises(AttributeError):
        host.perSegmnt = False
    with pytest.raises(TypeError, match="Limit"):
        host.setParameter("Limit", True)
    host.setParameter("Share", 1 / 3)
    assert host.parameter("Share") == "0.333333" and host.parameterDefined("Share")
    with pytest.raises(ValueError, match="forward slashes"):
        ScriptedEffect(None).setPythonSource("C:\\x\\SegmentEditorEffect.py")


def test_hidden_segment_needs_confirmation(editor: SegmentEditor, app: Any) -> None:
    host = editor.effects["Dark"]
    assert host.confirmCurrentSegmentVisible() == 1
    editor.logic.GetSegmentationNode().GetDisplayNode().SetSegmentVisibility("a", False)
    app.dialogs.answer(False)
    assert host.confirmCurrentSegmentVisible() == 0
