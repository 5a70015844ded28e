"""The preview: a mask drawn over the slice views, without touching the segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

__all__ = ["COLOR", "Preview", "SlicePipeline", "preview_image"]

COLOR = (1.0, 0.85, 0.0)
"""Yellow, which is neither the color of the segment below nor a grey value."""
FILL_OPACITY, EDGE_OPACITY = 0.45, 1.0
_FILL, _EDGE = 1, 2


def preview_image(mask: np.ndarray, index: int) -> Any:
    """A mask, bool (rows, columns), as an image in IJK coordinates at a slice: 1 inside, 2 at the rim."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    values = np.where(inner, np.uint8(_FILL), mask.astype(np.uint8) * np.uint8(_EDGE))
    image = vtk.vtkImageData()
    image.SetExtent(0, mask.shape[1] - 1, 0, mask.shape[0] - 1, index, index)
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    return image


class SlicePipeline:
    """Draws a mask in one slice view.

    Attributes:
        actor: to be added to the view's renderer.
    """

    def __init__(self) -> None:
        self._transform = vtk.vtkGeneralTransform()
        self._transform.PostMultiply()
        self._reslice = vtk.vtkImageReslice()
        self._reslice.SetInterpolationModeToNearestNeighbor()
        self._reslice.SetOutputOrigin(0, 0, 0)
        self._reslice.SetOutputSpacing(1, 1, 1)
        self._reslice.SetBackgroundLevel(0)
        table = vtk.vtkLookupTable()
        table.SetNumberOfTableValues(3)
        table.SetTableRange(0, 2)
        table.SetTableValue(0, 0, 0, 0, 0)
        table.SetTableValue(_FILL, *COLOR, FILL_OPACITY)
        table.SetTableValue(_EDGE, *COLOR, EDGE_OPACITY)
        colors = vtk.vtkImageMapToRGBA()
        colors.SetOutputFormatToRGBA()
        colors.SetLookupTable(table)
        colors.SetInputConnection(self._reslice.GetOutputPort())
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        mapper.SetInputConnection(colors.GetOutputPort())
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(mapper)
        self.actor.VisibilityOff()

    def show(self, slice_node: Any, volume: Any, image: Any) -> None:
        """Draw an image of :func:`preview_image` where the volume's pixels stand in the view."""
        columns, rows = slice_node.GetDimensions()[:2]
        if columns < 1 or rows < 1:
            self.actor.VisibilityOff()
            return
        self._place(slice_node, volume)
        self._reslice.SetInputData(image)
        self._reslice.SetOutputExtent(0, columns - 1, 0, rows - 1, 0, 0)
        self._reslice.SetResliceTransform(self._transform)
        self._reslice.Modified()
        self.actor.VisibilityOn()

    def hide(self) -> None:
        self.actor.VisibilityOff()

    def _place(self, slice_node: Any, volume: Any) -> None:
        """The way from a view's pixel to the volume's IJK, as the view's own layers go it."""
        world_to_volume = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, volume.GetParentTransformNode(), world_to_volume)
        ras_to_ijk = vtk.vtkMatrix4x4()
        volume.GetRASToIJKMatrix(ras_to_ijk)
        self._transform.Identity()
        self._transform.Concatenate(slice_node.GetXYToRAS())
        self._transform.Concatenate(world_to_volume)
        self._transform.Concatenate(ras_to_ijk)


class Preview:
    """The pipelines of all slice views that show the segmentation.

    Args:
        effect: qSlicerSegmentEditorScriptedEffect.
    """

    def __init__(self, effect: Any) -> None:
        self._effect = effect
        self._pipelines: dict[Any, SlicePipeline] = {}
        self._shown: tuple[str, Any] | None = None

    @property
    def visible(self) -> bool:
        """Whether a mask is shown, if there is a view."""
        return self._shown is not None

    def attach(self) -> None:
        """Add actors to the slice views of the current layout."""
        self.detach()
        layout = slicer.app.layoutManager()
        if layout is None:  # no main window
            return
        for name in layout.sliceViewNames():
            widget = layout.sliceWidget(name)
            if not self._effect.segmentationDisplayableInView(widget.mrmlSliceNode()):
                continue
            pipeline = SlicePipeline()
            self._pipelines[widget] = pipeline
            self._effect.addActor2D(widget, pipeline.actor)
        self.refresh()

    def detach(self) -> None:
        """Remove the actors; :meth:`attach` shows the same mask again."""
        for widget, pipeline in self._pipelines.items():
            self._effect.removeActor2D(widget, pipeline.actor)
            widget.sliceView().scheduleRender()
        self._pipelines = {}

    def show(self, volume: Any, index: int, mask: np.ndarray) -> None:
        """Show a mask, bool (rows, columns) in the orientation of the volume's array, on a slice of the volume."""
        self._shown = (volume.GetID(), preview_image(mask, index))
        self.refresh()

    def hide(self) -> None:
        """Show nothing."""
        if self._shown is not None:
            self._shown = None
            self.refresh()

    def refresh(self, only: Any = None) -> None:
        """Place the mask anew in all views, or in one widget's, since a view, transform or volume has moved."""
        volume = None if self._shown is None else slicer.mrmlScene.GetNodeByID(self._shown[0])
        for widget, pipeline in self._pipelines.items():
            if only is not None and widget is not only:
                continue
            if volume is None or self._shown is None:
                pipeline.hide()
            else:
                pipeline.show(widget.mrmlSliceNode(), volume, self._shown[1])
            widget.sliceView().scheduleRender()
