"""Which format a file has: by its first bytes, and by its ending where they say nothing."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from .names import DICOM, RASTER, VOLUME, suffix

__all__ = ["absence", "is_image", "kind_of"]

_NO_IMAGES = frozenset(
    (
        ".7z", ".avi", ".bat", ".csv", ".db", ".dll", ".doc", ".docx", ".exe", ".gif", ".gz", ".htm", ".html", ".ini",
        ".json", ".lnk", ".log", ".md", ".mov", ".mp4", ".npy", ".npz", ".pdf", ".ppt", ".pptx", ".pt", ".py", ".sh",
        ".so", ".svg", ".tar", ".toml", ".txt", ".webp", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip",
    )
)  # fmt: skip
"""Endings of files in which nobody would look for a DICOM marker."""

_MARKS = {
    "raster": (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM"),
    "volume": (b"NRRD",),
}


def is_image(path: str | Path) -> bool:
    """Whether a file looks like a supported image: by its ending, or, with another one, by the DICOM marker."""
    path = Path(path)
    if suffix(path) in RASTER + VOLUME + DICOM:
        return True
    if suffix(path) in _NO_IMAGES:
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def kind_of(path: Path) -> str:
    """ "raster", "volume" or "dicom": which reader a file is for.

    Raises:
        DataError: when the file cannot be opened, or is of a kind that holds no images.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(352)
    except OSError as error:
        raise DataError(f"{path}: {absence(error)}.") from error
    if head[128:132] == b"DICM":
        return "dicom"
    for kind, marks in _MARKS.items():
        if head.startswith(marks):
            return kind
    if head[344:348] in (b"n+1\0", b"ni1\0", b"n+2\0"):
        return "volume"
    ending = suffix(path)
    if ending in RASTER:
        return "raster"
    if ending in _NO_IMAGES:
        raise DataError(f"{path}: not a supported image; known are {', '.join(RASTER + VOLUME + DICOM)}.")
    # A file of no known ending that the user has named may be an old DICOM object without a preamble.
    return "volume" if ending in VOLUME else "dicom"


def absence(error: OSError) -> str:
    """Why a file cannot be opened, in words."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be opened: {error.strerror or type(error).__name__}"
