"""Frames of a volume node: a single one, the frames of a cine in a sequence browser, or the slices of a stack.

Nothing here moves a browser or a view; the frames of a cine are read from its sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .frames import FrameError, Orientation, checked_size, luminance, network_dtype

__all__ = [
    "FrameSource", "current_index", "describe", "frame_node", "image_time", "orientation", "read_frame",
    "shown_range", "slice_in_view", "still_valid", "world_to_ijk",
]  # fmt: skip

PARALLEL = 0.999
"""Cosine from which a slice view counts as parallel to the volume's slices: 2.5 degrees."""


@dataclass(frozen=True)
class FrameSource:
    """Where frames come from; nodes by their ids, since they may be gone when they are asked for.

    Attributes:
        volume_id: the volume node that the user sees, of a cine the proxy.
        browser_id, sequence_id: of a cine, else None.
        kind: "single", "sequence" or "slices".
        count, rows, columns: number of frames, and their size.
        name: of the volume node.
    """

    volume_id: str
    browser_id: str | None
    sequence_id: str | None
    kind: str
    count: int
    rows: int
    columns: int
    name: str = field(compare=False)

    def label(self, index: int) -> str:
        """What the user calls a frame, counted from 1."""
        if self.kind == "sequence":
            return _("frame {number} of {count}").format(number=index + 1, count=self.count)
        if self.kind == "slices":
            return _("slice {number} of {count}").format(number=index + 1, count=self.count)
        return self.name


def describe(volume: Any) -> FrameSource:
    """Look at a volume node.

    A proxy of a sequence with more than one item is a cine; a sequence of one item, as which Slicer loads a single XA
    frame, is a single frame; more than one slice, as which a cine comes by drag and drop, is a stack.

    Raises:
        FrameError: when it cannot hold an angiogram.
    """
    if volume is None or slicer.mrmlScene.GetNodeByID(volume.GetID() or "") is not volume:
        raise FrameError(_("Select an angiogram."))
    name = volume.GetName()
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise FrameError(_("{name} is a label map; select an angiogram.").format(name=name))
    browser, sequence = _cine(volume)
    columns, rows, slices = _size(volume if sequence is None else sequence.GetNthDataNode(0), name)
    checked_size(rows, columns, name)
    if sequence is not None:
        if slices != 1:
            raise FrameError(
                _("{name}: a sequence of volumes of {count} slices; a cine has one.").format(name=name, count=slices)
            )
        count = browser.GetMasterSequenceNode().GetNumberOfDataNodes()
        return FrameSource(
            volume.GetID(), browser.GetID(), sequence.GetID(), "sequence", count, rows, columns, name
        )  # fmt: skip
    kind = "single" if slices == 1 else "slices"
    return FrameSource(volume.GetID(), None, None, kind, slices, rows, columns, name)


def _size(volume: Any, name: str) -> tuple[int, int, int]:
    image = volume.GetImageData()
    dimensions = (0, 0, 0) if image is None else image.GetDimensions()
    if image is None or min(dimensions) < 1 or image.GetPointData().GetScalars() is None:
        raise FrameError(_("{name} holds no image.").format(name=name))
    if image.GetNumberOfScalarComponents() not in (1, 3, 4):
        raise FrameError(
            _("{name}: {count} components a pixel; expected 1, 3 or 4.").format(
                name=name, count=image.GetNumberOfScalarComponents()
            )
        )
    return dimensions


def _cine(volume: Any) -> tuple[Any, Any]:
    """Browser and sequence of a proxy with more than one item, or (None, None)."""
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volume)
    if browser is None or browser.GetMasterSequenceNode() is None:
        return None, None
    sequence = browser.GetSequenceNode(volume)
    if sequence is None or not sequence.GetNumberOfDataNodes() or browser.GetNumberOfItems() < 2:
        return None, None
    return browser, sequence


def still_valid(source: FrameSource) -> bool:
    """Whether all nodes are in the scene, with as many frames of the same size."""
    try:
        return describe(slicer.mrmlScene.GetNodeByID(source.volume_id)) == source
    except FrameError:
        return False


def current_index(source: FrameSource) -> int:
    """The frame that the user looks at, counted from 0: the browser's item, or the slice in the view.

    Raises:
        FrameError: when a node is gone, or no view stands on a slice of the stack.
    """
    if source.kind == "sequence":
        return max(0, min(_node(source.browser_id).GetSelectedItemNumber(), source.count - 1))
    return slice_in_view(_node(source.volume_id)) if source.kind == "slices" else 0


def frame_node(source: FrameSource, index: int) -> Any:
    """The node that holds a frame: of a cine the sequence's data node, which is in no scene of the user's.

    Raises:
        FrameError: when there is no such node or frame.
    """
    if not 0 <= index < source.count:
        raise FrameError(
            _("frame {number}: {name} has frames 1 to {count}.").format(
                number=index + 1, name=source.name, count=source.count
            )
        )
    if source.kind != "sequence":
        return _node(source.volume_id)
    sequence, master = _node(source.sequence_id), _node(source.browser_id).GetMasterSequenceNode()
    node = None
    if master is not None and index < master.GetNumberOfDataNodes():
        # Cines that are browsed together may have different times; the browser shows the nearest one before.
        node = sequence.GetDataNodeAtValue(master.GetNthIndexValue(index), False)
    if node is None:
        raise FrameError(_("{label} of {name} is gone.").format(label=source.label(index), name=source.name))
    return node


def read_frame(source: FrameSource, index: int) -> np.ndarray:
    """Grey values of a frame, (rows, columns) in display orientation, of a type that the worker takes.

    Raises:
        FrameError: when the frame is gone, of another size than the others, or not of finite numbers.
    """
    node = frame_node(source, index)
    label = f"{source.name}, {source.label(index)}" if source.count > 1 else source.name
    columns, rows, slices = _size(node, label)
    if (rows, columns) != (source.rows, source.columns) or slices != (source.count if source.kind == "slices" else 1):
        raise FrameError(
            _("{label}: {columns} x {rows} x {slices} pixels; expected {wide} x {high}.").format(
                label=label, columns=columns, rows=rows, slices=slices, wide=source.columns, high=source.rows
            )
        )
    array = slicer.util.arrayFromVolume(node)[index if source.kind == "slices" else 0]
    try:
        grey = luminance(array) if array.ndim == 3 else array
        return network_dtype(orientation(source, index).to_display(grey))
    except FrameError as error:
        raise FrameError(f"{label}: {error}") from error


def orientation(source: FrameSource, index: int) -> Orientation:
    """How the frame's array stands on the screen, without parent transforms: they move the image as a user wants it."""
    matrix = vtk.vtkMatrix4x4()
    frame_node(source, index).GetIJKToRASMatrix(matrix)
    return Orientation.from_matrix(slicer.util.arrayFromVTKMatrix(matrix))


def shown_range(source: FrameSource) -> tuple[float, float]:
    """The pixel values that the volume's window shows black and white, the lower one first.

    Raises:
        FrameError: when the volume is gone, or has no window.
    """
    volume = _node(source.volume_id)
    display = volume.GetScalarVolumeDisplayNode() if hasattr(volume, "GetScalarVolumeDisplayNode") else None
    display = volume.GetDisplayNode() if display is None else display
    width = 0.0 if display is None else float(display.GetWindow())
    if display is None or not width > 0:
        raise FrameError(_("{name} has no window to be taken.").format(name=source.name))
    level = float(display.GetLevel())
    return level - width / 2, level + width / 2


def image_time(source: FrameSource, index: int) -> int:
    """When the frame's pixels changed last; of a cine the frame's own, since the proxy changes with every scroll."""
    return int(frame_node(source, index).GetImageData().GetMTime())


def slice_in_view(volume: Any) -> int:
    """Slice of a stack, counted from 0, on which a slice view stands; views that show the volume come first, then Red.

    Raises:
        FrameError: when no view parallel to the slices stands on one of them.
    """
    shown_in = {
        node.GetLayoutName()
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        if volume.GetID() in (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID())
    }
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    views.sort(key=lambda view: (view.GetLayoutName() not in shown_in, view.GetLayoutName() != "Red"))
    count = volume.GetImageData().GetDimensions()[2]
    to_ijk = world_to_ijk(volume)
    ijk_to_world = np.linalg.inv(to_ijk)
    normal = np.cross(ijk_to_world[:3, 0], ijk_to_world[:3, 1])
    for view in views:
        to_world = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        cosine = to_world[:3, 2] @ normal / np.linalg.norm(to_world[:3, 2]) / np.linalg.norm(normal)
        index = int(np.floor((to_ijk @ to_world[:, 3])[2] + 0.5))
        if abs(cosine) >= PARALLEL and 0 <= index < count:
            return index
    raise FrameError(
        _("No slice view stands on one of the {count} slices of {name}; scroll to one in the axial view.").format(
            count=count, name=volume.GetName()
        )
    )


def world_to_ijk(volume: Any) -> np.ndarray:
    """(4, 4), from world coordinates to the volume's array (i, j, k), parent transforms applied.

    Raises:
        FrameError: under a transform that bends.
    """
    world_to_volume = vtk.vtkMatrix4x4()
    parent = volume.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise FrameError(
                _("{name} stands under a transform that bends: harden it first.").format(name=volume.GetName())
            )
        parent.GetMatrixTransformFromWorld(world_to_volume)
    ras_to_ijk = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(ras_to_ijk)
    return slicer.util.arrayFromVTKMatrix(ras_to_ijk) @ slicer.util.arrayFromVTKMatrix(world_to_volume)


def _node(node_id: str | None) -> Any:
    node = slicer.mrmlScene.GetNodeByID(node_id or "")
    if node is None:
        raise FrameError(_("The angiogram is not in the scene any more."))
    return node
