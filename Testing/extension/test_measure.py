"""The panel's section Measure: clicks to pixels, the worker's answer to nodes. [stand-in Qt, real scene and nodes]"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
from CASRSegmentationLib.frames import FrameError
from CASRSegmentationLib.measure_nodes import ROLES, show_measurement
from CASRSegmentationLib.node_scale import set_pixel_size
from CASRSegmentationLib.pixels import mask_of_frame, pixels_of_world, world_of_pixels
from CASRSegmentationLib.process import Worker
from CASRSegmentationLib.sources import describe
from standins import scripted_module
from standins.angiograms import MATRICES, RIGID
from standins.event_loop import process_events, wait_until
from standins.workers import FakeWorker, install_python_slicer


@pytest.fixture
def module(scene, extension_dir):
    """The module as Slicer loads and opens it, with a double of the worker."""
    loaded = scripted_module.load_module(extension_dir / "CASRSegmentation.py", widget=True)
    FakeWorker.made, FakeWorker.refuse = [], ""
    loaded.widget.measure.measuring.make_worker = FakeWorker
    loaded.widget.installation = SimpleNamespace(ensure=lambda: SimpleNamespace(installed=(), restart=""))
    scripted_module.enter(loaded.widget)
    loaded.panel.show()
    yield loaded
    scripted_module.unload(loaded.widget)


def two_points(source: Any, index: int, pixels: list[list[float]]) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "ends")
    for place in world_of_pixels(source, index, np.array(pixels, float)):
        node.AddControlPoint(*place)
    return node


def answer(scale: dict[str, Any] | None = None, lesion: bool = True) -> dict[str, Any]:
    """An analysis of one straight path along the row 40, with a lesion of 50 % in its middle."""
    count = 41
    x = np.linspace(20, 40, count)
    diameter = np.full(count, 6.0)
    diameter[18:23] = 3
    found = {
        "rank": 1, "index": 20, "begin": 18, "end": 22, "position": [30.0, 40.0], "mld": {"px": 3.0, "mm": 0.6},
        "mld_interval": None, "reference": {"px": 6.0, "mm": 1.2}, "reference_method": "interpolated",
        "percent_diameter": 50.0, "percent_interval": {"level": 0.9, "low": 44.0, "high": 56.0}, "percent_area": 75.0,
        "percent_area_densitometric": None, "length": {"px": 2.0, "mm": 0.4}, "unsure": ["branch"],
    }  # fmt: skip
    known = scale is not None
    path = {
        "number": 1, "points": [[value, 40.0] for value in x], "along_px": list(x - 20),
        "along_mm": list((x - 20) * 0.2) if known else None, "diameter_px": [None, *diameter[1:]],
        "diameter_mm": [None, *(diameter[1:] * 0.2)] if known else None, "lesions": [found] if lesion else [],
    }  # fmt: skip
    return {
        "paths": [path], "lesions": [{"path": 1, "lesion": 1}] if lesion else [], "warnings": ["A warning."],
        "scale": scale or {"row_mm": None, "column_mm": None, "estimated": False, "note": "No calibration."},
    }  # fmt: skip


SCALE = {"row_mm": 0.2, "column_mm": 0.2, "estimated": True, "note": "By the catheter."}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("moved", [False, True])
def test_pixels_and_places_of_the_scene(scene, make_volume, frame_pixels, name, moved):
    volume = make_volume(frame_pixels, MATRICES[name])
    if moved:
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(RIGID))
        volume.SetAndObserveTransformNodeID(transform.GetID())
    source = describe(volume)
    pixels = np.array([[0, 0], [127, 0], [12.5, 95], [60, 33.25]])
    places = world_of_pixels(source, 0, pixels)
    assert pixels_of_world(source, 0, places) == pytest.approx(pixels)
    matrix = MATRICES[name] if not moved else RIGID @ MATRICES[name]
    display = np.abs(np.linalg.inv(matrix) @ np.r_[places[0], 1])[:2]
    assert set(display.round(6)) <= {0.0, 127.0, 95.0}  # the top left pixel is a corner of the array


def test_a_mask_stands_as_the_frame_does(scene, make_volume, frame_pixels):
    """Rows up and columns mirrored: the array is turned for the screen, and so is the segment."""
    volume = make_volume(frame_pixels, MATRICES["identity"])
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("a", "a", (1, 0, 0))
    source = describe(volume)
    assert mask_of_frame(source, 0, segmentation, "a") is None and mask_of_frame(source, 0, None, "a") is None
    array = np.zeros((1, 96, 128), np.uint8)
    array[0, 10:20, 5:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, "a", volume)
    mask = mask_of_frame(source, 0, segmentation, "a")
    assert mask is not None and (mask == (array[0, ::-1, ::-1] > 0)).all()


def test_two_points_are_measured_on_the_shown_frame(module, cine):
    widget, ui = module.widget, module.widget.ui
    cine.browser.SetSelectedItemNumber(4)
    ui.inputSelector.setCurrentNode(cine.volume)
    source = describe(cine.volume)
    ui.endsSelector.setCurrentNode(two_points(source, 4, [[20, 40], [40, 41]]))
    set_pixel_size(cine.volume, 0.25)
    ui.frenchSpinBox.value = 6
    ui.measureButton.click()
    worker = FakeWorker.made[-1]
    assert worker.commands == [{"command": "measure", "folder": str(worker.folder)}] and worker.job.indices == (4,)
    import json

    entries = json.loads((worker.folder / "measure.json").read_text())
    assert np.array(entries["ends"]) == pytest.approx(np.array([[20, 40], [40, 41]]))
    assert (entries["french"], entries["mm_per_pixel"]) == (6.0, 0.25)
    assert not (worker.folder / "mask.npy").exists() and ui.measureButton.text == "Cancel"
    folder = worker.folder
    worker.say("measured", analysis=answer(SCALE))
    assert ui.measureButton.text == "Measure" and not folder.exists() and worker.finished
    assert "50 % (44 - 56 %) by diameter, MLD 0.60 mm" in ui.measureLabel.text
    assert "Unsure: branch." in ui.measureLabel.text and "By the catheter." in ui.measureLabel.text
    nodes = {role: slicer.mrmlScene.GetNodeByID(node) for role, node in widget.measure.nodes.items()}
    assert set(nodes) == set(ROLES)
    first = np.array(nodes["curve"].GetNthControlPointPositionWorld(0))
    assert first == pytest.approx(world_of_pixels(source, 4, np.array([[20.0, 40.0]]))[0])
    assert nodes["chart"].GetYAxisTitle() == "Diameter (mm, estimated)"
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert selection.GetActivePlotChartID() == nodes["chart"].GetID()


def test_the_next_measurement_takes_the_place_of_the_last(scene, frame_volume):
    source = describe(frame_volume)
    first = show_measurement(source, 0, answer(SCALE))
    second = show_measurement(source, 0, answer(lesion=False))
    assert first == second
    table, profile = (scene.GetNodeByID(second[role]) for role in ("lesions", "profile"))
    assert table.GetNumberOfRows() == 0 and "No calibration. A warning." in table.GetDescription()
    distance = slicer.util.arrayFromTableColumn(profile, "Distance")
    diameter = slicer.util.arrayFromTableColumn(profile, "Diameter")
    assert len(distance) == 40 and distance[0] == 0.5 and diameter.min() == 3  # pixels, without the unknown width
    assert scene.GetNodeByID(second["chart"]).GetXAxisTitle() == "Distance (px)"


def test_an_own_mask_goes_to_the_worker(module, frame_volume, frame_pixels):
    widget, ui = module.widget, module.widget.ui
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(frame_volume)
    segmentation.GetSegmentation().AddEmptySegment("a", "Coronary artery", (1, 0, 0))
    array = (frame_pixels < 110).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array[None], segmentation, "a", frame_volume)
    ui.inputSelector.setCurrentNode(frame_volume)
    ui.segmentationSelector.setCurrentNode(segmentation)
    process_events()
    ui.measureButton.click()
    folder = FakeWorker.made[-1].folder
    assert (np.load(folder / "mask.npy") == array).all()
    ui.measureButton.click()
    assert FakeWorker.made[-1].killed and not folder.exists() and ui.measureLabel.text == "Canceled."
    assert not widget.measure.measuring.busy


def test_one_point_is_no_path(module, frame_volume):
    ui = module.widget.ui
    ui.inputSelector.setCurrentNode(frame_volume)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "ends")
    points.AddControlPoint(1, 2, 3)
    ui.endsSelector.setCurrentNode(points)
    ui.measureButton.click()
    assert ui.measureLabel.text == "ends has 1 point; a path is measured between two." and not FakeWorker.made


def test_what_the_worker_refuses_is_said(module, frame_volume):
    ui = module.widget.ui
    ui.inputSelector.setCurrentNode(frame_volume)
    ui.measureButton.click()
    FakeWorker.made[-1].say("error", kind="DataError", text="no vessel was found.")
    assert ui.measureLabel.text == "no vessel was found." and ui.measureButton.text == "Measure"
    assert slicer.app.dialogs.shown


def test_placing_makes_a_list_of_two(module, frame_volume):
    ui = module.widget.ui
    ui.inputSelector.setCurrentNode(frame_volume)
    ui.placeButton.click()
    points = ui.endsSelector.currentNode()
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert points.GetMaximumNumberOfControlPoints() == 2 and selection.GetActivePlaceNodeID() == points.GetID()


@pytest.mark.usefixtures("app")
def test_a_volume_that_changed_meanwhile_shows_nothing(module, frame_volume):
    ui = module.widget.ui
    ui.inputSelector.setCurrentNode(frame_volume)
    ui.measureButton.click()
    slicer.util.updateVolumeFromArray(frame_volume, np.zeros((1, 64, 64), np.uint8))
    FakeWorker.made[-1].say("measured", analysis=answer())
    assert "was changed while it was measured" in ui.measureLabel.text and not module.widget.measure.nodes


def test_pixels_of_a_frame_that_is_gone(scene, frame_volume):
    source = describe(frame_volume)
    scene.RemoveNode(frame_volume)
    with pytest.raises(FrameError, match="not in the scene any more"):
        world_of_pixels(source, 0, np.zeros((1, 2)))


def test_the_real_worker_measures_the_mask(module, make_volume, tmp_path, monkeypatch):
    """A tube of nine pixels in the user's own segment: the real process, no network."""
    row, column = np.mgrid[0:96, 0:128]
    distance = np.abs(row - 48 - 6 * np.sin(column / 30))
    depth = np.sqrt(np.maximum(4.5**2 - distance**2, 0))
    pixels = np.clip(200 - 12 * depth, 0, 255).astype(np.uint8)
    volume = make_volume(pixels)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("a", "Coronary artery", (1, 0, 0))
    mask = ((distance < 4.5) & (column > 4) & (column < 123)).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask[None], segmentation, "a", volume)
    widget, ui = module.widget, module.widget.ui
    install_python_slicer(tmp_path, monkeypatch)
    widget.measure.measuring.make_worker = Worker
    ui.inputSelector.setCurrentNode(volume)
    ui.segmentationSelector.setCurrentNode(segmentation)
    process_events()
    ui.endsSelector.setCurrentNode(two_points(describe(volume), 0, [[20, 52], [105, 46]]))
    ui.measureButton.click()
    wait_until(lambda: not widget.measure.measuring.busy, 60, what="the measurement")
    assert not slicer.app.dialogs.shown, ui.measureLabel.text
    profile = slicer.mrmlScene.GetNodeByID(widget.measure.nodes["profile"])
    diameter = slicer.util.arrayFromTableColumn(profile, "Diameter")
    assert np.median(diameter) == pytest.approx(9, abs=0.4)
