"""Vessel area of the frames as a table node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from .scale import Scale
from .sources import FrameSource

__all__ = ["SCALE_KIND", "statistics_table"]

SCALE_KIND = "CASR.ScaleKind"
"""Attribute of a table node: where its millimetres are from, one of ``scale.KINDS``."""


def statistics_table(source: FrameSource, pixels: Mapping[int, int], scale: Scale) -> Any:
    """A new table node: one row a frame that was segmented, in their order.

    Columns: "Frame" (counted from 1), "Area (px)", and with a known scale "Area (mm2)" or, where the scale is an
    estimate, "Area (mm2, estimated)". Without one there is no such column; the node's description tells the reason, and
    an attribute the kind of the scale.

    Args:
        source: the frames.
        pixels: pixels of the mask by frame, counted from 0.
        scale: the size of a pixel.
    """
    name = slicer.mrmlScene.GenerateUniqueName(_("{name} vessel area").format(name=source.name))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetDescription(scale.note)
    node.SetAttribute(SCALE_KIND, scale.kind)
    frames, areas = vtk.vtkIntArray(), vtk.vtkIntArray()
    frames.SetName("Frame")
    areas.SetName("Area (px)")
    columns: list[Any] = [frames, areas]
    area = scale.pixel_area_mm2
    scaled = vtk.vtkDoubleArray()
    if area is not None:
        scaled.SetName("Area (mm2, estimated)" if scale.estimated else "Area (mm2)")
        columns.append(scaled)
    for index in sorted(pixels):
        frames.InsertNextValue(index + 1)
        areas.InsertNextValue(pixels[index])
        if area is not None:
            scaled.InsertNextValue(pixels[index] * area)
    for column in columns:
        node.AddColumn(column)
    return node
