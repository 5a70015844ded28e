"""Masks into a segmentation: for a cine one a frame, in the same sequence browser, without moving the user's frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from .frames import FrameError
from .grey_rules import note_rule
from .labelmaps import replace_slice
from .probabilities import ProbabilityVolume, remove_nodes
from .sources import FrameSource, frame_node, orientation, still_valid

__all__ = ["COLOR", "FILL_OPACITY", "SEGMENT_ID", "SEGMENT_NAME", "TERMINOLOGY", "ResultError", "ResultWriter"]

SEGMENT_NAME = "Coronary artery"
SEGMENT_ID = "CoronaryArtery"
TERMINOLOGY = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure"
    "~SCT^41801008^Coronary artery~^^~Anatomic codes - DICOM master list~^^~^^"
)
"""SNOMED CT 41801008, as Slicer's terminology module writes it."""
COLOR = (216 / 255, 101 / 255, 79 / 255)
"""Slicer's color of arteries; its terminology has none for coronary arteries."""
FILL_OPACITY = 0.7
"""Of the segment; Slicer halves it by default, so that the vessel is seen below."""


class ResultError(RuntimeError):
    """The result cannot be written where it was to go; what was written before stays as it is."""


class ResultWriter:
    """Writes the masks of one job.

    Args:
        source: the frames.
        segmentation: segmentation node to be updated; None makes a new one.
        segment_id: segment to be updated; None or "": the one named "Coronary artery", which is made if there is none.
        probability: store the probability maps in a volume as well.

    Attributes:
        segmentation: the node, once :meth:`prepare` has run.
        segment_id: the segment that is written.
        written: pixels of the mask by frame.
    """

    def __init__(
        self, source: FrameSource, segmentation: Any = None, segment_id: str | None = None, probability: bool = False
    ) -> None:
        self.segmentation = segmentation
        self.segment_id = segment_id or ""
        self.written: dict[int, int] = {}
        self.probability = ProbabilityVolume(source) if probability else None
        self._source = source
        self._segmentation_id = "" if segmentation is None else segmentation.GetID()
        self._sequence_id: str | None = None
        self._made: list[str] = []
        self._new_segment = False

    @property
    def node_ids(self) -> set[str]:
        """Nodes without which nothing can be written."""
        return {node_id for node_id in (self._segmentation_id, self._sequence_id) if node_id}

    def prepare(self) -> Iterator[None]:
        """Make what is missing, in steps that take less than 50 ms each.

        Raises:
            ResultError: when the segmentation cannot take the result.
        """
        self._check_source()
        volume = slicer.mrmlScene.GetNodeByID(self._source.volume_id)
        if self.segmentation is None:
            self._make_segmentation(volume)
        elif self.segmentation.GetParentTransformNode() is not volume.GetParentTransformNode():
            raise ResultError(
                _("{name} does not stand under the same transform as {volume}; put both under one.").format(
                    name=self.segmentation.GetName(), volume=volume.GetName()
                )
            )
        self._choose_segment()
        yield
        if self._source.kind == "sequence":
            yield from self._prepare_sequence(volume)
        else:
            self._ensure_segment(self.segmentation)
        self._style()
        if self.probability is not None:
            self.probability.prepare()
        yield

    def write(self, index: int, mask: np.ndarray, probability: np.ndarray | None = None, rule: str = "") -> None:
        """The segment becomes the mask on a frame.

        Args:
            index: frame, counted from 0.
            mask: 0 or 1, (rows, columns) in display orientation.
            probability: float32 of the same shape, or None.
            rule: how its grey values were made, in words.

        Raises:
            ResultError: when a node is gone, or the volume is not what it was.
        """
        self._check_source()
        segmentation = slicer.mrmlScene.GetNodeByID(self._segmentation_id)
        if segmentation is None:
            raise ResultError(_("The segmentation was deleted."))
        if mask.shape != (self._source.rows, self._source.columns):
            raise ResultError(
                _("a mask of {shape} pixels for a frame of {wanted}.").format(
                    shape=mask.shape, wanted=(self._source.rows, self._source.columns)
                )
            )
        try:
            turn, node = orientation(self._source, index), frame_node(self._source, index)
        except FrameError as error:
            raise ResultError(str(error)) from error
        target = segmentation if self._sequence_id is None else self._item(index)
        if target.GetSegmentation().GetSegment(self.segment_id) is None:
            raise ResultError(_("The segment was deleted."))
        slice_index = index if self._source.kind == "slices" else 0
        replace_slice(target, self.segment_id, node, slice_index, turn.from_display(mask) > 0)
        note_rule(target, rule)
        self.written[index] = int(np.count_nonzero(mask))
        if self.probability is not None and probability is not None:
            self.probability.write(index, turn.from_display(probability))
        if self._sequence_id is not None:
            self._show(index)

    def discard(self) -> None:
        """Remove what :meth:`prepare` made, if nothing was written; nodes that the user had stay."""
        if self.written:
            return
        remove_nodes(reversed(self._made))
        if self.probability is not None:
            self.probability.discard()
        self._made = []

    def _check_source(self) -> None:
        if not still_valid(self._source):
            raise ResultError(_("{name} was changed or deleted.").format(name=self._source.name))

    def _make_segmentation(self, volume: Any) -> None:
        scene = slicer.mrmlScene
        name = scene.GenerateUniqueName(_("{name} segmentation").format(name=volume.GetName()))
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        self._made.append(node.GetID())
        node.CreateDefaultDisplayNodes()
        # The transform first: the geometry is that of the volume as seen from the segmentation.
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        place_beside(node, volume)
        self.segmentation, self._segmentation_id = node, node.GetID()

    def _choose_segment(self) -> None:
        segments = self.segmentation.GetSegmentation()
        if self.segment_id:
            if segments.GetSegment(self.segment_id) is None:
                raise ResultError(
                    _("{name} has no segment {segment}.").format(
                        name=self.segmentation.GetName(), segment=self.segment_id
                    )
                )
            return
        self.segment_id = segments.GetSegmentIdBySegmentName(SEGMENT_NAME)
        if not self.segment_id:
            self.segment_id = segments.GenerateUniqueSegmentID(SEGMENT_ID)
            self._new_segment = True

    def _ensure_segment(self, node: Any) -> None:
        segments = node.GetSegmentation()
        if segments.GetSegment(self.segment_id) is None:
            segments.AddEmptySegment(self.segment_id, SEGMENT_NAME, COLOR)
            segments.GetSegment(self.segment_id).SetTerminology(TERMINOLOGY)

    def _style(self) -> None:
        if not self._new_segment:
            return
        if self.segmentation.GetDisplayNode() is None:
            self.segmentation.CreateDefaultDisplayNodes()
        display = self.segmentation.GetDisplayNode()
        display.SetSegmentOpacity2DFill(self.segment_id, FILL_OPACITY)
        display.SetSegmentOpacity2DOutline(self.segment_id, 1.0)

    # Cines

    def _prepare_sequence(self, volume: Any) -> Iterator[None]:
        browser = slicer.mrmlScene.GetNodeByID(self._source.browser_id)
        other = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(self.segmentation)
        if other is not None and other is not browser:
            raise ResultError(
                _("{name} belongs to another cine ({browser}); choose another segmentation.").format(
                    name=self.segmentation.GetName(), browser=other.GetName()
                )
            )
        sequence = None if other is None else browser.GetSequenceNode(self.segmentation)
        if sequence is None:
            yield from self._make_sequence(browser, volume)
        else:
            self._sequence_id = sequence.GetID()
            yield from self._complete_sequence(browser, sequence)

    def _make_sequence(self, browser: Any, volume: Any) -> Iterator[None]:
        """Each frame gets a copy of what the segmentation shows now on all of them."""
        scene, master = slicer.mrmlScene, browser.GetMasterSequenceNode()
        self._ensure_segment(self.segmentation)
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", self.segmentation.GetName())
        if self._made:
            self._made.append(sequence.GetID())
        sequence.SetIndexName(master.GetIndexName())
        sequence.SetIndexUnit(master.GetIndexUnit())
        sequence.SetIndexType(master.GetIndexType())
        for number in range(master.GetNumberOfDataNodes()):
            sequence.SetDataNodeAtValue(self.segmentation, master.GetNthIndexValue(number))
            yield
        self._sequence_id = sequence.GetID()
        browser.AddProxyNode(self.segmentation, sequence, False)
        browser.SetOverwriteProxyName(sequence, False)
        browser.SetSaveChanges(sequence, True)  # what the user edits on a frame later stays on that frame
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        self.segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        yield

    def _complete_sequence(self, browser: Any, sequence: Any) -> Iterator[None]:
        """A segmentation of this cine: frames that it does not have, and the segment where it is missing."""
        master = browser.GetMasterSequenceNode()
        bare = slicer.vtkMRMLSegmentationNode()
        for number in range(master.GetNumberOfDataNodes()):
            value = master.GetNthIndexValue(number)
            item = sequence.GetDataNodeAtValue(value, True)
            if item is None:
                item = sequence.SetDataNodeAtValue(bare, value)
            self._ensure_segment(item)
            yield
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)

    def _item(self, index: int) -> Any:
        browser = slicer.mrmlScene.GetNodeByID(self._source.browser_id)
        sequence = slicer.mrmlScene.GetNodeByID(self._sequence_id)
        if browser is None or sequence is None:
            raise ResultError(_("The sequence of the segmentation was deleted."))
        item = sequence.GetDataNodeAtValue(browser.GetMasterSequenceNode().GetNthIndexValue(index), True)
        if item is None:
            raise ResultError(
                _("The segmentation's sequence has no {label} any more.").format(label=self._source.label(index))
            )
        return item

    def _show(self, index: int) -> None:
        """A frame that the user looks at has to be shown anew; otherwise an edit would bring the old mask back."""
        browser = slicer.mrmlScene.GetNodeByID(self._source.browser_id)
        if browser.GetSelectedItemNumber() == index:
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def place_beside(node: Any, volume: Any) -> None:
    """Put a node's item in the subject hierarchy where the volume's is."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        return
    none = hierarchy.GetInvalidItemID()
    beside, item = hierarchy.GetItemByDataNode(volume), hierarchy.GetItemByDataNode(node)
    parent = hierarchy.GetSceneItemID() if beside == none else hierarchy.GetItemParent(beside)
    if item == none:
        hierarchy.CreateItem(parent, node)
    else:
        hierarchy.SetItemParent(item, parent)
