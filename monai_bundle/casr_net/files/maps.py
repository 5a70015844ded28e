"""Writing of masks and maps, with the geometry of the image that they belong to."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..errors import UsageError
from .geometry import LPS_TO_RAS, usable_affine

__all__ = ["write_map", "write_png"]

logger = logging.getLogger("casr_net")


def write_map(path: Path, stack: np.ndarray, affine: np.ndarray) -> None:
    """Write labels (uint8, 0 and 1) or maps (float32, 0 to 1), (X, Y, frames), on the source's grid.

    A cine has four axes in all formats, x, y, one slice and the frames: so 3D Slicer writes its sequences
    (``.seq.nrrd``), and NIfTI its time. The last axis is a list in NRRD and MetaImage, not a length.

    Args:
        path: ``.nrrd``, ``.mha`` and ``.nii.gz`` keep values and geometry; in ``.png``, for one frame, they become 0
            to 255.
        stack: the values.
        affine: (4, 4), RAS, as :class:`casr_net.files.Angiogram` has it. One that cannot be used is replaced, with a
            warning.

    Raises:
        UsageError: for several frames in a PNG file.
    """
    if path.name.endswith(".png"):
        if stack.shape[-1] != 1:
            raise UsageError(f"{stack.shape[-1]} frames do not fit into one PNG file; use .nrrd, .mha or .nii.gz.")
        write_png(path, np.round(np.clip(stack[..., 0], 0, 1) * 255).astype(np.uint8).T)
        return
    affine, warning = usable_affine(affine)
    if warning:
        logger.warning("%s: of the geometry that is to be written, %s.", path, warning)
    if path.name.endswith((".nrrd", ".mha")):
        _write_by_itk(path, stack, affine)
    else:
        import nibabel

        volume = stack if stack.shape[-1] == 1 else stack[:, :, None, :]
        nibabel.save(nibabel.Nifti1Image(volume, affine), path)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write (rows, columns) or (rows, columns, 3) in OpenCV's order of colours, 8 bits.

    Raises:
        OSError: when it cannot be encoded or written.
    """
    import cv2

    # cv2.imwrite cannot write to non-ASCII paths on Windows and reports failure by a flag only.
    done, data = cv2.imencode(".png", np.ascontiguousarray(image))
    if not done:
        raise OSError("PNG encoding failed")
    path.write_bytes(data.tobytes())


def _write_by_itk(path: Path, stack: np.ndarray, affine: np.ndarray) -> None:
    import SimpleITK

    cine = stack.shape[-1] > 1
    lps = LPS_TO_RAS @ affine  # its own inverse
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction, origin = np.eye(4 if cine else 3), lps[:3, 3].tolist()
    direction[:3, :3] = lps[:3, :3] / spacing
    values = stack[:, :, None, :] if cine else stack
    image = SimpleITK.GetImageFromArray(values.T, isVector=False)
    image.SetSpacing([*spacing.tolist(), *[1.0] * cine])
    image.SetOrigin([*origin, *[0.0] * cine])
    image.SetDirection(direction.ravel().tolist())
    if cine and path.name.endswith(".nrrd"):
        image.SetMetaData("NRRD_kinds[3]", "list")
    elif cine:
        image.SetMetaData("Kinds", "domain domain domain list")
    with tempfile.TemporaryDirectory(prefix="casr-") as folder:
        # ITK takes names of valid UTF-8 only, and goes by the ending.
        plain = Path(folder) / f"map{path.suffix}"
        try:
            SimpleITK.WriteImage(image, str(plain), useCompression=True)
        except RuntimeError as error:
            raise OSError(f"SimpleITK cannot write it to {folder}") from error
        shutil.copyfile(plain, path)
