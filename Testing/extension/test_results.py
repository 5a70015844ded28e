"""Masks into segmentations, tables and probability volumes, and out again. [real Slicer C++]"""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
import slicerio
import vtk
from CASRSegmentationLib import results, sources
from CASRSegmentationLib.results import ResultError, ResultWriter
from CASRSegmentationLib.scale import Scale
from CASRSegmentationLib.statistics import SCALE_KIND, statistics_table
from standins.angiograms import MATRICES, RIGID


def blob(shape: tuple[int, int], row: int = 20) -> np.ndarray:
    """A mask without symmetry, uint8."""
    mask = np.zeros(shape, np.uint8)
    mask[row : row + 6, 10:60] = 1
    mask[row + 6 : row + 30, 50:53] = 1
    return mask


def run(source, segmentation=None, segment_id=None, frames=(0,), probability=False, masks=None):
    writer = ResultWriter(source, segmentation, segment_id, probability)
    for _step in writer.prepare():
        pass
    for index in frames:
        mask = blob((source.rows, source.columns), 20 + index) if masks is None else masks[index]
        writer.write(index, mask, mask.astype(np.float32) * 0.75)
    return writer


def shown_mask(writer, volume, segment_id=None) -> np.ndarray:
    """The segment on the volume's grid, uint8 (slices, rows, columns)."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(writer.segmentation, segment_id or writer.segment_id, volume)


def select(cine, index: int) -> None:
    cine.browser.SetSelectedItemNumber(index)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()


@pytest.fixture
def transform(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(RIGID))
    return node


@pytest.mark.parametrize("moved", [False, True], ids=["", "under a transform"])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_mask_lies_on_the_right_pixels(make_volume, frame_pixels, transform, matrix, moved):
    volume = make_volume(frame_pixels, matrix)
    if moved:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    source = sources.describe(volume)
    writer = run(source)
    turned = sources.orientation(source, 0).from_display(blob(frame_pixels.shape))
    assert (shown_mask(writer, volume)[0] == turned).all()
    assert writer.segmentation.GetTransformNodeID() == volume.GetTransformNodeID()
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    grid = slicer.vtkOrientedImageData()
    text = writer.segmentation.GetSegmentation().GetConversionParameter(parameter)
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, grid)
    found = vtk.vtkMatrix4x4()
    grid.GetImageToWorldMatrix(found)
    assert np.allclose(slicer.util.arrayFromVTKMatrix(found), matrix), "the grid of the editor is the volume's"


def test_mask_follows_what_is_dark_on_the_screen(make_volume, frame_pixels):
    """End to end: a mask made by thresholding the frame as read lies on the dark pixels of the volume."""
    for matrix in MATRICES.values():
        volume = make_volume(frame_pixels, matrix)
        source = sources.describe(volume)
        writer = run(source, masks={0: sources.read_frame(source, 0) < 110})
        assert (shown_mask(writer, volume)[0] == (frame_pixels < 110)).all()


def test_looks_and_names(frame_volume, scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(frame_volume), study)
    writer = run(sources.describe(frame_volume))
    segment = writer.segmentation.GetSegmentation().GetSegment(writer.segment_id)
    assert segment.GetName() == "Coronary artery" and segment.GetTerminology() == results.TERMINOLOGY
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.modules.terminologies.logic()
    assert logic.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
    code = entry.GetTypeObject()
    assert (code.GetCodingSchemeDesignator(), code.GetCodeValue(), code.GetCodeMeaning()) == (
        "SCT", "41801008", "Coronary artery",
    )  # fmt: skip
    assert segment.GetColor() == pytest.approx(results.COLOR)
    display = writer.segmentation.GetDisplayNode()
    assert display.GetSegmentOpacity2DFill(writer.segment_id) == pytest.approx(results.FILL_OPACITY)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(writer.segmentation)) == study
    reference = writer.segmentation.GetNodeReference(writer.segmentation.GetReferenceImageGeometryReferenceRole())
    assert reference is frame_volume


def test_file_is_read_by_slicerio(frame_volume, frame_pixels, tmp_path):
    writer = run(sources.describe(frame_volume))
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    path = tmp_path / "vessels.seg.nrrd"
    storage.SetFileName(str(path))
    assert storage.WriteData(writer.segmentation)
    stored = slicerio.read_segmentation(str(path))
    (segment,) = stored["segments"]
    assert segment["name"] == "Coronary artery"
    kind = segment["terminology"]["type"]
    assert (kind[0], kind[1]) == ("SCT", "41801008") if not isinstance(kind, dict) else kind["codeValue"] == "41801008"
    voxels = stored["voxels"] == segment["labelValue"]
    wanted = blob(frame_pixels.shape)  # the file holds the segment's extent alone; axes are (i, j, k)
    rows, columns = np.flatnonzero(wanted.any(1)), np.flatnonzero(wanted.any(0))
    assert voxels.sum() == wanted.sum()
    inside = voxels[..., 0][np.ix_(*(np.flatnonzero(voxels[..., 0].any(axis)) for axis in (1, 0)))]
    assert (wanted[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == inside.T).all()


def test_saved_segmentation_comes_back_on_the_same_pixels(frame_volume, frame_pixels, tmp_path):
    writer = run(sources.describe(frame_volume))
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "vessels.seg.nrrd"))
    assert storage.WriteData(writer.segmentation)
    again = slicer.modules.segmentations.logic().LoadSegmentationFromFile(storage.GetFileName(), False, "again")
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(again, writer.segment_id, frame_volume)
    assert (mask[0] == blob(frame_pixels.shape)).all()


def test_only_the_chosen_segment_changes(frame_volume, frame_pixels):
    first = run(sources.describe(frame_volume))
    segments = first.segmentation.GetSegmentation()
    other = segments.AddEmptySegment("catheter", "Catheter")
    catheter = np.zeros((1, *frame_pixels.shape), np.uint8)
    catheter[0, 20:24, 5:70] = 1  # overlaps the vessel
    slicer.util.updateSegmentBinaryLabelmapFromArray(catheter, first.segmentation, other, frame_volume)
    chosen = segments.AddEmptySegment("lad", "LAD")
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones_like(catheter), first.segmentation, chosen, frame_volume)
    writer = run(sources.describe(frame_volume), first.segmentation, chosen, masks={0: blob(frame_pixels.shape, 50)})
    assert writer.segmentation is first.segmentation and segments.GetNumberOfSegments() == 3
    assert (shown_mask(writer, frame_volume)[0] == blob(frame_pixels.shape, 50)).all()
    assert (shown_mask(writer, frame_volume, other) == catheter).all()
    assert (shown_mask(writer, frame_volume, first.segment_id)[0] == blob(frame_pixels.shape)).all()
    assert segments.GetSegment(chosen).GetName() == "LAD", "a segment of the user's keeps its name"


@pytest.mark.parametrize("shared", [True, False])
def test_neighbours_in_one_labelmap_stay(frame_volume, frame_pixels, shared):
    """Segments that do not overlap share one labelmap in Slicer."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    labels = slicer.modules.volumes.logic().CreateAndAddLabelVolume(frame_volume, "labels")
    values = np.zeros((1, *frame_pixels.shape), np.uint8)
    values[0, :20], values[0, 40:60] = 1, 2
    slicer.util.updateVolumeFromArray(labels, values)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, node)
    one, two = node.GetSegmentation().GetSegmentIDs()
    if not shared:
        node.GetSegmentation().SeparateSegmentLabelmap(one)
    writer = run(sources.describe(frame_volume), node, one, masks={0: blob(frame_pixels.shape, 45)})
    assert (shown_mask(writer, frame_volume)[0] == blob(frame_pixels.shape, 45)).all()
    assert (shown_mask(writer, frame_volume, two) == (values == 2)).all()


def test_second_run_takes_the_segment_of_the_first(frame_volume, frame_pixels):
    first = run(sources.describe(frame_volume))
    second = run(sources.describe(frame_volume), first.segmentation, masks={0: np.zeros(frame_pixels.shape, np.uint8)})
    assert second.segment_id == first.segment_id
    assert first.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert shown_mask(second, frame_volume).sum() == 0


def test_stack_changes_only_the_slices_that_were_asked_for(stack_volume):
    source = sources.describe(stack_volume)
    first = run(source, frames=(1, 3))
    found = shown_mask(first, stack_volume)
    assert found.any(axis=(1, 2)).tolist() == [False, True, False, True, False]
    assert (found[3] == blob(found.shape[1:], 23)).all()
    second = run(source, first.segmentation, frames=(1,), masks={1: blob(found.shape[1:], 50)})
    changed = shown_mask(second, stack_volume)
    assert (changed[1] == blob(found.shape[1:], 50)).all() and (changed[3] == found[3]).all()


# Cines


def test_each_frame_of_a_cine_has_its_mask(cine):
    select(cine, 4)
    source = sources.describe(cine.volume)
    writer = run(source, frames=range(6))
    assert cine.browser.GetSelectedItemNumber() == 4
    for index in (4, 0, 5, 2):
        select(cine, index)
        assert (shown_mask(writer, cine.volume)[0] == blob(cine.frames[0].shape, 20 + index)).all()
    assert writer.segmentation is cine.browser.GetProxyNode(cine.browser.GetSequenceNode(writer.segmentation))
    assert "segmentation" in writer.segmentation.GetName() and writer.written.keys() == set(range(6))


def test_frames_that_were_not_asked_for_are_empty(cine):
    writer = run(sources.describe(cine.volume), frames=(2,))
    counts = []
    for index in range(6):
        select(cine, index)
        assert writer.segmentation.GetSegmentation().GetSegment(writer.segment_id).GetName() == "Coronary artery"
        counts.append(int(shown_mask(writer, cine.volume).sum()))
    assert [count > 0 for count in counts] == [False, False, True, False, False, False]


def test_the_frame_on_the_screen_is_shown_at_once(cine):
    select(cine, 3)
    writer = run(sources.describe(cine.volume), frames=(3,))
    assert (shown_mask(writer, cine.volume)[0] == blob(cine.frames[0].shape, 23)).all()


def test_user_scrolls_while_masks_come(cine):
    source = sources.describe(cine.volume)
    writer = ResultWriter(source)
    for number, _step in enumerate(writer.prepare()):
        select(cine, number % 6)
    for index in range(6):
        select(cine, (index * 5 + 1) % 6)
        writer.write(index, blob((source.rows, source.columns), 20 + index))
    for index in range(6):
        select(cine, index)
        assert (shown_mask(writer, cine.volume)[0] == blob(cine.frames[0].shape, 20 + index)).all()


def test_cine_under_a_transform(cine, transform):
    cine.volume.SetAndObserveTransformNodeID(transform.GetID())
    writer = run(sources.describe(cine.volume), frames=range(6))
    for index in (1, 5):
        select(cine, index)
        assert writer.segmentation.GetTransformNodeID() == transform.GetID()
        assert (shown_mask(writer, cine.volume)[0] == blob(cine.frames[0].shape, 20 + index)).all()


def test_edits_of_a_frame_stay_on_that_frame(cine):
    writer = run(sources.describe(cine.volume), frames=range(6))
    select(cine, 2)
    mine = np.zeros((1, *cine.frames[0].shape), np.uint8)
    mine[0, :5, :5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, writer.segmentation, writer.segment_id, cine.volume)
    select(cine, 3)
    assert (shown_mask(writer, cine.volume)[0] == blob(cine.frames[0].shape, 23)).all()
    select(cine, 2)
    assert (shown_mask(writer, cine.volume) == mine).all()


def test_second_run_on_a_cine_keeps_the_other_frames_and_segments(cine):
    source = sources.describe(cine.volume)
    first = run(source, frames=range(6))
    select(cine, 1)
    other = first.segmentation.GetSegmentation().AddEmptySegment("stent", "Stent")
    stent = np.zeros((1, *cine.frames[0].shape), np.uint8)
    stent[0, 60:70, 60:70] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(stent, first.segmentation, other, cine.volume)
    sequences = len(slicer.util.getNodesByClass("vtkMRMLSequenceNode"))
    second = run(
        source,
        first.segmentation,
        frames=(1, 2),
        masks={1: blob(cine.frames[0].shape, 2), 2: blob(cine.frames[0].shape, 3)},
    )
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == sequences
    for index, row in ((0, 20), (1, 2), (2, 3), (5, 25)):
        select(cine, index)
        assert (shown_mask(second, cine.volume)[0] == blob(cine.frames[0].shape, row)).all()
    select(cine, 1)
    assert (shown_mask(second, cine.volume, other) == stent).all()


def test_static_segmentation_becomes_one_of_the_cine(cine):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(cine.volume)
    marker = node.GetSegmentation().AddEmptySegment("marker", "Marker")
    spot = np.zeros((1, *cine.frames[0].shape), np.uint8)
    spot[0, 3:9, 3:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(spot, node, marker, cine.volume)
    writer = run(sources.describe(cine.volume), node, frames=(0, 4))
    assert writer.segmentation is node and node.GetName() == "mine"
    for index in range(6):
        select(cine, index)
        assert (shown_mask(writer, cine.volume, marker) == spot).all()
        assert bool(shown_mask(writer, cine.volume).any()) == (index in (0, 4))


def test_segmentation_of_another_cine_is_refused(cine, make_cine):
    other = make_cine(3, name="other")
    mine = run(sources.describe(other.volume), frames=(0,))
    with pytest.raises(ResultError, match="another cine"):
        run(sources.describe(cine.volume), mine.segmentation)


# What can go wrong


def test_segmentation_under_another_transform_is_refused(frame_volume, transform):
    writer = run(sources.describe(frame_volume))
    writer.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(ResultError, match="same transform"):
        run(sources.describe(frame_volume), writer.segmentation)


def test_unknown_segment_is_refused(frame_volume):
    writer = run(sources.describe(frame_volume))
    with pytest.raises(ResultError, match="no segment gone"):
        run(sources.describe(frame_volume), writer.segmentation, "gone")


def test_nodes_that_are_gone(cine, frame_volume, scene):
    single = run(sources.describe(frame_volume))
    single.segmentation.GetSegmentation().RemoveSegment(single.segment_id)
    mask = blob((96, 128))
    with pytest.raises(ResultError, match="segment was deleted"):
        single.write(0, mask)
    scene.RemoveNode(single.segmentation)
    with pytest.raises(ResultError, match="segmentation was deleted"):
        single.write(0, mask)
    writer = run(sources.describe(cine.volume), frames=(0,))
    sequence = cine.browser.GetSequenceNode(writer.segmentation)
    sequence.RemoveDataNodeAtValue(sequence.GetNthIndexValue(3))
    with pytest.raises(ResultError, match="no frame 4 of 6 any more"):
        writer.write(3, mask)
    scene.RemoveNode(cine.volume)
    with pytest.raises(ResultError, match="changed or deleted"):
        writer.write(0, mask)


def test_mask_of_another_size_is_refused(frame_volume):
    writer = run(sources.describe(frame_volume))
    with pytest.raises(ResultError, match="10, 10"):
        writer.write(0, np.zeros((10, 10), np.uint8))


@pytest.mark.parametrize("kind", ["single", "cine"])
def test_nothing_is_left_when_nothing_was_written(kind, frame_volume, cine, scene):
    volume = frame_volume if kind == "single" else cine.volume
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    writer = ResultWriter(sources.describe(volume), probability=True)
    for _step in writer.prepare():
        pass
    writer.discard()
    left = {scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())}
    assert [node.GetName() for node in left if node.GetID() not in before] == []


def test_what_was_written_stays_after_discard(frame_volume):
    writer = run(sources.describe(frame_volume), probability=True)
    writer.discard()
    assert shown_mask(writer, frame_volume).any()


# Probability maps and tables


@pytest.mark.parametrize("matrix", [MATRICES["as loaded"], MATRICES["identity"]])
def test_probability_lies_on_the_mask(make_volume, frame_pixels, matrix, transform):
    volume = make_volume(frame_pixels, matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    writer = run(sources.describe(volume), probability=True)
    node = slicer.mrmlScene.GetNodeByID(writer.probability.node_id)
    values = slicer.util.arrayFromVolume(node)
    assert values.dtype == np.float32 and (values == 0.75 * shown_mask(writer, volume)).all()
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    assert (slicer.util.arrayFromVTKMatrix(_matrix(node)) == matrix).all()


def _matrix(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_probability_of_a_cine(cine):
    writer = run(sources.describe(cine.volume), frames=(4, 1), probability=True)
    node = slicer.mrmlScene.GetNodeByID(writer.probability.node_id)
    for index in (1, 4):
        select(cine, index)
        assert (slicer.util.arrayFromVolume(node) == 0.75 * shown_mask(writer, cine.volume)).all()
    select(cine, 2)
    image = node.GetImageData()
    assert image is None or image.GetNumberOfPoints() == 0, "no map of another frame"


def test_probability_of_a_stack(stack_volume):
    writer = run(sources.describe(stack_volume), frames=(2,), probability=True)
    node = slicer.mrmlScene.GetNodeByID(writer.probability.node_id)
    values = slicer.util.arrayFromVolume(node)
    assert node.GetAttribute("CASR.Slices") == "3"
    assert (values == 0.75 * shown_mask(writer, stack_volume)).all()


def test_table_without_calibration_has_no_millimetres(frame_volume):
    node = statistics_table(sources.describe(frame_volume), {0: 17}, Scale(None, None, False, "none stated"))
    table = node.GetTable()
    assert [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())] == ["Frame", "Area (px)"]
    assert node.GetDescription() == "none stated" and node.GetCellText(0, 1) == "17"
    assert node.GetAttribute(SCALE_KIND) == "none"


@pytest.mark.parametrize(("estimated", "title"), [(False, "Area (mm2)"), (True, "Area (mm2, estimated)")])
def test_table_with_calibration(cine, estimated, title):
    node = statistics_table(
        sources.describe(cine.volume), {3: 100, 1: 50}, Scale(0.2, 0.25, estimated, "somehow", "geometry")
    )  # fmt: skip
    assert node.GetAttribute(SCALE_KIND) == "geometry"
    table = node.GetTable()
    assert table.GetColumnName(2) == title
    rows = [[table.GetValue(r, c).ToDouble() for c in range(3)] for r in range(2)]
    assert rows == [[2, 50, pytest.approx(2.5)], [4, 100, pytest.approx(5)]]


def test_steps_are_short(make_cine):
    """Measured with room to spare: a step of 1024 x 1024 must leave the GUI alive."""
    cine = make_cine(np.tile(np.arange(1024, dtype=np.uint8), (3, 1024, 1)))
    source = sources.describe(cine.volume)
    mask = np.zeros((1024, 1024), np.uint8)
    mask[100:900:20, 50:1000] = 1
    best = []
    for _repeat in range(3):
        writer = ResultWriter(source)
        marks = [time.thread_time()]
        for _step in writer.prepare():
            marks.append(time.thread_time())
        for index in range(3):
            writer.write(index, mask)
            marks.append(time.thread_time())
        best.append(np.diff(marks).max())
    assert min(best) < 0.05
