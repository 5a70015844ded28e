"""Double of the layout manager: the real slice logics of Red, Green and Yellow without the Qt widgets around them."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = ["LayoutManager", "SliceView", "SliceWidget"]


class SliceView:
    """Double of qMRMLSliceView. ``renders`` counts requests; a render window comes with standins.render_slice."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.renders = 0
        self.window: Any = None
        self.renderer: Any = None
        self.mapper: Any = None
        self.kept: tuple[Any, ...] = ()  # what must live as long as the window

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._node

    def renderWindow(self) -> Any:  # noqa: N802
        return self.window

    def scheduleRender(self) -> None:  # noqa: N802
        self.renders += 1

    def forceRender(self) -> None:  # noqa: N802
        self.renders += 1
        if self.window is not None:
            self.window.Render()


class SliceWidget:
    """Double of qMRMLSliceWidget."""

    def __init__(self, logic: Any) -> None:
        self._logic = logic
        self._view = SliceView(logic.GetSliceNode())

    def className(self) -> str:  # noqa: N802
        return "qMRMLSliceWidget"

    def sliceLogic(self) -> Any:  # noqa: N802
        return self._logic

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> SliceView:  # noqa: N802
        return self._view

    @property
    def sliceViewName(self) -> str:  # noqa: N802
        return self._logic.GetSliceNode().GetLayoutName()

    @property
    def sliceOrientation(self) -> str:  # noqa: N802
        return self._logic.GetSliceNode().GetOrientation()


class LayoutManager:
    """Double of qSlicerLayoutManager with the slice views of the default layout; no 3D view."""

    threeDViewCount = tableViewCount = plotViewCount = 0  # noqa: N815

    def __init__(self, application_logic: Any, scene: Any) -> None:
        self._widgets: dict[str, SliceWidget] = {}
        self._logics = application_logic.GetSliceLogics()
        self.layout = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
        for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application_logic)
            self._logics.AddItem(logic)
            logic.SetMRMLScene(scene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
            logic.ResizeSliceNode(512, 512)
            self._widgets[name] = SliceWidget(logic)

    def sliceViewNames(self) -> tuple[str, ...]:  # noqa: N802
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> SliceWidget | None:  # noqa: N802
        return self._widgets.get(name)

    def mrmlSliceLogics(self) -> Any:  # noqa: N802
        return self._logics

    def setLayout(self, layout: int) -> None:  # noqa: N802
        self.layout = layout

    def resetSliceViews(self) -> None:  # noqa: N802
        for widget in self._widgets.values():
            widget.sliceLogic().FitSliceToAll()

    def threeDWidget(self, index: int) -> None:  # noqa: N802
        return None
