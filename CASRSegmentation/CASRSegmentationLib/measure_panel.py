"""The panel's section Measure: two points or the longest path, on the frame that is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from .bundles import BundleError
from .frames import FrameError
from .installation import InstallationDeclined, InstallationError
from .job import JobError, Request
from .measure_nodes import show_measurement
from .measuring import MeasureRequest, Measuring
from .node_scale import ATTRIBUTE
from .pixels import mask_of_frame, pixels_of_world
from .results import SEGMENT_NAME
from .sources import FrameSource, current_index, describe
from .wording import counted

__all__ = ["MeasurePanel"]


class MeasurePanel:
    """Connects the widgets of the section with the measurement.

    Args:
        ui: widgets of the panel.
        request: gives the job that is chosen in the panel, with all of its frames; may raise.
        ensure: makes sure that the packages are installed, and returns whether they are.
    """

    def __init__(self, ui: Any, request: Callable[[], Request], ensure: Callable[[], object]) -> None:
        self.ui, self._request, self._ensure = ui, request, ensure
        self.measuring = Measuring()
        self.nodes: dict[str, str] = {}
        ui.measureButton.connect("clicked(bool)", self._on_measure)
        ui.placeButton.connect("clicked(bool)", self._on_place)
        self.measuring.told.connect(self._say)
        self.measuring.finished.connect(self._on_finished)
        self.measuring.failed.connect(self._on_failed)

    def refresh(self, source: FrameSource | None, busy: bool) -> None:
        """Enable what makes sense, for the chosen angiogram; ``busy`` while it is being segmented."""
        measuring = self.measuring.busy
        self.ui.measureButton.enabled = measuring or (source is not None and not busy)
        self.ui.measureButton.text = _("Cancel") if measuring else _("Measure")
        self.ui.placeButton.enabled = source is not None and not measuring

    def close(self) -> None:
        """Stop what is under way."""
        self.measuring.cancel()

    def _on_place(self, _checked: bool = False) -> None:
        """A new list for two points, and the mouse places them."""
        scene = slicer.mrmlScene
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", scene.GenerateUniqueName(_("Ends of a path")))
        points.CreateDefaultDisplayNodes()
        points.SetMaximumNumberOfControlPoints(2)
        self.ui.endsSelector.setCurrentNode(points)
        selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(points.GetClassName())
        selection.SetActivePlaceNodeID(points.GetID())
        interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        interaction.SetPlaceModePersistence(1)  # until both are there, or the user stops
        interaction.SetCurrentInteractionMode(interaction.Place)

    def _on_measure(self, _checked: bool = False) -> None:
        if self.measuring.busy:
            self.measuring.cancel()
            self._say(_("Canceled."))
            self._after()
            return
        try:
            asked = self.asked()
            self._ensure()
            self.measuring.start(asked)
        except InstallationDeclined as reason:
            self._say(str(reason))
        except (BundleError, FrameError, InstallationError, JobError, ValueError) as error:
            self._say(str(error))
            slicer.util.errorDisplay(str(error))
        self._after()

    def asked(self) -> MeasureRequest:
        """What is chosen.

        Raises:
            FrameError, BundleError, ValueError: when a choice makes no sense.
        """
        request = self._request()
        source = request.source
        index = current_index(source)
        ends = self._ends(source, index)
        segmentation = slicer.mrmlScene.GetNodeByID(request.segmentation_id)
        segment = request.segment_id
        if segmentation is not None and not segment:
            segment = segmentation.GetSegmentation().GetSegmentIdBySegmentName(SEGMENT_NAME)
        stated = (slicer.mrmlScene.GetNodeByID(source.volume_id).GetAttribute(ATTRIBUTE) or "").split()
        french = float(self.ui.frenchSpinBox.value)
        return MeasureRequest(
            dataclasses.replace(request, indices=(index,)), mask_of_frame(source, index, segmentation, segment), ends,
            french or None, float(stated[0]) if stated else None,
        )  # fmt: skip

    def _ends(self, source: FrameSource, index: int) -> tuple[tuple[float, float], tuple[float, float]] | None:
        points = self.ui.endsSelector.currentNode()
        if points is None:
            return None
        places = np.array(slicer.util.arrayFromMarkupsControlPoints(points, world=True), float).reshape(-1, 3)
        if len(places) != 2:
            raise FrameError(
                counted(
                    len(places),
                    _("{name} has 1 point; a path is measured between two."),
                    _("{name} has {count} points; a path is measured between two."),
                    name=points.GetName(),
                )
            )
        one, two = pixels_of_world(source, index, places)
        return (float(one[0]), float(one[1])), (float(two[0]), float(two[1]))

    def _on_finished(self, asked: MeasureRequest, analysis: Mapping[str, Any]) -> None:
        source, index = asked.request.source, asked.request.indices[0]
        try:
            if describe(slicer.mrmlScene.GetNodeByID(source.volume_id)) != source:
                raise FrameError(_("The angiogram was changed while it was measured; nothing is shown."))
            self.nodes = show_measurement(source, index, analysis)
        except FrameError as error:
            self._say(str(error))
        else:
            self._say(summary(source.label(index), analysis))
            selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
            selection.SetActivePlotChartID(self.nodes["chart"])
            slicer.app.applicationLogic().PropagatePlotChartSelection()
        self._after()

    def _on_failed(self, error: JobError) -> None:
        self._say(str(error))
        slicer.util.errorDisplay(str(error), detailedText=error.details)
        self._after()

    def _after(self) -> None:
        try:
            source = describe(self.ui.inputSelector.currentNode())
        except FrameError:
            source = None
        self.refresh(source, False)

    def _say(self, text: str) -> None:
        self.ui.measureLabel.text = text


def summary(label: str, analysis: Mapping[str, Any]) -> str:
    """What the user reads: the worst lesion, the scale, warnings."""
    found = analysis["lesions"]
    unit = "px" if analysis["scale"]["row_mm"] is None else "mm"
    lines = [
        counted(
            len(analysis["paths"]),
            _("{label}: 1 path measured."),
            _("{label}: {count} paths measured."),
            label=label,
        )
    ]
    if found:
        path = next(path for path in analysis["paths"] if path["number"] == found[0]["path"])
        lesion = path["lesions"][found[0]["lesion"] - 1]
        interval = lesion["percent_interval"]
        doubt = "" if interval is None else f" ({interval['low']:.0f} - {interval['high']:.0f} %)"
        text = _(
            "Narrowest: {percent:.0f} %{doubt} by diameter, MLD {mld:.2f} {unit}, reference {reference:.2f} {unit}."
        )
        lines.append(
            text.format(
                percent=lesion["percent_diameter"],
                doubt=doubt,
                mld=lesion["mld"][unit],
                unit=unit,
                reference=lesion["reference"][unit],
            )
        )
        if lesion["unsure"]:
            lines.append(_("Unsure: {reasons}.").format(reasons=", ".join(lesion["unsure"])))
    lines += [analysis["scale"]["note"], *analysis["warnings"], _("For research use only.")]
    return "\n".join(lines)
