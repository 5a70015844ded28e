"""Make the sample data of the 3D Slicer extension: a synthetic cine and a synthetic single frame, by seed.

python experiments/sample_data.py

Writes to CASRSegmentation/Resources: SampleData/casr_cine.seq.nrrd (what Slicer loads as a sequence), casr_cine.dcm
(the same frames as a DICOM XA file, to try the DICOM import), casr_frame.nrrd, and thumbnails into Icons. Nothing
states a physical scale: the spacing is 1, and the DICOM file has none.
"""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom

from casr_net.synthetic.dataset import write_dataset

RESOURCES = Path(__file__).resolve().parents[1] / "CASRSegmentation" / "Resources"
CINE_SEED, FRAME_SEED, FRAMES, SIZE = 0, 5, 12, 512
THUMBNAIL = (260, 280)  # columns, rows: what Slicer's Sample Data module asks for
SHOWN = 6  # frame of the cine in its thumbnail


def write_nrrd(path: Path, frames: np.ndarray, times: list[float] | None = None) -> None:
    """Write (frames, rows, columns) uint8 as Slicer does: with ``times`` (seconds) a sequence, else one volume.

    Equal frames give equal bytes. The axes are LPS with unit spacing, as Slicer gives to images that state none.
    """
    sequence = times is not None
    count, rows, columns = frames.shape
    if not sequence and count != 1:
        raise ValueError(f"{count} frames for a single volume.")
    header = [
        "NRRD0004",
        "type: uint8",
        f"dimension: {4 if sequence else 3}",
        "space: left-posterior-superior",
        f"sizes: {columns} {rows} 1" + (f" {count}" if sequence else ""),
        "space directions: (1,0,0) (0,1,0) (0,0,1)" + (" none" if sequence else ""),
        "kinds: domain domain domain" + (" list" if sequence else ""),
        "encoding: gzip",
        "space origin: (0,0,0)",
    ]
    if times is not None:
        header[7:7] = ['labels: "" "" "" "time"', 'units: "" "" "" "s"']
        header += [
            "DataNodeClassName:=vtkMRMLScalarVolumeNode",
            "axis 3 index type:=numeric",
            "axis 3 index values:=" + " ".join(f"{time:.3f}" for time in times),
        ]
    data = gzip.compress(np.ascontiguousarray(frames).tobytes(), compresslevel=9, mtime=0)
    path.write_bytes("\n".join(header).encode() + b"\n\n" + data)


def compress_dicom(source: Path, target: Path) -> None:
    """Encode as JPEG-LS without loss."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    if not reader.Read():
        raise OSError(f"{source}: gdcm cannot read it")
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLSLossless))
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise OSError(f"{source}: gdcm cannot encode it")
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise OSError(f"{target}: gdcm cannot write it")
    data = pydicom.dcmread(target)
    if "ImagerPixelSpacing" not in pydicom.dcmread(source):
        data.pop("ImagerPixelSpacing", None)  # gdcm makes up 1 mm where there is none
    data.save_as(target, enforce_file_format=True)


def write_thumbnail(path: Path, frame: np.ndarray) -> None:
    columns, rows = THUMBNAIL
    scale = max(columns / frame.shape[1], rows / frame.shape[0])
    large = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (large.shape[0] - rows) // 2, (large.shape[1] - columns) // 2
    cv2.imwrite(str(path), large[top : top + rows, left : left + columns])


def main() -> None:
    samples, icons = RESOURCES / "SampleData", RESOURCES / "Icons"
    for folder in (samples, icons):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        cine_files = write_dataset(Path(temporary) / "cine", 1, CINE_SEED, FRAMES, SIZE)
        frame_files = write_dataset(Path(temporary) / "frame", 1, FRAME_SEED, 1, SIZE)
        plain = next(path for path in cine_files if path.suffix == ".dcm")
        data = pydicom.dcmread(plain)
        frames = data.pixel_array
        step = float(data.FrameTime) / 1000
        write_nrrd(samples / "casr_cine.seq.nrrd", frames, [index * step for index in range(FRAMES)])
        compress_dicom(plain, samples / "casr_cine.dcm")
        frame = cv2.imread(str(next(p for p in frame_files if p.parent.name == "images")), cv2.IMREAD_GRAYSCALE)
        if frame is None:
            raise OSError("the single frame cannot be read")
        write_nrrd(samples / "casr_frame.nrrd", frame[None])
        write_thumbnail(icons / "CASRCine.png", frames[SHOWN])
        write_thumbnail(icons / "CASRFrame.png", frame)
    if not np.array_equal(pydicom.dcmread(samples / "casr_cine.dcm").pixel_array, frames):
        raise OSError("casr_cine.dcm: the frames were changed by the encoding")


if __name__ == "__main__":
    main()
