"""Probability maps as a volume node, for a cine as one more sequence in its browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .sources import FrameSource, frame_node

__all__ = ["ProbabilityVolume", "remove_nodes"]


class ProbabilityVolume:
    """A volume of float32, 0 to 1, with the geometry of the source. Made by :meth:`prepare`.

    Frames of a cine that were not segmented have no map: the volume is empty there. Slices of a stack that were not
    segmented are 0; the attribute "CASR.Slices" of the volume lists those, counted from 1, that were.

    Attributes:
        node_id: of the volume node, or "".
    """

    def __init__(self, source: FrameSource) -> None:
        self.node_id = ""
        self._source = source
        self._sequence_id: str | None = None
        self._frames: list[int] = []

    def prepare(self) -> None:
        """Make the nodes; takes some milliseconds."""
        scene, source = slicer.mrmlScene, self._source
        volume = scene.GetNodeByID(source.volume_id)
        name = scene.GenerateUniqueName(_("{name} vessel probability").format(name=source.name))
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        self.node_id = node.GetID()
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        if source.kind == "sequence":
            browser = scene.GetNodeByID(source.browser_id)
            master = browser.GetMasterSequenceNode()
            sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
            sequence.SetIndexName(master.GetIndexName())
            sequence.SetIndexUnit(master.GetIndexUnit())
            sequence.SetIndexType(master.GetIndexType())
            self._sequence_id = sequence.GetID()
        else:
            shape = (source.count if source.kind == "slices" else 1, source.rows, source.columns)
            _set_image(node, np.zeros(shape, np.float32), volume)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0, 1)

    def write(self, index: int, probability: np.ndarray) -> None:
        """Store a map, float32 (rows, columns) as the volume's array lies; nothing if the node is gone."""
        scene = slicer.mrmlScene
        node = scene.GetNodeByID(self.node_id)
        if node is None:
            return
        if self._sequence_id is None:
            self._frames.append(index + 1)
            if self._source.kind == "slices":
                node.SetAttribute("CASR.Slices", " ".join(str(number) for number in sorted(self._frames)))
            array = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(-1, *probability.shape)
            array[index if self._source.kind == "slices" else 0] = probability
            slicer.util.arrayFromVolumeModified(node)
            return
        sequence, browser = scene.GetNodeByID(self._sequence_id), scene.GetNodeByID(self._source.browser_id)
        if sequence is None or browser is None:
            return
        item = slicer.vtkMRMLScalarVolumeNode()
        _set_image(item, probability[None], frame_node(self._source, index))
        sequence.SetDataNodeAtValue(item, browser.GetMasterSequenceNode().GetNthIndexValue(index))
        if browser.GetSequenceNode(node) is None:  # not before: a browser cannot show a sequence without items
            browser.AddProxyNode(node, sequence, False)
            browser.SetOverwriteProxyName(sequence, False)
            # Not the map of the frame before, which is what a browser shows by default.
            browser.SetMissingItemMode(sequence, browser.MissingItemSetToDefault)
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        elif browser.GetSelectedItemNumber() == index:
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)

    def discard(self) -> None:
        """Remove the nodes."""
        remove_nodes((self.node_id, self._sequence_id))


def remove_nodes(node_ids: Iterable[str | None]) -> None:
    """Remove nodes with their display nodes, which the scene would keep; ids of nodes that are gone do not matter."""
    scene = slicer.mrmlScene
    for node_id in node_ids:
        node = scene.GetNodeByID(node_id or "")
        if node is None:
            continue
        displays = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())] if node.IsA(
            "vtkMRMLDisplayableNode"
        ) else []  # fmt: skip
        scene.RemoveNode(node)
        for display in displays:
            if display is not None:
                scene.RemoveNode(display)


def _set_image(node: Any, array: np.ndarray, like: Any) -> None:
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[2], array.shape[1], array.shape[0])
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True, array_type=vtk.VTK_FLOAT)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node.SetAndObserveImageData(image)
    matrix = vtk.vtkMatrix4x4()
    like.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
