"""The module's panel: shows what is chosen and what happens; what is done stands in the logic."""

from __future__ import annotations

import sys
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget

from . import sample_data, settings
from .bundles import BundleError
from .frames import FrameError
from .installation import Installation, InstallationDeclined, InstallationError
from .job import JobError, Progress, Request, State, Summary
from .logic import CASRSegmentationLogic
from .measure_panel import MeasurePanel
from .node_scale import ATTRIBUTE, node_scale, set_pixel_size
from .parameters import CASRSegmentationParameterNode, Frames, chosen_frames
from .segment_choice import SegmentChoice
from .sources import FrameSource, describe, orientation

__all__ = ["CASRSegmentationWidget"]


class CASRSegmentationWidget(ScriptedLoadableModuleWidget, slicer.util.VTKObservationMixin):
    """Connects the widgets of Resources/UI/CASRSegmentation.ui with parameter node, settings and logic."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        slicer.util.VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.installation: Any = None
        self._parameters: Any = None
        self._gui_tag: int | None = None
        self._source: FrameSource | None = None
        self._status = ""

    # Called by Slicer

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/CASRSegmentation.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = CASRSegmentationLogic()
        self.installation = Installation()
        self.segments = SegmentChoice(self.ui.segmentComboBox)
        self.measure = MeasurePanel(self.ui, self._request, lambda: self.installation.ensure())
        self.ui.deviceComboBox.addItems(list(settings.DEVICES))
        self._show_settings()
        self._connect()  # last, so that filling the widgets changes no setting
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_scene_start_close)
        self.addObserver(scene, scene.EndCloseEvent, self._on_scene_end_close)
        self._use_parameter_node()

    def cleanup(self) -> None:
        if self.logic is not None:
            self.logic.cancel()
            self.measure.close()
            self.segments.close()
        self._release_parameter_node()
        self.removeObservers()

    def enter(self) -> None:
        self._use_parameter_node()

    def exit(self) -> None:
        """A job that is under way goes on."""
        self._release_parameter_node()

    def onReload(self) -> None:
        """The button for developers: Slicer reloads the module's file only, so its packages are forgotten here."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "CASRSegmentationLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    # Parameter node

    def _use_parameter_node(self) -> None:
        if self._parameters is not None:
            return
        self._parameters = CASRSegmentationParameterNode(self.logic.getParameterNode())  # type: ignore[call-arg]
        if self._parameters.inputVolume is None:
            self._parameters.inputVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        self._gui_tag = self._parameters.connectGui(self.ui)
        self.addObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._refresh()

    def _release_parameter_node(self) -> None:
        if self._parameters is None:
            return
        self.segments.show(None)
        node = self._parameters.parameterNode
        self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._parameters.disconnectGui(self._gui_tag)
        self._parameters = self._gui_tag = None

    def _on_parameters(self, _caller: Any, _event: Any) -> None:
        self._refresh()

    def _on_scene_start_close(self, _caller: Any, _event: Any) -> None:
        self._release_parameter_node()

    def _on_scene_end_close(self, _caller: Any, _event: Any) -> None:
        if self.parent.isEntered:
            self._use_parameter_node()

    # What is shown

    def _connect(self) -> None:
        ui, logic = self.ui, self.logic
        ui.applyButton.connect("clicked(bool)", self._on_apply)
        ui.sampleButton.connect("clicked(bool)", self._on_sample)
        ui.pixelSizeSpinBox.connect("valueChanged(double)", self._on_pixel_size)
        ui.deviceComboBox.connect("currentTextChanged(QString)", self._on_device)
        ui.bundlePathLineEdit.connect("currentPathChanged(QString)", self._on_bundle)
        ui.bundleResetButton.connect("clicked(bool)", self._on_bundle_reset)
        logic.state_changed.connect(self._on_state)
        logic.progress_changed.connect(self._on_progress)
        logic.warned.connect(self._on_warning)
        logic.failed.connect(self._on_failed)
        logic.finished.connect(self._on_finished)
        logic.cancelled.connect(self._say)

    def _refresh(self) -> None:
        """Everything that follows from the parameters and from the logic's state."""
        if self._parameters is None:
            return
        ui, busy, parameters = self.ui, self.logic.busy, self._parameters
        volume, problem, info = parameters.inputVolume, "", ""
        before, self._source = self._source, None
        try:
            self._source = describe(volume)
            info = self._describe(self._source)
        except FrameError as error:
            problem = info = str(error)
        source = self._source
        if source is not None and source != before:
            if not 1 <= parameters.firstFrame <= parameters.lastFrame <= source.count:
                parameters.firstFrame = 1
            parameters.lastFrame = source.count
        ui.infoLabel.text = info
        several = ui.framesComboBox.enabled = source is not None and source.count > 1 and not busy
        for widget in (ui.firstSpinBox, ui.lastSpinBox):
            widget.enabled = several and parameters.frames is Frames.RANGE
        for widget in (ui.inputSelector, ui.sampleButton, ui.outputsCollapsibleButton, ui.advancedCollapsibleButton):
            widget.enabled = not busy
        ui.pixelSizeSpinBox.enabled = source is not None
        self._show_pixel_size(volume if source is not None else None)
        self.segments.show(parameters.segmentation)
        ui.applyButton.enabled = busy or not problem
        ui.applyButton.text = _("Cancel") if busy else _("Apply")
        ui.applyButton.toolTip = (
            _("Stop; frames that are done stay.") if busy else problem or _("Find the coronary arteries.")
        )
        ui.progressBar.visible = busy
        ui.statusLabel.text = self._status
        self.measure.refresh(source, busy)

    def _describe(self, source: FrameSource) -> str:
        size = _("{columns} x {rows} pixels").format(columns=source.columns, rows=source.rows)
        kind = {
            "single": _("Single frame, {size}."),
            "sequence": _("Cine of {count} frames, {size}."),
            "slices": _("Stack of {count} slices, {size}; each is taken as a frame."),
        }[source.kind].format(count=source.count, size=size)
        notes = (kind, orientation(source, 0).note, node_scale(source).note)
        return " ".join(note for note in notes if note)

    def _show_pixel_size(self, volume: Any) -> None:
        stated = "" if volume is None else volume.GetAttribute(ATTRIBUTE) or ""
        box = self.ui.pixelSizeSpinBox
        blocked = box.blockSignals(True)
        box.value = float(stated.split()[0]) if stated.split() else 0.0
        box.blockSignals(blocked)

    def _show_settings(self) -> None:
        ui = self.ui
        for widget in (ui.deviceComboBox, ui.bundlePathLineEdit):
            widget.blockSignals(True)
        ui.deviceComboBox.currentText = settings.device()
        ui.bundlePathLineEdit.currentPath = settings.bundle_folder()
        for widget in (ui.deviceComboBox, ui.bundlePathLineEdit):
            widget.blockSignals(False)
        try:
            ui.bundleInfoLabel.text = settings.bundle().title
        except BundleError as error:
            ui.bundleInfoLabel.text = str(error)

    def _say(self, text: str) -> None:
        self._status = text
        self.ui.statusLabel.text = text

    # From the user

    def _on_apply(self, _checked: bool = False) -> None:
        if self.logic.busy:
            self.logic.cancel()
            return
        try:
            request = self._request()
            outcome = self.installation.ensure()
            if outcome.restart:
                slicer.util.infoDisplay(outcome.restart)
            self._say("")
            self.logic.start(request)
        except InstallationDeclined as reason:
            self._say(str(reason))
        except (BundleError, FrameError, InstallationError, JobError, ValueError) as error:
            self._say(str(error))
            slicer.util.errorDisplay(str(error))

    def _request(self) -> Request:
        """The job that is chosen.

        Raises:
            FrameError, BundleError, ValueError: when a choice makes no sense.
        """
        parameters = self._parameters
        source = describe(parameters.inputVolume)
        segmentation = parameters.segmentation
        return Request(
            source=source,
            indices=chosen_frames(source, parameters.frames, parameters.firstFrame, parameters.lastFrame),
            bundle=settings.bundle().folder,
            segmentation_id="" if segmentation is None else segmentation.GetID(),
            segment_id="" if segmentation is None else self.segments.segment_id,
            threshold=parameters.threshold,
            refine=parameters.refine,
            invert=parameters.brightVessels,
            window=parameters.displayedWindow,
            probability=parameters.probability,
            statistics=parameters.statistics,
            device=settings.checked_device(self.ui.deviceComboBox.currentText),
        )

    def _on_sample(self, _checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
            volume, _browser = sample_data.load_cine()
            self._parameters.inputVolume = volume

    def _on_pixel_size(self, millimetres: float) -> None:
        if self._parameters is not None and self._parameters.inputVolume is not None:
            set_pixel_size(self._parameters.inputVolume, millimetres)
            self._refresh()

    def _on_device(self, text: str) -> None:
        try:
            settings.set_device(text)
        except ValueError:
            return  # still being typed; Apply says what is wrong

    def _on_bundle(self, folder: str) -> None:
        try:
            settings.set_bundle_folder(folder)
            self.ui.bundleInfoLabel.text = settings.bundle().title
        except BundleError as error:
            self.ui.bundleInfoLabel.text = str(error) + " " + _("The bundle used so far stays.")

    def _on_bundle_reset(self, _checked: bool = False) -> None:
        settings.set_bundle_folder("")
        self._show_settings()

    # From the logic

    def _on_state(self, _state: State) -> None:
        self._refresh()

    def _on_progress(self, progress: Progress) -> None:
        self.ui.progressBar.maximum = progress.count
        self.ui.progressBar.value = progress.number
        text = progress.text
        if progress.seconds_left is not None:
            text += ", " + _("about {seconds:.0f} s left").format(seconds=progress.seconds_left)
        self._say(text)

    def _on_warning(self, text: str) -> None:
        self._say(text)

    def _on_failed(self, error: JobError) -> None:
        self._say(str(error))
        slicer.util.errorDisplay(str(error), detailedText=error.details)

    def _on_finished(self, summary: Summary) -> None:
        lines = [summary.text(), *summary.rules, *summary.warnings]
        table = slicer.mrmlScene.GetNodeByID(summary.table_id) if summary.table_id else None
        if table is not None:
            lines.append(_("Areas are in the table '{name}' (module Tables).").format(name=table.GetName()))
        self._say("\n".join(lines))
        if self._parameters is not None:
            # The next job goes on with this segmentation, so that it does not make one after another.
            self._parameters.segmentation = slicer.mrmlScene.GetNodeByID(summary.segmentation_id)
