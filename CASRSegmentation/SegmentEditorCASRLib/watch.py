"""What happens to the scene and to the volume that the effect works on."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from CASRSegmentationLib.signal import Signal

__all__ = ["Watch"]


class Watch(slicer.util.VTKObservationMixin):
    """Observes one volume and its scene.

    Attributes:
        changed: Signal(), the volume has another image: the proxy of a cine with every frame; or other properties.
        moved: Signal(), the volume or what stands above it was transformed.
        displayed: Signal(), the volume is shown in another way, such as with another window.
        closing: Signal(), the scene is about to close.
    """

    def __init__(self) -> None:
        slicer.util.VTKObservationMixin.__init__(self)
        self.changed = Signal()
        self.moved = Signal()
        self.displayed = Signal()
        self.closing = Signal()

    def observe(self, volume: Any) -> None:
        """Watch a volume node, or only the scene (None), from now on."""
        self.stop()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_close)
        if volume is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, volume.ImageDataModifiedEvent):
                self.addObserver(volume, event, self._on_change)
            self.addObserver(volume, volume.TransformModifiedEvent, self._on_move)
            self.addObserver(volume, volume.DisplayModifiedEvent, self._on_display)

    def stop(self) -> None:
        """Watch nothing any more."""
        self.removeObservers()

    def _on_close(self, _caller: Any, _event: Any) -> None:
        self.closing.emit()

    def _on_change(self, _caller: Any, _event: Any) -> None:
        self.changed.emit()

    def _on_move(self, _caller: Any, _event: Any) -> None:
        self.moved.emit()

    def _on_display(self, _caller: Any, _event: Any) -> None:
        self.displayed.emit()
