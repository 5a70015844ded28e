"""The panel's choice of a segment: those of the segmentation, or a new one."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from .results import SEGMENT_NAME

__all__ = ["SegmentChoice"]


class SegmentChoice(slicer.util.VTKObservationMixin):
    """Fills a combo box with the segments of a segmentation, and follows them.

    Where the segmentation has no segment named "Coronary artery", the first entry is "Coronary artery (new)"; Slicer's
    own selector would call it "None". What was chosen stays chosen as long as it is there.

    Args:
        box: QComboBox.
    """

    def __init__(self, box: Any) -> None:
        super().__init__()
        self._box, self._ids = box, [""]
        self._segmentation: Any = None

    @property
    def segment_id(self) -> str:
        """Of the chosen segment; "" for the one named "Coronary artery", which is made if there is none."""
        index = self._box.currentIndex
        return self._ids[index] if 0 <= index < len(self._ids) else ""

    @segment_id.setter
    def segment_id(self, segment_id: str) -> None:
        self._box.setCurrentIndex(self._ids.index(segment_id) if segment_id in self._ids else 0)

    def show(self, segmentation: Any) -> None:
        """List the segments of a segmentation node; None stands for one that is to be made."""
        if segmentation is not self._segmentation:
            self.close()
            self._segmentation = segmentation
            if segmentation is not None:
                segments = segmentation.GetSegmentation()
                for event in (segments.SegmentAdded, segments.SegmentRemoved, segments.SegmentModified):
                    self.addObserver(segments, event, self._on_segments)
        self._fill()

    def close(self) -> None:
        """Follow nothing any more."""
        self.removeObservers()
        self._segmentation = None

    def _on_segments(self, _caller: Any, _event: Any) -> None:
        self._fill()

    def _fill(self) -> None:
        chosen, segments = self.segment_id, None
        if self._segmentation is not None:
            segments = self._segmentation.GetSegmentation()
        ids = [] if segments is None else list(segments.GetSegmentIDs())
        names = [] if segments is None else [segments.GetSegment(segment_id).GetName() for segment_id in ids]
        own = "" if segments is None else segments.GetSegmentIdBySegmentName(SEGMENT_NAME)
        if not own:
            ids, names = ["", *ids], [_("Coronary artery (new)"), *names]
        wanted = chosen if chosen in ids else own
        shown = [self._box.itemText(index) for index in range(self._box.count)]
        if (ids, names) != (self._ids, shown):
            blocked = self._box.blockSignals(True)
            self._box.clear()
            self._box.addItems(names)
            self._box.blockSignals(blocked)
            self._ids = ids
        self.segment_id = wanted
