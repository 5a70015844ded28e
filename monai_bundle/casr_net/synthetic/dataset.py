"""Data sets of synthetic angiograms on disk: PNG images with ``cases.csv``, or cines as DICOM."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError, UsageError
from ..files.atomic import write_atomically
from ..files.dicom import save_dicom
from .angiogram import SyntheticAngiogram, make_angiogram, make_cine
from .scene import MAX_SIZE, MIN_SIZE

__all__ = ["write_dataset"]

FRAME_TIME_MS = 66.667  # 15 frames a second, as most laboratories record
COLUMNS = ("dataset", "file", "group", "artery", "projection", "height", "width", "vessel_fraction", "fold")
DATASET = "synthetic"


def write_dataset(
    output: str | Path, count: int, seed: int = 0, frames: int = 1, size: int = 512, folds: int = 5
) -> list[Path]:
    """Write synthetic angiograms with masks and truth; equal arguments give equal bytes.

    Single images go to ``<output>/synthetic/images/syn_00001.png`` with masks (0 or 255) and truth (JSON) of the same
    name under ``masks`` and ``truth``, and ``<output>/cases.csv`` lists them for :func:`casr_net.training.load_cases`.
    Cines are DICOM XA files ``syn_00001.dcm``, their masks NRRD stacks (x, y, time) of 0 and 255, the truth JSON a list
    of frames; there is no ``cases.csv``, since training takes single images.

    Args:
        output: folder, made when it does not exist.
        count: number of images or cines, at least 1.
        seed: of the set, not negative.
        frames: frames of each cine; 1 writes single images.
        size: rows and columns, 64 to 2048.
        folds: number of cross-validation folds that images are dealt to in turn, at least 1.

    Returns:
        the files written.

    Raises:
        UsageError: when an argument is out of its range.
        DataError: when the folder holds a data set already, or cannot be written.
    """
    for name, value, least in (("count", count, 1), ("frames", frames, 1), ("folds", folds, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"{name} is {value}; it must be at least {least}.")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"size is {size}; it must be from {MIN_SIZE} to {MAX_SIZE}.")
    output = Path(output)
    for existing in (output / DATASET, output / "cases.csv"):
        if existing.exists():
            raise DataError(f"{existing}: exists already and was kept; choose another folder.")
    root, written, rows = output / DATASET, [], []
    for index in range(count):
        name, own_seed = f"syn_{index + 1:05d}", _own_seed(seed, index)
        if frames == 1:
            made = make_angiogram(own_seed, size)
            written += [
                write_atomically(root / "images" / f"{name}.png", _png(made.image)),
                write_atomically(root / "masks" / f"{name}.png", _png(made.mask.astype(np.uint8) * 255)),
                write_atomically(root / "truth" / f"{name}.json", _text(json.dumps(made.truth))),
            ]
            rows.append([DATASET, f"{name}.png", name, made.truth["artery"], made.truth["projection"], size, size,
                         f"{made.mask.mean():.4f}", index % folds])  # fmt: skip
        else:
            cine = make_cine(own_seed, frames, size)
            written += [
                write_atomically(root / "images" / f"{name}.dcm", _dicom(cine, name, own_seed)),
                write_atomically(root / "masks" / f"{name}.nrrd", _nrrd(cine)),
                write_atomically(
                    root / "truth" / f"{name}.json", _text(json.dumps({"frames": [item.truth for item in cine]}))
                ),
            ]
    if rows:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
        written.append(write_atomically(output / "cases.csv", _text(table.getvalue())))
    return written


def _own_seed(seed: int, index: int) -> int:
    """A seed for each image, independent of its neighbours', and small enough for every JSON reader."""
    return int(np.random.default_rng([seed, index]).integers(2**31))


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text.encode())


def _png(image: np.ndarray) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        done, data = cv2.imencode(".png", image)
        if not done:
            raise OSError("PNG encoding failed")
        path.write_bytes(data.tobytes())

    return write


def _nrrd(cine: list[SyntheticAngiogram]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        frames = np.stack([item.mask for item in cine]).astype(np.uint8) * 255  # (t, y, x): x runs fastest in the file
        # Written by hand: pynrrd puts the time of writing into the header, and equal seeds shall give equal bytes.
        header = [
            "NRRD0004",
            "type: uint8",
            "dimension: 3",
            "sizes: " + " ".join(str(n) for n in frames.shape[::-1]),
            "kinds: domain domain list",
            "encoding: gzip",
        ]
        path.write_bytes("\n".join(header).encode() + b"\n\n" + gzip.compress(frames.tobytes(), mtime=0))

    return write


def _dicom(cine: list[SyntheticAngiogram], name: str, seed: int) -> Callable[[Path], object]:
    """Writer of an X-Ray Angiographic Image Storage file (PS3.3 A.14) without physical scale."""

    def write(path: Path) -> None:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.tag import Tag
        from pydicom.uid import UID, ExplicitVRLittleEndian, XRayAngiographicImageStorage

        pixels = np.stack([item.image for item in cine])
        content = f"{seed}/{pixels.shape}/".encode() + pixels.tobytes()
        # UIDs of 128 bits under the root for UUIDs (PS3.5 B.2), from the content instead of the clock.
        instance, study, series = (
            f"2.25.{int(hashlib.sha256(kind + content).hexdigest()[:32], 16)}" for kind in (b"instance", b"study", b"s")
        )
        truth = cine[0].truth
        data = Dataset()
        data.SpecificCharacterSet = "ISO_IR 192"
        data.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
        data.SOPClassUID, data.SOPInstanceUID = XRayAngiographicImageStorage, instance
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
        data.Modality, data.Manufacturer, data.ManufacturerModelName = "XA", "CASR-Net", "synthetic angiogram"
        data.SeriesDescription = f"Synthetic {truth['artery']} {truth['projection']}"
        data.PatientName, data.PatientID = "Synthetic^Angiogram", name
        data.PatientBirthDate = data.PatientSex = data.PatientOrientation = ""
        data.SeriesNumber = data.InstanceNumber = 1
        data.BodyPartExamined, data.RadiationSetting, data.KVP = "HEART", "GR", ""
        data.XRayTubeCurrent = data.ExposureTime = data.Exposure = ""
        data.PositionerMotion = "STATIC"
        data.PositionerPrimaryAngle = data.PositionerSecondaryAngle = ""
        data.FrameTime, data.CineRate = FRAME_TIME_MS, round(1000 / FRAME_TIME_MS)
        data.NumberOfFrames, data.FrameIncrementPointer = len(cine), Tag("FrameTime")
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows, data.Columns = pixels.shape[1:]
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelIntensityRelationship, data.LossyImageCompression = "DISP", "00"
        data.WindowCenter, data.WindowWidth = 128, 256
        raw = pixels.tobytes()
        data.add_new(Tag("PixelData"), "OB", raw + b"\0" * (len(raw) % 2))
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = UID(instance)
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        save_dicom(path, data)

    return write
