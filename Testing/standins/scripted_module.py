"""Doubles of ScriptedLoadableModule and its three companions, and of what Slicer's module factory does with them."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer

from standins.qmrml_widgets import qMRMLWidget

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


class ModuleParent:
    """Double of qSlicerScriptedLoadableModule: the ``parent`` of a module. Other attributes raise."""

    __slots__ = (
        "acknowledgementText", "associatedNodeTypes", "categories", "contributors", "dependencies", "helpText",
        "hidden", "icon", "index", "path", "title", "widgetRepresentationCreationEnabled",
    )  # fmt: skip

    def __init__(self, path: str) -> None:
        self.path = path
        self.hidden = False
        self.index = -1
        self.widgetRepresentationCreationEnabled = True
        self.associatedNodeTypes = []


class ScriptedLoadableModule:
    """The description of a module; subclasses fill in ``self.parent``."""

    def __init__(self, parent: Any) -> None:
        import qt

        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        parent.helpText = parent.acknowledgementText = ""
        for suffix in (".svg", ".png"):
            path = Path(parent.path).parent / "Resources" / "Icons" / f"{self.moduleName}{suffix}"
            if path.is_file():
                parent.icon = qt.QIcon(str(path))
                break
        slicer.__dict__.setdefault("selfTests", {})[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:  # noqa: N802
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:  # noqa: N802, N803
        url = (
            slicer.app.documentationBaseUrl + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        )
        return f'<p>For more information see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **options: Any) -> None:  # noqa: N802
        case = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**options)


class ScriptedLoadableModuleWidget:
    """A module's panel. ``parent`` is a qMRMLWidget with a layout."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:  # noqa: N802
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def setup(self) -> None:
        """Make the panel; in Slicer the developer's buttons come here."""

    def cleanup(self) -> None:
        """Called before the module is unloaded."""

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:  # noqa: N802
        if name == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self) -> None:  # noqa: N802
        """What the button "Reload" does: Slicer's own ``slicer.util.reloadScriptedModule``."""
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """A module's logic with its parameter node."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:  # noqa: N802
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        return slicer.mrmlScene.AddNode(self.createParameterNode()) if node is None else node

    def getAllParameterNodes(self) -> list[Any]:  # noqa: N802
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:  # noqa: N802
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's self test; ``runTest`` is what Slicer calls."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:  # noqa: N802, N803
        slicer.util.delayDisplay(message, self.messageDelay)

    def runTest(self) -> None:  # noqa: N802
        self.setUp()
        for name in [name for name in dir(self) if name.startswith("test_")]:
            getattr(self, name)()


class ModulePanel(qMRMLWidget):  # type: ignore[misc, valid-type]
    """Double of qSlicerScriptedLoadableModuleWidget: the ``parent`` of a module's widget."""

    _standin_entered = False
    _standin_module = ""
    isEntered = property(lambda s: s._standin_entered)  # noqa: N815

    def reload(self) -> Any:
        """Make the Python widget again, from the class that the module has now."""
        widget = getattr(sys.modules[self._standin_module], f"{self._standin_module}Widget")(self)
        setattr(slicer.modules, f"{self._standin_module}Widget", widget)
        widget.setup()
        if self._standin_entered and hasattr(widget, "enter"):
            widget.enter()
        return widget


def load_module(path: str | Path, widget: bool = False) -> types.SimpleNamespace:
    """What Slicer does with a scripted module at start, and with ``widget`` on its first opening.

    The module's folder comes on ``sys.path``, the class of the file's name gets its parent, ``slicer.modules`` its
    entry; ``startupCompleted()`` is then sent.

    Returns:
        python: the Python module; parent: its :class:`ModuleParent`; module: the ScriptedLoadableModule;
        widget: the ScriptedLoadableModuleWidget, or None; panel: the qMRMLWidget that holds it, or None.
    """
    from standins.application import Module

    path = Path(path)
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is no Python file.")
    python = importlib.util.module_from_spec(specification)
    sys.modules[name] = python
    specification.loader.exec_module(python)
    parent = ModuleParent(str(path))
    entry = Module(name, str(path))
    setattr(slicer.modules, name.lower(), entry)
    module = getattr(python, name)(parent)
    setattr(slicer.modules, f"{name}Instance", module)
    slicer.app.finish_startup()
    loaded = types.SimpleNamespace(python=python, parent=parent, module=module, widget=None, panel=None)
    if widget:
        loaded.widget, loaded.panel = open_module(name)
    return loaded


def open_module(name: str) -> tuple[Any, Any]:
    """Make the panel of a loaded module and set it up, without entering it: (widget, qMRMLWidget)."""
    import qt

    panel = ModulePanel()
    panel._standin_module = name
    panel.setLayout(qt.QVBoxLayout())
    panel.setMRMLScene(slicer.mrmlScene)
    getattr(slicer.modules, name.lower()).representation = panel
    return panel.reload(), panel


def enter(widget: Any) -> None:
    """The user opens the panel."""
    widget.parent._standin_entered = True
    if hasattr(widget, "enter"):
        widget.enter()


def leave(widget: Any) -> None:
    """The user goes to another module."""
    widget.parent._standin_entered = False
    if hasattr(widget, "exit"):
        widget.exit()


def unload(widget: Any) -> None:
    """Slicer unloads the module: ``cleanup()`` is called, the panel deleted."""
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(widget.moduleName)
    widget.parent.deleteLater()
    slicer.app.processEvents()
