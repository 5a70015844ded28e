"""Damaged files of every format: pixels or one line of error, quickly, and nobody dies.

`make test` runs a few hundred mutations, `make fuzz COUNT=20000` more; SEED and FORMATS (beginnings of the names below,
separated by commas) choose others. A file that failed is kept in the folder that CASR_FUZZ_KEEP names.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from makers.dicoms import cine, compressed, items, write, xa
from PIL import Image

from casr_net.errors import CASRError, DataError
from casr_net.files.images import read_angiogram
from casr_net.files.pixeldata import decoding

COUNT = int(os.environ.get("CASR_FUZZ_COUNT", "400"))
SEED = int(os.environ.get("CASR_FUZZ_SEED", "10"))
SECONDS = 10.0
LENGTH = 400


def _dicom(kind: str, bits: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        frames = cine(2, 64, 72, bits)
        data = xa(frames, bits) if kind == "native" else compressed(frames, kind, bits)
        return write(folder / "a.dcm", data)

    return make


def _fragments(folder: Path) -> Path:
    """Frames of two fragments each, with an offset table."""
    data = compressed(cine(2, 64, 72, 8), "jpeg", 8)
    whole = [bytes(part) for part in _streams(data.PixelData)]
    parts = [part for stream in whole for part in (stream[:400], stream[400:])]
    table = [0, sum(len(part) + len(part) % 2 + 8 for part in parts[:2])]
    data.PixelData = items(parts, table)
    return write(folder / "a.dcm", data)


def _streams(value: bytes) -> list[bytes]:
    found, at = [], 8
    while value[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(value[at + 4 : at + 8], "little")
        found.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def _raster(name: str, mode: str = "L", **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        first, second = (Image.fromarray(frame).convert(mode) for frame in cine(2, 64, 72, 8))
        more = {"save_all": True, "append_images": [second]} if name.endswith(".tif") else {}
        first.save(folder / name, **options, **more)
        return folder / name

    return make


def _nifti(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pixels = cine(2, 64, 72, 12).transpose(2, 1, 0)[:, :, None]
        nibabel.save(nibabel.Nifti1Image(pixels.astype(np.int16), np.eye(4)), folder / name)
        return folder / name

    return make


def _nrrd(encoding: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import SimpleITK

        image = SimpleITK.GetImageFromArray(cine(1, 64, 72, 12)[0])
        SimpleITK.WriteImage(image, str(folder / "a.nrrd"), useCompression=encoding == "gzip")
        return folder / "a.nrrd"

    return make


FORMATS: dict[str, Callable[[Path], Path]] = {
    "dicom-native": _dicom("native", 12),
    "dicom-lossless": _dicom("lossless", 12),
    "dicom-lossless8": _dicom("lossless", 8),
    "dicom-baseline": _dicom("jpeg", 8),
    "dicom-extended": _dicom("extended", 12),
    "dicom-fragments": _fragments,
    "dicom-jpegls": _dicom("jpegls", 12),
    "dicom-jpeg2000": _dicom("jpeg2000", 12),
    "dicom-rle": _dicom("rle", 12),
    "png": _raster("a.png"),
    "jpeg": _raster("a.jpg"),
    "tiff": _raster("a.tif"),
    "tiff-lzw": _raster("a.tif", compression="tiff_lzw"),
    "bmp": _raster("a.bmp"),
    "nifti": _nifti("a.nii"),
    "nifti-gz": _nifti("a.nii.gz"),
    "nrrd": _nrrd("raw"),
    "nrrd-gz": _nrrd("gzip"),
}
WANTED = tuple(os.environ.get("CASR_FUZZ_FORMATS", "").split(","))
CHOSEN = [name for name in FORMATS if name.startswith(WANTED)]


def mutate(whole: bytes, rng: random.Random) -> bytes:
    """One to four damages; most near the start, where headers are."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if len(data) < 16:
            break
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 2048))
        kind = rng.randrange(7)
        if kind <= 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", rng.randbytes(4)))
        elif kind == 3:
            end = len(data) if rng.random() < 0.3 else at + rng.randrange(1, 64)
            del data[at:end]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 64))
        elif kind == 5:
            other = rng.randrange(len(data) - 4)
            data[at : at + 4], data[other : other + 4] = data[other : other + 4], data[at : at + 4]
        else:
            length = rng.randrange(1, 64)
            data[at : at + length] = data[at : at + 1] * len(data[at : at + length])
    return bytes(data)


def judge(path: Path) -> str:
    """What is wrong with how a file is read; empty when nothing is."""
    began = time.perf_counter()
    try:
        image = read_angiogram(path)
        for index in range(min(image.frames, 20)):
            image.stored(index)
            image.grey(index)
        said = list(image.warnings)
        image.close()
        wrong = [line for line in said if not line.isprintable() or len(line) > LENGTH]
        if wrong:
            return f"warning: {wrong[0][:600]!r}"
    except DataError as error:
        text = str(error)
        if not text.isprintable() or len(text) - len(str(path)) > LENGTH or str(path) not in text:
            return f"message: {text[:600]!r}"
    except CASRError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    return f"{seconds:.1f} s" if seconds > SECONDS else ""


@pytest.mark.parametrize("name", CHOSEN)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    made = FORMATS[name](tmp_path)
    whole = made.read_bytes()
    assert judge(made) == ""
    rng = random.Random(f"{SEED} {name}")
    failures, slowest, deaths = [], 0.0, decoding.deaths()
    path = tmp_path / "damaged" / made.name
    path.parent.mkdir()
    for number in range(-(-COUNT // len(CHOSEN))):
        damaged = mutate(whole, rng)
        path.write_bytes(damaged)
        began = time.perf_counter()
        failure = judge(path)
        slowest = max(slowest, time.perf_counter() - began)
        if failure:
            failures.append(f"{name} {number}: {failure}")
            if keep := os.environ.get("CASR_FUZZ_KEEP"):
                Path(keep).mkdir(parents=True, exist_ok=True)
                (Path(keep) / f"{name}_{number}_{made.name}").write_bytes(damaged)
    print(f"{name}: {number + 1} files, slowest {slowest:.2f} s, {decoding.deaths() - deaths} deaths of the decoder")
    assert not failures, "\n".join(failures[:20])
