"""Frames of DICOM files: places, counts, bits, colours. Every value is compared with what was stored."""

from __future__ import annotations

import io
import itertools
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from makers.dicoms import cine, compressed, encode, encode_rle, items, write, xa
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from casr_net.errors import DataError
from casr_net.files.dicom_frames import DicomFrames, read_header
from casr_net.files.pixeldata import coded, header
from casr_net.files.pixeldata.rle import decode_rle
from casr_net.files.pixeldata.stored_bits import stored_bits

END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def opened(path: Path) -> DicomFrames:
    data, place = read_header(path)
    assert place is not None
    return DicomFrames(path, data, place)


def pixels(source: DicomFrames) -> np.ndarray:
    """(frames, rows, columns[, 3]), as makers.cine gives them."""
    stack = np.stack([source.frame(index) for index in range(source.count)]).transpose(0, 3, 2, 1)
    assert stack.dtype == source.dtype
    assert source.size == (stack.shape[2], stack.shape[1])
    return stack[..., 0] if source.samples == 1 else stack


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_transfer_syntaxes_without_compression(syntax: pydicom.uid.UID, bits: int, tmp_path: Path) -> None:
    frames = cine(3, 33, 45, bits)  # odd: a byte of padding, and frames that begin within a word
    data = xa(frames, bits)
    data.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        data.PixelData = frames.astype(frames.dtype.newbyteorder(">")).tobytes()
    source = opened(write(tmp_path / "a.dcm", data))
    assert (pixels(source) == frames).all()
    assert (source.bits, source.warnings) == (bits, [])


def test_a_transfer_syntax_that_is_none_is_named_and_an_empty_one_told_from_the_data(tmp_path: Path) -> None:
    frames = cine(2, 33, 45, 8)
    path = write(tmp_path / "a.dcm", xa(frames))
    whole, known = path.read_bytes(), b"1.2.840.10008.1.2.1\0"
    assert whole.count(known) == 1
    path.write_bytes(whole.replace(known, b"1.2.840.113619.5.22\0"))
    with pytest.raises(DataError, match=r"a\.dcm: its transfer syntax '1\.2\.840\.113619\.5\.22' is none"):
        opened(path)
    path.write_bytes(whole.replace(known, bytes(len(known))))
    assert (pixels(opened(path)) == frames).all()


def test_bytes_in_words_of_big_endian(tmp_path: Path) -> None:
    """8-bit pixels with VR OW: the bytes of each word change places (PS3.5 8.1.2)."""
    frames = cine(3, 33, 45, 8)
    data = xa(frames)
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = write(tmp_path / "a.dcm", data)
    raw = frames.tobytes() + b"\0"
    whole = path.read_bytes()
    at = whole.index(b"\x7f\xe0\x00\x10OB")
    swapped = np.frombuffer(raw, "<u2").byteswap().tobytes()
    path.write_bytes(whole[: at + 4] + b"OW" + whole[at + 6 : at + 12] + swapped)
    assert (pixels(opened(path)) == frames).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4"])
def test_types_of_pixels(dtype: str, tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12).astype(dtype) * (3 if dtype != "u1" else 1)
    if dtype.startswith("i"):
        frames -= 5000
    source = opened(write(tmp_path / "a.dcm", xa(frames)))
    assert source.dtype == np.dtype(dtype)
    assert (pixels(source) == frames).all()


def test_single_bits_follow_each_other_across_frames(tmp_path: Path) -> None:
    frames = cine(3, 33, 35, 8) > 120
    data = xa(frames.astype(np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0)
    data.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    data.PixelData += b"\0" * (len(data.PixelData) % 2)
    assert (pixels(opened(write(tmp_path / "a.dcm", data))) == frames).all()


def test_floating_point_pixels(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12) / np.float32(7)
    data = xa(cine(2, 40, 48, 12), PixelData=None)
    data.FloatPixelData = frames.astype("<f4").tobytes()
    for name in ("BitsAllocated", "BitsStored", "HighBit"):
        delattr(data, name)
    source = opened(write(tmp_path / "a.dcm", data))
    assert (source.dtype, source.bits) == (np.dtype("f4"), 0)
    assert (pixels(source) == frames).all()


@pytest.mark.parametrize("planar", [0, 1])
def test_colours(planar: int, tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 8, samples=3)
    data = xa(frames, PlanarConfiguration=planar)
    if planar:
        data.PixelData = np.moveaxis(frames, 3, 1).tobytes()
    source = opened(write(tmp_path / "a.dcm", data))
    assert source.photometric == "RGB"
    assert (pixels(source) == frames).all()


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_luminance_and_chroma_become_colours(photometric: str, tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.2: white and a red of Y 76, Cb 85, Cr 255."""
    frames = np.full((2, 40, 48, 3), (255, 128, 128), np.uint8)
    frames[1] = (76, 85, 255)
    data = xa(frames, PhotometricInterpretation=photometric)
    if photometric == "YBR_FULL_422":
        pairs = np.concatenate([frames[:, :, ::2, :1], frames[:, :, 1::2, :1], frames[:, :, ::2, 1:]], axis=3)
        data.PixelData = pairs.tobytes()
    found = pixels(opened(write(tmp_path / "a.dcm", data)))
    assert (found[0] == 255).all()
    assert abs(found[1].astype(int) - (254, 0, 0)).max() <= 1


def test_indices_of_a_palette_are_given_as_stored(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 8)
    source = opened(write(tmp_path / "a.dcm", xa(frames, PhotometricInterpretation="PALETTE COLOR")))
    assert (source.photometric, source.samples) == ("PALETTE COLOR", 1)
    assert (pixels(source) == frames).all()


def kinds() -> Iterator[tuple[str, int, int]]:
    yield from [("jpeg", 8, 1), ("jpeg", 8, 3), ("extended", 12, 1)]
    yield from itertools.product(("lossless", "jpegls", "jpeg2000", "rle"), (8, 12), (1, 3))
    yield from [("lossless", 16, 1), ("jpegls", 16, 1), ("jpeg2000", 16, 1), ("rle", 16, 1)]


@pytest.mark.parametrize(("kind", "bits", "samples"), kinds())
def test_compressed_frames(kind: str, bits: int, samples: int, tmp_path: Path) -> None:
    frames = cine(3, 41, 48, bits, samples)
    source = opened(write(tmp_path / "a.dcm", compressed(frames, kind, bits)))
    assert (source.count, source.samples, source.bits, source.warnings) == (3, samples, bits, [])
    assert source.dtype == frames.dtype
    off = abs(pixels(source).astype(int) - frames)
    if kind in ("jpeg", "extended"):
        assert off.mean() < (2 if samples == 1 else 6)  # chroma is stored coarsely
    else:
        assert off.max() == 0


def test_jpeg_of_12_bits() -> None:
    """Of pydicom's test files; the values are those that pydicom's own tests state."""
    path = Path(pydicom.data.get_testdata_file("JPGExtended.dcm", download=False))
    source = opened(path)
    frame = source.frame(0)[0].T
    assert (source.bits, frame[420, 140], frame[230, 120]) == (12, 244, 95)


@pytest.mark.parametrize("kind", ["lossless", "jpegls", "rle"])
def test_signed_values_in_compressed_frames(kind: str, tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12).astype(np.int16) - 2048
    data = compressed((frames & 0xFFF).astype(np.uint16), kind, 12, PixelRepresentation=1)
    source = opened(write(tmp_path / "a.dcm", data))
    assert source.dtype == np.int16
    assert (pixels(source) == frames).all()


def test_opening_reads_no_pixels_and_the_last_frame_costs_what_the_first_does(tmp_path: Path) -> None:
    frames = cine(1, 1024, 1024, 16)
    path = write(tmp_path / "a.dcm", xa(frames, NumberOfFrames=1500))
    raw = bytearray(path.read_bytes())
    at = len(raw) - frames.nbytes
    raw[at - 4 : at] = (1500 * frames.nbytes).to_bytes(4, "little")
    with open(path, "wb") as stream:  # a sparse file of 3 GB: only the last frame takes room on the disk
        stream.write(raw[:at])
        stream.seek(at + 1499 * frames.nbytes)
        stream.write(frames.tobytes())
    tracemalloc.start()
    began = time.perf_counter()
    source = opened(path)
    last = source.frame(1499)
    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (frames[0] == last[0].T).all()
    assert seconds < 1
    assert peak < 20 * 2**20
    assert not source.frame(0).any()


def test_threads_share_an_open_file(tmp_path: Path) -> None:
    frames = cine(8, 64, 64, 12)
    for data in (xa(frames, 12), compressed(frames, "lossless", 12)):
        source = opened(write(tmp_path / "a.dcm", data))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda index, source=source: source.frame(index % 8)[0].T, range(40)))
        assert all((frame == frames[index % 8]).all() for index, frame in enumerate(found))


STREAMS = [encode(frame, "jpeg") for frame in cine(3, 40, 48, 8)]
HALVES = [part for stream in STREAMS for part in (stream[:300], stream[300:])]
ITEM = [len(part) + len(part) % 2 + 8 for part in STREAMS]
HALF = [len(part) + len(part) % 2 + 8 for part in HALVES]


@pytest.mark.parametrize(
    ("streams", "table", "stated", "warning"),
    [
        (STREAMS, None, 3, ""),
        (STREAMS, [0, ITEM[0], ITEM[0] + ITEM[1]], 3, ""),
        (STREAMS, [8, ITEM[0] + 8, ITEM[0] + ITEM[1] + 8], 3, "offset table does not fit"),
        (STREAMS, [0], 3, "offset table does not fit"),
        (STREAMS, None, None, "NumberOfFrames is missing; the pixel data hold 3 frames"),
        (STREAMS, None, 1, "NumberOfFrames is 1, but the pixel data hold 3 frames"),
        (STREAMS, [0, ITEM[0], ITEM[0] + ITEM[1]], 2, "NumberOfFrames is 2, but the pixel data hold 3 frames"),
        (STREAMS, None, 7, "NumberOfFrames is 7, but the pixel data hold 3 frames"),
        (STREAMS, None, "0", "the pixel data hold 3 frames"),
        (HALVES, None, 3, ""),
        (HALVES, [0, sum(HALF[:2]), sum(HALF[:4])], 3, ""),
        (HALVES, [0, HALF[0], sum(HALF[:3])], 3, "offset table does not fit"),
        ([b"".join(STREAMS)], None, 3, ""),
        ([b"".join(STREAMS)], None, None, "NumberOfFrames is missing; the pixel data hold 3 frames"),
        ([b"".join(STREAMS)], [0], 1, "NumberOfFrames is 1, but the pixel data hold 3 frames"),
        ([b"".join(STREAMS)], None, 5, "NumberOfFrames is 5, but the pixel data hold 3 frames"),
    ],
)
def test_frames_are_told_apart(
    streams: list[bytes], table: list[int] | None, stated: object, warning: str, tmp_path: Path
) -> None:
    frames = cine(3, 40, 48, 8)
    data = compressed(frames, "jpeg", 8, table, streams, NumberOfFrames=stated)
    source = opened(write(tmp_path / "a.dcm", data))
    assert source.count == 3
    assert abs(pixels(source).astype(int) - frames).mean() < 2
    assert all(warning in line for line in source.warnings) and bool(warning) == bool(source.warnings)


def test_extended_offset_table(tmp_path: Path) -> None:
    data = compressed(cine(3, 40, 48, 8), "jpeg", 8, streams=HALVES)
    table = np.array([0, sum(HALF[:2]), sum(HALF[:4])], "<u8")
    data.ExtendedOffsetTable = table.tobytes()
    data.ExtendedOffsetTableLengths = np.array([sum(HALF[i : i + 2]) for i in (0, 2, 4)], "<u8").tobytes()
    source = opened(write(tmp_path / "a.dcm", data))
    assert (source.count, source.warnings) == (3, [])
    assert abs(pixels(source).astype(int) - cine(3, 40, 48, 8)).mean() < 2


def test_rle_frames_of_several_fragments(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12)
    parts = [part for frame in frames for stream in [encode_rle(frame)] for part in (stream[:1000], stream[1000:])]
    for stated in (2, None):
        data = compressed(frames, "rle", 12, streams=parts, NumberOfFrames=stated)
        assert (pixels(opened(write(tmp_path / "a.dcm", data))) == frames).all()


def test_a_damaged_frame_does_not_take_the_others_along(tmp_path: Path) -> None:
    streams = [STREAMS[0], b"\0" * 4 + STREAMS[1][4:], STREAMS[2]]
    source = opened(write(tmp_path / "a.dcm", compressed(cine(3, 40, 48, 8), "jpeg", 8, streams=streams)))
    assert source.count == 3
    with pytest.raises(DataError, match=r"a\.dcm: frame 2 of 3 cannot be decoded: no JPEG .* begins"):
        source.frame(1)
    assert source.frame(2).shape == (1, 48, 40)


@pytest.mark.parametrize(
    ("stated", "kept", "count", "warning"),
    [
        (None, 3, 3, "NumberOfFrames is missing, but the pixel data hold 3 frames"),
        (2, 3, 3, "NumberOfFrames is 2, but the pixel data hold 3 frames"),
        (7, 3, 3, "NumberOfFrames is 7, but the pixel data hold 3 frames"),
        (2, 2.5, 2, "bytes follow the last frame"),
        (1, 1, 1, ""),
    ],
)
def test_number_of_native_frames(stated: object, kept: float, count: int, warning: str, tmp_path: Path) -> None:
    frames = cine(3, 40, 48, 12)
    data = xa(frames, 12, NumberOfFrames=stated)
    data.PixelData = data.PixelData[: int(kept * frames[0].nbytes)]
    source = opened(write(tmp_path / "a.dcm", data))
    assert (pixels(source) == frames[:count]).all()
    assert all(warning in line for line in source.warnings) and bool(warning) == bool(source.warnings)


def test_frames_that_cannot_be_told(tmp_path: Path) -> None:
    data = xa(cine(3, 40, 48, 12), 12, NumberOfFrames=4)
    data.PixelData = data.PixelData[:-1000]
    with pytest.raises(DataError, match=r"NumberOfFrames is 4, but .* hold 10520 bytes, which are 2\.74 frames"):
        opened(write(tmp_path / "a.dcm", data))
    data = compressed(cine(3, 40, 48, 8), "jpeg", 8, streams=[b"\1\2\3\4"] * 3, NumberOfFrames=2)
    with pytest.raises(DataError, match="NumberOfFrames is 2, but its pixel data have 3 parts"):
        opened(write(tmp_path / "a.dcm", data))


def words(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint16)


@pytest.mark.parametrize(
    ("stored", "attributes", "expected", "warning"),
    [
        ("left", {"HighBit": 15}, 0, "shifted down by 4 bits"),
        ("left with noise", {"HighBit": 15}, 0, "shifted down by 4 bits"),
        ("right", {"HighBit": 15}, 0, "lie in the low 12 bits"),
        ("right", {"HighBit": 7}, 0, "HighBit 7 contradicts BitsStored 12"),
        ("right", {"HighBit": 40}, 0, "HighBit is 40 in words of 16 bits"),
        ("right", {"BitsStored": 10, "HighBit": 9}, 0, "BitsStored is 10, but the values use 12 bits"),
        ("right", {"BitsStored": 77, "HighBit": 76}, 0, "BitsStored is 77 in words of 16 bits"),
        ("right", {"HighBit": None}, 0, ""),
        ("overlay", {"HighBit": 11}, 0, ""),
        ("signed low", {"PixelRepresentation": 1}, -2048, ""),
        ("signed", {"PixelRepresentation": 1}, -2048, ""),
        ("signed", {"PixelRepresentation": 1, "BitsStored": 10, "HighBit": 9}, -2048, "the values use 12 bits"),
        ("signed left", {"PixelRepresentation": 1, "HighBit": 15}, -2048, "shifted down by 4 bits"),
    ],
)
def test_where_the_bits_of_values_lie(
    stored: str, attributes: dict[str, object], expected: int, warning: str, tmp_path: Path
) -> None:
    frames = cine(3, 40, 48, 12).astype(int)
    written = {
        "left": words(frames << 4),
        "left with noise": words((frames << 4) + frames % 13),
        "right": words(frames),
        "overlay": words(frames + (frames % 2 << 14)),
        "signed low": words((frames - 2048) & 0xFFF),
        "signed": words((frames - 2048) & 0xFFFF),
        "signed left": words((frames - 2048) << 4 & 0xFFFF),
    }[stored]
    data = xa(written, 12, **attributes)
    if stored == "overlay":
        for element, value in ((0x0100, 16), (0x0102, 14)):
            data.add_new((0x6000, element), "US", value)
    source = opened(write(tmp_path / "a.dcm", data))
    assert (pixels(source) == frames + expected).all()
    assert all(warning in line for line in source.warnings) and bool(warning) == bool(source.warnings)


def test_bits_are_decided_by_the_header_where_no_frame_can_be_read() -> None:
    found, warnings = stored_bits(12, 15, False, False, [], 16)
    assert (found.shift, found.bits, len(warnings)) == (4, 12, 1)


def test_left_justified_values_in_compressed_frames(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12)
    data = compressed(frames << 4, "jpegls", 16, BitsStored=12, HighBit=15)
    assert (pixels(opened(write(tmp_path / "a.dcm", data))) == frames).all()


def test_pictures_say_whether_they_are_colours(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 8, samples=3)
    data = compressed(frames, "jpeg", 8, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    source = opened(write(tmp_path / "a.dcm", data))
    assert (source.samples, source.photometric) == (3, "RGB")
    assert "but the JPEG pictures are colours" in source.warnings[0]
    assert abs(pixels(source).astype(int) - frames).mean() < 6  # chroma is stored coarsely
    data = compressed(frames, "rle", 8, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    source = opened(write(tmp_path / "a.dcm", data))
    assert (pixels(source) == frames).all()
    assert "but the RLE pictures are colours" in source.warnings[0]
    grey = compressed(cine(2, 40, 48, 8), "jpeg", 8, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422")
    source = opened(write(tmp_path / "b.dcm", grey))
    assert (source.samples, source.photometric) == (1, "MONOCHROME2")
    assert abs(pixels(source).astype(int) - cine(2, 40, 48, 8)).mean() < 2


def test_colours_of_jpeg_are_coded_as_its_markers_say_and_else_as_the_header_does(tmp_path: Path) -> None:
    frames = cine(1, 40, 48, 8, samples=3)
    stream = io.BytesIO()
    Image.fromarray(frames[0]).save(stream, "JPEG", quality=95, keep_rgb=True)
    named = stream.getvalue()  # components are RGB, and called R, G and B
    bare = named.replace(b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\0", b"").replace(
        b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0"
    )
    bare = bare.replace(b"\x03R\0G\0B\0\0\x3f\0", b"\x03\1\0\2\0\3\0\0\x3f\0")
    assert len(named) - len(bare) == 16 and b"R\0G\0" not in bare
    marked = encode(frames[0], "jpeg")  # YCbCr, with JFIF's marker
    for picture, photometric in ((named, "YBR_FULL_422"), (bare, "RGB"), (marked, "RGB"), (marked, "YBR_FULL_422")):
        data = compressed(frames, "jpeg", 8, streams=[picture], PhotometricInterpretation=photometric)
        found = pixels(opened(write(tmp_path / "a.dcm", data)))
        assert abs(found.astype(int) - frames).mean() < 6, photometric


def test_pictures_of_another_size_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coded, "decode_stream", None)
    path = write(tmp_path / "a.dcm", compressed(cine(2, 40, 48, 8), "jpeg", 8, Rows=41))
    with pytest.raises(DataError, match="JPEG stream has 48 x 40 pixels, but Columns and Rows are 48 x 41"):
        opened(path)


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"Rows": 5000}, "48 x 5000 pixels"),
        ({"Rows": 0}, "48 x 0 pixels"),
        ({"Rows": None}, "attribute Rows is missing"),
        ({"NumberOfFrames": 30000}, "pixel data hold 7680 bytes|30000"),
        ({"BitsAllocated": 12}, "BitsAllocated is 12; 1, 8, 16 and 32 are read"),
        ({"SamplesPerPixel": 4}, "SamplesPerPixel is 4"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_PARTIAL_420"}, "YBR_PARTIAL_420"),
    ],
)
def test_what_cannot_be_is_refused_by_the_header(attributes: dict[str, object], text: str, tmp_path: Path) -> None:
    data = xa(cine(2, 40, 48, 12)[:, :, :], 12, **attributes)
    if attributes.get("NumberOfFrames"):
        data.PixelData = data.PixelData[:-3000]
    with pytest.raises(DataError, match=text) as error:
        opened(write(tmp_path / "a.dcm", data))
    assert str(error.value).startswith(f"{tmp_path / 'a.dcm'}: ")


def test_unsupported_syntaxes_are_named(tmp_path: Path) -> None:
    data = compressed(cine(2, 40, 48, 8), "jpeg", 8, streams=[b"\0\0\1\xb3" + b"\1" * 96] * 2)
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.10008.1.2.4.100")
    with pytest.raises(DataError, match=r"transfer syntax 'MPEG2 .*' is not supported; convert"):
        opened(write(tmp_path / "a.dcm", data))


def test_compressed_frames_in_a_file_that_calls_them_plain(tmp_path: Path) -> None:
    """The transfer syntax was lost, as in objects without file meta information."""
    frames = cine(2, 40, 48, 12)
    path = write(tmp_path / "a.dcm", compressed(frames, "lossless", 12))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.1\0\0\0"))
    source = opened(path)
    assert (pixels(source) == frames).all()
    assert "the pixels are JPEG Lossless" in source.warnings[0]


def test_plain_frames_in_a_file_that_calls_them_compressed(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12)
    path = write(tmp_path / "a.dcm", xa(frames, 12))
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    source = opened(path)
    assert (pixels(source) == frames).all()
    assert "the pixels are not compressed" in source.warnings[0]


@pytest.mark.parametrize("end", [505, 1000, -1, -3000])
@pytest.mark.parametrize("kind", ["native", "lossless"])
def test_files_that_are_cut_off(kind: str, end: int, tmp_path: Path) -> None:
    frames = cine(3, 64, 72, 12)
    path = write(tmp_path / "a.dcm", xa(frames, 12) if kind == "native" else compressed(frames, kind, 12))
    path.write_bytes(path.read_bytes()[: end if kind == "native" or end != -1 else -9])
    with pytest.raises(DataError, match=r"a\.dcm: the file is cut off"):
        opened(path)


def test_files_without_preamble(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12)
    data = xa(frames, 12)
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole = write(tmp_path / "a.dcm", data).read_bytes()
    bare = tmp_path / "bare"
    bare.write_bytes(whole[whole.index(b"\x08\x00\x16\x00") :])
    found, place = read_header(bare)
    assert found.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert place is not None and place.length == frames.nbytes
    assert (pixels(opened(bare)) == frames).all()


def test_what_is_no_dicom_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError, match=r"not a DICOM file|header is damaged"):
        read_header(path)
    with pytest.raises(DataError, match="no such file"):
        read_header(tmp_path / "b")


def test_an_object_without_pixels_has_no_place_for_them(tmp_path: Path) -> None:
    data = xa(cine(1), 12)
    path = write(tmp_path / "a.dcm", data)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\xe0\x7f\x10\x00")])
    assert read_header(path)[1] is None


def test_values_of_damaged_headers_are_shown_on_one_printable_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", xa(cine(1), 12, NumberOfFrames=12345678))
    path.write_bytes(path.read_bytes().replace(b"12345678", b"\x1b[2J\n\x07\x00\xff"))
    source = opened(path)
    assert source.warnings == [r"NumberOfFrames is '\x1b[2J\n\x07\x00ÿ', no number"]
    assert source.count == 1


def test_a_deflated_file_cannot_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "a"
    engine = zlib.compressobj(wbits=-15)
    path.write_bytes(b"head" + engine.compress(bytes(2**22)) + engine.flush())
    with open(tmp_path / "b", "wb") as stream, pytest.raises(DataError, match="holds more than"):
        header.inflated(path, 4, 2**20, stream)
    assert (tmp_path / "b").stat().st_size <= 2**20


def test_rle_runs_may_go_on_across_rows() -> None:
    frame = np.full((40, 48), 7, np.uint8)
    plane = bytes([129, 7]) * (40 * 48 // 128)
    stream = np.array([1, 64, *[0] * 14], "<u4").tobytes() + plane
    assert (decode_rle(stream, (48, 40), 1, 1)[..., 0] == frame).all()


def test_items_without_their_end_are_enough_when_all_frames_are_there(tmp_path: Path) -> None:
    frames = cine(2, 40, 48, 12)
    path = write(tmp_path / "a.dcm", compressed(frames, "rle", 12))
    whole = path.read_bytes()
    assert whole.endswith(END)
    path.write_bytes(whole.removesuffix(END))
    assert (pixels(opened(path)) == frames).all()


def test_real_files_have_the_pixels_that_pydicom_finds(real_data: Path) -> None:
    for path in sorted((real_data / "xa_dicom").glob("*.dcm")):
        source = opened(path)
        expected = pydicom.dcmread(path).pixel_array
        assert (pixels(source) == expected.reshape(source.count, *expected.shape[-2:])).all()


def test_headers_keep_their_values(tmp_path: Path) -> None:
    data: Dataset = read_header(write(tmp_path / "a.dcm", xa(cine(1), 12, PositionerPrimaryAngle="-30.5")))[0]
    assert float(data.PositionerPrimaryAngle) == -30.5
    assert "PixelData" not in data
    assert items([b"ab"])[:8] == b"\xfe\xff\x00\xe0\0\0\0\0"


@pytest.mark.parametrize("stated", [2, 3, 5, 6])
def test_frames_of_several_fragments_are_told_whatever_the_header_states(stated: int, tmp_path: Path) -> None:
    halves = [part for stream in STREAMS for part in (stream[: len(stream) // 4 * 2], stream[len(stream) // 4 * 2 :])]
    path = write(tmp_path / "a.dcm", compressed(cine(3, 40, 48, 8), "jpeg", 8, streams=halves, NumberOfFrames=stated))
    source = opened(path)
    assert source.count == 3
    assert bool(source.warnings) == (stated != 3)
    assert all(source.frame(index).shape == (1, 48, 40) for index in range(3))
