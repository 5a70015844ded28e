"""Slicer's application without its desktop: real scene, real module logics, and a double of ``slicer.app``."""

from __future__ import annotations

import os
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from standins.dialogs import Dialogs
from standins.layout import LayoutManager
from standins.pythonqt import python_qt_class

__all__ = ["Application", "Module", "Modules"]

_LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Tables": "vtkSlicerTablesLogic",
}


class Module:
    """An entry of ``slicer.modules``: ``path``, ``name``, ``logic()``, ``widgetRepresentation()``."""

    def __init__(self, name: str, path: str = "", logic: Any = None) -> None:
        self.name = name
        self.path = path
        self._logic = logic
        self.representation: Any = None

    def logic(self) -> Any:
        """The module's C++ logic, None if it has none."""
        return self._logic

    def widgetRepresentation(self) -> Any:  # noqa: N802
        """The module's panel, a qMRMLWidget, or None before it was opened."""
        return self.representation


class SequencesModule(Module):
    """The Sequences module with the two calls that concern its toolbar; ``shown`` records the browsers."""

    def __init__(self, name: str, path: str = "", logic: Any = None) -> None:
        super().__init__(name, path, logic)
        self.shown: list[Any] = []
        self.autoShowToolBar = True

    def setToolBarActiveBrowserNode(self, browser: Any) -> None:  # noqa: N802
        """Show the browser in the toolbar."""
        self.shown.append(browser)

    def showSequenceBrowser(self, browser: Any) -> None:  # noqa: N802
        """Show the toolbar with the browser."""
        self.shown.append(browser)


class Modules(types.ModuleType):
    """``slicer.modules``: an unknown module raises AttributeError, as in Slicer."""

    def __init__(self) -> None:
        super().__init__("slicer.modules")


class _ModuleManager(python_qt_class(QtCore.QObject)):  # type: ignore[misc]
    moduleAboutToBeUnloaded = QtCore.Signal(str)  # noqa: N815
    declared_signals = frozenset({"moduleAboutToBeUnloaded(QString)"})

    def factoryManager(self) -> Any:  # noqa: N802
        return self

    def isLoaded(self, name: str) -> bool:  # noqa: N802
        return hasattr(slicer.modules, name.lower())


class _SettledEnvironment:
    """``slicer.app.startupEnvironment()``: what QProcessEnvironment has and Slicer's util uses."""

    def __new__(cls) -> Any:
        return QtCore.QProcessEnvironment.systemEnvironment()


class Application:
    """Double of ``slicer.app``. What is not here raises AttributeError.

    Attributes:
        dialogs: what was shown to the user, and the answers to be given, see :class:`standins.dialogs.Dialogs`.
        testing: what ``testingEnabled()`` says; False, so that tests see what a user sees.
        main_window: the main window, or None as with ``--no-main-window``; see :meth:`set_main_window`.
    """

    applicationName = "Slicer"  # noqa: N815
    mainApplicationName = "Slicer"  # noqa: N815
    applicationVersion = "5.12.4"  # noqa: N815
    majorVersion, minorVersion = 5, 12  # noqa: N815
    revision = "34000"
    os = "linux"
    arch = "amd64"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/5.12/"  # noqa: N815

    def __init__(self) -> None:
        self.qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["standins"])
        self.temporaryPath = tempfile.mkdtemp(prefix="slicer-")  # noqa: N815
        self.slicerHome = str(Path(slicer.__file__).parent)  # noqa: N815
        self.dialogs = Dialogs()
        self.testing = False
        self.main_window: Any = None
        self.startup_functions: list[Callable[[], None]] = []
        self.scene = slicer.vtkMRMLScene()
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._module_manager = _ModuleManager()
        self._layout_manager: LayoutManager | None = None
        self._start_logics()
        self._layout_manager = LayoutManager(self._logic, self.scene)
        self._baseline = {node.GetID() for node in self._nodes()}
        self.set_main_window(True)

    def _start_logics(self) -> None:
        scene, application = self.scene, self._logic
        application.SetMRMLScene(scene)
        colors = application.GetColorLogic()
        colors.SetMRMLScene(scene)
        colors.AddDefaultColorNodes()
        application.SetSliceLogics(vtk.vtkCollection())
        application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self.modules = Modules()
        # Six messages about files of the Terminologies module, which the package does not have, go nowhere.
        vtk.vtkObject.GlobalWarningDisplayOff()
        with _silent_stderr():
            for name, kind in _LOGICS.items():
                logic = getattr(slicer, kind)()
                logic.SetMRMLScene(scene)
                logic.SetMRMLApplicationLogic(application)
                application.SetModuleLogic(name, logic)
                entry = SequencesModule if name == "Sequences" else Module
                setattr(self.modules, name.lower(), entry(name, "", logic))
        vtk.vtkObject.GlobalWarningDisplayOn()

    def _nodes(self) -> list[Any]:
        return [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]

    def reset(self) -> None:
        """Close the scene, remove what outlives that (singletons), forget dialogs and modules' panels."""
        self.qt_application.processEvents()
        self.scene.Clear(0)
        for node in self._nodes():
            if node.GetID() not in self._baseline:
                self.scene.RemoveNode(node)
        self.dialogs.clear()
        self.testing = False
        self.set_main_window(True)
        if slicer.__dict__.get("dicomDatabase") is not None:
            slicer.dicomDatabase = None
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)

    def set_main_window(self, present: bool) -> None:
        """With or without a main window: ``slicer.util.mainWindow()`` and ``layoutManager()`` are None without."""
        if present and self.main_window is None:
            self.main_window = python_qt_class(QtWidgets.QMainWindow)()
            self.main_window.setObjectName("qSlicerMainWindow")
        elif not present and self.main_window is not None:
            self.main_window.deleteLater()
            self.main_window = None

    def finish_startup(self) -> None:
        """Call what waits for ``startupCompleted()``, once."""
        functions, self.startup_functions = self.startup_functions, []
        for function in functions:
            function()

    # What follows is called as in Slicer.
    def connect(self, signature: str, function: Callable[..., None]) -> bool:
        if signature != "startupCompleted()":
            if signature in ("aboutToQuit()", "lastWindowClosed()"):
                return True
            raise ValueError(f"the stand-in of slicer.app has no signal {signature}.")
        self.startup_functions.append(function)
        return True

    def disconnect(self, signature: str, function: Callable[..., None]) -> bool:
        if function in self.startup_functions:
            self.startup_functions.remove(function)
            return True
        return False

    def applicationLogic(self) -> Any:  # noqa: N802
        return self._logic

    def mrmlScene(self) -> Any:  # noqa: N802
        return self.scene

    def moduleManager(self) -> Any:  # noqa: N802
        return self._module_manager

    def layoutManager(self) -> LayoutManager | None:  # noqa: N802
        return None if self.main_window is None else self._layout_manager

    def processEvents(self) -> None:  # noqa: N802
        self.qt_application.processEvents()

    def testingEnabled(self) -> bool:  # noqa: N802
        return self.testing

    def commandOptions(self) -> Any:  # noqa: N802
        return types.SimpleNamespace(testingEnabled=self.testing, noMainWindow=self.main_window is None)

    def settings(self) -> Any:
        import qt

        return qt.QSettings()

    userSettings = settings  # noqa: N815

    def translate(self, context: str, text: str) -> str:
        return text

    def topLevelWidgets(self) -> list[Any]:  # noqa: N802
        return [] if self.main_window is None else [self.main_window]

    def startupEnvironment(self) -> Any:  # noqa: N802
        return _SettledEnvironment()

    def environment(self) -> Any:
        return _SettledEnvironment()

    def moduleDocumentationUrl(self, name: str) -> str:  # noqa: N802
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def setOverrideCursor(self, cursor: Any) -> None:  # noqa: N802
        self.qt_application.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:  # noqa: N802
        self.qt_application.restoreOverrideCursor()

    def pauseRender(self) -> None:  # noqa: N802
        pass

    def resumeRender(self) -> None:  # noqa: N802
        pass

    def restart(self) -> None:
        self.dialogs.record("restart", "Slicer restarts")


class _silent_stderr:  # noqa: N801
    """Sends the process's stderr to nowhere, that of C++ too."""

    def __enter__(self) -> None:
        self.kept = os.dup(2)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)

    def __exit__(self, *error: object) -> None:
        os.dup2(self.kept, 2)
        os.close(self.kept)
