"""MONAI Label's Python client, which is what Slicer's plugin sends and reads; results on Slicer's own classes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nrrd
import numpy as np
import pytest

from .conftest import PYTHON, Server


def test_session_of_a_client(start: Callable[..., Server], shared_studies: Path, studies: Path, tmp_path: Path) -> None:
    server = start(studies)
    results = tmp_path / "results"
    results.mkdir()
    local = shared_studies / "slice.nrrd"
    done = subprocess.run(
        [
            str(PYTHON), str(Path(__file__).with_name("client_session.py")), f"http://127.0.0.1:{server.port}",
            str(results), "frame1", str(local),
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["labels"] == {"coronary artery": 1} and found["sample"] == "frame0"
    mask, _ = nrrd.read(found["file"])
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1} and 0 < found["params"]["uncertainty"][0] < 1
    assert found["saved"]["label"] == "frame0" and server.get("/datastore/").json["completed"] == 1
    _, header = nrrd.read(found["of_session"])
    _, source = nrrd.read(str(local))
    assert np.allclose(header["space directions"], source["space directions"])
    assert np.allclose(header["space origin"], source["space origin"])


def test_result_in_slicer(server: Server, shared_studies: Path, tmp_path: Path) -> None:
    """On Slicer's C++ classes: the result lies on the volume that was sent, as a label map with the label 1."""
    vtk, slicer = pytest.importorskip("vtk"), pytest.importorskip("slicer")
    (tmp_path / "mask.nrrd").write_bytes(server.infer("slice", "image", result_extension=".nrrd").body)
    volume = slicer.vtkMRMLScalarVolumeNode()
    result = slicer.vtkMRMLLabelMapVolumeNode()
    scene = slicer.vtkMRMLScene()
    matrices = []
    for node, file in ((volume, shared_studies / "slice.nrrd"), (result, tmp_path / "mask.nrrd")):
        scene.AddNode(node)
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(file))
        scene.AddNode(storage)
        assert storage.ReadData(node) == 1
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        matrices.append([matrix.GetElement(i, j) for i in range(4) for j in range(4)])
    assert np.allclose(*matrices)
    assert volume.GetImageData().GetDimensions() == result.GetImageData().GetDimensions() == (128, 128, 1)
    assert result.GetImageData().GetScalarRange() == (0.0, 1.0)
