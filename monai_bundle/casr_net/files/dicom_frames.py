"""Where the frames of a DICOM file lie."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from ..errors import DataError
from .frames import ArrayFrames

__all__ = ["DicomFrames", "read_header"]


def read_header(path: Path) -> tuple[Dataset, bool | None]:
    """The data set, and whether it has pixels.

    Raises:
        DataError: when the file is no DICOM file.
    """
    from .dicom import open_dicom

    data = open_dicom(path)
    return data, True if "PixelData" in data else None


class DicomFrames(ArrayFrames):
    """The frames of a DICOM file."""

    def __init__(self, path: Path, data: pydicom.Dataset, place: bool | None) -> None:
        frames, samples = int(data.get("NumberOfFrames", 1) or 1), int(data.get("SamplesPerPixel", 1))
        try:
            stored = data.pixel_array  # frames, if more than one, come first; samples, if more than one, last
        except Exception as error:  # every decoder plugin has errors of its own
            syntax = data.file_meta.TransferSyntaxUID.name
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{path}: pixel data cannot be decoded ({syntax}): {reason}") from error
        super().__init__(stored.reshape(frames, int(data.Rows), int(data.Columns), samples).transpose(3, 2, 1, 0))
        self.warnings: list[str] = []
