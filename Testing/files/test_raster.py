"""PNG, JPEG, TIFF and BMP: values at every depth, previews and stacks, sizes checked by the header."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from casr_net.errors import DataError
from casr_net.files.frames import Opened, PlainFrames
from casr_net.files.raster import open_raster

COLUMNS, ROWS = 70, 40


@pytest.fixture
def grey() -> np.ndarray:
    """uint8 (rows, columns)."""
    return ((np.arange(COLUMNS)[None] * 3 + np.arange(ROWS)[:, None] * 7) % 256).astype(np.uint8)


def frames(opened: Opened) -> np.ndarray:
    """(samples, X, Y, frames)."""
    source = opened.source
    found = np.stack([source.frame(index) for index in range(source.count)], axis=-1)
    assert found.dtype == source.dtype and source.dtype.isnative
    assert found.shape == (source.samples, *source.size, source.count)
    return found


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_every_type(compression: str | None, dtype: str, order: str, grey: np.ndarray, tmp_path: Path) -> None:
    values = np.stack([grey // 2, grey // 3]).astype(dtype)
    for options in ({}, {"tile": (16, 16)}, {"rowsperstrip": 7}):
        for white_is_zero in (False, True):
            shown = "miniswhite" if white_is_zero else "minisblack"
            tifffile.imwrite(tmp_path / "a.tif", values, photometric=shown, compression=compression, byteorder=order,
                             metadata=None, **options)  # fmt: skip
            opened = open_raster(tmp_path / "a.tif")
            assert (frames(opened)[0] == values.transpose(2, 1, 0)).all()
            assert opened.inverted is white_is_zero
            assert opened.bits == (8 if dtype == "u1" else 0)


def test_white_is_zero_of_black_and_white_and_few_bits(grey: np.ndarray, tmp_path: Path) -> None:
    bilevel = Image.fromarray(grey > 128)
    for compression in ("raw", "packbits", "tiff_lzw", "group3", "group4", "tiff_adobe_deflate"):
        bilevel.save(tmp_path / "b.tif", compression=compression)
        plain = open_raster(tmp_path / "b.tif")
        bilevel.save(tmp_path / "w.tif", compression=compression, tiffinfo={262: 0})
        turned = open_raster(tmp_path / "w.tif")
        assert (frames(plain)[0, ..., 0] == np.where(grey.T > 128, 255, 0)).all() and not plain.inverted
        assert (255 - frames(turned)[0, ..., 0] == np.where(grey.T > 128, 255, 0)).all() and turned.inverted


def test_twelve_bits(tmp_path: Path) -> None:
    """Packed, two values in three bytes."""
    values = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)
    pairs = values.reshape(-1, 2).astype(int)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
    entries = [(256, COLUMNS), (257, ROWS), (258, 12), (259, 1), (262, 1), (273, 200), (277, 1), (278, ROWS),
               (279, packed.size)]  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    (tmp_path / "a.tif").write_bytes(head.ljust(200, b"\0") + packed.astype(np.uint8).tobytes())
    assert (frames(open_raster(tmp_path / "a.tif"))[0, ..., 0] == values.T).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_colours_and_alpha_keep_all_their_bits(dtype: type, samples: int, grey: np.ndarray, tmp_path: Path) -> None:
    values = np.stack([grey // (n + 1) for n in range(samples)], -1).astype(dtype) * (1 if dtype == np.uint8 else 13)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    expected = values.transpose(2, 1, 0)
    assert (frames(open_raster(tmp_path / "a.png"))[..., 0] == expected).all()
    extra = {"extrasamples": ["unassalpha"]} if samples != 3 else {}
    for compression in (None, "zlib"):
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if samples > 2 else "minisblack",
                         planarconfig="contig", compression=compression, **extra)  # fmt: skip
        assert (frames(open_raster(tmp_path / "a.tif"))[..., 0] == expected).all()
    if samples == 3:
        tifffile.imwrite(tmp_path / "s.tif", values.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
        assert (frames(open_raster(tmp_path / "s.tif"))[..., 0] == expected).all()


@pytest.mark.parametrize("factor", [1, 257])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_palettes_of_bytes_and_of_words(factor: int, compression: str | None, grey: np.ndarray, tmp_path: Path) -> None:
    """Tables have 16 bits by the standard; some programs write 8 into them."""
    table = np.tile(np.arange(255, -1, -1, dtype=np.uint16) * factor, (3, 1))
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="palette", colormap=table, compression=compression)
    opened = open_raster(tmp_path / "a.tif")
    assert (frames(opened)[..., 0] == 255 - grey.T).all() and opened.source.samples == 3 and opened.bits == 8


def test_cmyk_becomes_rgb(grey: np.ndarray, tmp_path: Path) -> None:
    colour = Image.fromarray(np.dstack([grey, grey // 2, grey // 3]))
    for ending in ("tif", "jpg"):
        colour.convert("CMYK").save(tmp_path / f"a.{ending}")
        found = frames(open_raster(tmp_path / f"a.{ending}"))[..., 0]
        assert found.shape[0] == 3 and np.abs(found[0].astype(int) - grey.T).mean() < 16


def test_an_orientation_that_is_no_number_counts_as_none(grey: np.ndarray, tmp_path: Path) -> None:
    entry = struct.pack("<HHI4s", 0x0112, 2, 4, b"abc")  # a text where the standard has a number
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    for name in ("a.png", "a.jpg"):
        Image.fromarray(grey).save(tmp_path / name, exif=exif, quality=100)
        assert open_raster(tmp_path / name).source.size == grey.shape[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int, grey: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(grey)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))).T
    deep = io.BytesIO()
    Image.fromarray(grey).save(deep, "PNG", exif=exif)
    image.save(tmp_path / "a.tif", exif=exif)
    image.save(tmp_path / "a.jpg", exif=exif, quality=100)
    for name in ("a.png", "a.tif", "a.jpg"):
        found = frames(open_raster(tmp_path / name))[0, ..., 0]
        assert found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= 1, name


def test_a_png_is_not_decoded_to_be_opened(grey: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(grey).save(tmp_path / "a.png")
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
        opened = open_raster(tmp_path / "a.png")
    assert (frames(opened)[0, ..., 0] == grey.T).all()


def test_a_jpeg_of_twelve_bits_is_refused_with_the_reason(tmp_path: Path) -> None:
    start = b"\xff\xd8\xff\xc1" + struct.pack(">HBHHB", 11, 12, ROWS, COLUMNS, 1) + b"\x01\x11\x00\xff\xda"
    (tmp_path / "a.jpg").write_bytes(start + bytes(50))
    with pytest.raises(DataError, match="a JPEG of more than 8 bits cannot be read; save it as PNG or TIFF"):
        open_raster(tmp_path / "a.jpg")


def stack(count: int, grey: np.ndarray) -> np.ndarray:
    """(frames, rows, columns), uint16."""
    return np.stack([grey.astype(np.uint16) * 16 + index for index in range(count)])


def test_stacks(grey: np.ndarray, tmp_path: Path) -> None:
    """Of pages, and behind one page: as tifffile writes with ``truncate``, and ImageJ large ones."""
    values = stack(5, grey)
    for options in ({}, {"truncate": True}, {"imagej": True}, {"bigtiff": True}, {"ome": True}, {"compression": "lzw"},
                    {"imagej": True, "truncate": True}, {"byteorder": ">", "truncate": True}):  # fmt: skip
        tifffile.imwrite(tmp_path / "a.tif", values, **options)
        opened = open_raster(tmp_path / "a.tif")
        assert (frames(opened)[0] == values.transpose(2, 1, 0)).all(), options
        if "truncate" in options:
            assert isinstance(opened.source, PlainFrames)
    colour = np.stack([grey, grey // 2, grey // 3], -1)[None].repeat(4, 0)
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb", truncate=True)
    assert (frames(open_raster(tmp_path / "c.tif")) == colour.transpose(3, 2, 1, 0)).all()


def test_a_stack_that_is_shorter_than_described(grey: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stack(5, grey), truncate=True)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: -2 * 2 * ROWS * COLUMNS])
    opened = open_raster(tmp_path / "a.tif")
    assert (frames(opened)[0] == stack(3, grey).transpose(2, 1, 0)).all()
    assert opened.warnings == ["its description states 5 frames, 3 are there"]


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("place", ["before", "behind"])
def test_previews_are_left_out(marked: bool, place: str, grey: np.ndarray, tmp_path: Path) -> None:
    small = np.dstack([grey[::4, ::4]] * 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        if place == "before":
            writer.write(small, photometric="rgb", subfiletype=int(marked), metadata=None)
        for index in range(2):
            writer.write(grey + np.uint8(index), photometric="minisblack", metadata=None, contiguous=False)
        if place == "behind":
            writer.write(small, photometric="rgb", subfiletype=int(marked), metadata=None)
    opened = open_raster(tmp_path / "a.tif")
    assert (frames(opened)[0] == np.stack([grey.T, grey.T + np.uint8(1)], -1)).all()
    assert opened.warnings == ["1 of its 3 pages are previews or masks and were left out"]


def test_the_second_picture_of_an_mpo_file_is_left_out(grey: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(grey)
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image.resize((32, 32))], quality=95)
    opened = open_raster(tmp_path / "a.jpg")
    assert np.abs(frames(opened)[0, ..., 0].astype(int) - grey.T).max() < 12
    assert opened.warnings == ["2 pictures in it; the first one was read"]


def test_pages_that_differ_are_refused(grey: np.ndarray, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(grey, metadata=None)
        writer.write(grey[:, :-4], metadata=None)
    with pytest.raises(DataError, match="2 pages differ in size"):
        open_raster(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(grey, metadata=None)
        writer.write(grey.astype(np.uint16), metadata=None)
    with pytest.raises(DataError, match="page 1 differs in samples or type"):
        open_raster(tmp_path / "b.tif").source.frame(1)


def header_only_png(columns: int, rows: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [5000, 20_000, 100_000])
def test_size_is_checked_by_the_header(side: int, grey: np.ndarray, tmp_path: Path) -> None:
    """Pillow would warn from 9459, and refuse from 13378 pixels a side on, for the whole process."""
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(header_only_png(side, side))
    tifffile.imwrite(tmp_path / "a.tif", grey, metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    tag = struct.pack("<HHII", 256, 4, 1, COLUMNS)
    assert tag in data
    (tmp_path / "a.tif").write_bytes(data.replace(tag, struct.pack("<HHII", 256, 4, 1, side)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.png", "a.tif"):
            with pytest.raises(DataError, match=f"{side} x .* pixels; an angiogram has 32 to 4096"):
                open_raster(tmp_path / name)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_small_file_of_many_large_pages_takes_one_page(tmp_path: Path) -> None:
    """192 MiB once decoded."""
    page = np.zeros((4096, 4096), np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(6):
            writer.write(page, compression="zlib", metadata=None, rowsperstrip=4096)
    assert (tmp_path / "a.tif").stat().st_size < 2**20
    tracemalloc.start()
    source = open_raster(tmp_path / "a.tif").source
    for index in (0, 5):
        source.frame(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.count == 6 and peak < 120 * 2**20


def test_a_strip_that_expands_beyond_its_page(grey: np.ndarray, tmp_path: Path) -> None:
    """A zlib stream of a gigabyte where the header states 2800 bytes."""
    tifffile.imwrite(tmp_path / "a.tif", grey, compression="zlib", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        offset, length = (file.pages[0].tags[name] for name in ("StripOffsets", "StripByteCounts"))
    struct.pack_into("<HHII", data, offset.offset, 273, 4, 1, len(data))
    struct.pack_into("<HHII", data, length.offset, 279, 4, 1, len(bomb))
    (tmp_path / "a.tif").write_bytes(bytes(data) + bomb)
    code = """if True:
        import sys
        from casr_net.errors import DataError
        from casr_net.files.raster import open_raster
        try:
            open_raster(sys.argv[1]).source.frame(0)
        except DataError as error:
            print("refused")
        print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    """
    if not Path("/proc/self/status").is_file():
        pytest.skip("memory is read from Linux's /proc")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.tif")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout.split()[-1]) < 200 * 1024


def test_a_long_tiff_is_read_page_by_page(tmp_path: Path) -> None:
    """1000 pages of which one is not black; the last is found as fast as the first."""
    page = np.zeros((256, 256), np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for index in range(1000):
            page[9, 7] = index
            writer.write(page, compression="zlib", metadata=None)
    source = open_raster(tmp_path / "a.tif").source
    assert source.count == 1000
    for index in (999, 0, 123):
        assert source.frame(index)[0, 7, 9] == index


def test_a_cut_off_stack_of_imagej_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (4, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    whole = (tmp_path / "a.tif").read_bytes()
    start = whole.index(stack[0].tobytes())
    (tmp_path / "a.tif").write_bytes(whole[: start + 2 * 40 * 50 + 700])  # in the third frame
    opened = open_raster(tmp_path / "a.tif")
    assert opened.source.count == 2
    assert all((opened.source.frame(index)[0] == stack[index].T).all() for index in range(2))
    assert any("4 frames" in line and "2 are there" in line for line in opened.warnings)


def lzw(codes: list[int], old: bool) -> bytes:
    """A stream of codes behind a Clear code each time that 256 stands there, without look at what they mean."""
    bits, size = "", 0
    for code in codes:
        width = next(w for w, most in ((9, 511), (10, 1023), (11, 2047), (12, 9999)) if size < most + old)
        word = format(code, f"0{width}b")
        bits += word[::-1] if old else word
        size = 0 if code == 256 else 258 if size == 0 else size + 1
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8][:: -1 if old else 1], 2) for i in range(0, len(bits), 8))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("length", [1, 254, 255, 256, 766, 767, 1790, 1791, 3000])
def test_a_stream_of_lzw_that_would_end_the_process_is_refused(tmp_path: Path, length: int, old: bool) -> None:
    """imagecodecs uses what was never written when no literal follows a Clear code."""
    begin = [256, 7, *[65] * (length - 1), 256, 256]
    rest = [*[67] * (64 * 64 - length - 1), 257]
    for last, refused in ((66, False), (258, True), (300, True), (511, True)):
        strip = iter([lzw([*begin, last, *rest], old)])
        kind = {"shape": (64, 64), "dtype": np.uint8, "compression": "lzw", "rowsperstrip": 64}
        tifffile.imwrite(tmp_path / "a.tif", strip, **kind)
        source = open_raster(tmp_path / "a.tif").source
        if refused:
            with pytest.raises(DataError, match=r"a\.tif: .*damaged or cut off \(LZW code outside its table\)"):
                source.frame(0)
        else:
            frame = source.frame(0)[0].T.ravel()
            assert frame[0] == 7 and (frame[1:length] == 65).all()
            assert frame[length] == 66 and (frame[length + 1 :] == 67).all()


def test_other_kinds_and_damaged_files_give_one_line(grey: np.ndarray, tmp_path: Path) -> None:
    rng, said = np.random.default_rng(3), list[str]()
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey).save(tmp_path / "b.jpg")
    Image.fromarray(grey).save(tmp_path / "c.bmp")
    tifffile.imwrite(tmp_path / "d.tif", stack(3, grey), compression="zlib")
    tifffile.imwrite(tmp_path / "e.tif", stack(3, grey), truncate=True)
    tifffile.imwrite(tmp_path / "f.tif", grey, compression="lzw", predictor=True)
    tifffile.imwrite(tmp_path / "g.tif", grey, compression="jpeg")
    contents = {"ps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n", "text.tif": b"hello", "none.png": b"\x89PNG\r\n\x1a\n"}
    for path in sorted(tmp_path.iterdir()):
        good = path.read_bytes()
        for number in range(40):
            data = bytearray(good)
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(min(len(data), 10**9 if number % 2 else 300))] = rng.integers(256)
            contents[f"{number}{path.name}"] = bytes(data) if number % 5 else bytes(data[: rng.integers(4, len(data))])
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        try:
            opened = open_raster(tmp_path / name)
            opened.source.frame(opened.source.count - 1)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 50 and all(line.isprintable() and str(tmp_path) in line for line in said)
