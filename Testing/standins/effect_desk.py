"""The Segment Editor with our effect, as the tests of the effect need it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import slicer

from standins import scripted_module
from standins.effect_host import EffectFactory
from standins.event_loop import wait_until
from standins.segment_editor import SegmentEditor
from standins.workers import ServingWorker

__all__ = ["Desk", "Installed"]


class Desk:
    """The Segment Editor with the effect, a volume and a segmentation of two segments; a double of the worker."""

    def __init__(self, extension_dir: Path, volume: Any) -> None:
        EffectFactory.instance().effects.clear()
        scripted_module.load_module(extension_dir / "SegmentEditorCASR.py")
        ServingWorker.made, ServingWorker.refuse = [], ""
        self.volume = volume
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "vessels")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segments = self.segmentation.GetSegmentation()
        self.segment = segments.AddEmptySegment("vessel", "Vessel")
        self.other = segments.AddEmptySegment("other", "Other")
        self.editor = SegmentEditor()
        self.editor.set_segmentation(self.segmentation)
        self.editor.set_source_volume(volume)
        self.editor.select_segment(self.segment)
        self.effect = self.editor.activate("Coronary artery (CASR)")
        self.controller.session.make_worker = ServingWorker
        self.controller.installation = Installed()

    @property
    def controller(self) -> Any:
        return self.effect.controller

    @property
    def options(self) -> Any:
        return self.effect.options

    @property
    def worker(self) -> Any:
        return ServingWorker.made[-1]

    def find(self, **options: Any) -> None:
        """The user presses "Find vessels" and the worker answers."""
        self.options.find.click()
        self.worker.find(**options)

    def refine(self) -> None:
        """The worker answers the refinement that follows, after its delay."""
        worker = self.worker
        wait_until(lambda: len(worker.named("refine")) > worker.refined, what="the refinement")
        worker.refine()

    def write(self, **options: Any) -> None:
        """The user presses "Apply" without refinement, and the worker answers if it is asked."""
        self.options.refine.checked = False
        asked = self.searches
        self.options.apply.click()
        if self.searches > asked:
            self.worker.find(**options)

    @property
    def searches(self) -> int:
        """How often the network was asked for."""
        return sum(len(worker.named("segment")) for worker in self.made)

    @property
    def made(self) -> list[Any]:
        return ServingWorker.made

    def mask(self, segment: str = "vessel") -> np.ndarray:
        """A segment on the volume's grid, bool (slices, rows, columns)."""
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segment, self.volume) > 0

    def put(self, segment: str, mask: np.ndarray) -> None:
        """What a segment has before."""
        pixels = mask if mask.ndim == 3 else mask[None]
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            pixels.astype(np.uint8), self.segmentation, segment, self.volume
        )


class Installed:
    """Everything is installed, or what the test says."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def ensure(self) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return SimpleNamespace(installed=(), restart="")
