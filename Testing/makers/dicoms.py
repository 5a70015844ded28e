"""DICOM files for tests: native and compressed cines, right and wrong headers. Works with pydicom 3 and 2.4."""

from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

XA = "1.2.840.10008.5.1.4.1.1.12.1"
SYNTAXES = {
    "jpeg": "1.2.840.10008.1.2.4.50",
    "extended": "1.2.840.10008.1.2.4.51",
    "lossless": "1.2.840.10008.1.2.4.70",
    "jpegls": "1.2.840.10008.1.2.4.80",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "rle": "1.2.840.10008.1.2.5",
}
_PYDICOM_2 = int(pydicom.__version__.split(".")[0]) < 3


def cine(frames: int = 3, rows: int = 64, columns: int = 72, bits: int = 12, samples: int = 1) -> np.ndarray:
    """(frames, rows, columns[, 3]) smooth pictures with a little noise, which differ from each other."""
    y, x = np.mgrid[:rows, :columns]
    noise = np.random.default_rng(7).integers(0, 1 << (bits - 5), (frames, rows, columns, samples))
    phase = np.arange(frames).reshape(-1, 1, 1, 1) + 2 * np.arange(samples)
    wave = 0.5 + 0.4 * np.sin(x[None, ..., None] / 9 + phase) * np.cos(y[None, ..., None] / 7 - phase)
    values = (wave * ((1 << bits) - 1)).astype(int) + noise
    values = values.clip(0, (1 << bits) - 1).astype(np.uint8 if bits <= 8 else np.uint16)
    return values[..., 0] if samples == 1 else values


def xa(frames: np.ndarray, bits: int | None = None, **attributes: object) -> Dataset:
    """An XA object with native pixels; an attribute None is left out. Colours are (frames, rows, columns, 3)."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = XA
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality = "XA"
    data.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    data.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    if frames.ndim == 4:
        data.PlanarConfiguration = 0
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    stored = bits or 8 * frames.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * frames.itemsize, stored, stored - 1
    data.PixelRepresentation = int(frames.dtype.kind == "i")
    data.PixelData = frames.astype(frames.dtype.newbyteorder("<")).tobytes()
    for name, value in attributes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def write(path: Path, data: Dataset) -> Path:
    """Write a data set in the transfer syntax that its file meta information states."""
    syntax = data.file_meta.TransferSyntaxUID
    data.preamble = b"\0" * 128
    if "PixelData" in data:
        data["PixelData"].VR = "OB" if syntax.is_compressed or data.BitsAllocated <= 8 else "OW"
        data["PixelData"].is_undefined_length = syntax.is_compressed and syntax.is_encapsulated
    if _PYDICOM_2:
        data.is_little_endian, data.is_implicit_VR = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
        data.save_as(path, write_like_original=False)
    else:
        data.save_as(path, enforce_file_format=True)
    return path


def items(streams: list[bytes], table: list[int] | None = None) -> bytes:
    """Encapsulated pixel data of fragments (PS3.5 A.4), with a basic offset table."""
    parts = [struct.pack(f"<{len(table or [])}L", *(table or []))]
    parts += [stream + b"\0" * (len(stream) % 2) for stream in streams]
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(part)) + part for part in parts)


def compressed(
    frames: np.ndarray,
    kind: str,
    bits: int | None = None,
    table: list[int] | None = None,
    streams: list[bytes] | None = None,
    **attributes: object,
) -> Dataset:
    """An XA object with compressed pixels, a fragment a frame unless ``streams`` are given."""
    data = xa(frames, bits, **attributes)
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(SYNTAXES[kind])
    streams = streams or [encode(frame, kind, bits) for frame in frames]
    data.PixelData = items(streams, table)  # pydicom marks the end of the sequence
    return data


def encode(frame: np.ndarray, kind: str, bits: int | None = None) -> bytes:
    """One picture, (rows, columns[, 3]), as a stream of the kind."""
    if kind == "jpeg":
        stream = io.BytesIO()
        Image.fromarray(frame).save(stream, "JPEG", quality=95)
        return stream.getvalue()
    if kind == "rle":
        return encode_rle(frame)
    return _encode_with_gdcm(frame, kind, bits or 8 * frame.itemsize)


def encode_rle(frame: np.ndarray) -> bytes:
    """RLE (PS3.5 annex G); runs of equal bytes and literal runs, which end with their row."""
    planes = frame[..., None] if frame.ndim == 2 else frame
    segments = []
    for sample in range(planes.shape[2]):
        octets = planes[..., sample].astype(planes.dtype.newbyteorder(">"))
        for byte in range(planes.itemsize):
            rows = np.ascontiguousarray(octets).view(np.uint8).reshape(*octets.shape, planes.itemsize)[..., byte]
            packed = b"".join(_pack(row.tobytes()) for row in rows)
            segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = np.cumsum([64, *map(len, segments[:-1])]).tolist()
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def _pack(row: bytes) -> bytes:
    packed, at = b"", 0
    while at < len(row):
        run = 1
        while run < 128 and row[at : at + 1] * (run + 1) == row[at : at + run + 1]:
            run += 1
        if run > 2:
            packed += bytes([257 - run]) + row[at : at + 1]
            at += run
        else:
            literal = row[at : at + 128]
            packed += bytes([len(literal) - 1]) + literal
            at += len(literal)
    return packed


def _encode_with_gdcm(frame: np.ndarray, kind: str, bits: int) -> bytes:
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "plain.dcm", xa(frame[None], bits))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(SYNTAXES[kind])))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        value = pydicom.dcmread(path).PixelData
    at, stream = 8 + struct.unpack_from("<L", value, 4)[0], b""
    while value[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = struct.unpack_from("<L", value, at + 4)[0]
        stream += value[at + 8 : at + 8 + length]
        at += 8 + length
    return stream
