"""Frames of volume nodes. [real Slicer C++]"""

from __future__ import annotations

import types

import numpy as np
import pytest
import slicer
import vtk
from CASRSegmentationLib import node_scale, sources
from CASRSegmentationLib.frames import FrameError
from standins.angiograms import draw_frames


def test_single_frame(frame_volume, frame_pixels):
    source = sources.describe(frame_volume)
    assert (source.kind, source.count, source.rows, source.columns) == ("single", 1, *frame_pixels.shape)
    assert source.browser_id is None and source.label(0) == frame_volume.GetName()
    assert (sources.read_frame(source, 0) == frame_pixels).all() and sources.current_index(source) == 0


def test_color_picture_becomes_grey(rgb_volume, frame_pixels):
    frame = sources.read_frame(sources.describe(rgb_volume), 0)
    assert frame.dtype == np.uint8 and frame.shape == frame_pixels.shape
    red, green, blue = frame_pixels[5, 9].astype(float), frame_pixels[5, 9] // 2, 255 - frame_pixels[5, 9]
    assert frame[5, 9] == round(0.299 * red + 0.587 * green + 0.114 * blue)


@pytest.mark.parametrize(("x", "y"), [(-1, -1), (1, 1), (1, -1), (-1, 1)])
def test_frame_is_read_as_it_stands_on_the_screen(make_volume, frame_pixels, x, y):
    volume = make_volume(frame_pixels, np.diag([x * 0.3, y * 0.3, 1, 1]))
    wanted = frame_pixels[:: -1 if y > 0 else 1, :: -1 if x > 0 else 1]
    assert (sources.read_frame(sources.describe(volume), 0) == wanted).all()


def test_cine_is_read_without_moving_the_browser(cine):
    cine.browser.SetSelectedItemNumber(2)
    source = sources.describe(cine.volume)
    assert (source.kind, source.count) == ("sequence", 6) and sources.current_index(source) == 2
    for index in range(6):
        assert (sources.read_frame(source, index) == cine.frames[index]).all()
    assert cine.browser.GetSelectedItemNumber() == 2
    assert source.label(4) == "frame 5 of 6"


def test_sequence_of_one_item_is_a_single_frame(make_cine):
    one = make_cine(1)
    source = sources.describe(one.volume)
    assert source.kind == "single" and source.browser_id is None
    assert (sources.read_frame(source, 0) == one.frames[0]).all()


def test_color_cine(make_cine):
    grey = draw_frames(3)
    one = make_cine(np.stack([grey] * 3, axis=-1), vector=True)
    source = sources.describe(one.volume)
    assert source.kind == "sequence" and (sources.read_frame(source, 1) == grey[1]).all()


def test_second_cine_of_a_browser_follows_the_first_ones_frames(cine, scene):
    other = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "plane B")
    other.SetIndexName("time")
    for number in (0, 3):
        item = slicer.vtkMRMLScalarVolumeNode()
        item.CopyContent(cine.sequence.GetNthDataNode(5 - number))
        other.SetDataNodeAtValue(item, cine.sequence.GetNthIndexValue(number))
    cine.browser.AddSynchronizedSequenceNode(other)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    source = sources.describe(cine.browser.GetProxyNode(other))
    assert source.count == 6
    shown = [np.flatnonzero([(sources.read_frame(source, i) == f).all() for f in cine.frames])[0] for i in range(6)]
    assert shown == [5, 5, 5, 2, 2, 2]


def test_stack_is_offered_as_frames(stack_volume):
    source = sources.describe(stack_volume)
    assert (source.kind, source.count) == ("slices", 5) and source.label(1) == "slice 2 of 5"
    assert (sources.read_frame(source, 3) == draw_frames(5)[3]).all()


def test_current_slice_of_a_stack_is_that_of_the_view(stack_volume):
    source = sources.describe(stack_volume)
    logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(stack_volume.GetID())
    for index in (0, 3):
        logic.SetSliceOffset(index * 66.6 + 3)
        assert sources.current_index(source) == index
    logic.SetSliceOffset(-500)
    with pytest.raises(FrameError, match="No slice view"):
        sources.current_index(source)


def test_current_slice_under_a_transform(stack_volume, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 66.6)
    transform.SetMatrixTransformToParent(matrix)
    stack_volume.SetAndObserveTransformNodeID(transform.GetID())
    slicer.app.layoutManager().sliceWidget("Red").sliceLogic().SetSliceOffset(3 * 66.6)
    assert sources.current_index(sources.describe(stack_volume)) == 2


def test_what_is_no_angiogram_is_refused(make_volume, scene):
    with pytest.raises(FrameError, match="Select"):
        sources.describe(None)
    with pytest.raises(FrameError, match="Select"):
        sources.describe(slicer.vtkMRMLScalarVolumeNode())
    with pytest.raises(FrameError, match="holds no image"):
        sources.describe(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    with pytest.raises(FrameError, match=r"^tiny: 20 x 10 pixels"):
        sources.describe(make_volume(np.zeros((10, 20), np.uint8), name="tiny"))
    with pytest.raises(FrameError, match="2 components"):
        sources.describe(make_volume(np.zeros((40, 40, 2), np.uint8), name="flow", vector=True))
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(labels, np.zeros((1, 64, 64), np.uint8))
    with pytest.raises(FrameError, match="label map"):
        sources.describe(labels)


def test_sequence_of_volumes_is_refused(make_cine, scene, make_volume):
    beat = make_cine(3)
    for index in range(3):
        slicer.util.updateVolumeFromArray(beat.sequence.GetNthDataNode(index), np.zeros((4, 64, 64), np.uint8))
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    with pytest.raises(FrameError, match="4 slices"):
        sources.describe(beat.volume)


def test_frame_of_another_size_is_refused(cine):
    source = sources.describe(cine.volume)
    slicer.util.updateVolumeFromArray(cine.sequence.GetNthDataNode(4), np.zeros((1, 64, 64), np.uint8))
    with pytest.raises(FrameError, match=r"frame 5 of 6: 64 x 64 x 1 pixels; expected 128 x 96"):
        sources.read_frame(source, 4)


def test_frame_that_is_not_finite_is_named(make_volume):
    pixels = np.zeros((64, 64), np.float32)
    pixels[0, 0] = np.nan
    with pytest.raises(FrameError, match=r"^nan: pixels that are not finite"):
        sources.read_frame(sources.describe(make_volume(pixels, name="nan")), 0)


def test_frame_number_is_checked(cine):
    with pytest.raises(FrameError, match="frames 1 to 6"):
        sources.read_frame(sources.describe(cine.volume), 6)


def test_validity_follows_the_scene(cine, make_volume, frame_pixels, scene):
    source = sources.describe(cine.volume)
    cine.volume.SetName("renamed")
    cine.browser.SetSelectedItemNumber(3)
    assert sources.still_valid(source)
    cine.sequence.RemoveDataNodeAtValue(cine.sequence.GetNthIndexValue(5))
    assert not sources.still_valid(source)
    volume = make_volume(frame_pixels)
    single = sources.describe(volume)
    slicer.util.updateVolumeFromArray(volume, np.zeros((1, 64, 64), np.uint8))
    assert not sources.still_valid(single)
    scene.RemoveNode(volume)
    assert not sources.still_valid(single)
    with pytest.raises(FrameError, match="not in the scene"):
        sources.read_frame(single, 0)


def test_time_of_a_cines_frame_is_its_own(cine):
    source = sources.describe(cine.volume)
    before = [sources.image_time(source, i) for i in range(6)]
    cine.browser.SetSelectedItemNumber(4)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    assert [sources.image_time(source, i) for i in range(6)] == before
    item = cine.sequence.GetNthDataNode(1)
    slicer.util.arrayFromVolume(item)[0, 0, 0] ^= 1
    slicer.util.arrayFromVolumeModified(item)
    changed = [sources.image_time(source, i) for i in range(6)]
    assert [a != b for a, b in zip(before, changed, strict=True)] == [False, True, False, False, False, False]


# Scale


@pytest.fixture
def dicom(monkeypatch, frame_volume):
    """Attributes of a DICOM file, as Slicer's database gives them."""
    values: dict[str, str] = {}
    database = types.SimpleNamespace(instanceValue=lambda uid, tag: values.get(tag, "") if uid == "1.2.3" else "")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    frame_volume.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    return values


def test_spacing_alone_is_no_calibration(dicom, frame_volume):
    dicom.update({"0018,1164": "0.308\\0.308", "0028,0030": "0.25\\0.25"})
    found = node_scale.node_scale(sources.describe(frame_volume))
    assert found.pixel_area_mm2 is None and "No calibration" in found.note


@pytest.mark.parametrize("kind", ["GEOMETRY", "FIDUCIAL"])
def test_calibrated_dicom(dicom, frame_volume, kind):
    dicom.update({"0028,0030": "0.2\\0.25", "0028,0A02": kind})
    found = node_scale.node_scale(sources.describe(frame_volume))
    assert found.pixel_area_mm2 == pytest.approx(0.05) and not found.estimated and kind in found.note


def test_magnification_gives_an_estimate(dicom, frame_volume):
    dicom.update({"0018,1164": "0.3\\0.3", "0018,1114": "1.5"})
    found = node_scale.node_scale(sources.describe(frame_volume))
    assert found.pixel_area_mm2 == pytest.approx(0.04) and found.estimated and "1.5" in found.note


@pytest.mark.parametrize("text", ["0\\0.3", "-1", "x", "1\\2\\3", "nan"])
def test_nonsense_in_dicom_is_no_calibration(dicom, frame_volume, text):
    dicom.update({"0028,0030": text, "0028,0A02": "GEOMETRY", "0018,1164": text, "0018,1114": "1.5"})
    assert node_scale.node_scale(sources.describe(frame_volume)).pixel_area_mm2 is None


def test_the_users_pixel_size_comes_first_and_can_be_taken_back(dicom, frame_volume):
    dicom.update({"0028,0030": "0.2\\0.25", "0028,0A02": "GEOMETRY"})
    source = sources.describe(frame_volume)
    node_scale.set_pixel_size(frame_volume, 0.3)
    assert node_scale.node_scale(source).pixel_area_mm2 == pytest.approx(0.09)
    node_scale.set_pixel_size(frame_volume, 0)
    assert node_scale.node_scale(source).pixel_area_mm2 == pytest.approx(0.05)
    for value in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="pixel size"):
            node_scale.set_pixel_size(frame_volume, value)


def test_cine_takes_the_calibration_of_its_sequence(dicom, cine):
    dicom.update({"0028,0030": "0.2\\0.2", "0028,0A02": "FIDUCIAL"})
    cine.sequence.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert node_scale.node_scale(sources.describe(cine.volume)).pixel_area_mm2 == pytest.approx(0.04)


def test_without_slicers_database(monkeypatch, frame_volume):
    monkeypatch.delattr(slicer, "dicomDatabase", raising=False)
    assert node_scale.node_scale(sources.describe(frame_volume)).pixel_area_mm2 is None
