from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from makers.dicoms import xa as xa_object
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from casr_net.errors import DataError
from casr_net.files.images import Angiogram, read_angiogram

FRAMES = (np.arange(40 * 60).reshape(1, 40, 60) % 200 + np.array([0, 20, 50]).reshape(3, 1, 1)).astype(np.uint16)


def pixels(image: Angiogram) -> np.ndarray:
    """(samples, X, Y, frames)."""
    return np.stack([image.stored(index) for index in range(image.frames)], axis=-1)


def shown_range(image: Angiogram) -> tuple[float, float]:
    told = image.rule.describe()
    return told["low"], told["high"]


def xa(frames: np.ndarray = FRAMES, **attributes: object) -> Dataset:
    """A minimal XA object of 10 bits; pass None to leave an attribute out."""
    return xa_object(frames, 10, **attributes)


def write(path: Path, data: Dataset) -> Path:
    data.save_as(path, enforce_file_format=True)
    return path


def test_cine_frames_and_axes(tmp_path: Path) -> None:
    image = read_angiogram(write(tmp_path / "a.dcm", xa()))
    assert image.format == "dicom"
    assert image.frames == 3
    assert image.size == (60, 40)
    assert (pixels(image)[0, ..., 2] == FRAMES[2].T).all()


def test_one_frame_without_the_attribute(tmp_path: Path) -> None:
    assert read_angiogram(write(tmp_path / "a.dcm", xa(FRAMES[:1], NumberOfFrames=None))).frames == 1


def test_compressed(tmp_path: Path) -> None:
    data = xa()
    data.compress(RLELossless)
    assert (pixels(read_angiogram(write(tmp_path / "a", data)))[0, ..., 1] == FRAMES[1].T).all()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"WindowCenter": 100.5, "WindowWidth": 101}, (50.0, 150.0)),
        ({"WindowCenter": [100.5, 7], "WindowWidth": [101, 9]}, (50.0, 150.0)),
        ({"WindowCenter": 100.5, "WindowWidth": 101, "VOILUTFunction": "SIGMOID"}, (50.0, 151.0)),
        ({"WindowCenter": 100.5, "WindowWidth": 0}, None),
        ({}, None),
        ({"BitsStored": 8, "HighBit": 7}, (0.0, 255.0)),
    ],
)
def test_window(attributes: dict[str, object], expected: tuple[float, float] | None, tmp_path: Path) -> None:
    found = shown_range(read_angiogram(write(tmp_path / "a.dcm", xa(**attributes))))
    if expected is None:
        expected = tuple(np.percentile(FRAMES, (0.1, 99.9)))
    assert found == pytest.approx(expected)


def test_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    data = xa(RescaleSlope=2, RescaleIntercept=-10, RescaleType="US", WindowCenter=200.5, WindowWidth=101)
    image = read_angiogram(write(tmp_path / "a.dcm", data))
    assert shown_range(image) == (150, 250)
    assert np.allclose(image.grey(0), np.clip((2 * FRAMES[0].T.astype(float) - 10 - 150) / 100, 0, 1))


@pytest.mark.parametrize(
    ("attributes", "inverted"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PresentationLUTShape": "IDENTITY"}, False),
    ],
)
def test_inverse_presentation(attributes: dict[str, object], inverted: bool, tmp_path: Path) -> None:
    plain = read_angiogram(write(tmp_path / "p.dcm", xa())).grey(0)
    found = read_angiogram(write(tmp_path / "a.dcm", xa(**attributes))).grey(0)
    assert np.allclose(found, 1 - plain if inverted else plain)


def test_detector_spacing_is_not_patient_spacing(tmp_path: Path) -> None:
    image = read_angiogram(write(tmp_path / "a.dcm", xa(ImagerPixelSpacing=[0.3, 0.2], DistanceSourceToDetector=900)))
    assert np.diag(image.affine).tolist() == [-1, -1, 1, 1]  # unit axes of LPS, as in ITK and 3D Slicer
    assert image.header["ImagerPixelSpacing"] == [0.3, 0.2]
    assert image.header["DistanceSourceToDetector"] == 900
    stated = read_angiogram(write(tmp_path / "b.dcm", xa(PixelSpacing=[0.3, 0.2])))
    assert np.diag(stated.affine).tolist() == [-0.2, -0.3, 1, 1]


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"Modality": "CT"}, "modality is 'CT'"),
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": b"\0\0\0\0"}, "NumberOfFrames is 3, but the pixel data hold 4 bytes"),
    ],
)
def test_bad_objects(attributes: dict[str, object], text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", xa(**attributes))
    with pytest.raises(DataError, match=text) as error:
        read_angiogram(path).grey(0)
    assert str(path) in str(error.value)


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    data = xa(FRAMES[:1] % 256, BitsAllocated=16, BitsStored=8, HighBit=7, PhotometricInterpretation="PALETTE COLOR")
    inverse = np.arange(255, -1, -1).astype("<u2")
    for colour in ("Red", "Green", "Blue"):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data, f"{colour}PaletteColorLookupTableData", (inverse * 256).tobytes())
    image = read_angiogram(write(tmp_path / "a.dcm", data))
    assert image.samples == 3
    assert (np.diff(pixels(image)[0, :3, 0, 0].astype(int)) < 0).all()


def test_identity_rescale_changes_nothing(tmp_path: Path) -> None:
    data = xa(RescaleSlope=1, RescaleIntercept=0, BitsStored=8, HighBit=7)
    image = read_angiogram(write(tmp_path / "a.dcm", data))
    assert shown_range(image) == (0, 255)
    assert image.dtype.kind == "u"


def test_old_files_without_preamble_or_transfer_syntax(tmp_path: Path) -> None:
    data = xa()
    path = write(tmp_path / "a.dcm", data)
    bare = data.copy()
    del bare.file_meta
    pydicom.dcmwrite(tmp_path / "bare.dcm", bare, implicit_vr=True, little_endian=True)
    expected = pixels(read_angiogram(path))
    assert (pixels(read_angiogram(tmp_path / "bare.dcm")) == expected).all()


def test_a_broken_attribute_of_no_use_does_not_cost_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", xa(DistanceSourceToDetector="900"))
    raw = path.read_bytes()
    assert raw.count(b"900 ") == 1
    path.write_bytes(raw.replace(b"900 ", b"9x0 "))
    image = read_angiogram(path)
    assert image.frames == 3


def test_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", xa())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_angiogram(path).grey(0)


def test_real_files(real_data: Path) -> None:
    phantom = read_angiogram(real_data / "xa_dicom" / "phantom_16frames_spacing.dcm")
    assert (phantom.frames, phantom.size) == (16, (512, 512))
    assert phantom.header["ImagerPixelSpacing"] == pytest.approx([0.390625, 0.390625])
    path = real_data / "xa_dicom" / "cerebral_10bit_jpeg_lossless.dcm"
    cerebral = read_angiogram(path)
    assert (pixels(cerebral)[0, :, :, 0] == pydicom.dcmread(path).pixel_array.T).all()
    assert shown_range(cerebral)[1] < 1023
