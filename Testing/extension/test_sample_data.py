"""Sample data: the files themselves, how real Slicer C++ reads them, and how they are registered."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import slicer
import slicer.util
import vtk
from CASRSegmentationLib import sample_data

RESOURCES = Path(sample_data.__file__).parents[1] / "Resources"
SAMPLES = RESOURCES / "SampleData"


@pytest.fixture(autouse=True)
def _empty_scene():
    slicer.mrmlScene.Clear(0)
    yield
    slicer.mrmlScene.Clear(0)


@pytest.fixture(scope="module")
def dicom() -> pydicom.Dataset:
    return pydicom.dcmread(SAMPLES / "casr_cine.dcm")


def _directions(volume: Any) -> list[list[float]]:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return [[matrix.GetElement(i, j) for j in range(4)] for i in range(4)]


def test_small_enough_for_a_repository():
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 3_000_000
    assert sorted(path.name for path in SAMPLES.iterdir()) == ["casr_cine.dcm", "casr_cine.seq.nrrd", "casr_frame.nrrd"]


def test_cine_loads_as_a_sequence_with_its_browser(dicom):
    volume, browser = sample_data.load_cine()
    assert volume.GetName() == "CASRCine"
    frames = dicom.pixel_array
    assert volume.GetClassName() == "vtkMRMLScalarVolumeNode"
    assert browser.GetNumberOfItems() == 12
    assert browser.GetPlaybackRateFps() == 15
    sequence = browser.GetMasterSequenceNode()
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "s")
    assert [sequence.GetNthIndexValue(i) for i in (0, 1, 11)] == ["0.000", "0.067", "0.733"]
    assert browser.GetProxyNode(sequence) is volume
    assert volume.GetDisplayNode() is not None
    for index in (0, 7, 11):
        browser.SetSelectedItemNumber(index)
        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        array = slicer.util.arrayFromVolume(volume)
        assert array.dtype == np.uint8 and array.shape == (1, 512, 512)
        np.testing.assert_array_equal(array[0], frames[index])


def test_nothing_states_a_scale(dicom):
    volume, _ = sample_data.load_cine()
    frame = sample_data.load_frame()
    for node in (volume, frame):
        assert node.GetSpacing() == (1.0, 1.0, 1.0)
        assert _directions(node) == [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert "Spacing" not in str(dicom) and "EstimatedRadiographicMagnificationFactor" not in dicom


def test_frame_loads_as_a_volume():
    volume = sample_data.load_frame()
    array = slicer.util.arrayFromVolume(volume)
    assert array.shape == (1, 512, 512) and array.dtype == np.uint8
    assert array.std() > 5, "no picture"
    assert volume.GetDisplayNode() is not None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 0


def test_loading_twice_gives_nodes_with_names_of_their_own():
    first, second = sample_data.load_frame(), sample_data.load_frame()
    assert first.GetName() != second.GetName()
    (_, one), (_, two) = sample_data.load_cine(), sample_data.load_cine()
    assert one.GetName() != two.GetName()
    assert one.GetMasterSequenceNode() is not two.GetMasterSequenceNode()


def test_dicom_file_is_a_synthetic_xa_cine(dicom):
    assert dicom.SOPClassUID == "1.2.840.10008.5.1.4.1.1.12.1"
    assert dicom.Modality == "XA" and int(dicom.NumberOfFrames) == 12
    assert str(dicom.PatientName) == "Synthetic^Angiogram"
    assert dicom.file_meta.TransferSyntaxUID.is_compressed


def test_dicom_file_is_read_by_slicers_own_reader(dicom):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(SAMPLES / "casr_cine.dcm"))
    storage.SetSingleFile(1)
    assert storage.ReadData(volume)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), dicom.pixel_array)


@pytest.mark.parametrize(("name", "load"), [("_CINE_FILE", "load_cine"), ("_FRAME_FILE", "load_frame")])
@pytest.mark.parametrize("content", [None, b"NRRD0004\nthis is none\n\n"])
def test_damaged_file_leaves_no_nodes(tmp_path, monkeypatch, name, load, content):
    path = tmp_path / getattr(sample_data, name).name
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(sample_data, name, path)
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(sample_data.SampleDataError, match="install the extension again"):
        getattr(sample_data, load)()
    assert slicer.mrmlScene.GetNumberOfNodes() == before


class Logic510:
    """``SampleDataLogic`` as in Slicer 5.10, with its checks."""

    sources: list[dict[str, Any]]

    @classmethod
    def registerCustomSampleDataSource(  # noqa: N802
        cls, category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,  # noqa: N803
        thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties={}, checksums=None,  # noqa: B006, N803
    ):  # fmt: skip
        source = {key: value for key, value in locals().items() if key != "cls"}
        if not all(isinstance(source[key], str) for key in ("uris", "fileNames", "nodeNames")):
            raise ValueError("All fields of sample data source must have the same length")
        if source not in cls.sources:
            cls.sources.append(source)


class Logic512(Logic510):
    """As in Slicer 5.12, which knows titles of categories."""

    categories: list[tuple[str, str]]

    @classmethod
    def registerCustomSampleDataCategory(cls, category, title=None):  # noqa: N802
        cls.categories.append((category, title))


@pytest.fixture(params=[Logic510, Logic512])
def logic(request, monkeypatch):
    cls = type("SampleDataLogic", (request.param,), {"sources": [], "categories": []})
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = cls
    monkeypatch.setitem(sys.modules, "SampleData", module)
    return cls


def test_both_are_registered_once(logic):
    sample_data.register()
    sample_data.register()
    assert [source["sampleName"] for source in logic.sources] == ["CASRCine", "CASRFrame"]
    assert {source["category"] for source in logic.sources} == {"CASR-Net"}
    if issubclass(logic, Logic512):
        assert logic.categories[0] == ("CASR-Net", "CASR-Net")
    for source in logic.sources:
        thumbnail = Path(source["thumbnailFileName"])
        size = np.frombuffer(thumbnail.read_bytes()[16:24], ">u4")  # PNG: columns, rows
        assert thumbnail.is_file() and tuple(size) == (260, 280)
        assert source["uris"].startswith("file://") and (SAMPLES / source["fileNames"]).is_file()


def test_buttons_load_without_internet(logic):
    sample_data.register()
    for source in logic.sources:
        assert len(inspect.signature(source["customDownloader"]).parameters) == 1
        source["customDownloader"](source)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1
    assert slicer.mrmlScene.GetFirstNodeByName("CASRFrame") is not None


def test_button_shows_what_went_wrong(logic, monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *args, **kwargs: shown.append(text))
    monkeypatch.setattr(sample_data, "_FRAME_FILE", tmp_path / "casr_frame.nrrd")
    sample_data.register()
    with pytest.raises(sample_data.SampleDataError):  # Slicer shows it and passes it on to its log
        logic.sources[1]["customDownloader"](logic.sources[1])
    assert len(shown) == 1 and "casr_frame.nrrd cannot be read" in shown[0]
