"""Segment Editor effect: coronary arteries of the frame that is shown, with a preview before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

from .choices import DEFAULTS, Choices
from .controller import Controller
from .options import OptionsFrame

__all__ = ["SegmentEditorEffect"]


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """What Slicer calls, and the options frame; what is done stands in :class:`Controller`."""

    def __init__(self, scriptedEffect: Any) -> None:  # noqa: N803 - Slicer's name
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        scriptedEffect.name = "Coronary artery (CASR)"  # not translated: modules find effects by it
        scriptedEffect.title = _("Coronary artery (CASR)")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        self.options: OptionsFrame | None = None
        self.controller = Controller(scriptedEffect)
        self.controller.changed.connect(self._show_state)

    def clone(self) -> Any:
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        cloned = effects.qSlicerSegmentEditorScriptedEffect(None)
        cloned.setPythonSource(Path(__file__).as_posix())
        return cloned

    def icon(self) -> Any:
        path = Path(__file__).with_suffix(".png")
        return qt.QIcon(str(path)) if path.is_file() else qt.QIcon()

    def helpText(self) -> str:
        return "<html>" + _(
            "Find the coronary arteries in an X-ray angiogram (CASR-Net).<p><ul style='margin: 0'>"
            "<li><b>Find vessels:</b> run the network on the frame or slice that is shown, and preview the result in"
            " yellow."
            "<li><b>Threshold:</b> probability from which a pixel is vessel; the preview follows at once."
            "<li><b>Refinement:</b> remove false vessels and close gaps."
            "<li><b>Apply:</b> write the preview into the selected segment; masking and overwriting are respected, and"
            " other slices stay as they are.</ul><p>"
            "All frames of a cine at once: module <b>CASR Segmentation</b>. Not for clinical use."
        )

    def setupOptionsFrame(self) -> None:
        self.options = options = OptionsFrame(self.scriptedEffect)
        options.find.clicked.connect(self.onFind)
        options.cancel.clicked.connect(self.onCancel)
        options.apply.clicked.connect(self.onApply)
        options.threshold.valueChanged.connect(self.updateMRMLFromGUI)
        for button in (options.refine, options.replace, options.add, options.bright, options.window):
            button.toggled.connect(self.updateMRMLFromGUI)
        self._show_state()

    def setMRMLDefaults(self) -> None:
        for name, value in DEFAULTS.items():
            self.scriptedEffect.setParameterDefault(name, value)

    def activate(self) -> None:
        self.updateGUIFromMRML()
        self.controller.enter()

    def deactivate(self) -> None:
        self.controller.leave()

    def cleanup(self) -> None:
        self.controller.close()

    def layoutChanged(self) -> None:
        self.controller.layout_changed()

    def sourceVolumeNodeChanged(self) -> None:
        self.controller.source_changed()

    def interactionNodeModified(self, interactionNode: Any) -> None:  # noqa: N803 - Slicer's name
        """Stay active while the user adjusts the window or places a point."""

    def processViewNodeEvents(self, callerViewNode: Any, eventId: int, viewWidget: Any) -> None:  # noqa: N803
        self.controller.view_moved(viewWidget)

    def updateGUIFromMRML(self) -> None:
        if self.options is not None and self.scriptedEffect.parameterSetNode() is not None:
            self.options.set_choices(Choices.read(self.scriptedEffect))
            self.controller.options_changed()

    def updateMRMLFromGUI(self, *_values: Any) -> None:
        if self.options is not None and self.scriptedEffect.parameterSetNode() is not None:
            self.options.choices().store(self.scriptedEffect)
            self.controller.options_changed()

    def onFind(self, *_args: Any) -> None:
        """Show where the vessels are; the network runs unless it has done this frame already."""
        self.controller.begin(write=False)

    def onApply(self, *_args: Any) -> None:
        """Write what the preview shows; the network runs first if it has not done this frame."""
        if self.scriptedEffect.confirmCurrentSegmentVisible():
            self.controller.begin(write=True)

    def onCancel(self, *_args: Any) -> None:
        """Stop the network; nothing is written."""
        self.controller.cancel()

    def _show_state(self) -> None:
        if self.options is not None:
            controller = self.controller
            self.options.set_state(controller.busy, controller.writing, controller.problem, controller.text)
