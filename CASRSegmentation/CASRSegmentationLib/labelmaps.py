"""Masks of one slice as Slicer's oriented images, and into a segment without touching anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

__all__ = ["erase", "fill", "replace_slice", "slice_image", "voxels"]


def slice_image(volume: Any, index: int, mask: np.ndarray) -> Any:
    """A mask as vtkOrientedImageData of unsigned char, at its place in a volume; parent transforms are not applied.

    Args:
        volume: volume node with the geometry.
        index: slice of the volume, 0 if it has only one.
        mask: bool or 0/1, (rows, columns) in the orientation of the volume's array.
    """
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, mask.shape[1] - 1, 0, mask.shape[0] - 1, index, index)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    voxels(image)[...] = mask[None]
    return image


def voxels(image: Any) -> np.ndarray:
    """View of an image's voxels, (slices, rows, columns)."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(tuple(reversed(image.GetDimensions())))


def erase(segmentation: Any, segment_id: str, image: Any) -> None:
    """Take the image's voxels that are not 0 out of a segment; other segments and other slices stay.

    Args:
        segmentation: segmentation node, in the scene or in a sequence.
        image: unsigned char; it is changed.
    """
    voxels(image)[...] = np.where(voxels(image) > 0, np.uint8(0), np.uint8(255))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(
        image, segmentation, segment_id, logic.MODE_MERGE_MIN, image.GetExtent(), False, []
    )  # fmt: skip


def fill(segmentation: Any, segment_id: str, image: Any) -> None:
    """Add the image's voxels that are not 0 to a segment; other segments and other slices stay."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(
        image, segmentation, segment_id, logic.MODE_MERGE_MAX, image.GetExtent(), False, []
    )  # fmt: skip


def replace_slice(segmentation: Any, segment_id: str, volume: Any, index: int, mask: np.ndarray) -> None:
    """A segment becomes the mask on one slice of a volume; other segments and other slices stay."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    # A layer of its own: Slicer's merging writes 1 into a layer that segments share, whichever of them has that value.
    segmentation.GetSegmentation().SeparateSegmentLabelmap(segment_id)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    current = segment.GetRepresentation(name)
    if current is not None and not current.IsEmpty():
        erase(segmentation, segment_id, slice_image(volume, index, np.ones(mask.shape, bool)))
    if mask.any():
        fill(segmentation, segment_id, slice_image(volume, index, mask))
