"""File names: endings of the formats, stems, and what results are called."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DICOM", "RASTER", "VOLUME", "is_hidden", "plain_stem", "suffix"]


RASTER = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


VOLUME = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


DICOM = (".dcm", ".dicom", ".ima")


def suffix(path: str | Path) -> str:
    """Lower-case file name ending, with both parts of ``.nii.gz``."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def plain_stem(path: Path) -> str:
    """File name without its ending, such as ``.nii.gz``; other dots, as in a UID, stay."""
    ending = suffix(path)
    # Nameless DICOM files are called by their UID, whose last number is no ending.
    return path.name[: -len(ending)] if ending and not ending[1:].isdigit() else path.name


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a file below ``root``, or a folder on the way to it, has a name that starts with a dot."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)
