"""qMRML widgets as attributes of ``slicer``, on the real scene. Others raise AttributeError."""

from __future__ import annotations

import weakref
from typing import Any

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from standins.ctk_widgets import _UiProperties, ctkSliderWidget, forwarded
from standins.pythonqt import python_qt_class
from standins.ui_loader import standin

__all__ = ["WIDGETS"]

WIDGETS: dict[str, type] = {}


def _refresh_if_alive(reference: Any) -> None:
    """The observer of a widget may outlive it, or its C++ part."""
    widget = reference()
    if widget is not None and shiboken6.isValid(widget):
        widget._standin_refresh()


def _qmrml(cls: Any) -> Any:
    WIDGETS[cls.__name__] = cls
    return standin(cls)


class _WithScene:
    """``mrmlScene()``, ``setMRMLScene()`` and the signal of the change."""

    _standin_scene: Any = None

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._standin_scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        if scene is not self._standin_scene:
            self._standin_scene = scene
            self.mrmlSceneChanged.emit(scene)  # type: ignore[attr-defined]


_SCENE_SIGNALS = frozenset({"mrmlSceneChanged(vtkMRMLScene*)"})


@_qmrml
class qMRMLWidget(_WithScene, python_qt_class(QtWidgets.QWidget)):  # type: ignore[misc] # noqa: N801
    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    declared_signals = _SCENE_SIGNALS


@_qmrml
class qMRMLNodeComboBox(_WithScene, _UiProperties, python_qt_class(QtWidgets.QWidget)):  # type: ignore[misc] # noqa: N801
    """Lists the scene's nodes of ``nodeTypes``; remembers nodes by ID, holds none."""

    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    currentNodeChanged = QtCore.Signal(object)  # noqa: N815
    currentNodeIDChanged = QtCore.Signal(str)  # noqa: N815
    nodeAdded = QtCore.Signal(object)  # noqa: N815
    nodeAddedByUser = QtCore.Signal(object)  # noqa: N815
    declared_signals = _SCENE_SIGNALS | {
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
    }
    ui_properties = (
        "nodeTypes",
        "noneEnabled",
        "showChildNodeTypes",
        "hideChildNodeTypes",
        "noneDisplay",
        "showHidden",
    )
    addEnabled, removeEnabled = forwarded("addEnabled", True), forwarded("removeEnabled", True)  # noqa: N815
    renameEnabled, editEnabled = forwarded("renameEnabled", False), forwarded("editEnabled", False)  # noqa: N815
    baseName, interactionNodeSingletonTag = forwarded("baseName", ""), forwarded("interactionNodeSingletonTag", "")  # noqa: N815
    selectNodeUponCreation = forwarded("selectNodeUponCreation", True)  # noqa: N815
    autoDefaultText = forwarded("autoDefaultText", True)  # noqa: N815

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._standin_options: dict[str, Any] = {
            "nodeTypes": [], "noneEnabled": False, "showChildNodeTypes": True, "hideChildNodeTypes": [],
            "noneDisplay": "None", "showHidden": False,
        }  # fmt: skip
        self._standin_attributes: list[tuple[str, str, Any]] = []
        self._standin_ids: list[str] = []
        self._standin_current = ""
        self._standin_tags: list[int] = []
        self._standin_combo = QtWidgets.QComboBox(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._standin_combo)
        self._standin_combo.activated.connect(lambda index: self.setCurrentNodeID(self._standin_ids[index]))

    def __standin_option(name: str) -> Any:  # type: ignore[misc] # noqa: N805
        def put(self: Any, value: Any) -> None:
            self._standin_options[name] = (
                list(value) if name.endswith("Types") and name != "showChildNodeTypes" else value
            )
            self._standin_refresh()

        return property(lambda self: self._standin_options[name], put)

    nodeTypes = __standin_option("nodeTypes")  # noqa: N815
    noneEnabled = __standin_option("noneEnabled")  # noqa: N815
    showChildNodeTypes = __standin_option("showChildNodeTypes")  # noqa: N815
    hideChildNodeTypes = __standin_option("hideChildNodeTypes")  # noqa: N815
    noneDisplay = __standin_option("noneDisplay")  # noqa: N815
    showHidden = __standin_option("showHidden")  # noqa: N815

    def setNodeTypes(self, types: list[str]) -> None:  # noqa: N802
        self.nodeTypes = types

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:  # noqa: N802
        """Only nodes of that type with that attribute are listed."""
        self._standin_attributes.append((node_type, name, value))
        self._standin_refresh()

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        old = self._standin_scene
        for tag in self._standin_tags:
            old.RemoveObserver(tag)
        self._standin_tags = []
        _WithScene.setMRMLScene(self, scene)
        if scene is not None:
            for event in (
                scene.NodeAddedEvent,
                scene.NodeRemovedEvent,
                scene.EndCloseEvent,
                scene.EndBatchProcessEvent,
            ):
                self._standin_tags.append(scene.AddObserver(event, self._standin_changed))
        self._standin_refresh()

    def _standin_changed(self, caller: Any, event: str) -> None:
        try:
            self._standin_refresh()
        except RuntimeError:  # the widget's C++ part is gone; its observers go with the next scene
            for tag in self._standin_tags:
                caller.RemoveObserver(tag)
            self._standin_tags = []

    def _standin_listed(self, node: Any) -> bool:
        options = self._standin_options
        if node.GetHideFromEditors() and not options["showHidden"]:
            return False
        if not options["showChildNodeTypes"] and node.GetClassName() not in options["nodeTypes"]:
            return False
        if any(node.IsA(name) for name in options["hideChildNodeTypes"]):
            return False
        for node_type, name, value in self._standin_attributes:
            found = node.GetAttribute(name)
            if node.IsA(node_type) and (found is None or (value is not None and found != str(value))):
                return False
        return True

    def _standin_refresh(self) -> None:
        if self._standin_scene is None or self._standin_scene.IsBatchProcessing():
            return
        nodes: list[Any] = []
        for name in self.nodeTypes:
            nodes += [n for n in slicer.util.getNodesByClass(name) if n not in nodes and self._standin_listed(n)]
        self._standin_ids = [""] * bool(self.noneEnabled) + [n.GetID() for n in nodes]
        names = [self.noneDisplay] * bool(self.noneEnabled) + [n.GetName() for n in nodes]
        self._standin_combo.clear()
        self._standin_combo.addItems(names)
        wanted = self._standin_current
        if wanted not in self._standin_ids or (not wanted and not self.noneEnabled):
            # As qMRMLNodeComboBox: without "None" the first node is chosen.
            wanted = self._standin_ids[0] if self._standin_ids and not self.noneEnabled else ""
        self._standin_choose(wanted)

    def _standin_choose(self, node_id: str) -> None:
        index = self._standin_ids.index(node_id) if node_id in self._standin_ids else -1
        self._standin_combo.setCurrentIndex(index)
        if node_id != self._standin_current:
            self._standin_current = node_id
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(node_id)

    def currentNode(self) -> Any:  # noqa: N802
        return self._standin_scene.GetNodeByID(self._standin_current) if self._standin_current else None

    @property
    def currentNodeID(self) -> str:  # noqa: N802
        return self._standin_current

    @currentNodeID.setter
    def currentNodeID(self, node_id: str) -> None:  # noqa: N802
        self.setCurrentNodeID(node_id)

    def setCurrentNodeID(self, node_id: str) -> None:  # noqa: N802
        self._standin_choose(node_id if node_id in self._standin_ids else "")

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def nodeCount(self) -> int:  # noqa: N802
        return len([item for item in self._standin_ids if item])

    def nodeFromIndex(self, index: int) -> Any:  # noqa: N802
        ids = [item for item in self._standin_ids if item]
        return self._standin_scene.GetNodeByID(ids[index]) if 0 <= index < len(ids) else None

    def addNode(self) -> Any:  # noqa: N802
        """What "Create new ..." of the list does."""
        if not self.addEnabled:
            raise AssertionError("this selector offers no new nodes (addEnabled is false)")
        node_type = self.nodeTypes[0]
        name = self._standin_scene.GenerateUniqueName(
            self.baseName or node_type.removeprefix("vtkMRML").removesuffix("Node")
        )
        node = self._standin_scene.AddNewNodeByClass(node_type, name)
        self.nodeAdded.emit(node)
        self.nodeAddedByUser.emit(node)
        self.setCurrentNode(node)
        return node


@_qmrml
class qMRMLSegmentSelectorWidget(_WithScene, _UiProperties, python_qt_class(QtWidgets.QWidget)):  # type: ignore[misc] # noqa: N801
    """A segmentation and one of its segments."""

    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    currentNodeChanged = QtCore.Signal(object)  # noqa: N815
    currentSegmentChanged = QtCore.Signal(str)  # noqa: N815
    declared_signals = _SCENE_SIGNALS | {"currentNodeChanged(vtkMRMLNode*)", "currentSegmentChanged(QString)"}
    ui_properties = ("noneEnabled", "segmentationNodeSelectorVisible", "multiSelection")
    segmentationNodeSelectorVisible = forwarded("segmentationNodeSelectorVisible", True)  # noqa: N815
    multiSelection, selectNodeUponCreation = (
        forwarded("multiSelection", False),
        forwarded("selectNodeUponCreation", True),
    )  # noqa: N815

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._standin_node_id, self._standin_segment, self._standin_none = "", "", False
        self._standin_observed: Any = None
        self._standin_combo = QtWidgets.QComboBox(self)
        self._standin_values: list[str] = []
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._standin_combo)
        self._standin_combo.activated.connect(lambda index: self.setCurrentSegmentID(self._standin_values[index]))

    def _standin_set_none(self, value: bool) -> None:
        self._standin_none = bool(value)
        self._standin_refresh()

    noneEnabled = property(lambda s: s._standin_none, _standin_set_none)  # noqa: N815

    def currentNode(self) -> Any:  # noqa: N802
        scene = self._standin_scene
        return scene.GetNodeByID(self._standin_node_id) if scene is not None and self._standin_node_id else None

    def currentNodeID(self) -> str:  # noqa: N802
        return self._standin_node_id

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        node_id = node.GetID() if node is not None else ""
        if node_id == self._standin_node_id:
            return
        if self._standin_observed is not None:
            self._standin_observed[0].RemoveObserver(self._standin_observed[1])
            self._standin_observed = None
        self._standin_node_id = node_id
        if node is not None:
            # As in Slicer, the list follows the segmentation.
            segmentation = node.GetSegmentation()
            alive = weakref.ref(self)
            tag = segmentation.AddObserver(vtk.vtkCommand.AnyEvent, lambda *_: _refresh_if_alive(alive))
            self._standin_observed = (segmentation, tag)
        self._standin_refresh()
        self.currentNodeChanged.emit(node)

    def setCurrentNodeID(self, node_id: str) -> None:  # noqa: N802
        self.setCurrentNode(self._standin_scene.GetNodeByID(node_id) if node_id else None)

    def segmentIDs(self) -> tuple[str, ...]:  # noqa: N802
        node = self.currentNode()
        return tuple(node.GetSegmentation().GetSegmentIDs()) if node is not None else ()

    def currentSegmentID(self) -> str:  # noqa: N802
        return self._standin_segment

    def setCurrentSegmentID(self, segment_id: str) -> None:  # noqa: N802
        value = segment_id if segment_id in self.segmentIDs() else ""
        if value in self._standin_values:
            self._standin_combo.setCurrentIndex(self._standin_values.index(value))
        if value != self._standin_segment:
            self._standin_segment = value
            self.currentSegmentChanged.emit(value)

    def _standin_refresh(self) -> None:
        ids = list(self.segmentIDs())
        node = self.currentNode()
        self._standin_values = [""] * self._standin_none + ids
        names = ["None"] * self._standin_none + [node.GetSegmentation().GetSegment(item).GetName() for item in ids]
        self._standin_combo.clear()
        self._standin_combo.addItems(names)
        fallback = ids[0] if ids and not self._standin_none else ""
        self.setCurrentSegmentID(self._standin_segment if self._standin_segment in ids else fallback)


@_qmrml
class qMRMLSegmentsTableView(_WithScene, python_qt_class(QtWidgets.QWidget)):  # type: ignore[misc] # noqa: N801
    """Only which segmentation it shows."""

    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    selectionChanged = QtCore.Signal(object, object)  # noqa: N815
    declared_signals = _SCENE_SIGNALS | {"selectionChanged(QItemSelection,QItemSelection)"}
    _standin_node: Any = None

    def setSegmentationNode(self, node: Any) -> None:  # noqa: N802
        self._standin_node = node

    def segmentationNode(self) -> Any:  # noqa: N802
        return self._standin_node


@_qmrml
class qMRMLSliderWidget(_WithScene, ctkSliderWidget):  # type: ignore[misc, valid-type]
    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    declared_signals = _SCENE_SIGNALS
    quantity = forwarded("quantity", "")
