"""NRRD, MetaImage and NIfTI: pixels against SimpleITK, pynrrd and nibabel; geometry that is damaged; large files."""

from __future__ import annotations

import bz2
import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK

from casr_net.errors import DataError
from casr_net.files.frames import Opened
from casr_net.files.geometry import LPS_TO_RAS, usable_affine
from casr_net.files.maps import write_map
from casr_net.files.volumes import open_volume

COLUMNS, ROWS, FRAMES = 50, 40, 5
LPS = np.diag([-1.0, -1, 1, 1])
AFFINE = np.array([[-0.3, 0, 0, 5], [0, -0.4, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def cine() -> np.ndarray:
    """int16 (X, Y, frames), different everywhere."""
    return np.random.default_rng(0).permutation(COLUMNS * ROWS * FRAMES).reshape(COLUMNS, ROWS, FRAMES).astype(np.int16)


def frames(opened: Opened) -> np.ndarray:
    """(samples, X, Y, frames)."""
    source = opened.source
    found = np.stack([source.frame(index) for index in range(source.count)], axis=-1)
    assert found.dtype == source.dtype and source.dtype.isnative
    assert found.shape == (source.samples, *source.size, source.count)
    return found


def nrrd_file(path: Path, array: np.ndarray, lines: list[str], encoding: str = "raw") -> Path:
    """``array`` with its fastest axis first."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress,
        "ascii": lambda data: " ".join(map(str, array.ravel("F"))).encode(),
        "hex": lambda data: data.hex().encode(),
    }  # fmt: skip
    types = {"|u1": "uint8", "<i2": "int16", ">i2": "int16", "<u2": "uint16", "<f4": "float"}
    order = "big" if array.dtype.byteorder == ">" else "little"
    head = ["NRRD0005", f"type: {types[array.dtype.str]}", f"dimension: {array.ndim}", f"endian: {order}",
            f"sizes: {' '.join(map(str, array.shape))}", f"encoding: {encoding}", *lines]  # fmt: skip
    path.write_bytes("\n".join(head).encode() + b"\n\n" + packers[encoding](array.tobytes("F")))
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii", "hex"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_encoding_and_place_of_the_frames(encoding: str, axis: int, cine: np.ndarray, tmp_path: Path) -> None:
    kinds = ["domain", "domain"]
    kinds.insert(axis, "list")
    path = nrrd_file(tmp_path / "c.nrrd", np.moveaxis(cine, -1, axis), [f"kinds: {' '.join(kinds)}"], encoding)
    assert (frames(open_volume(path)) == cine).all()


def test_interleaved_frames_are_brought_into_order_in_blocks(
    cine: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("casr_net.files.streams.TRANSPOSED", 7 * FRAMES * 2)
    path = nrrd_file(tmp_path / "c.nrrd", np.moveaxis(cine, -1, 0), ["kinds: list domain domain"])
    assert (frames(open_volume(path)) == cine).all()


def test_no_temporary_file_stays(cine: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    path = nrrd_file(tmp_path / "c.nrrd", cine, ["kinds: domain domain list"], "gzip")
    opened = open_volume(path)
    assert (frames(opened) == cine).all()
    opened.source.close()
    broken = path.with_name("broken.nrrd")
    broken.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match="damaged or cut off"):
        open_volume(broken).source.frame(0)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    ("writer", "ending"),
    [("pynrrd", "nrrd"), ("pynrrd", "nhdr"), *(("SimpleITK", name) for name in ("nrrd", "nhdr", "mha", "mhd"))],
)
def test_other_programs_files(writer: str, compressed: bool, ending: str, cine: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    if writer == "SimpleITK":
        image = SimpleITK.GetImageFromArray(cine[:, :, None].T, isVector=False)
        image.SetSpacing([0.3, 0.4, 1, 1])
        image.SetOrigin([-5, -6, 7, 0])
        if ending in ("nrrd", "nhdr"):
            image.SetMetaData("NRRD_kinds[3]", "list")
        SimpleITK.WriteImage(image, str(path), useCompression=compressed)
    else:
        header = {"space": "LPS", "space directions": np.array([[0.3, 0, 0], [0, 0.4, 0], [0, 0, 1], [np.nan] * 3]),
                  "space origin": [-5, -6, 7], "kinds": ["domain"] * 3 + ["list"],
                  "encoding": "gzip" if compressed else "raw"}  # fmt: skip
        nrrd.write(str(path), cine[:, :, None], header)
    opened = open_volume(path)
    assert (frames(opened) == cine).all()
    assert np.allclose(opened.affine, AFFINE)
    assert opened.warnings == []


def test_components_of_an_image_are_frames(cine: np.ndarray, tmp_path: Path) -> None:
    """SimpleITK makes one picture with many components of a cine; three and four are colours."""
    image = SimpleITK.GetImageFromArray(cine.transpose(1, 0, 2), isVector=True)
    colour = SimpleITK.GetImageFromArray(cine[..., :3].transpose(1, 0, 2).astype(np.uint8), isVector=True)
    for ending in ("nrrd", "mha", "nii"):
        SimpleITK.WriteImage(image, str(tmp_path / f"x.{ending}"))
        opened = open_volume(tmp_path / f"x.{ending}")
        assert (frames(opened) == cine).all()
        assert opened.warnings == ["its 5 components were read as frames"]
        SimpleITK.WriteImage(colour, str(tmp_path / f"c.{ending}"))
        found = frames(open_volume(tmp_path / f"c.{ending}"))
        assert (found[..., 0] == cine[..., :3].astype(np.uint8).transpose(2, 0, 1)).all()


def test_a_sequence_of_slicer(cine: np.ndarray, tmp_path: Path) -> None:
    lines = ["space: left-posterior-superior", "space directions: (0.3,0,0) (0,0.4,0) (0,0,1) none",
             "kinds: domain domain domain list", 'labels: "" "" "" "time"', "space origin: (-5,-6,7)",
             "axis 3 index type:=numeric"]  # fmt: skip
    opened = open_volume(nrrd_file(tmp_path / "x.seq.nrrd", cine[:, :, None], lines, "gzip"))
    assert (frames(opened) == cine).all()
    assert np.allclose(opened.affine, AFFINE)


def test_data_in_several_files(cine: np.ndarray, tmp_path: Path) -> None:
    """Written as lists and as a pattern, below the header's folder."""
    (tmp_path / "parts").mkdir()
    for index in range(FRAMES):
        (tmp_path / "parts" / f"p{index:02d}.raw").write_bytes(b"one line\n" + cine[..., index].tobytes("F"))
    names = "\n".join(f"parts/p{index:02d}.raw" for index in range(FRAMES))
    head = f"NRRD0005\ntype: short\ndimension: 3\nsizes: {COLUMNS} {ROWS} {FRAMES}\nkinds: domain domain list\n"
    head += "encoding: raw\nendian: little\nline skip: 1\n"
    (tmp_path / "list.nhdr").write_text(head + f"data file: LIST\n{names}\n")
    (tmp_path / "pattern.nhdr").write_text(head + f"data file: parts/p%02d.raw 0 {FRAMES - 1} 1\n")
    meta = f"NDims = 4\nDimSize = {COLUMNS} {ROWS} 1 {FRAMES}\nElementType = MET_SHORT\nHeaderSize = 9\n"
    (tmp_path / "list.mhd").write_text(meta + f"ElementDataFile = LIST\n{names}\n")
    (tmp_path / "pattern.mhd").write_text(meta + f"ElementDataFile = parts/p%02d.raw 0 {FRAMES - 1} 1\n")
    for name in ("list.nhdr", "pattern.nhdr", "list.mhd", "pattern.mhd"):
        assert (frames(open_volume(tmp_path / name)) == cine).all(), name


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "a/../../secret.raw"])
def test_a_header_does_not_reach_for_files_elsewhere(name: str, cine: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(cine.tobytes())
    folder = tmp_path / "upload"
    folder.mkdir()
    head = f"NRRD0005\ntype: uchar\ndimension: 2\nsizes: 40 40\nencoding: raw\ndata file: {name}\n"
    (folder / "x.nhdr").write_text(head)
    (folder / "x.mhd").write_text(f"NDims = 2\nDimSize = 40 40\nElementType = MET_UCHAR\nElementDataFile = {name}\n")
    for file in ("x.nhdr", "x.mhd"):
        with pytest.raises(DataError, match="does not lie beside it"):
            open_volume(folder / file)


@pytest.mark.parametrize(
    ("lines", "expected", "said"),
    [
        (["space: LPS", "space directions: (nan,nan,nan) (nan,nan,nan) (nan,nan,nan)"], LPS, True),
        (["space: LPS", "space directions: (0,0,0) (0,0,0) (0,0,0)"], LPS, True),
        (["space: LPS", "space directions: (0.3,0,0) (0.6,0,0) (0,0,1)"], LPS, True),
        (["space: LPS", "space directions: (0.3,0,0) (0,0.4,0) (0,0,0)", "space origin: (-5,-6,7)"], AFFINE, True),
        (["space: LPS", "space directions: (0.3,0,0) (0,0.4,0) none", "space origin: (-5,-6,7)"], AFFINE, False),
        (["space: LPS", "space directions: (0.3,0,0) (0,0.4,0) (0,0,1)", "space origin: (nan,-6,7)"],
         np.diag([-0.3, -0.4, 1, 1]), True),
        (["space: left-posterior-superior-time",
          "space directions: (0.3,0,0,0) (0,0.4,0,0) (0,0,1,0)", "space origin: (-5,-6,7,0)"], AFFINE, False),
        (["spacings: 0.3 0.4 1"], np.diag([-0.3, -0.4, 1, 1]), False),
        (["spacings: 0 0 1"], LPS, True),
        (["spacings: nan 0.4 1"], np.diag([-1, -0.4, 1, 1]), True),
        (["spacings: NaN nan nan"], LPS, True),
        (["spacings: 0.3 0.4"], LPS, True),
        (["spacings: 0.3 0.4 nan"], None, False),
        (["space: elsewhere", "space directions: (1e300,0,0) (0,1e300,0) (0,0,1)"], LPS, True),
    ],
)  # fmt: skip
def test_geometry_that_cannot_be_used(lines: list[str], expected: np.ndarray, said: bool, tmp_path: Path) -> None:
    picture = np.arange(COLUMNS * ROWS, dtype=np.int16).reshape(COLUMNS, ROWS, 1)
    opened = open_volume(nrrd_file(tmp_path / "x.nrrd", picture, [*lines, "kinds: domain domain domain"]))
    assert (frames(opened)[..., 0] == picture[..., 0]).all()
    assert abs(np.linalg.det(opened.affine)) > 1e-3
    if expected is not None:
        assert np.allclose(opened.affine, expected)
    assert bool(opened.warnings) == said, opened.warnings


def test_a_picture_whose_axes_are_no_plain_ones(tmp_path: Path) -> None:
    """Two axes in the plane of x and z: a third of (0, 0, 1) would make the affine singular."""
    picture = np.arange(COLUMNS * ROWS, dtype=np.int16).reshape(COLUMNS, ROWS)
    lines = ["space: LPS", "space directions: (0.3,0,0) (0,0,0.4)", "space origin: (1,2,3)"]
    opened = open_volume(nrrd_file(tmp_path / "x.nrrd", picture, lines))
    assert np.allclose(opened.affine, [[-0.3, 0, 0, -1], [0, 0, 1, -2], [0, 0.4, 0, 3], [0, 0, 0, 1]])
    assert opened.warnings == []


@pytest.mark.parametrize(
    "affine",
    [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([0.3, 0, 1, 1]), np.diag([0.3, np.inf, 1, 1]), np.ones((4, 4)),
     np.diag([1e-300, 1e-300, 1, 1]), np.diag([0.3, 0.4, 0, 0])],
)  # fmt: skip
def test_usable_affine_is_never_singular(affine: np.ndarray) -> None:
    found, warning = usable_affine(affine)
    assert warning and "\n" not in warning
    assert np.isfinite(found).all() and abs(np.linalg.det(found)) > 0.01
    assert (found[3] == [0, 0, 0, 1]).all()


def test_usable_affine_keeps_what_is_right() -> None:
    oblique = np.array([[0.2, 0.1, 0.5, 3], [-0.1, 0.2, 0.5, 4], [0.05, 0.02, 0.7, 5], [0, 0, 0, 1]])
    found, warning = usable_affine(oblique)
    assert warning is None and (found == oblique).all()


def test_sizes_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    for sizes, text in (
        ("8000 8000 1", "8000 x 8000 pixels; an angiogram has 32 to 4096"),
        ("512 512 99999", "99999 frames; a cine has 1 to 20000"),
        ("4000 4000 15000", "the frames take 447 GiB"),
        ("-4 40 1", "sizes in its header, '-4 40 1', cannot be"),
        ("99999999999999999999 40 1", "cannot be"),
    ):
        head = f"NRRD0005\ntype: ushort\ndimension: 3\nsizes: {sizes}\nkinds: domain domain list\nencoding: gzip\n\n"
        (tmp_path / "x.nrrd").write_bytes(head.encode() + gzip.compress(bytes(2**20)))
        with pytest.raises(DataError, match=text):
            open_volume(tmp_path / "x.nrrd")


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_counts_that_disagree(encoding: str, cine: np.ndarray, tmp_path: Path) -> None:
    more, fewer = (tmp_path / f"{name}.nrrd" for name in ("more", "fewer"))
    kinds = ["kinds: domain domain list"]
    nrrd_file(more, np.concatenate([cine, cine[..., :2]], -1), kinds, encoding)
    more.write_bytes(more.read_bytes().replace(b"sizes: 50 40 7", b"sizes: 50 40 5"))
    nrrd_file(fewer, cine, kinds, encoding)
    fewer.write_bytes(fewer.read_bytes().replace(b"sizes: 50 40 5", b"sizes: 50 40 6"))
    with pytest.raises(DataError, match=r"header states 5 frame\(s\), but the data hold [67]"):
        frames(open_volume(more))
    with pytest.raises(DataError, match="the file is cut off"):
        frames(open_volume(fewer))


def test_a_volume_is_refused_and_told_what_is_expected(tmp_path: Path) -> None:
    solid = np.random.default_rng(0).integers(0, 9, (COLUMNS, ROWS, 7)).astype(np.int16)
    nrrd_file(tmp_path / "v.nrrd", solid, [])
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(solid.T, isVector=False), str(tmp_path / "v.mha"))
    nibabel.save(nibabel.Nifti1Image(solid, AFFINE), tmp_path / "v.nii.gz")
    for name, text in (("nrrd", "'list' or 'time'"), ("mha", "Kinds = "), ("nii.gz", r"\(x, y, 1, time\)")):
        with pytest.raises(DataError, match=rf"a volume of 50 x 40 x 7; expected one slice, or a cine: .*{text}"):
            open_volume(tmp_path / f"v.{name}")
        assert (frames(open_volume(tmp_path / f"v.{name}", slices_as_frames=True))[0] == solid).all()


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = AFFINE, **fields: object) -> Path:
    """``fields`` are put into the header as they are, behind nibabel's back."""
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    if fields:
        data = path.read_bytes()
        header = np.frombuffer(data, nibabel.nifti1.header_dtype, 1).copy()
        for name, value in fields.items():
            header[name] = value
        path.write_bytes(header.tobytes() + data[header.nbytes :])
    return path


def test_five_axes_of_nifti(cine: np.ndarray, tmp_path: Path) -> None:
    for array, expected in (
        (cine[:, :, None, :], cine[None]),
        (cine[:, :, None, :, None], cine[None]),
        (cine[:, :, None, None, :], cine[None]),
        (cine[None, :, :, :], cine[None]),
        (cine[:, :, None, None, :3], cine[..., :3].transpose(2, 0, 1)[..., None]),
        (np.stack([cine[:, :, None]] * 3, -1), np.stack([cine] * 3)),
        (cine[..., 0], cine[None, ..., :1]),
    ):
        assert (frames(open_volume(nifti(tmp_path / "x.nii", array))) == expected).all(), array.shape


@pytest.mark.parametrize("samples", [3, 4])
def test_colour_nifti(samples: int, cine: np.ndarray, tmp_path: Path) -> None:
    values = np.ascontiguousarray(cine[:, :, None, :samples].astype(np.uint8))
    typed = values.view([(name, "u1") for name in "RGBA"[:samples]])[..., 0]
    for name in ("x.nii", "x.nii.gz"):
        opened = open_volume(nifti(tmp_path / name, typed))
        assert (frames(opened)[..., 0] == values[:, :, 0].transpose(2, 0, 1)).all()
        assert opened.bits == 8


@pytest.mark.parametrize("name", ["E02.Nii", "a.NII", "a.NII.GZ", "a.nii", "a.Nii.gz"])
def test_unusual_endings(name: str, cine: np.ndarray, tmp_path: Path) -> None:
    path = nifti(tmp_path / ("x.nii.gz" if name.lower().endswith("gz") else "x.nii"), cine[..., :1])
    opened = open_volume(path.rename(tmp_path / name))
    assert (frames(opened) == cine[..., :1]).all() and np.allclose(opened.affine, AFFINE)


def test_nifti_scaling_and_byte_order(cine: np.ndarray, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(cine[..., :1].astype(np.int16), AFFINE)
    image.header.set_slope_inter(2, -10)
    nibabel.save(image, tmp_path / "s.nii")
    expected = nibabel.load(tmp_path / "s.nii").get_fdata()
    assert np.allclose(frames(open_volume(tmp_path / "s.nii")), expected[None])
    assert (frames(open_volume(nifti(tmp_path / "n.nii", cine[..., :1], scl_slope=np.nan))) == cine[..., :1]).all()
    second = nibabel.Nifti2Image(cine[:, :, None].astype(">i2"), AFFINE)
    nibabel.save(nibabel.Nifti2Image(cine[:, :, None], AFFINE, second.header.as_byteswapped(">")), tmp_path / "b.nii")
    assert (frames(open_volume(tmp_path / "b.nii")) == cine).all()


@pytest.mark.parametrize(
    ("fields", "expected", "said"),
    [
        (
            {"sform_code": 0, "qform_code": 0, "pixdim": [1, 0.3, 0.4, 1, 0, 0, 0, 0]},
            np.diag([-0.3, -0.4, 1, 1]),
            False,
        ),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [0] * 8}, LPS, True),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [1, np.nan, 0.4, 1, 0, 0, 0, 0]}, None, True),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 9}, np.diag([-0.3, -0.4, 1, 1]), True),
        ({"sform_code": 1, "srow_x": [0, 0, 0, 0]}, None, True),
        ({"sform_code": 1, "srow_y": [np.nan] * 4}, None, True),
    ],
)
def test_nifti_geometry(fields: dict[str, object], expected: np.ndarray | None, said: bool, tmp_path: Path) -> None:
    picture = np.arange(COLUMNS * ROWS, dtype=np.int16).reshape(COLUMNS, ROWS, 1)
    opened = open_volume(nifti(tmp_path / "x.nii", picture, **fields))
    assert np.isfinite(opened.affine).all() and abs(np.linalg.det(opened.affine)) > 1e-3
    assert expected is None or np.allclose(opened.affine, expected)
    assert bool(opened.warnings) == said


def test_sheared_axes_are_kept(tmp_path: Path) -> None:
    """ITK refuses such a file."""
    sheared = np.array([[-0.3, 0.1, 0, 5], [0, -0.4, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    picture = np.arange(COLUMNS * ROWS, dtype=np.int16).reshape(COLUMNS, ROWS, 1)
    assert np.allclose(open_volume(nifti(tmp_path / "x.nii", picture, sheared)).affine, sheared)


def test_compressed_metaimage_that_is_damaged(cine: np.ndarray, tmp_path: Path) -> None:
    head = f"NDims = 4\nDimSize = {COLUMNS} {ROWS} 1 {FRAMES}\nElementType = MET_SHORT\nCompressedData = True\n"
    head += "TransformMatrix = nan 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\nElementDataFile = LOCAL\n"
    data = zlib.compress(cine.tobytes("F"))
    (tmp_path / "x.mha").write_bytes(head.encode() + data)
    opened = open_volume(tmp_path / "x.mha")
    assert (frames(opened) == cine).all()
    assert opened.warnings == ["TransformMatrix in its header cannot be used and was left out"]
    for bad in (data[: len(data) // 2], data[:50] + b"\0" * 50 + data[100:]):
        (tmp_path / "y.mha").write_bytes(head.encode() + bad)
        with pytest.raises(DataError, match="cut off"):
            open_volume(tmp_path / "y.mha").source.frame(0)


def test_headers_of_noise_give_one_line(tmp_path: Path, cine: np.ndarray) -> None:
    """Mutated files give frames or one line of error, whatever is in them."""
    rng, said = np.random.default_rng(3), list[str]()
    nrrd_file(tmp_path / "a.nrrd", cine, ["space: LPS", "space directions: (1,0,0) (0,1,0) none",
              "kinds: domain domain list", "space origin: (1,2,3)"], "gzip")  # fmt: skip
    write_map(tmp_path / "b.mha", cine, AFFINE)
    write_map(tmp_path / "c.nii.gz", cine, AFFINE)
    nifti(tmp_path / "d.nii", cine[..., :1])
    for name in ("a.nrrd", "b.mha", "c.nii.gz", "d.nii"):
        good = (tmp_path / name).read_bytes()
        for _ in range(60):
            data = bytearray(good)
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(min(len(data), 400))] = rng.integers(256)
            (tmp_path / f"x{name}").write_bytes(data)
            try:
                opened = open_volume(tmp_path / f"x{name}")
                assert np.isfinite(opened.affine).all() and np.linalg.det(opened.affine) != 0
                opened.source.frame(opened.source.count - 1)
            except DataError as error:
                said.append(str(error))
    assert said and all(line.isprintable() and str(tmp_path) in line for line in said)


LARGE = """
import sys, time
from casr_net.files.volumes import open_volume
import SimpleITK, nibabel
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
before = peak()
source = open_volume(sys.argv[1]).source
assert (source.count, source.size) == (3000, (1024, 1024))
took = []
for index in (0, 1500, 2999):
    start = time.process_time()
    assert source.frame(index)[0, 7, 9] == (4242 if index == 2999 else 0)
    took.append(time.process_time() - start)
print(peak() - before, max(took))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii"])
def test_a_long_cine_takes_no_memory(ending: str, tmp_path: Path) -> None:
    """1024 x 1024 x 3000 of 16 bits, 6 GB, as a file with holes."""
    path = tmp_path / f"x.{ending}"
    if ending == "nrrd":
        head = b"NRRD0005\ntype: uint16\ndimension: 3\nsizes: 1024 1024 3000\nkinds: domain domain list\n"
        head += b"endian: little\nencoding: raw\n\n"
    elif ending == "mha":
        head = b"NDims = 4\nDimSize = 1024 1024 1 3000\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
    else:
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.uint16)
        header.set_data_shape((1024, 1024, 1, 3000))
        header["vox_offset"], header["magic"] = 352, b"n+1"
        head = header.binaryblock + bytes(4)
    with open(path, "wb") as stream:
        stream.write(head)
        stream.truncate(len(head) + 1024 * 1024 * 3000 * 2)
        stream.seek(len(head) + 2 * (2999 * 1024 * 1024 + 9 * 1024 + 7))
        stream.write((4242).to_bytes(2, "little"))
    done = subprocess.run([sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    memory, seconds = map(float, done.stdout.split())
    assert memory < 100 and seconds < 1


@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii.gz"])
@pytest.mark.parametrize("count", [1, FRAMES])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_maps_come_back(ending: str, count: int, dtype: type, cine: np.ndarray, tmp_path: Path) -> None:
    stack = (cine[..., :count] % 2).astype(dtype)
    oblique = np.array([[-0.3, 0.04, 0, 5], [0.03, -0.4, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    write_map(tmp_path / f"x.{ending}", stack, oblique)
    opened = open_volume(tmp_path / f"x.{ending}")
    assert (frames(opened) == stack).all() and opened.source.dtype == dtype
    assert np.allclose(opened.affine, oblique, atol=1e-6)
    image = SimpleITK.ReadImage(str(tmp_path / f"x.{ending}")) if ending != "nii.gz" else None
    if image is not None and count == 1:
        assert np.allclose(image.GetOrigin(), [-5, -6, 7])


@pytest.mark.parametrize("ending", ["nrrd", "mha", "nii.gz"])
def test_a_singular_affine_is_not_written(
    ending: str, cine: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_map(tmp_path / f"x.{ending}", (cine % 2).astype(np.uint8), np.full((4, 4), np.nan))
    assert "plain axes were taken" in caplog.text
    assert np.allclose(open_volume(tmp_path / f"x.{ending}").affine, LPS_TO_RAS)


def test_names_that_are_no_utf8(cine: np.ndarray, tmp_path: Path) -> None:
    path = Path(str(tmp_path) + "/" + b"caf\xe9.nrrd".decode("utf-8", "surrogateescape"))
    write_map(path, cine, AFFINE)
    assert (frames(open_volume(path)) == cine).all()
