"""What Apply does to segments: place, masking, overwriting, undo. [real vtkSlicerSegmentEditorLogic and volumes]"""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from standins.angiograms import MATRICES, RIGID
from standins.effect_desk import Desk


@pytest.fixture
def make_desk(scene, extension_dir):
    desks = []

    def make(volume):
        desks.append(Desk(extension_dir, volume))
        return desks[-1]

    yield make
    for one in desks:
        one.editor.close()


@pytest.fixture
def desk(make_desk, frame_volume):
    return make_desk(frame_volume)


@pytest.fixture
def dark(frame_pixels):
    """What the double of the network finds."""
    return frame_pixels < 110


def transform(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(RIGID))
    return node


@pytest.mark.parametrize("moved", [False, True], ids=["", "under a transform"])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_mask_lies_on_the_dark_pixels(make_desk, make_volume, frame_pixels, dark, scene, matrix, moved):
    volume = make_volume(frame_pixels, matrix)
    if moved:
        volume.SetAndObserveTransformNodeID(transform(scene).GetID())
    desk = make_desk(volume)
    desk.write()
    assert (desk.mask()[0] == dark).all()


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_new_segmentation_of_the_editor_for_a_volume_under_a_transform(
    make_desk, make_volume, frame_pixels, dark, scene, matrix
):
    """The editor's new segmentations stand under no transform; their grid is the volume's where it is in the world."""
    volume = make_volume(frame_pixels, matrix)
    volume.SetAndObserveTransformNodeID(transform(scene).GetID())
    desk = make_desk(volume)
    desk.segmentation.SetAndObserveTransformNodeID(None)
    desk.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    desk.editor.set_segmentation(desk.segmentation)
    desk.write()
    volume.HardenTransform()
    assert (desk.mask()[0] == dark).all()


def test_segmentation_that_stands_elsewhere(make_desk, make_volume, frame_pixels, dark, scene):
    """The volume under a transform, the segmentation not: in the world the mask lies on the image."""
    volume = make_volume(frame_pixels)
    move = transform(scene)
    shift = np.eye(4)
    shift[:2, 3] = (-3.0, -1.5)  # ten and five pixels: the segmentation's grid has room for most of it
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    desk = make_desk(volume)
    volume.SetAndObserveTransformNodeID(move.GetID())
    desk.write()
    assert desk.segmentation.GetParentTransformNode() is None
    volume.SetAndObserveTransformNodeID(None)
    wanted = np.zeros_like(dark)
    wanted[5:, 10:] = dark[:-5, :-10]
    assert (desk.mask()[0] == wanted).mean() > 0.999


def test_segmentation_that_does_not_reach_the_frame(make_desk, make_volume, frame_pixels, scene):
    volume = make_volume(frame_pixels)
    desk = make_desk(volume)
    move = transform(scene)
    far = np.eye(4)
    far[0, 3] = 5000
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(far))
    volume.SetAndObserveTransformNodeID(move.GetID())
    desk.write()
    assert "does not reach" in slicer.app.dialogs.texts("error")[0]


@pytest.mark.parametrize("add", [False, True], ids=["replace", "add"])
def test_replace_and_add(desk, dark, add):
    before = np.zeros_like(dark)
    before[2:9, 2:100] = True
    desk.put("vessel", before)
    desk.options.add.checked = add
    desk.write()
    assert (desk.mask()[0] == (dark | before if add else dark)).all()


@pytest.mark.parametrize("add", [False, True], ids=["replace", "add"])
def test_undo_and_redo(desk, dark, add):
    before = np.zeros_like(dark)
    before[2:9, 2:100] = True
    desk.put("vessel", before)
    desk.put("other", dark)
    desk.options.add.checked = add
    desk.write()
    after, other = desk.mask(), desk.mask("other")
    assert not other.any(), "overwriting is Slicer's default"
    desk.editor.undo()
    assert (desk.mask()[0] == before).all() and (desk.mask("other")[0] == dark).all()
    desk.editor.redo()
    assert (desk.mask() == after).all() and (desk.mask("other") == other).all()


@pytest.mark.parametrize(
    ("mode", "kept"), [("OverwriteAllSegments", False), ("OverwriteVisibleSegments", True), ("OverwriteNone", True)]
)
def test_overwriting_of_other_segments(desk, dark, mode, kept):
    desk.segmentation.GetDisplayNode().SetSegmentVisibility("other", False)
    desk.put("other", dark)
    desk.editor.node.SetOverwriteMode(getattr(desk.editor.node, mode))
    desk.write()
    assert (desk.mask()[0] == dark).all()
    assert (desk.mask("other")[0] == (dark if kept else False)).all()


@pytest.mark.parametrize("add", [False, True], ids=["replace", "add"])
@pytest.mark.parametrize("inside", [True, False])
def test_mask_of_another_segment(desk, dark, add, inside):
    area = np.zeros_like(dark)
    area[:, :64] = True
    before = np.zeros_like(dark)
    before[2:9, 2:126] = True
    desk.put("vessel", before)
    desk.put("other", area)
    kind = slicer.vtkMRMLSegmentationNode
    node = desk.editor.node
    node.SetMaskMode(kind.EditAllowedInsideSingleSegment if inside else kind.EditAllowedOutsideAllSegments)
    node.SetMaskSegmentID("other")
    node.SetOverwriteMode(node.OverwriteNone)
    desk.options.add.checked = add
    desk.write()
    allowed = area if inside else ~area  # the edited segment itself may always be changed, in Slicer
    wanted = np.where(allowed, dark | (before & add), before)
    assert (desk.mask()[0] == wanted).all() and (desk.mask("other")[0] == area).all()


def test_mask_by_intensity(desk, dark, frame_pixels):
    before = np.zeros_like(dark)
    before[2:9, 2:126] = True
    desk.put("vessel", before)
    desk.editor.node.SetSourceVolumeIntensityMask(True)
    desk.editor.node.SetSourceVolumeIntensityMaskRange(0, 100)
    desk.write()
    assert (desk.mask()[0] == np.where(frame_pixels <= 100, dark, before)).all()


def share_a_layer(desk, one: np.ndarray, two: np.ndarray) -> None:
    """Both segments in one labelmap with the values 1 and 2, as Slicer keeps what does not overlap."""
    labels = slicer.modules.volumes.logic().CreateAndAddLabelVolume(desk.volume, "labels")
    slicer.util.updateVolumeFromArray(labels, (one + 2 * two)[None].astype(np.uint8))
    desk.segmentation.GetSegmentation().RemoveAllSegments()
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, desk.segmentation)


@pytest.mark.parametrize("selected", [0, 1])
@pytest.mark.parametrize("overwrite", ["OverwriteNone", "OverwriteAllSegments"])
def test_segments_that_share_a_layer(desk, dark, selected, overwrite):
    areas = [np.zeros_like(dark), np.zeros_like(dark)]
    areas[0][2:9, 2:126] = True
    areas[1][60:90, 20:90] = True
    share_a_layer(desk, *areas)
    ids = list(desk.segmentation.GetSegmentation().GetSegmentIDs())
    desk.editor.select_segment(ids[selected])
    desk.editor.node.SetOverwriteMode(getattr(desk.editor.node, overwrite))
    desk.write()
    other = areas[1 - selected]
    assert (desk.mask(ids[selected])[0] == dark).all()
    wanted = other if overwrite == "OverwriteNone" else other & ~dark
    assert (desk.mask(ids[1 - selected])[0] == wanted).all()


def test_segmentation_without_geometry(make_desk, frame_volume, dark):
    """A new segmentation gets the geometry of the source volume from the editor."""
    desk = make_desk(frame_volume)
    fresh = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "fresh")
    fresh.CreateDefaultDisplayNodes()
    segment = fresh.GetSegmentation().AddEmptySegment("one", "One")
    desk.segmentation = fresh
    desk.editor.set_segmentation(fresh)
    desk.editor.set_source_volume(frame_volume)
    desk.editor.select_segment(segment)
    desk.write()
    if slicer.app.dialogs.texts("error"):
        assert "no geometry" in slicer.app.dialogs.texts("error")[0]
    else:
        assert (desk.mask("one")[0] == dark).all()


def test_cine_writes_into_the_frames_own_segmentation(make_desk, cine):
    """After the module has made a segmentation of the cine, the effect corrects one frame of it."""
    from CASRSegmentationLib import sources
    from CASRSegmentationLib.results import ResultWriter

    writer = ResultWriter(sources.describe(cine.volume))
    for _step in writer.prepare():
        pass
    for index in range(6):
        writer.write(index, np.ones(cine.frames[0].shape, np.uint8))
    desk = make_desk(cine.volume)
    desk.segmentation = writer.segmentation
    desk.editor.set_segmentation(writer.segmentation)
    desk.editor.set_source_volume(cine.volume)
    for index in (3, 1):
        cine.browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        desk.editor.select_segment(writer.segment_id)
        desk.write()
    for index in range(6):
        cine.browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        wanted = cine.frames[index] < 110 if index in (1, 3) else np.ones_like(cine.frames[0], bool)
        assert (desk.mask(writer.segment_id)[0] == wanted).all(), index
