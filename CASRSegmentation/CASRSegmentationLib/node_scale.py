"""Size of a pixel in the patient for volume nodes: what the user has stated, else what the DICOM file states."""

from __future__ import annotations

import math
from typing import Any

import slicer
from slicer.i18n import tr as _

from .origins import dicom_instance
from .scale import ATTRIBUTES, Scale, pixel_size
from .sources import FrameSource

__all__ = ["ATTRIBUTE", "node_scale", "set_pixel_size"]

ATTRIBUTE = "CASR.PixelSpacingMm"
"""Attribute of a volume node: millimetres between rows and between columns, as the user has stated them, "0.2 0.2"."""


def set_pixel_size(volume: Any, millimetres: float) -> None:
    """State the side of a (square) pixel in the patient; 0 takes the statement back.

    Raises:
        ValueError: for a negative value, or one that is not finite.
    """
    if not math.isfinite(millimetres) or millimetres < 0:
        raise ValueError(_("pixel size is {value} mm; expected a positive number.").format(value=millimetres))
    value = f"{millimetres:g} {millimetres:g}" if millimetres else None
    if volume.GetAttribute(ATTRIBUTE) != value:
        volume.SetAttribute(ATTRIBUTE, value)


def node_scale(source: FrameSource) -> Scale:
    """The scale of a source, by :func:`scale.pixel_size`."""
    volume = slicer.mrmlScene.GetNodeByID(source.volume_id)
    stated = "" if volume is None else volume.GetAttribute(ATTRIBUTE) or ""
    uid = dicom_instance(source)
    header = {} if uid is None else {name: _value(uid, tag) for name, tag in ATTRIBUTES.items()}
    return pixel_size(header, stated)


def _value(uid: str, tag: str) -> str:
    return str(slicer.dicomDatabase.instanceValue(uid, tag) or "")
