from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import nrrd
import numpy as np
import pytest
from monai.transforms import LoadImaged
from PIL import Image

from casr_net.errors import DataError
from casr_net.files.images import Angiogram, read_angiogram
from casr_net.files.kinds import is_image
from casr_net.files.readers import AngiogramReader

COLUMNS, ROWS = 70, 40


@pytest.fixture
def grey() -> np.ndarray:
    """uint8 (rows, columns), different everywhere along a row."""
    return (np.arange(COLUMNS)[None] * 3 + np.arange(ROWS)[:, None]).astype(np.uint8)


def pixels(image: Angiogram) -> np.ndarray:
    """(samples, X, Y, frames)."""
    return np.stack([image.stored(index) for index in range(image.frames)], axis=-1)


def shown_range(image: Angiogram) -> tuple[float, float]:
    told = image.rule.describe()
    return told["low"], told["high"]


def save(path: Path, array: np.ndarray, **kwargs: object) -> Path:
    Image.fromarray(array).save(path, **kwargs)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "TIFF", "PNG"])
def test_raster_files_give_columns_first(ending: str, tmp_path: Path, grey: np.ndarray) -> None:
    image = read_angiogram(save(tmp_path / f"a.{ending}", grey))
    assert image.size == (COLUMNS, ROWS)
    assert image.frames == 1
    assert (pixels(image)[0, :, :, 0] == grey.T).all()
    assert shown_range(image) == (0, 255)


def test_jpeg(tmp_path: Path, grey: np.ndarray) -> None:
    image = read_angiogram(save(tmp_path / "a.jpg", grey, quality=95))
    assert np.abs(pixels(image)[0, :, :, 0].astype(int) - grey.T).max() < 8


def test_colour_palette_and_bilevel(tmp_path: Path, grey: np.ndarray) -> None:
    rgba = np.dstack([grey, grey // 2, grey // 3, np.full_like(grey, 9)])
    assert (pixels(read_angiogram(save(tmp_path / "rgba.png", rgba)))[..., 0] == rgba.transpose(2, 1, 0)).all()
    palette = Image.fromarray(grey).convert("P")
    palette.save(tmp_path / "p.png")
    expected = np.asarray(palette.convert("RGB")).transpose(2, 1, 0)
    assert (pixels(read_angiogram(tmp_path / "p.png"))[..., 0] == expected).all()
    Image.fromarray(grey).point(lambda v: 255 * (v > 80), "1").save(tmp_path / "b.png")
    assert set(np.unique(pixels(read_angiogram(tmp_path / "b.png")))) == {0, 255}


def test_sixteen_bit_is_scaled_by_percentiles(tmp_path: Path, grey: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), grey.astype(np.uint16) * 16 + 1000)
    image = read_angiogram(tmp_path / "a.png")
    assert pixels(image).dtype == np.uint16
    low, high = shown_range(image)
    assert 1000 <= low < high <= 1000 + 16 * 255


def test_multi_page_tiff_is_a_cine(tmp_path: Path, grey: np.ndarray) -> None:
    pages = [Image.fromarray(grey + i) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    image = read_angiogram(tmp_path / "a.tif")
    assert image.frames == 3
    assert (pixels(image)[0, ..., 2] == (grey + 2).T).all()


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_nifti_slice_keeps_its_affine(ending: str, tmp_path: Path, grey: np.ndarray) -> None:
    affine = np.array([[-0.3, 0, 0, 5], [0, -0.4, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(grey.T[:, :, None], affine), tmp_path / f"a.{ending}")
    image = read_angiogram(tmp_path / f"a.{ending}")
    assert (pixels(image)[0, :, :, 0] == grey.T).all()
    assert np.allclose(image.affine, affine)


def test_nifti_time_is_the_fourth_axis(tmp_path: Path, grey: np.ndarray) -> None:
    stack = np.stack([grey.T, grey.T + 1], axis=-1)[:, :, None, :]
    nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), tmp_path / "a.nii")
    assert (pixels(read_angiogram(tmp_path / "a.nii"))[0] == stack[:, :, 0]).all()


def test_nrrd_slice_and_cine(tmp_path: Path, grey: np.ndarray) -> None:
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([0.3, 0.4, 1.0]),
        "space origin": [1, 2, 3],
    }
    nrrd.write(str(tmp_path / "s.nrrd"), grey.T[..., None], header)
    image = read_angiogram(tmp_path / "s.nrrd")
    assert (pixels(image)[0, :, :, 0] == grey.T).all()
    assert np.allclose(image.affine, [[-0.3, 0, 0, -1], [0, -0.4, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1]])
    cine = np.stack([grey.T, grey.T + 1], axis=-1)
    nrrd.write(str(tmp_path / "c.nrrd"), cine, {"kinds": ["domain", "domain", "list"]})
    assert (pixels(read_angiogram(tmp_path / "c.nrrd"))[0] == cine).all()
    listed_first = np.moveaxis(cine, -1, 0)
    nrrd.write(str(tmp_path / "l.nrrd"), listed_first, {"kinds": ["list", "domain", "domain"]})
    assert (pixels(read_angiogram(tmp_path / "l.nrrd"))[0] == cine).all()
    nrrd.write(str(tmp_path / "p.nrrd"), grey.T, {"spacings": [0.5, 0.6]})
    assert np.allclose(np.diag(read_angiogram(tmp_path / "p.nrrd").affine), [-0.5, -0.6, 1, 1])


@pytest.mark.parametrize(
    ("space", "signs"),
    [("LPS", (-1, -1)), ("left-posterior-superior", (-1, -1)), ("RAS", (1, 1)), ("right-anterior-superior", (1, 1)),
     ("left-anterior-superior", (-1, 1)), (None, (-1, -1))],
)  # fmt: skip
def test_nrrd_spaces(space: str | None, signs: tuple[int, int], tmp_path: Path, grey: np.ndarray) -> None:
    header: dict[str, object] = {"space directions": np.diag([0.3, 0.4, 1.0]), "space origin": [1, 2, 3]}
    header |= {"space": space} if space else {"space dimension": 3}
    nrrd.write(str(tmp_path / "s.nrrd"), grey.T[..., None], header)
    affine = read_angiogram(tmp_path / "s.nrrd").affine
    assert np.allclose(affine[:2], [[0.3 * signs[0], 0, 0, signs[0]], [0, 0.4 * signs[1], 0, 2 * signs[1]]])


def test_nrrd_with_its_single_axis_first(tmp_path: Path, grey: np.ndarray) -> None:
    header = {"space": "RAS", "space directions": np.diag([9.0, 0.3, 0.4]), "space origin": [0, 0, 0]}
    nrrd.write(str(tmp_path / "s.nrrd"), grey.T[None], header)
    image = read_angiogram(tmp_path / "s.nrrd")
    assert (pixels(image)[0, :, :, 0] == grey.T).all()
    assert np.allclose(image.affine[:3, :3], [[0, 0, 9], [0.3, 0, 0], [0, 0.4, 0]])


def test_files_without_geometry_lie_as_in_itk(tmp_path: Path, grey: np.ndarray) -> None:
    """ITK and 3D Slicer give a PNG unit axes of LPS; a mask must come out on top of its image."""
    assert np.diag(read_angiogram(save(tmp_path / "a.png", grey)).affine).tolist() == [-1, -1, 1, 1]


def test_foreign_byte_order(tmp_path: Path, grey: np.ndarray) -> None:
    image = nibabel.Nifti1Image(grey.T.astype(">u2"), np.eye(4))
    image.header.set_data_dtype(">u2")
    big = nibabel.Nifti1Image(grey.T.astype(">u2"), np.eye(4), image.header.as_byteswapped(">"))
    nibabel.save(big, tmp_path / "a.nii")
    found = pixels(read_angiogram(tmp_path / "a.nii"))
    assert found.dtype.isnative
    assert (found[0, :, :, 0] == grey.T).all()


def test_reader_serves_load_image(tmp_path: Path, grey: np.ndarray) -> None:
    save(tmp_path / "a.png", grey)
    load = LoadImaged("image", reader="casr_net.files.AngiogramReader", image_only=True, ensure_channel_first=True)
    image = load({"image": str(tmp_path / "a.png")})["image"]
    assert image.shape == (1, COLUMNS, ROWS)
    assert np.allclose(image[0], grey.T / 255)
    assert AngiogramReader().verify_suffix([tmp_path / "a.png"])
    assert not AngiogramReader().verify_suffix(tmp_path / "notes.txt")


def test_images_are_known_by_ending_or_dicom_marker(tmp_path: Path) -> None:
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "1.2.840.10008").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "Makefile").write_bytes(b"all:")
    assert is_image(tmp_path / "IM0001")
    assert is_image(tmp_path / "1.2.840.10008")
    assert not is_image(tmp_path / "Makefile")
    assert not is_image(tmp_path / "readme.md")
    assert not is_image(tmp_path / "missing")


def volume(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((40, 40, 7)).astype(np.float32), np.eye(4)), path)


def with_nan(path: Path) -> None:
    array = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    array[3, :5] = np.nan
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    save(path, noise)
    path.write_bytes(path.read_bytes()[:9000])


def pages_of_two_sizes(path: Path) -> None:
    first, second = (Image.fromarray(np.random.default_rng(0).integers(0, 255, (n, 64), np.uint8)) for n in (64, 48))
    first.save(path, save_all=True, append_images=[second])


BAD = {
    "empty.png": (lambda p: p.write_bytes(b""), r"empty \(0 bytes\)"),
    "corrupt.png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n garbage"), "the file is damaged"),
    "truncated.png": (truncated, "the file is damaged"),
    "corrupt.dcm": (lambda p: p.write_bytes(b"no DICOM at all"), "no DICM marker"),
    "corrupt.nii": (lambda p: p.write_bytes(b"x" * 400), "no NIfTI header in it"),
    "corrupt.nrrd": (lambda p: p.write_bytes(b"NRRD0004\ntype: what\n\n"), "NRRD header has no field .sizes."),
    "one.png": (lambda p: save(p, np.zeros((1, 1), np.uint8)), "1 x 1 pixels; an angiogram has 32 to 4096"),
    "flat.png": (lambda p: save(p, np.full((64, 64), 7, np.uint8)), "constant image, every pixel is 7"),
    "huge.png": (
        lambda p: save(p, np.zeros((8000, 8000), np.uint8)),
        "8000 x 8000 pixels; an angiogram has 32 to 4096",
    ),
    "volume.nii": (volume, "a volume of 40 x 40 x 7"),
    "volume.nrrd": (lambda p: nrrd.write(str(p), np.zeros((40, 40, 7))), "a volume of 40 x 40 x 7"),
    "nan.nii": (with_nan, "5 of 1600 pixel values are not finite"),
    "pages.tif": (pages_of_two_sizes, "2 pages differ in size"),
    "notes.txt": (lambda p: p.write_text("hello"), "not a supported image"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_line_that_names_them(name: str, tmp_path: Path) -> None:
    make, text = BAD[name]
    make(tmp_path / name)
    with pytest.raises(DataError, match=text) as error:
        read_angiogram(tmp_path / name).grey(0)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_angiogram(tmp_path / "none.png")


def test_a_changed_file_is_read_again(tmp_path: Path, grey: np.ndarray) -> None:
    path = save(tmp_path / "a.png", grey)
    first = read_angiogram(path)
    assert read_angiogram(path) is first
    save(path, grey[:, ::2])
    assert read_angiogram(path).size == (COLUMNS // 2, ROWS)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_what_is_refused_is_not_read_by_other_readers(tmp_path: Path, kind: str) -> None:
    """MONAI's LoadImage tries its own readers after an error: a volume would be taken for an angiogram."""
    import nrrd
    from monai.transforms import LoadImage

    from casr_net.files.readers import MaskReader

    volume = np.random.default_rng(0).integers(0, 4, (64, 64, 3)).astype(np.uint8)
    nrrd.write(str(tmp_path / "volume.nrrd"), volume, {"kinds": ["domain"] * 3})
    reader = AngiogramReader if kind == "image" else MaskReader
    with pytest.raises(DataError, match="a volume of 64 x 64 x 3"):
        LoadImage(reader=reader, image_only=True)(tmp_path / "volume.nrrd")
    if kind == "mask":
        nrrd.write(str(tmp_path / "three.nrrd"), volume[..., 0], {"kinds": ["domain"] * 2})
        with pytest.raises(DataError, match="the largest value is 3"):
            LoadImage(reader=reader, image_only=True)(tmp_path / "three.nrrd")
