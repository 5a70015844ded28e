"""Masks of kinds that programs write, and that must not be misread: transparency, polarity, long stacks."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casr_net.errors import DataError
from casr_net.files.masks import open_mask, read_mask

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "masks"


def vessel() -> np.ndarray:
    """bool (rows, columns), 17 pixels."""
    mask = np.zeros((24, 32), bool)
    mask[5, 3:20] = True
    return mask


def save(path: Path, *samples: np.ndarray | int) -> Path:
    planes = [np.broadcast_to(np.asarray(sample, np.uint8), (24, 32)) for sample in samples]
    Image.fromarray(np.stack(planes, axis=-1)).save(path)
    return path


WHITE = vessel().astype(np.uint8) * 255


@pytest.mark.parametrize(
    "samples",
    [(255, WHITE), (0, WHITE), (255, 255, 255, WHITE), (0, 0, 0, WHITE), (0, 0, 0, 255 - WHITE), (7, WHITE // 2)],
)
def test_content_in_the_transparency_only_is_refused(tmp_path: Path, samples: tuple) -> None:
    path = save(tmp_path / "a.png", *samples)
    with pytest.raises(DataError, match=rf"a\.png: every pixel is {samples[0]}; .*alpha channel.* Save the mask as a"):
        read_mask(path)


@pytest.mark.parametrize(
    "samples",
    [
        (WHITE, 255),
        (WHITE, WHITE, WHITE, 255),
        (WHITE, 0),  # a constant alpha says nothing; BMP files hold 0
        (WHITE, WHITE),  # the background is transparent, and black
        (WHITE, WHITE, WHITE, WHITE),
        (WHITE, 128 + WHITE // 2),
    ],
)
def test_grey_counts_where_transparency_does_not_contradict(tmp_path: Path, samples: tuple) -> None:
    found = read_mask(save(tmp_path / "a.png", *samples))
    assert np.array_equal(found[..., 0], vessel().T)


def test_transparent_white_is_refused(tmp_path: Path) -> None:
    alpha = np.full((24, 32), 255, np.uint8)
    alpha[5, 3:8] = 0
    with pytest.raises(DataError, match=r"a\.png: 5 of 17 white pixels are transparent"):
        read_mask(save(tmp_path / "a.png", WHITE, alpha))


def test_palette_with_a_transparent_background(tmp_path: Path) -> None:
    image = Image.fromarray(vessel().astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.png", transparency=0)
    assert np.array_equal(read_mask(tmp_path / "a.png")[..., 0], vessel().T)
    image.putpalette([255, 255, 255, 0, 0, 0])  # a palette means its colours: black vessels are background
    image.save(tmp_path / "b.png")
    assert np.array_equal(read_mask(tmp_path / "b.png")[..., 0], ~vessel().T)


def tiff(path: Path, values: np.ndarray, photometric: int) -> Path:
    """Uncompressed single-strip TIFF, little endian."""
    bits, pixels = values.dtype.itemsize * 8, values.tobytes()
    kind = 3 if values.dtype.kind == "f" else 1
    tags = [(256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8), (277, 3, 1), (278, 4, values.shape[0]), (279, 4, len(pixels)), (339, 3, kind)]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, t, 1, v) for tag, t, v in tags)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory + bytes(4))
    return path


@pytest.mark.parametrize(("kind", "white"), [("uint8", 255), ("uint16", 65535), ("uint16", 1), ("float32", 1)])
def test_white_is_zero(tmp_path: Path, kind: str, white: float) -> None:
    """PhotometricInterpretation 0: the vessel, which is shown white, is stored as 0."""
    stored = np.where(vessel(), 0, white).astype(kind)
    assert np.array_equal(read_mask(tiff(tmp_path / "a.tif", stored, 0))[..., 0], vessel().T)
    assert np.array_equal(read_mask(tiff(tmp_path / "b.tif", white - stored, 1))[..., 0], vessel().T)


@pytest.mark.skipif(not CASES.is_dir(), reason="the reported cases (shared/cases) are not on this machine")
def test_reported_cases() -> None:
    wanted = read_mask(CASES / "ref.png")
    assert np.array_equal(read_mask(CASES / "miniswhite16.tif"), wanted) and wanted.sum() == 8946
    for name in ("la_alpha", "rgba_black_alpha", "rgba_white_alpha"):
        with pytest.raises(DataError, match=rf"{name}\.png: every pixel is .* alpha channel"):
            read_mask(CASES / f"{name}.png")


def test_scale_is_that_of_all_frames(tmp_path: Path) -> None:
    """A frame with no value above 1 in a file of 0 to 255 is empty, not a label map."""
    frames = [Image.fromarray(plane) for plane in (WHITE, vessel().astype(np.uint8), 0 * WHITE)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert read_mask(tmp_path / "a.tif").sum(axis=(0, 1)).tolist() == [17, 0, 0]


@pytest.mark.parametrize("frames", [1, 3])
def test_an_angiogram_is_no_mask(tmp_path: Path, angiogram: np.ndarray, frames: int) -> None:
    pages = [Image.fromarray(angiogram)] * frames
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"a\.tif: a grey picture: \d+% of its pixels are neither black nor white"):
        read_mask(tmp_path / "a.tif")


def test_grey_edges_are_cut_at_half(tmp_path: Path) -> None:
    """Masks that were scaled, or saved as JPEG."""
    Image.fromarray(WHITE).resize((64, 48), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    assert 2 * 34 - 4 <= read_mask(tmp_path / "a.png").sum() <= 2 * 34 + 4
    Image.fromarray(WHITE.repeat(4, 0).repeat(4, 1)).save(tmp_path / "a.jpg", quality=50)
    assert abs(int(read_mask(tmp_path / "a.jpg").sum()) - 16 * 17) < 10


def test_header_tells_size_and_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(WHITE)] * 3
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    opened = open_mask(tmp_path / "a.tif")
    assert (opened.size, opened.frames, opened.affine, opened.numbers) == ((32, 24), 3, None, None)
    opened.close()
    opened.close()


def test_frames_of_a_long_stack_are_not_held(tmp_path: Path) -> None:
    count, side = 300, 256
    (tmp_path / "a.raw").write_bytes(np.tile(np.eye(side, dtype=np.uint8), (count, 1)).tobytes())
    (tmp_path / "a.nhdr").write_text(
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {side} {side} {count}\nkinds: domain domain list\n"
        "encoding: raw\ndata file: a.raw\n"
    )
    open_mask(tmp_path / "a.nhdr").close()  # imports
    tracemalloc.start()
    opened = open_mask(tmp_path / "a.nhdr")
    total = sum(int(opened.frame(index).sum()) for index in range(opened.frames))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    opened.close()
    assert total == count * side
    assert peak < 20 * side * side  # of 300
