"""The module's panel: the real .ui file, driven as by a user. [stand-in Qt, real scene]"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import slicer
from CASRSegmentationLib import bundles, settings
from CASRSegmentationLib.node_scale import ATTRIBUTE
from standins import scripted_module
from standins.event_loop import process_events, wait_until
from standins.screenshots import grab
from standins.workers import FakeWorker


class FakeInstallation:
    """Everything is installed, or what the test says."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.restart = ""

    def ensure(self) -> SimpleNamespace:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return SimpleNamespace(installed=(), restart=self.restart)


@pytest.fixture
def module(scene, extension_dir):
    """The module as Slicer loads and opens it."""
    loaded = scripted_module.load_module(extension_dir / "CASRSegmentation.py", widget=True)
    FakeWorker.made, FakeWorker.refuse = [], ""
    loaded.widget.logic.make_worker = FakeWorker
    loaded.widget.installation = FakeInstallation()
    scripted_module.enter(loaded.widget)
    loaded.panel.show()
    yield loaded
    scripted_module.unload(loaded.widget)


@pytest.fixture
def widget(module):
    return module.widget


@pytest.fixture
def ui(widget):
    return widget.ui


def choose(ui, node) -> None:
    ui.inputSelector.setCurrentNode(node)


def press_apply(ui) -> FakeWorker:
    ui.applyButton.click()
    wait_until(lambda: FakeWorker.made and FakeWorker.made[-1].commands, what="the command")
    return FakeWorker.made[-1]


def finish(widget, worker) -> None:
    worker.do_all()
    wait_until(lambda: not widget.logic.busy, what="the end")


def test_empty_scene(ui):
    assert not ui.applyButton.enabled and ui.applyButton.toolTip == "Select an angiogram."
    assert ui.infoLabel.text == "Select an angiogram." and not ui.progressBar.visible


def test_single_frame(widget, ui, frame_volume):
    choose(ui, frame_volume)
    assert ui.infoLabel.text.startswith("Single frame, 128 x 96 pixels. No calibration is stated")
    assert ui.applyButton.enabled and not ui.framesComboBox.enabled
    worker = press_apply(ui)
    assert ui.applyButton.text == "Cancel" and ui.applyButton.enabled and not ui.inputSelector.enabled
    finish(widget, worker)
    assert ui.applyButton.text == "Apply" and ui.inputSelector.enabled
    assert "1 frame segmented" in ui.statusLabel.text and "module Tables" in ui.statusLabel.text
    assert ui.segmentationSelector.currentNode().GetName() == "frame segmentation"
    assert not slicer.app.dialogs.shown


def test_cine(widget, ui, cine):
    choose(ui, cine.volume)
    assert ui.infoLabel.text.startswith("Cine of 6 frames, 128 x 96 pixels.")
    assert ui.framesComboBox.enabled and not ui.firstSpinBox.enabled
    assert [ui.framesComboBox.itemText(i) for i in range(3)] == ["All frames", "Current frame", "Range of frames"]
    ui.framesComboBox.currentIndex = 2
    assert ui.firstSpinBox.enabled and (ui.firstSpinBox.value, ui.lastSpinBox.value) == (1, 6)
    ui.firstSpinBox.value, ui.lastSpinBox.value = 2, 4
    worker = press_apply(ui)
    assert worker.job.indices == (1, 2, 3)
    finish(widget, worker)


def test_current_frame_of_a_cine(ui, cine):
    cine.browser.SetSelectedItemNumber(4)
    choose(ui, cine.volume)
    ui.framesComboBox.currentIndex = 1
    assert press_apply(ui).job.indices == (4,)


def test_current_slice_of_a_stack(ui, stack_volume):
    choose(ui, stack_volume)
    assert "Stack of 5 slices" in ui.infoLabel.text
    logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(stack_volume.GetID())
    logic.SetSliceOffset(3 * 66.6)
    ui.framesComboBox.currentIndex = 1
    assert press_apply(ui).job.indices == (3,)


def test_wrong_range_is_told(ui, cine):
    choose(ui, cine.volume)
    ui.framesComboBox.currentIndex = 2
    ui.firstSpinBox.value, ui.lastSpinBox.value = 5, 3
    ui.applyButton.click()
    assert "Frames 5 to 3" in slicer.app.dialogs.texts("error")[0] and not FakeWorker.made
    ui.firstSpinBox.value, ui.lastSpinBox.value = 1, 6


def test_range_starts_anew_with_another_cine(ui, cine, make_cine):
    choose(ui, cine.volume)
    choose(ui, make_cine(3, name="short").volume)
    assert (ui.firstSpinBox.value, ui.lastSpinBox.value) == (1, 3)


def test_options_reach_the_worker(ui, frame_volume, frame_pixels):
    choose(ui, frame_volume)
    ui.thresholdSlider.value = 0.3
    ui.refineCheckBox.checked = False
    ui.brightCheckBox.checked = True
    ui.windowCheckBox.checked = True
    ui.deviceComboBox.currentText = "cuda:3"
    worker = press_apply(ui)
    told = worker.job
    assert (told.threshold, told.refine, told.device) == (0.3, False, "cuda:3")
    assert (worker.frames[0] == 255 - frame_pixels).all()
    assert worker.bundle == bundles.shipped().folder


def test_progress_bar_and_time_left(widget, ui, cine):
    choose(ui, cine.volume)
    worker = press_apply(ui)
    assert ui.progressBar.visible
    worker.say("hello", pid=1, version="0")
    assert ui.statusLabel.text == "Loading the network..."
    worker.say("loaded", device="cpu", seconds=1)
    worker.do(0)
    worker.do(1)
    wait_until(lambda: ui.progressBar.value == 2)
    assert ui.progressBar.maximum == 6
    assert ui.statusLabel.text.startswith("Frame 3 of 6, about ") and ui.statusLabel.text.endswith(" s left")
    widget.logic.cancel()
    assert not ui.progressBar.visible


def test_cancel(widget, ui, cine):
    choose(ui, cine.volume)
    worker = press_apply(ui)
    ui.applyButton.click()
    assert worker.killed and ui.statusLabel.text == "Canceled." and ui.applyButton.text == "Apply"
    assert not slicer.app.dialogs.shown, "no dialog for what the user has wanted"


def test_failure_shows_the_end_of_the_log(ui, frame_volume):
    choose(ui, frame_volume)
    press_apply(ui).ended.emit(1, "Traceback\nModuleNotFoundError: no torch")
    (shown,) = slicer.app.dialogs.shown
    assert shown.kind == "error" and "exit code 1" in shown.text and "no torch" in shown.detailed
    assert ui.applyButton.text == "Apply"


def test_worker_that_cannot_start(ui, frame_volume, monkeypatch):
    monkeypatch.setattr(FakeWorker, "refuse", "PythonSlicer was not found on the PATH.")
    choose(ui, frame_volume)
    ui.applyButton.click()
    assert slicer.app.dialogs.texts("error") == ["PythonSlicer was not found on the PATH."]


def test_memory_warning_is_shown(widget, ui, frame_volume):
    choose(ui, frame_volume)
    worker = press_apply(ui)
    worker.say("warning", text="The GPU's memory did not suffice; going on with the CPU.")
    assert "did not suffice" in ui.statusLabel.text
    finish(widget, worker)
    assert "did not suffice" in ui.statusLabel.text, "it is still to be read at the end"


def test_installation_is_asked_for_before_anything_starts(widget, ui, frame_volume):
    from CASRSegmentationLib.installation import InstallationDeclined, InstallationError

    choose(ui, frame_volume)
    widget.installation.error = InstallationDeclined("Nothing was installed.")
    ui.applyButton.click()
    assert ui.statusLabel.text == "Nothing was installed." and not slicer.app.dialogs.shown
    widget.installation.error = InstallationError("The PyTorch extension was not found.")
    ui.applyButton.click()
    assert slicer.app.dialogs.texts("error") == ["The PyTorch extension was not found."]
    assert not FakeWorker.made and widget.installation.asked == 2
    widget.installation.error, widget.installation.restart = None, "Restart Slicer: numpy was in use."
    press_apply(ui)
    assert slicer.app.dialogs.texts("info") == ["Restart Slicer: numpy was in use."]


def test_chosen_segment_is_updated(widget, ui, frame_volume):
    choose(ui, frame_volume)
    finish(widget, press_apply(ui))
    node = ui.segmentationSelector.currentNode()
    segments = node.GetSegmentation()
    lad = segments.AddEmptySegment("lad", "LAD")
    ui.segmentComboBox.setCurrentIndex(ui.segmentComboBox.findText("LAD"))
    finish(widget, press_apply(ui))
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, lad, frame_volume)
    assert mask.any() and segments.GetNumberOfSegments() == 2
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1


def entries(box):
    return [box.itemText(index) for index in range(box.count)]


def test_segments_to_choose_from(widget, ui, frame_volume):
    """A new one by its name, not "None"; the list follows the segmentation, and what was chosen stays chosen."""
    choose(ui, frame_volume)
    assert entries(ui.segmentComboBox) == ["Coronary artery (new)"]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segments = node.GetSegmentation()
    lad = segments.AddEmptySegment("lad", "LAD")
    ui.segmentationSelector.setCurrentNode(node)
    assert entries(ui.segmentComboBox) == ["Coronary artery (new)", "LAD"]
    assert widget.segments.segment_id == ""
    ui.segmentComboBox.setCurrentIndex(1)
    segments.AddEmptySegment("rca", "RCA")
    segments.GetSegment(lad).SetName("LAD, proximal")
    assert entries(ui.segmentComboBox) == ["Coronary artery (new)", "LAD, proximal", "RCA"]
    assert widget.segments.segment_id == lad
    segments.RemoveSegment(lad)
    assert widget.segments.segment_id == ""
    ui.segmentationSelector.setCurrentNode(None)
    assert entries(ui.segmentComboBox) == ["Coronary artery (new)"]
    segments.AddEmptySegment("lcx", "LCX")
    assert entries(ui.segmentComboBox) == ["Coronary artery (new)"]


def test_the_segment_that_is_there_is_updated(widget, ui, frame_volume):
    choose(ui, frame_volume)
    finish(widget, press_apply(ui))
    assert entries(ui.segmentComboBox) == ["Coronary artery"]
    finish(widget, press_apply(ui))
    assert ui.segmentationSelector.currentNode().GetSegmentation().GetNumberOfSegments() == 1


def test_no_two_widgets_stand_in_one_place():
    path = Path(__file__).resolve().parents[2] / "CASRSegmentation" / "Resources" / "UI" / "CASRSegmentation.ui"
    layouts = [layout for layout in ElementTree.parse(path).iter("layout") if layout.get("class") == "QFormLayout"]
    assert len(layouts) == 4
    for layout in layouts:
        cells = [
            (int(item.get("row")), int(item.get("column")) + right)
            for item in layout.findall("item")
            for right in range(int(item.get("colspan") or 1))
        ]
        assert len(cells) == len(set(cells)), layout.get("name")


def test_sections_are_called_as_in_other_modules(ui):
    names = ("inputs", "outputs", "advanced", "measure")
    assert [getattr(ui, f"{name}CollapsibleButton").text for name in names] == [
        "Inputs", "Outputs", "Advanced", "Measure"
    ]  # fmt: skip
    assert ui.advancedCollapsibleButton.collapsed and not ui.inputsCollapsibleButton.collapsed


def test_new_segmentation_on_request(widget, ui, frame_volume):
    choose(ui, frame_volume)
    finish(widget, press_apply(ui))
    ui.segmentationSelector.setCurrentNode(None)
    finish(widget, press_apply(ui))
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2


def test_outputs_on_request(widget, ui, frame_volume):
    choose(ui, frame_volume)
    ui.statisticsCheckBox.checked, ui.probabilityCheckBox.checked = False, True
    finish(widget, press_apply(ui))
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 2


def test_pixel_size_is_stated_on_the_volume(ui, frame_volume, rgb_volume):
    choose(ui, frame_volume)
    assert ui.pixelSizeSpinBox.value == 0 and ui.pixelSizeSpinBox.text == "not stated"
    ui.pixelSizeSpinBox.value = 0.21
    assert frame_volume.GetAttribute(ATTRIBUTE) == "0.21 0.21" and "stated by the user" in ui.infoLabel.text
    choose(ui, rgb_volume)
    assert ui.pixelSizeSpinBox.value == 0 and rgb_volume.GetAttribute(ATTRIBUTE) is None
    choose(ui, frame_volume)
    assert ui.pixelSizeSpinBox.value == pytest.approx(0.21)
    ui.pixelSizeSpinBox.value = 0
    assert frame_volume.GetAttribute(ATTRIBUTE) is None


def test_label_maps_are_not_offered_and_small_images_are_explained(ui, make_volume, scene):
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert ui.inputSelector.nodeCount() == 0
    choose(ui, make_volume(np.zeros((10, 20), np.uint8), name="tiny"))
    assert "tiny: 20 x 10 pixels" in ui.infoLabel.text and not ui.applyButton.enabled
    assert ui.applyButton.toolTip == ui.infoLabel.text


def test_device_is_a_setting_of_the_user(widget, ui, frame_volume):
    assert [ui.deviceComboBox.itemText(i) for i in range(2)] == ["auto", "cpu"]
    ui.deviceComboBox.currentText = "cpu"
    assert settings.device() == "cpu"
    ui.deviceComboBox.currentText = "gpu 3"
    assert settings.device() == "cpu"
    choose(ui, frame_volume)
    ui.applyButton.click()
    assert "device is 'gpu 3'" in slicer.app.dialogs.texts("error")[0] and not FakeWorker.made


def copy_of_bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    for name in bundles.REQUIRED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((bundles.shipped().folder / name).read_bytes())
    return folder


def test_other_bundle(widget, ui, frame_volume, tmp_path):
    assert "casr_net" in ui.bundleInfoLabel.text.lower() or "CASR" in ui.bundleInfoLabel.text
    folder = copy_of_bundle(tmp_path)
    slicer.app.dialogs.answer(str(folder))
    ui.bundlePathLineEdit.browse()
    assert settings.bundle_folder() == str(folder.resolve())
    choose(ui, frame_volume)
    worker = press_apply(ui)
    assert worker.bundle == folder.resolve()
    widget.logic.cancel()
    (folder / "models" / "model.pt").unlink()
    ui.applyButton.click()
    assert "models/model.pt" in slicer.app.dialogs.texts("error")[0]
    ui.bundleResetButton.click()
    assert settings.bundle_folder() == "" and ui.bundlePathLineEdit.currentPath == ""


def test_folder_that_is_no_bundle_is_explained(ui, tmp_path):
    ui.bundlePathLineEdit.currentPath = str(tmp_path)
    assert "missing: configs/inference.json" in ui.bundleInfoLabel.text and settings.bundle_folder() == ""


def test_choices_survive_the_panel(module, widget, ui, frame_volume, tmp_path):
    choose(ui, frame_volume)
    ui.thresholdSlider.value = 0.4
    ui.deviceComboBox.currentText = "cpu"
    scripted_module.leave(widget)
    scripted_module.enter(widget)
    assert ui.thresholdSlider.value == pytest.approx(0.4) and ui.inputSelector.currentNode() is frame_volume
    again, panel = scripted_module.open_module("CASRSegmentation")
    assert again.ui.thresholdSlider.value == pytest.approx(0.4) and again.ui.deviceComboBox.currentText == "cpu"
    again.cleanup()
    panel.deleteLater()


def test_scene_closed_in_the_middle(widget, ui, cine, scene):
    choose(ui, cine.volume)
    worker = press_apply(ui)
    scene.Clear(0)
    assert worker.killed and not widget.logic.busy
    assert ui.applyButton.text == "Apply" and not ui.applyButton.enabled
    assert "scene was closed" in ui.statusLabel.text


def test_job_goes_on_while_another_module_is_open(widget, ui, cine):
    choose(ui, cine.volume)
    worker = press_apply(ui)
    scripted_module.leave(widget)
    finish(widget, worker)
    scripted_module.enter(widget)
    assert ui.applyButton.text == "Apply" and "6 frames segmented" in ui.statusLabel.text


def test_volume_deleted(widget, ui, frame_volume, scene):
    choose(ui, frame_volume)
    scene.RemoveNode(frame_volume)
    assert not ui.applyButton.enabled


def test_unloading_stops_the_job(module, widget, ui, cine):
    choose(ui, cine.volume)
    worker = press_apply(ui)
    widget.cleanup()
    assert worker.killed


def test_sample_button(ui):
    ui.sampleButton.click()
    assert ui.inputSelector.currentNode().GetName() == "CASRCine" and "Cine of 12 frames" in ui.infoLabel.text


def test_reload(module, widget):
    """The button of developers, with Slicer's own function and Python 3.12's import system (no module imp)."""
    kept = {name: sys.modules[name] for name in list(sys.modules) if name.startswith("CASRSegmentationLib")}
    before = sys.modules["CASRSegmentationLib.logic"]
    try:
        widget.onReload()
        process_events()
        assert sys.modules["CASRSegmentationLib.logic"] is not before
        new = slicer.modules.CASRSegmentationWidget
        assert new is not widget and type(new).__module__ == "CASRSegmentationLib.widget"
        new.cleanup()
    finally:
        for name in [name for name in sys.modules if name.startswith("CASRSegmentationLib")]:
            del sys.modules[name]
        sys.modules.update(kept)
        sys.modules["CASRSegmentationLib"].__dict__.update(
            {name.partition(".")[2]: module for name, module in kept.items() if "." in name}
        )


def test_picture_of_the_panel(widget, ui, cine, tmp_path):
    choose(ui, cine.volume)
    worker = press_apply(ui)
    worker.say("loaded", device="cpu", seconds=1)
    worker.do(0)
    wait_until(lambda: ui.progressBar.value == 1)
    path = grab(widget.parent, tmp_path / "panel.png", width=480)
    assert path.stat().st_size > 5000
