"""A measurement as nodes of the scene: centre line, profile with its plot, table of lesions.

Nodes belong to a volume by references, so that the next measurement takes the place of the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .pixels import world_of_pixels
from .results import place_beside
from .sources import FrameSource

__all__ = ["ROLES", "show_measurement"]

ROLES = {
    "curve": ("CASR.CentreLine", "vtkMRMLMarkupsCurveNode"),
    "lesions": ("CASR.Lesions", "vtkMRMLTableNode"),
    "profile": ("CASR.Profile", "vtkMRMLTableNode"),
    "diameter": ("CASR.DiameterSeries", "vtkMRMLPlotSeriesNode"),
    "reference": ("CASR.ReferenceSeries", "vtkMRMLPlotSeriesNode"),
    "chart": ("CASR.Chart", "vtkMRMLPlotChartNode"),
}
"""What a measurement is shown by: reference of the volume node, and class."""

DISTANCE, DIAMETER, REFERENCE = "Distance", "Diameter", "Reference"
EVERY = 4
"""Points of the centre line, half a pixel apart, from one control point of the curve to the next. Our choice."""


def show_measurement(source: FrameSource, index: int, analysis: Mapping[str, Any]) -> dict[str, str]:
    """Show the first path of an analysis, and the lesions of all.

    Args:
        source, index: the frame that was measured, counted from 0.
        analysis: as the worker gives it.

    Returns:
        ids of the nodes by their role.

    Raises:
        FrameError: when the frame is gone.
    """
    volume, path = slicer.mrmlScene.GetNodeByID(source.volume_id), analysis["paths"][0]
    points = world_of_pixels(source, index, np.array(path["points"], float))  # first, since it may fail
    nodes = {role: _node(volume, role) for role in ROLES}
    _draw_curve(nodes["curve"], points)
    unit = "px" if path["along_mm"] is None else "mm"
    label = _("{unit}, estimated").format(unit=unit) if analysis["scale"]["estimated"] and unit == "mm" else unit
    _fill_profile(nodes["profile"], path, unit)
    _fill_lesions(nodes["lesions"], analysis, unit, label)
    for role, column, color in (("diameter", DIAMETER, (0.15, 0.35, 0.75)), ("reference", REFERENCE, (0.8, 0.4, 0.1))):
        series = nodes[role]
        series.SetAndObserveTableNodeID(nodes["profile"].GetID())
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetXColumnName(DISTANCE)
        series.SetYColumnName(column)
        series.SetColor(*color)
        series.SetName(_("Diameter") if role == "diameter" else _("Reference"))
    chart = nodes["chart"]
    chart.RemoveAllPlotSeriesNodeIDs()
    for role in ("diameter", "reference"):
        chart.AddAndObservePlotSeriesNodeID(nodes[role].GetID())
    chart.SetTitle(_("{name}, {label}: diameter").format(name=source.name, label=source.label(index)))
    chart.SetXAxisTitle(_("Distance ({unit})").format(unit=label))
    chart.SetYAxisTitle(_("Diameter ({unit})").format(unit=label))
    return {role: node.GetID() for role, node in nodes.items()}


def _node(volume: Any, role: str) -> Any:
    reference, kind = ROLES[role]
    node = volume.GetNodeReference(reference)
    if node is None:
        name = {
            "curve": _("centre line"), "lesions": _("lesions"), "profile": _("width profile"),
            "diameter": _("diameter"), "reference": _("reference"), "chart": _("width chart"),
        }[role]  # fmt: skip
        name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} {name}")
        node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
        if role in ("curve", "lesions", "profile", "chart"):
            place_beside(node, volume)
        volume.SetNodeReferenceID(reference, node.GetID())
    return node


def _draw_curve(curve: Any, points: np.ndarray) -> None:
    if curve.GetDisplayNode() is None:
        curve.CreateDefaultDisplayNodes()
        curve.GetDisplayNode().SetPropertiesLabelVisibility(False)
        curve.GetDisplayNode().SetPointLabelsVisibility(False)
        curve.GetDisplayNode().SetGlyphScale(0.5)
    chosen = np.unique(np.r_[np.arange(0, len(points), EVERY), len(points) - 1])
    curve.SetLocked(False)
    slicer.util.updateMarkupsControlPointsFromArray(curve, points[chosen], world=True)
    curve.SetLocked(True)  # it shows what was measured; moved points would show something else


def _column(name: str, values: Sequence[Any]) -> Any:
    text = any(isinstance(value, str) for value in values)
    column = vtk.vtkStringArray() if text else vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value if text else np.nan if value is None else float(value))
    return column


def _fill(table: Any, columns: Sequence[Any]) -> None:
    table.RemoveAllColumns()
    for column in columns:
        table.AddColumn(column)


def _fill_profile(table: Any, path: Mapping[str, Any], unit: str) -> None:
    """Only where there is a width, since a plot would show NaN as 0."""
    along, diameter = np.array(path[f"along_{unit}"], float), np.array(path[f"diameter_{unit}"], float)
    reference = np.full(len(along), np.nan)
    for lesion in path["lesions"]:
        reference[lesion["begin"] : lesion["end"] + 1] = lesion["reference"][unit]
    if not path["lesions"] and np.isfinite(diameter).any():
        reference[:] = np.nanmedian(diameter)
    reference = np.where(np.isfinite(reference), reference, diameter)
    known = np.isfinite(diameter)
    _fill(
        table,
        [_column(DISTANCE, along[known]), _column(DIAMETER, diameter[known]), _column(REFERENCE, reference[known])],
    )


def _fill_lesions(table: Any, analysis: Mapping[str, Any], unit: str, label: str) -> None:
    paths = {path["number"]: path for path in analysis["paths"]}
    rows = [(entry["path"], paths[entry["path"]]["lesions"][entry["lesion"] - 1]) for entry in analysis["lesions"]]
    lesions = [lesion for _path, lesion in rows]
    _fill(
        table,
        [
            _column("Path", [path for path, _lesion in rows]),
            _column("Diameter stenosis (%)", [lesion["percent_diameter"] for lesion in lesions]),
            _column("90 % interval (%)", [_range(lesion["percent_interval"]) for lesion in lesions]),
            _column(f"MLD ({label})", [lesion["mld"][unit] for lesion in lesions]),
            _column(f"Reference ({label})", [lesion["reference"][unit] for lesion in lesions]),
            _column(f"Length ({label})", [lesion["length"][unit] for lesion in lesions]),
            _column("Area stenosis (%)", [lesion["percent_area"] for lesion in lesions]),
            _column("Unsure", [", ".join(lesion["unsure"]) for lesion in lesions]),
        ],
    )
    table.SetDescription(" ".join([analysis["scale"]["note"], *analysis["warnings"]]))


def _range(interval: Mapping[str, Any] | None) -> str:
    return "" if interval is None else f"{interval['low']:.0f} - {interval['high']:.0f}"
