"""Slicer's real slice view (volumes, window/level, segmentations) drawn off screen to a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk

__all__ = ["attach", "render"]

_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
)


def attach(view_name: str = "Red", size: tuple[int, int] = (512, 512)) -> Any:
    """Give a slice view of the layout a render window, once; actors that effects add are drawn from then on.

    Returns:
        The view, see :class:`standins.layout.SliceView`.
    """
    widget = slicer.app.layoutManager().sliceWidget(view_name)
    view, logic = widget.sliceView(), widget.sliceLogic()
    if view.window is None:
        renderer = vtk.vtkRenderer()
        renderer.GetActiveCamera().ParallelProjectionOn()
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(0)
        window.SetSize(*size)
        window.AddRenderer(renderer)
        interactor = vtk.vtkRenderWindowInteractor()
        interactor.SetRenderWindow(window)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.Initialize(factory, renderer)
        group.SetMRMLDisplayableNode(logic.GetSliceNode())
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(actor)
        view.window, view.renderer = window, renderer
        view.kept = (interactor, group, actor)
        view.mapper = mapper
    view.window.SetSize(*size)
    logic.ResizeSliceNode(*size)
    return view


def render(
    volume: Any, path: str | Path | None = None, view_name: str = "Red", size: tuple[int, int] = (512, 512)
) -> Any:
    """Show a volume, with all visible segmentations, in a slice view and take its picture.

    Args:
        volume: background; None leaves the view as it is, not fitted.
        path: PNG to be written, or None.

    Returns:
        uint8 (rows, columns, 3), row 0 at the top.
    """
    from vtk.util.numpy_support import vtk_to_numpy

    view = attach(view_name, size)
    logic = slicer.app.layoutManager().sliceWidget(view_name).sliceLogic()
    if volume is not None:
        logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        logic.FitSliceToBackground()
        logic.SnapSliceOffsetToIJK()
    # The connection is another one with a background than without.
    view.mapper.SetInputConnection(logic.GetImageDataConnection())
    view.window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(view.window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    columns, rows, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        writer = vtk.vtkPNGWriter()
        writer.SetInputData(image)
        writer.SetFileName(str(path))
        writer.Write()
    return pixels
