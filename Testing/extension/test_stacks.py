"""What the package writes of a cine, read by 3D Slicer's own classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from casr_net.files.maps import write_map

AFFINE = np.array([[-0.3, 0, 0, 5], [0, -0.4, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])


def test_a_nrrd_of_masks_is_a_sequence_in_slicer(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (50, 40, 6)).astype(np.uint8)
    write_map(tmp_path / "masks.seq.nrrd", masks, AFFINE)
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(tmp_path / "masks.seq.nrrd"))
    assert storage.ReadData(sequence)
    assert sequence.GetNumberOfDataNodes() == 6
    for index in range(6):
        frame = sequence.GetNthDataNode(index)
        image = frame.GetImageData()
        assert image.GetDimensions() == (50, 40, 1)
        assert (masks[..., index] == vtk_to_numpy(image.GetPointData().GetScalars()).reshape(40, 50).T).all()
        assert np.allclose(frame.GetSpacing(), (0.3, 0.4, 1)) and np.allclose(frame.GetOrigin(), (5, 6, 7))


def test_a_single_mask_lies_on_its_image_in_slicer(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (50, 40, 1)).astype(np.uint8)
    for ending in ("nrrd", "mha", "nii.gz"):
        write_map(tmp_path / f"mask.{ending}", mask, AFFINE)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(tmp_path / f"mask.{ending}"))
        assert storage.ReadData(node), ending
        values = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
        assert (mask[..., 0] == values.reshape(40, 50).T).all()
        assert np.allclose(node.GetSpacing(), (0.3, 0.4, 1)) and np.allclose(node.GetOrigin(), (5, 6, 7))
