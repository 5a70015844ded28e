"""File names: endings of the formats, stems, and what results are called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "DERIVED",
    "DICOM",
    "FORMATS",
    "KINDS",
    "OVERLAYS",
    "RASTER",
    "VOLUME",
    "ResultName",
    "as_text",
    "curve_name",
    "frame_label",
    "is_hidden",
    "is_result",
    "plain_stem",
    "result_name",
    "split_result",
    "suffix",
]

RASTER = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

VOLUME = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")

DICOM = (".dcm", ".dicom", ".ima")

FORMATS = {"png": "png", "nrrd": "nrrd", "mha": "mha", "nii.gz": "nii.gz", "seg": "dcm", "sc": "dcm", "gsps": "dcm"}
"""Of masks: name to ending, without the dot; the last three are DICOM objects."""

DERIVED = {"seg": "mask", "sc": "capture", "gsps": "presentation"}
"""Formats that are DICOM objects, which name the frames of their source: to the kind of result, one of KINDS. "seg" is
a Segmentation; for viewers that cannot show it "sc" is a Secondary Capture with the contour burned in, and "gsps" a
Grayscale Softcopy Presentation State with it as graphic."""

KINDS = ("mask", "probability", "overlay", "capture", "presentation")
"""What a result can be; the last part of its name before the ending."""

OVERLAYS = ("frames", "video", "animation", "sheet")
"""How the contours of a cine are shown: a picture a frame, a WebM video, an animated WebP, or one
picture of several frames."""


class ResultName(NamedTuple):
    """Parts of a result's name: that of its source, the frame's number from 0, or None, and the kind, one of KINDS."""

    source: str
    frame: int | None
    kind: str


def suffix(path: str | Path) -> str:
    """Lower-case file name ending, with both parts of ``.nii.gz``."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def plain_stem(path: str | Path) -> str:
    """File name without its ending, such as ``.nii.gz``; other dots, as in a UID, stay.

    An ending is a known one, or one of up to five letters: systems call their DICOM files ``I0001.XA`` and the like.
    """
    name, ending = Path(path).name, suffix(path)
    known = ending in RASTER + VOLUME + DICOM or re.fullmatch(r"\.[a-z]{1,5}", ending)
    return name[: -len(ending)] if known else name


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a file below ``root``, or a folder on the way to it, has a name that starts with a dot."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def frame_label(source: str, frame: int | None) -> str:
    """Name of one frame: ``run1_f0007``; of the whole file where ``frame`` is None: ``run1``."""
    return source if frame is None else f"{source}_f{frame:04d}"


def result_name(source: str, frame: int | None, kind: str, ending: str) -> str:
    """What a result is called.

    Args:
        source: the source's name without its ending; it may have folders in front.
        frame: number of the frame, from 0; None for the result of a whole file.
        kind: one of KINDS.
        ending: with or without a dot in front.
    """
    return f"{frame_label(source, frame)}_{kind}.{ending.removeprefix('.')}"


def curve_name(source: str, ending: str) -> str:
    """What the contrast curve of a cine is called, such as ``run1_contrast.json``; no image is called so.

    Args:
        source: the cine's name without its ending; it may have folders in front.
        ending: with or without a dot in front.
    """
    return f"{source}_contrast.{ending.removeprefix('.')}"


def split_result(stem: str) -> ResultName | None:
    """The parts of a result's name without its ending; None if it is not called like a result."""
    source, _, kind = stem.rpartition("_")
    if not source or kind not in KINDS:
        return None
    numbered = re.fullmatch(r"(.+)_f(\d{4,})", source, re.DOTALL)
    return ResultName(numbered[1], int(numbered[2]), kind) if numbered else ResultName(source, None, kind)


def is_result(path: str | Path) -> bool:
    """Whether a file is called like a result, such as ``run1_f0007_mask.png`` or ``run1_overlay.png``."""
    return split_result(plain_stem(path)) is not None


def as_text(path: str | Path) -> str:
    """A path, or a message that names one, as text that every file and terminal takes: bytes of a name that are no
    UTF-8, which Python carries as halves of characters, become ``\\xe9``."""
    try:
        return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a half that stands for no byte: names on Windows may hold them
        return str(path).encode("utf-8", "backslashreplace").decode()
