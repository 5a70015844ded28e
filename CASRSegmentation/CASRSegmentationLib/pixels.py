"""Pixels of the shown frame and places in the scene: what the user clicks, and where results are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from .frames import FrameError
from .sources import FrameSource, orientation, world_to_ijk

__all__ = ["mask_of_frame", "pixels_of_world", "world_of_pixels"]


def world_of_pixels(source: FrameSource, index: int, points: np.ndarray) -> np.ndarray:
    """Places in the world (RAS, mm) of pixels.

    Args:
        source, index: the frame, counted from 0.
        points: (n, 2), x along the columns and y along the rows of the frame in display orientation.

    Returns:
        float (n, 3).

    Raises:
        FrameError: when the frame is gone.
    """
    ijk = np.ones((len(points), 4))
    ijk[:, :2] = _turned(source, index, np.asarray(points, float))
    ijk[:, 2] = index if source.kind == "slices" else 0
    return (ijk @ np.linalg.inv(world_to_ijk(_volume(source))).T)[:, :3]


def pixels_of_world(source: FrameSource, index: int, places: np.ndarray) -> np.ndarray:
    """The other way round: float (n, 2); how far in front of the frame the places lie does not matter.

    Raises:
        FrameError: as above.
    """
    world = np.ones((len(places), 4))
    world[:, :3] = places
    return _turned(source, index, (world @ world_to_ijk(_volume(source)).T)[:, :2])


def mask_of_frame(source: FrameSource, index: int, segmentation: Any, segment_id: str) -> np.ndarray | None:
    """A segment on the frame that is shown: bool (rows, columns) in display orientation; None where it is empty.

    Args:
        source, index: the frame; of a cine the one that the browser shows.
        segmentation: node, or None.
        segment_id: of the segment.
    """
    if segmentation is None or segmentation.GetSegmentation().GetSegment(segment_id) is None:
        return None
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, _volume(source))
    if array is None or not array.size:
        return None
    mask = orientation(source, index).to_display(array[index if source.kind == "slices" else 0]) > 0
    return mask if mask.any() else None


def _turned(source: FrameSource, index: int, points: np.ndarray) -> np.ndarray:
    """Between array and display; it is its own inverse."""
    turn = orientation(source, index)
    found = points.copy()
    if turn.flip_columns:
        found[:, 0] = source.columns - 1 - found[:, 0]
    if turn.flip_rows:
        found[:, 1] = source.rows - 1 - found[:, 1]
    return found


def _volume(source: FrameSource) -> Any:
    volume = slicer.mrmlScene.GetNodeByID(source.volume_id)
    if volume is None:
        raise FrameError(_("The angiogram is not in the scene any more."))
    return volume
