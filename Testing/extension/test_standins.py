"""The stand-ins are strict, and the real parts below them work. [stand-in Qt] [real Slicer C++]"""

from __future__ import annotations

import enum
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import ctk
import numpy as np
import pytest
import qt
import slicer
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from standins.dialogs import UnexpectedDialog
from standins.event_loop import collect_errors, gui_watchdog, process_events, wait_until
from standins.render_slice import render
from standins.screenshots import grab
from standins.scripted_module import load_module, open_module, unload
from standins.ui_loader import UnknownWidgetError


# PythonQt
@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("QLineEdit", "text"), ("QCheckBox", "checked"), ("QWidget", "visible"), ("QWidget", "enabled"),
        ("QWidget", "width"),
        ("QComboBox", "currentText"), ("QSpinBox", "value"), ("QProgressBar", "value"), ("QTimer", "interval"),
    ],
)  # fmt: skip
def test_property_called_as_method_raises(app: Any, kind: str, attribute: str) -> None:
    item = getattr(qt, kind)()
    getattr(item, attribute)
    with pytest.raises(TypeError, match="not callable"):
        getattr(item, attribute)()


def test_properties_are_read_and_set_as_attributes(app: Any) -> None:
    box = qt.QCheckBox("Refine")
    assert (box.text, box.checked, box.enabled) == ("Refine", False, True)
    box.checked, box.enabled, box.toolTip = True, False, "why"
    assert box.isChecked() and not box.isEnabled() and box.toolTip == "why"
    box.setChecked(False)
    assert box.checked is False
    timer = qt.QTimer()
    timer.singleShot = True
    assert timer.singleShot is True and timer.isSingleShot()
    with pytest.raises(AttributeError, match="read-only"):
        qt.QWidget().width = 5


@pytest.mark.parametrize("attribute", ["txt", "onClick", "clicked", "setText"])
def test_unknown_attribute_cannot_be_set(app: Any, attribute: str) -> None:
    button = qt.QPushButton()
    with pytest.raises(AttributeError, match=attribute):
        setattr(button, attribute, 1)


def test_python_subclass_may_have_attributes(app: Any) -> None:
    class Panel(qt.QWidget):
        def __init__(self) -> None:
            super().__init__()
            self.extra = 3

    assert Panel().extra == 3


@pytest.mark.parametrize("signature", ["clickd()", "clicked(int)", "clicked", "text()", "clicked(bool", "timeout()"])
def test_unknown_signal_raises(app: Any, signature: str) -> None:
    with pytest.raises(ValueError, match=r"signal"):
        qt.QPushButton().connect(signature, lambda: None)


def test_signal_of_qt_6_only_raises(app: Any) -> None:
    with pytest.raises(ValueError, match="no signal"):
        qt.QCheckBox().connect("checkStateChanged(Qt::CheckState)", lambda: None)
    with pytest.raises(AttributeError, match=r"5\.15"):
        qt.QCheckBox().checkStateChanged  # noqa: B018


def test_connect_passes_as_many_arguments_as_wanted_and_disconnects(app: Any) -> None:
    heard: list[Any] = []
    button = qt.QPushButton()
    button.checkable = True

    def none() -> None:
        heard.append("none")

    def one(checked: bool) -> None:
        heard.append(checked)

    button.connect("clicked(bool)", none)
    button.connect("clicked( bool )", one)
    button.connect("clicked()", none)
    button.click()
    assert heard == ["none", True, "none"]
    assert button.disconnect("clicked()", none)
    heard.clear()
    button.click()
    assert button.disconnect("clicked(bool)", none) and not button.disconnect("clicked(bool)", none)
    button.click()
    assert heard == ["none", False, True]


@pytest.mark.parametrize("name", ["Signal", "Slot", "Property", "QTextCodec", "QRegExp", "QtCore", "QNothing"])
def test_names_that_slicers_qt_does_not_have(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(qt, name)


@pytest.mark.parametrize("module", [ctk, slicer])
def test_widget_without_stand_in_raises(module: Any) -> None:
    with pytest.raises(AttributeError):
        module.qMRMLUnheardOfWidget  # noqa: B018


def test_objects_made_by_qt_are_strict_too(app: Any) -> None:
    box = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    button = box.button(qt.QDialogButtonBox.Ok)
    button.text, button.enabled = "Install", False
    assert button.text == "Install" and button.enabled is False
    with pytest.raises(AttributeError, match="txt"):
        button.txt = "x"
    heard: list[bool] = []
    button.connect("clicked(bool)", heard.append)
    box.button(qt.QDialogButtonBox.Ok).enabled = True
    button.click()
    assert heard == [False]
    menu = qt.QMenu()
    action = menu.addAction("Delete")
    assert action.text == "Delete" and menu.actions() == [action]


def test_settings_are_temporary_and_come_back_as_text(app: Any) -> None:
    settings = qt.QSettings()
    settings.setValue("CASR/Number", 3)
    settings.setValue("CASR/Flag", True)
    assert qt.QSettings().value("CASR/Number") == "3" and qt.QSettings().value("CASR/Flag") == "true"
    assert slicer.util.settingsValue("CASR/Flag", False, converter=slicer.util.toBool) is True
    assert qt.QSettings().value("CASR/Absent", "default") == "default"
    assert Path(settings.fileName()).is_relative_to("/tmp") or "slicer-settings" in settings.fileName()


def test_dialogs_are_recorded_and_never_wait(app: Any) -> None:
    slicer.util.errorDisplay("Broken", detailedText="line 1")
    assert app.dialogs.shown[0].detailed == "line 1" and app.dialogs.texts("error") == ["Broken"]
    app.dialogs.answer(False, "/data")
    assert slicer.util.confirmOkCancelDisplay("Go?", windowTitle="T") is False
    assert qt.QFileDialog.getExistingDirectory(None, "Bundle") == "/data"
    with pytest.raises(UnexpectedDialog, match="Again"):
        slicer.util.confirmOkCancelDisplay("Again?")
    with pytest.raises(UnexpectedDialog):
        qt.QDialog().exec_()
    with pytest.raises(TypeError):
        slicer.util.confirmOkCancelDisplay()
    app.testing = True
    assert slicer.util.confirmOkCancelDisplay("In testing mode?") is True


def test_exception_in_a_slot_or_observer_is_not_lost(app: Any, scene: Any) -> None:
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    node = scene.AddNewNodeByClass("vtkMRMLTextNode")

    def observer(caller: Any, event: str) -> None:
        raise KeyError(event)

    node.AddObserver("ModifiedEvent", observer)
    with collect_errors() as errors:
        button.click()
        node.SetText("x")
    assert [type(error) for error in errors] == [ZeroDivisionError, KeyError]


# .ui files
UI = """<?xml version="1.0" encoding="UTF-8"?><ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QFormLayout" name="formLayout">
<item row="0" column="0"><widget class="QLabel" name="label">
<property name="text"><string>Volume:</string></property></widget></item>
<item row="0" column="1"><widget class="{selector}" name="selector">
<property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
<property name="noneEnabled"><bool>true</bool></property>
<property name="SlicerParameterName" stdset="0"><string>volume</string></property></widget></item>
<item row="1" column="0" colspan="2"><widget class="ctkCollapsibleButton" name="more">
<property name="text"><string>More</string></property><property name="collapsed"><bool>true</bool></property>
<layout class="QVBoxLayout" name="verticalLayout"><item><widget class="ctkSliderWidget" name="threshold">
<property name="maximum"><double>1.0</double></property><property name="value"><double>0.5</double></property>
<property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
</layout></widget></item>
</layout></widget>
<connections>{connection}</connections></ui>"""
CONNECTION = """<connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>selector</receiver>
<slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"""


@pytest.fixture
def ui(tmp_path: Path) -> Callable[..., Any]:
    def load(selector: str = "qMRMLNodeComboBox", connection: str = CONNECTION) -> Any:
        path = tmp_path / "panel.ui"
        path.write_text(UI.format(selector=selector, connection=connection))
        return slicer.util.loadUI(str(path))

    return load


def test_ui_file_gets_stand_ins_properties_and_scene(ui: Callable[..., Any], frame_volume: Any, scene: Any) -> None:
    panel = ui()
    widgets = slicer.util.childWidgetVariables(panel)
    assert widgets.selector.nodeTypes == ["vtkMRMLScalarVolumeNode"] and widgets.selector.noneEnabled is True
    assert widgets.more.text == "More" and widgets.more.collapsed is True
    assert widgets.threshold.value == 0.5 and widgets.threshold.maximum == 1.0
    assert widgets.label.text == "Volume:"
    panel.setMRMLScene(scene)
    widgets.selector.setCurrentNode(frame_volume)
    assert widgets.selector.currentNode() is frame_volume
    scene.RemoveNode(frame_volume)
    assert widgets.selector.currentNode() is None


def test_forgotten_connection_leaves_the_selector_without_scene(
    ui: Callable[..., Any], frame_volume: Any, scene: Any
) -> None:
    panel = ui(connection="")
    panel.setMRMLScene(scene)
    assert slicer.util.childWidgetVariables(panel).selector.nodeCount() == 0


@pytest.mark.parametrize(
    ("selector", "connection"),
    [
        ("qMRMLUnheardOf", CONNECTION),
        ("QLineEdit", CONNECTION),
        ("qMRMLNodeComboBox", CONNECTION.replace(">selector<", ">selectr<")),
    ],
)
def test_ui_file_with_unknown_parts_raises(ui: Callable[..., Any], app: Any, selector: str, connection: str) -> None:
    with pytest.raises(UnknownWidgetError):
        ui(selector, connection)


def test_screenshot_has_the_widgets(ui: Callable[..., Any], scene: Any, tmp_path: Path) -> None:
    path = grab(ui(), tmp_path / "panel.png", width=400)
    image = qt.QImage(str(path))
    assert image.width() == 400 and len({image.pixel(x, 20) for x in range(400)}) > 3


# Parameter node
class Mode(enum.Enum):
    FAST = "fast"
    EXACT = "exact"


@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    device: Annotated[str, Choice(["auto", "cpu"])] = "auto"
    count: int = 3
    refine: bool = True
    mode: Mode = Mode.EXACT
    folder: Path = Path("/data")


def test_parameter_node_round_trip(scene: Any, frame_volume: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    first = Parameters(node)
    assert (first.volume, first.threshold, first.mode, first.folder) == (None, 0.5, Mode.EXACT, Path("/data"))
    first.volume, first.threshold, first.refine, first.mode = frame_volume, 0.25, False, Mode.FAST
    second = Parameters(node)
    assert (
        second.volume is frame_volume
        and second.threshold == 0.25
        and second.refine is False
        and second.mode is Mode.FAST
    )
    with pytest.raises(ValueError, match="within range"):
        second.threshold = 1.5
    with pytest.raises(ValueError, match="choices"):
        second.device = "tpu"
    with pytest.raises(TypeError):
        second.count = "many"


def test_parameter_of_unknown_type_raises() -> None:
    class Wrong:
        array: np.ndarray

    Wrong.__annotations__ = {"array": np.ndarray}
    with pytest.raises(TypeError, match="array"):
        parameterNodeWrapper(Wrong)


def test_parameters_and_widgets_follow_each_other(ui: Callable[..., Any], scene: Any, frame_volume: Any) -> None:
    panel = ui()
    panel.setMRMLScene(scene)
    widgets = slicer.util.childWidgetVariables(panel)
    parameters = Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    tag = parameters.connectGui(widgets)
    widgets.threshold.value = 0.75
    widgets.selector.setCurrentNode(frame_volume)
    assert parameters.threshold == 0.75 and parameters.volume is frame_volume
    parameters.threshold = 0.25
    assert widgets.threshold.value == 0.25
    parameters.disconnectGui(tag)
    widgets.threshold.value = 0.9
    assert parameters.threshold == 0.25


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("threshold", lambda: qt.QSpinBox()),
        ("count", lambda: ctk.ctkSliderWidget()),
        ("refine", lambda: qt.QRadioButton()),
        ("device", lambda: qt.QPlainTextEdit()),
        ("folder", lambda: qt.QLineEdit()),
        ("refine", lambda: qt.QPushButton()),
    ],
)
def test_pair_without_connector_raises(scene: Any, name: str, make: Callable[[], Any]) -> None:
    parameters = Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    with pytest.raises(RuntimeError):
        parameters.connectParametersToGui({name: make()})


# Modules
MODULE = """
import slicer
from slicer.ScriptedLoadableModule import *
from slicer.i18n import tr as _

class TinyModule(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Tiny")
        slicer.app.connect("startupCompleted()", lambda: started.append(1))

started = []

class TinyModuleWidget(ScriptedLoadableModuleWidget):
    cleaned = False

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = TinyModuleLogic()

    def cleanup(self):
        self.cleaned = True

class TinyModuleLogic(ScriptedLoadableModuleLogic):
    pass
"""


def test_module_is_loaded_opened_reloaded_and_unloaded(app: Any, scene: Any, tmp_path: Path) -> None:
    path = tmp_path / "TinyModule.py"
    path.write_text(MODULE)
    loaded = load_module(path)
    assert loaded.parent.title == "Tiny" and loaded.python.started == [1]
    with pytest.raises(AttributeError):
        loaded.parent.titel = "x"
    widget, _panel = open_module("TinyModule")
    node = widget.logic.getParameterNode()
    assert node.GetAttribute("ModuleName") == "TinyModule" and widget.logic.getParameterNode() is node
    widget.onReload()
    assert widget.cleaned and slicer.modules.TinyModuleWidget is not widget
    second = slicer.modules.TinyModuleWidget
    unload(second)
    assert second.cleaned


# Real Slicer
def test_scene_and_logics_are_real(scene: Any, frame_volume: Any, frame_pixels: np.ndarray) -> None:
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(frame_volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("a", "a")
    mask = (frame_pixels < 100).astype(np.uint8)[None]
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, frame_volume)
    assert mask.sum() > 100
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, frame_volume), mask)
    assert slicer.modules.segmentations.logic().IsA("vtkSlicerSegmentationsModuleLogic")


def test_cine_is_a_sequence_whose_proxy_follows_the_browser(cine: Any) -> None:
    assert cine.volume.GetClassName() == "vtkMRMLScalarVolumeNode" and cine.browser.GetNumberOfItems() == 6
    for index in (4, 0):
        cine.browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        assert np.array_equal(slicer.util.arrayFromVolume(cine.volume)[0], cine.frames[index])


def test_reset_leaves_an_empty_scene(app: Any, cine: Any) -> None:
    app.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode").SetSingletonTag("x")
    app.reset()
    for name in ("vtkMRMLVolumeNode", "vtkMRMLSequenceNode", "vtkMRMLScriptedModuleNode"):
        assert app.scene.GetNumberOfNodesByClass(name) == 0, name
    # Slicer's displayable managers, once a view is rendered, make this one anew: it has to be empty.
    hierarchy = app.scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    assert hierarchy is None or hierarchy.GetNumberOfItems() == 0
    assert app.scene.GetNumberOfNodesByClass("vtkMRMLSliceNode") == 3


def test_without_main_window_there_is_no_layout(app: Any) -> None:
    assert slicer.util.mainWindow() is not None and app.layoutManager().sliceWidget("Red") is not None
    app.set_main_window(False)
    assert slicer.util.mainWindow() is None and app.layoutManager() is None


def test_slice_view_is_drawn(scene: Any, frame_volume: Any, frame_pixels: np.ndarray, tmp_path: Path) -> None:
    picture = render(frame_volume, tmp_path / "slice.png", size=(256, 192))
    assert picture.shape == (192, 256, 3) and (tmp_path / "slice.png").is_file()
    # The frame fills the view as it is stored: row 0 at the top, column 0 at the left.
    small = picture[:, :, 0].reshape(96, 2, 128, 2).mean((1, 3))
    assert np.corrcoef(small.ravel(), frame_pixels.ravel())[0, 1] > 0.9


# Event loop
def test_process_runs_beside_the_event_loop(app: Any) -> None:
    process = qt.QProcess()
    text: list[bytes] = []
    ended: list[Any] = []
    process.connect("readyReadStandardOutput()", lambda: text.append(bytes(process.readAllStandardOutput().data())))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ended.append((code, status)))
    process.start(sys.executable, ["-c", "print('hello')"])
    assert process.waitForStarted(10_000) and process.state() == qt.QProcess.Running
    wait_until(lambda: ended, 20, "the process")
    assert b"".join(text).strip() == b"hello" and ended == [(0, qt.QProcess.NormalExit)]


def test_watchdog_measures_how_long_the_gui_thread_was_busy(app: Any) -> None:
    qt.QTimer.singleShot(20, lambda: time.sleep(0.15))
    with gui_watchdog() as watch:
        process_events(0.3)
    assert 140 < watch.longest_ms < 5000 and watch.beats > 5
    with pytest.raises(AssertionError, match="in vain for nothing"):
        wait_until(lambda: False, 0.05, "nothing")


# Packages
def test_packages_are_only_recorded(app: Any, installer: Any) -> None:
    from standins import packaging

    slicer.packaging.pip_install(["monai>=1.4"], requester="CASR")
    with pytest.raises(TypeError):
        slicer.packaging.pip_install(["x"], upgrade=True)
    packaging.reset(modern=False, pytorch_extension=False)
    with pytest.raises(ImportError):
        importlib.import_module("slicer.packaging")
    with pytest.raises(ImportError):
        import PyTorchUtils  # noqa: F401
    slicer.util.pip_install("monai>=1.4 pyyaml")
    with pytest.raises(TypeError):
        slicer.util.pip_install("x", constraints="y")
    assert installer.calls == [("slicer.util.pip_install", ["monai>=1.4", "pyyaml"], {})]
