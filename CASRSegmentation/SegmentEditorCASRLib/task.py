"""What the user has asked for and is waiting for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from .target import Target

__all__ = ["Task"]


@dataclass(frozen=True)
class Task:
    """What is to be done with a result that is still to come; nodes by their ids, since they may be gone by then.

    Attributes:
        target: the frame.
        write: write into the segment, rather than only show.
        segmentation_id, segment_id: where to.
    """

    target: Target
    write: bool
    segmentation_id: str
    segment_id: str

    @classmethod
    def of(cls, target: Target, write: bool, node: Any) -> Task:
        """A task for what is selected on the segment editor node now."""
        return cls(target, write, node.GetSegmentationNode().GetID(), node.GetSelectedSegmentID() or "")

    def obstacle(self, current: Target, node: Any) -> str:
        """Why the task must not be done any more, or nothing.

        Args:
            current: the frame that is shown now.
            node: segment editor node, or None.
        """
        if current.key != self.target.key:
            return _("This was for {frame}, which is not shown any more or has changed; nothing was written.").format(
                frame=self.target.label
            )
        if not self.write:
            return ""
        segmentation = slicer.mrmlScene.GetNodeByID(self.segmentation_id)
        if node is None or segmentation is None or node.GetSegmentationNode() is not segmentation:
            return _("The segmentation is not the one that was being edited; nothing was written.")
        if segmentation.GetSegmentation().GetSegment(self.segment_id) is None:
            return _("The segment was deleted; nothing was written.")
        if node.GetSelectedSegmentID() != self.segment_id:
            return _("Another segment was selected; nothing was written.")
        return ""
