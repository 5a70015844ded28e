"""Which frame of the source volume the user looks at now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from CASRSegmentationLib.frames import FrameError, invert
from CASRSegmentationLib.sources import FrameSource, current_index, describe, read_frame
from slicer.i18n import tr as _

from .session import FrameKey

__all__ = ["Target", "current_target", "slice_in_view"]

PARALLEL = 0.999
"""Cosine from which a slice view counts as parallel to the volume's slices: 2.5 degrees."""


@dataclass(frozen=True)
class Target:
    """One frame or slice of the source volume.

    Attributes:
        source: where it comes from.
        key: what identifies it and its pixels.
        slice_index: slice of the volume's array that it stands on: 0 unless the volume is a stack.
    """

    source: FrameSource
    key: FrameKey
    slice_index: int

    @property
    def label(self) -> str:
        """What the user calls it, counted from 1."""
        if self.source.kind == "sequence":
            return _("frame {number} of {count}").format(number=self.key.index + 1, count=self.source.count)
        if self.source.kind == "slices":
            return _("slice {number} of {count}").format(number=self.key.index + 1, count=self.source.count)
        return self.source.name

    def read(self) -> np.ndarray:
        """The frame's pixels, (rows, columns) in display orientation, vessels dark.

        Raises:
            FrameError: when it cannot be used.
        """
        frame = read_frame(self.source, self.key.index)
        return invert(frame, None) if self.key.inverted else frame

    def from_display(self, mask: np.ndarray) -> np.ndarray:
        """An array in display orientation, turned to the orientation of the volume's array."""
        return self.orientation.from_display(mask)


def current_target(volume: Any, inverted: bool, bundle: str) -> Target:
    """The frame of a volume node that is shown now.

    Raises:
        FrameError: when the volume is no angiogram, or none of its slices is shown.
    """
    if volume is None or slicer.mrmlScene.GetNodeByID(volume.GetID() or "") is not volume:
        raise FrameError(_("Select a source volume."))
    source = describe(volume)
    stack = source.kind == "slices"
    index = slice_in_view(volume) if stack else current_index(source)
    key = FrameKey(volume.GetID(), _image_time(volume, source, index), index, inverted, bundle)
    return Target(source, key, index if stack else 0)


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
    world_to_ijk = _world_to_ijk(volume)
    ijk_to_world = np.linalg.inv(world_to_ijk)
    normal = np.cross(ijk_to_world[:3, 0], ijk_to_world[:3, 1])
    for view in views:
        to_world = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        cosine = to_world[:3, 2] @ normal / np.linalg.norm(to_world[:3, 2]) / np.linalg.norm(normal)
        index = int(np.floor((world_to_ijk @ to_world[:, 3])[2] + 0.5))
        if abs(cosine) >= PARALLEL and 0 <= index < count:
            return index
    raise FrameError(
        _("No slice view stands on one of the {count} slices of {volume}; scroll to one in the axial view.").format(
            count=count, volume=volume.GetName()
        )
    )


def _world_to_ijk(volume: Any) -> np.ndarray:
    world_to_volume = vtk.vtkMatrix4x4()
    parent = volume.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise FrameError(
                _("{volume} stands under a transform that bends: harden it first.").format(volume=volume.GetName())
            )
        parent.GetMatrixTransformFromWorld(world_to_volume)
    ras_to_ijk = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(ras_to_ijk)
    return slicer.util.arrayFromVTKMatrix(ras_to_ijk) @ slicer.util.arrayFromVTKMatrix(world_to_volume)


def _image_time(volume: Any, source: FrameSource, index: int) -> int:
    """When the frame's pixels changed last; of a cine the frame's own, since its proxy changes with every scroll."""
    if source.sequence_id is not None:
        sequence = slicer.mrmlScene.GetNodeByID(source.sequence_id)
        item = sequence.GetNthDataNode(index)
        return int(item.GetImageData().GetMTime())
    return int(volume.GetImageData().GetMTime())
