"""Writing of masks and maps, with the geometry of the image that they belong to."""

from __future__ import annotations

import gzip
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..errors import UsageError
from .geometry import LPS_TO_RAS, usable_affine
from .stacks import drop_pages

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
    cine, nrrd = stack.shape[-1] > 1, path.suffix == ".nrrd"
    with tempfile.TemporaryDirectory(prefix="casr-") as folder:
        # ITK takes names of valid UTF-8 only, and goes by the ending.
        plain = Path(folder) / f"map{path.suffix}"
        try:
            _save_image(plain, stack[..., :1] if cine and nrrd else stack, affine)
        except RuntimeError as error:
            raise OSError(f"SimpleITK cannot write it to {folder}") from error
        if cine and nrrd:
            _write_list(path, plain.read_bytes().split(b"\n\n", 1)[0], stack)
        else:
            shutil.copyfile(plain, path)


def _save_image(path: Path, stack: np.ndarray, affine: np.ndarray) -> None:
    import SimpleITK

    lps = LPS_TO_RAS @ affine  # its own inverse
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = 4 if stack.shape[-1] > 1 else 3
    direction, origin = np.eye(axes), lps[:3, 3].tolist()
    direction[:3, :3] = lps[:3, :3] / spacing
    image = SimpleITK.GetImageFromArray((stack[:, :, None, :] if axes == 4 else stack).T, isVector=False)
    image.SetSpacing([*spacing.tolist(), 1.0][:axes])
    image.SetOrigin([*origin, 0.0][:axes])
    image.SetDirection(direction.ravel().tolist())
    if axes == 4:
        image.SetMetaData("Kinds", "domain domain domain list")
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _write_list(path: Path, header: bytes, stack: np.ndarray) -> None:
    """Write a NRRD file of a list of frames, one after the other, with the header of its first frame.

    ITK would copy the whole stack, which of a long cine is larger than the memory, and writes an axis that is no length
    in its newest releases alone; older ones write a header that they cannot read.
    """
    columns, rows, frames = stack.shape
    changed = {
        b"dimension": b"4",
        b"sizes": f"{columns} {rows} 1 {frames}".encode(),
        b"kinds": b"domain domain domain list",
    }
    lines = []
    for line in header.split(b"\n"):
        name, _, value = line.partition(b": ")
        value = value + b" none" if name == b"space directions" else changed.get(name, value)
        lines.append(line if line.startswith(b"#") or not value else name + b": " + value)
    with open(path, "wb") as stream:
        stream.write(b"\n".join(lines) + b"\n\n")
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=stream, mtime=0) as packed:
            for index in range(frames):
                packed.write(np.asfortranarray(stack[..., index]).T.data)
                drop_pages(stack)
