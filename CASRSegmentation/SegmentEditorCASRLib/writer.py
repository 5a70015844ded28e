"""A mask into the selected segment: only where the slice is, with masking, overwriting and undo of the editor."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from CASRSegmentationLib.labelmaps import erase, slice_image, voxels
from slicer.i18n import tr as _

__all__ = ["WriteError", "write_slice"]


class WriteError(ValueError):
    """The mask does not fit the segmentation; nothing was written."""


def write_slice(effect: Any, volume: Any, index: int, mask: np.ndarray, replace: bool) -> int:
    """Write a mask into the selected segment as one step of undo.

    Args:
        effect: qSlicerSegmentEditorScriptedEffect.
        volume: source volume node, whose geometry the mask has.
        index: slice of the volume, 0 if it has only one.
        mask: bool (rows, columns), in the orientation of the volume's array.
        replace: the segment's old pixels of this slice go, where the editor's masks allow; other slices stay.

    Returns:
        The number of voxels of the segmentation's geometry that the mask covers, before masking.

    Raises:
        WriteError: when the segmentation's geometry does not reach the slice.
    """
    reference = effect.defaultModifierLabelmap()
    if reference is None:
        raise WriteError(_("The segmentation has no geometry yet: select the source volume in the Segment Editor."))
    segmentation = effect.parameterSetNode().GetSegmentationNode()
    slab = slice_image(volume, index, np.ones(mask.shape, bool))
    vessels = slice_image(volume, index, mask)
    if not _same_geometry(slab, reference, volume, segmentation):
        slab = _resampled(slab, reference, volume, segmentation)
        vessels = _resampled(vessels, reference, volume, segmentation)
    covered = int(np.count_nonzero(voxels(slab)))
    count = int(np.count_nonzero(voxels(vessels)))
    if not covered or (mask.any() and not count):
        raise WriteError(
            _("The segmentation's geometry does not reach slice {slice} of {volume}; nothing was written.").format(
                slice=index + 1, volume=volume.GetName()
            )
        )
    effect.saveStateForUndo()
    if replace:
        _erase(effect, segmentation, slab, vessels)
    effect.modifySelectedSegmentByLabelmap(vessels, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeAdd)
    return count


def _erase(effect: Any, segmentation: Any, slab: Any, vessels: Any) -> None:
    """Erase the selected segment in the slab, outside the vessels, where editing is allowed.

    The editor's own "Set" would replace all slices of the segment. Its "Remove" gives what it erases to another segment
    when editing is restricted to that one, and its "Set" of the merged slices erases other segments on slices that are
    not ours. So this uses the operation that all of them are made of.
    """
    erased = (voxels(slab) > 0) & (voxels(vessels) == 0) & _editable(effect, slab)
    voxels(slab)[...] = erased
    selected = effect.parameterSetNode().GetSelectedSegmentID()
    # In a layer that segments share, erasing would take the voxels of the others as well.
    segmentation.GetSegmentation().SeparateSegmentLabelmap(selected)
    erase(segmentation, selected, slab)


def _editable(effect: Any, image: Any) -> np.ndarray:
    """Where the editor's masks allow changes: bool, of the shape of the image's array."""
    node = effect.parameterSetNode()
    allowed = np.ones(voxels(image).shape, bool)
    if node.GetMaskMode() != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
        allowed &= _part(effect.maskLabelmap(), image) == 0
    if node.GetSourceVolumeIntensityMask():
        low, high = node.GetSourceVolumeIntensityMaskRange()
        grey = _part(effect.sourceVolumeImageData(), image)
        allowed &= (grey >= low) & (grey <= high)
    return allowed


def _same_geometry(image: Any, reference: Any, volume: Any, segmentation: Any) -> bool:
    if volume.GetParentTransformNode() is not segmentation.GetParentTransformNode():
        return False
    extent, whole = image.GetExtent(), reference.GetExtent()
    inside = all(extent[i] >= whole[i] and extent[i + 1] <= whole[i + 1] for i in (0, 2, 4))
    return inside and bool(slicer.vtkOrientedImageDataResample.DoGeometriesMatch(image, reference))


def _resampled(image: Any, reference: Any, volume: Any, segmentation: Any) -> Any:
    """The image on the reference's grid, nearest neighbor, moved by what lies between the nodes' parent transforms."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume.GetParentTransformNode(), segmentation.GetParentTransformNode(), transform
    )
    result = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, result, False, False, transform
    )
    return result


def _part(image: Any, like: Any) -> np.ndarray:
    """View of the voxels of an image at the extent of another one on the same grid, which lies inside."""
    own, wanted = image.GetExtent(), like.GetExtent()
    steps = [slice(wanted[i] - own[i], wanted[i + 1] - own[i] + 1) for i in (4, 2, 0)]
    return voxels(image)[tuple(steps)]
