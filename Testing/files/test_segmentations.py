"""DICOM Segmentations of other software: several segments, fractional, label maps, frames named in several ways."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from casr_net.errors import DataError
from casr_net.evaluation.compare import evaluate_folders
from casr_net.files.dicom import save_dicom
from casr_net.files.dicom_seg import make_segmentation, write_segmentation
from casr_net.files.masks import open_mask, read_mask
from casr_net.files.segmentations import LABEL_MAP_STORAGE, is_segmentation, parse_segmentation
from casr_net.synthetic.dataset import write_dataset

SIDE = 65  # odd, so that frames share bytes in packed pixels


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM XA of 5 frames."""
    folder = tmp_path_factory.mktemp("cine")
    return next(p for p in write_dataset(folder, 1, seed=5, frames=5, size=SIDE) if p.suffix == ".dcm")


def bars(*lengths: int) -> list[np.ndarray]:
    """Masks (X, Y) of one line each, so many pixels long."""
    found = []
    for length in lengths:
        mask = np.zeros((SIDE, SIDE), bool)
        mask[:length, 4] = True
        found.append(mask)
    return found


def put(data: Dataset, values: np.ndarray) -> Dataset:
    """Other pixels (frames, rows, columns) for an object."""
    data.NumberOfFrames, bits = len(values), 8 * values.dtype.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    raw = values.tobytes()
    data["PixelData"].value = raw + b"\0" * (len(raw) % 2)
    if bits == 16:
        data["PixelData"].VR = "OW"
    return data


def stack(path: Path, masks: list[np.ndarray]) -> Path:
    from PIL import Image

    pages = [Image.fromarray(mask.T.astype(np.uint8) * 255) for mask in masks]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def dices(prediction: Path, reference: Path, **more: bool) -> dict[str, float]:
    return {row["name"]: row["dice"] for row in evaluate_folders(prediction, reference, **more)["images"]}


def test_subset_of_a_cine_pairs_by_frame_number(cine: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir(), (tmp_path / "r").mkdir()
    write_segmentation(tmp_path / "r" / "run.dcm", cine, dict(zip((1, 3, 4), bars(10, 20, 30), strict=True)))
    stack(tmp_path / "p" / "run_mask.tif", bars(5, 10, 5, 10, 30))
    wanted = {"run_f0001": 1, "run_f0003": pytest.approx(2 * 10 / 30), "run_f0004": 1}
    report = evaluate_folders(tmp_path / "p", tmp_path / "r")
    assert {row["name"]: row["dice"] for row in report["images"]} == wanted
    assert report["unpaired"] == {"predictions": ["run_f0000", "run_f0002"], "references": []}
    assert dices(tmp_path / "p" / "run_mask.tif", tmp_path / "r" / "run.dcm") == {
        name.replace("run", "run"): value for name, value in wanted.items()
    }
    swapped = evaluate_folders(tmp_path / "r", tmp_path / "p")
    assert swapped["count"] == 3 and swapped["unpaired"]["references"] == ["run_f0000", "run_f0002"]


def test_frame_that_the_other_side_lacks_is_an_error(cine: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path / "r.dcm", cine, dict(zip((1, 4), bars(10, 20), strict=True)))
    stack(tmp_path / "p.tif", bars(5, 10, 5))
    with pytest.raises(DataError, match=r"r\.dcm: no prediction named p_f0004"):
        evaluate_folders(tmp_path / "p.tif", tmp_path / "r.dcm")
    assert dices(tmp_path / "p.tif", tmp_path / "r.dcm", subset=True) == {"p_f0001": 1}


def test_two_segmentations(cine: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path / "a.dcm", cine, dict(enumerate(bars(1, 2, 3, 4, 5))))
    write_segmentation(tmp_path / "b.dcm", cine, dict(zip((2, 0), bars(3, 3), strict=True)))
    assert dices(tmp_path / "a.dcm", tmp_path / "b.dcm") == {"a_f0000": pytest.approx(2 / 4), "a_f0002": 1}


def test_single_image(cine: Path, tmp_path: Path) -> None:
    """With a frame number of 1 or without, it pairs with a plain mask of its name."""
    source = pydicom.dcmread(cine)
    source.PixelData, source.NumberOfFrames = source.PixelData[: SIDE * SIDE + 1], 1
    for name in ("numbered", "plain"):
        (tmp_path / name).mkdir()
        if name == "plain":
            del source.NumberOfFrames
        write_segmentation(tmp_path / name / "x_mask.dcm", source, {0: bars(12)[0]})
        (tmp_path / f"{name}_r").mkdir()
        stack(tmp_path / f"{name}_r" / "x.tif", bars(6))
        folder, others = tmp_path / name, tmp_path / f"{name}_r"
        file, other = folder / "x_mask.dcm", others / "x.tif"
        for pair in ((folder, others), (others, folder), (file, others), (other, folder), (file, other)):
            assert list(dices(*pair).values()) == [pytest.approx(2 * 6 / 18)], pair


@pytest.mark.parametrize("limit", [255, 100])
def test_fractional(cine: Path, tmp_path: Path, limit: int) -> None:
    made = make_segmentation(cine, dict(enumerate(bars(1, 1))))
    values = np.zeros((2, SIDE, SIDE), np.uint8)
    values[0, 4, :9], values[0, 4, 9:20], values[1, 7, 3] = limit, limit // 2, limit // 2 + 1
    made.SegmentationType, made.SegmentationFractionalType = "FRACTIONAL", "OCCUPANCY"
    made.MaximumFractionalValue = limit
    save_dicom(tmp_path / "a.dcm", put(made, values))
    found = read_mask(tmp_path / "a.dcm")
    assert np.array_equal(found[..., 0], bars(9)[0]) and found[..., 1].sum() == 1 and found[3, 7, 1]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_label_map(cine: Path, tmp_path: Path, kind: type) -> None:
    """Supplement 243: a pixel holds the number of its segment, or the padding value."""
    made = make_segmentation(cine, dict(enumerate(bars(1, 1))))
    values = np.full((2, SIDE, SIDE), 9, kind)
    values[0, 4, :5], values[0, 4, 5:11], values[1, 30, 2] = 1, 300 if kind is np.uint16 else 2, 1
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = LABEL_MAP_STORAGE
    made.SegmentationType, made.PixelPaddingValue = "LABELMAP", 9
    for group in made.SharedFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    save_dicom(tmp_path / "a.dcm", put(made, values))
    found = read_mask(tmp_path / "a.dcm")
    assert np.array_equal(found[..., 0], bars(11)[0]) and np.argwhere(found[..., 1]).tolist() == [[2, 30]]


def two_segments(cine: Path) -> Dataset:
    """Frames 0 and 2, each with one layer a segment."""
    made = make_segmentation(cine, dict(zip((0, 2), bars(1, 1), strict=True)))
    first, second = made.PerFrameFunctionalGroupsSequence
    made.PerFrameFunctionalGroupsSequence = [first, second, first, second]
    other = pydicom.Dataset.from_json(made.SegmentSequence[0].to_json())
    other.SegmentNumber, other.SegmentLabel = 2, "Side\nbranch"
    made.SegmentSequence = [made.SegmentSequence[0], other]
    values = np.zeros((4, SIDE, SIDE), bool)
    values[0, 4, :5], values[2, 4, 3:12], values[3, 9, 9] = True, True, True
    made.NumberOfFrames = 4
    packed = np.packbits(values.reshape(-1), bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    return made


def test_segments_count_as_one_and_that_is_said(cine: Path, tmp_path: Path) -> None:
    save_dicom(tmp_path / "a.dcm", two_segments(cine))
    opened = open_mask(tmp_path / "a.dcm")
    assert opened.numbers == (0, 2) and np.array_equal(opened.frame(0), bars(12)[0])
    assert np.argwhere(opened.frame(1)).tolist() == [[9, 9]]
    assert opened.warnings == [r"its 2 segments ('Coronary artery', 'Side\nbranch') count as one"]
    report = evaluate_folders(tmp_path / "a.dcm", stack(tmp_path / "b.tif", bars(12, 0, 0)))
    assert report["warnings"] == [f"{tmp_path / 'a.dcm'}: {opened.warnings[0]}"]
    assert [row["dice"] for row in report["images"]] == [1, 0]


def test_series_of_single_images(cine: Path, tmp_path: Path) -> None:
    """Frames named by instance, without number: they count in the order of the referenced series."""
    made = make_segmentation(cine, dict(enumerate(bars(10, 20, 30))))
    names = ["1.2.3", "1.2.1", "1.2.2"]  # of the frames, in the object's order
    for group, name in zip(made.PerFrameFunctionalGroupsSequence, names, strict=True):
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        image.ReferencedSOPInstanceUID = name
        del image.ReferencedFrameNumber
    listed = []
    for name in ("1.2.1", "1.2.2", "1.2.3"):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.12.1", name
        listed.append(item)
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = listed
    save_dicom(tmp_path / "a.dcm", made)
    opened = open_mask(tmp_path / "a.dcm")
    assert opened.sources == ("1.2.1", "1.2.2", "1.2.3") and "frames lie on 3 images" in opened.warnings[0]
    assert read_mask(tmp_path / "a.dcm").sum(axis=(0, 1)).tolist() == [20, 30, 10]
    assert list(dices(stack(tmp_path / "p.tif", bars(20, 30, 10)), tmp_path / "a.dcm").values()) == [1, 1, 1]
    with pytest.raises(DataError, match="its 3 frames lie on 3 images; expected one"):
        parse_segmentation(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, "deflated"])
def test_transfer_syntaxes(cine: Path, tmp_path: Path, syntax: str) -> None:
    made = make_segmentation(cine, dict(enumerate(bars(1, 1))))
    made.SegmentationType, made.MaximumFractionalValue = "FRACTIONAL", 255
    values = np.stack([mask.T.astype(np.uint8) * 200 for mask in bars(11, 22)])
    put(made, values)
    if syntax == RLELossless:
        made.compress(RLELossless, encoding_plugin="pydicom")  # gdcm aborts on it
    else:
        made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99" if syntax == "deflated" else syntax
    pydicom.dcmwrite(tmp_path / "a.dcm", made, enforce_file_format=True)
    assert is_segmentation(tmp_path / "a.dcm")
    assert read_mask(tmp_path / "a.dcm").sum(axis=(0, 1)).tolist() == [11, 22]


def test_place_in_the_patient(cine: Path, tmp_path: Path) -> None:
    """An object that states its place, here of rows that run upward, is compared in space."""
    mask = bars(30)[0]
    made = make_segmentation(cine, {0: mask[:, ::-1]})
    shared = made.SharedFunctionalGroupsSequence[0]
    for sequence, keyword, values in (
        ("PixelMeasuresSequence", "PixelSpacing", [0.5, 0.25]),
        ("PlaneOrientationSequence", "ImageOrientationPatient", [1, 0, 0, 0, -1, 0]),
        ("PlanePositionSequence", "ImagePositionPatient", [10, 20 + 0.5 * (SIDE - 1), 30]),
    ):
        item = Dataset()
        setattr(item, keyword, values)
        setattr(shared, sequence, [item])
    save_dicom(tmp_path / "a.dcm", made)
    affine = np.array([[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 1, 30], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(mask[:, :, None].astype(np.uint8), affine), tmp_path / "b.nii")
    assert list(dices(tmp_path / "a.dcm", tmp_path / "b.nii").values()) == [1]
    shared.PlanePositionSequence[0].ImagePositionPatient = [100, 0, 30]
    save_dicom(tmp_path / "a.dcm", made)
    with pytest.raises(DataError, match="at another place"):
        evaluate_folders(tmp_path / "a.dcm", tmp_path / "b.nii")


def test_other_image_is_said(cine: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path / "a.dcm", cine, {1: bars(10)[0]})
    other = pydicom.dcmread(cine)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    write_segmentation(tmp_path / "b.dcm", other, {1: bars(10)[0]})
    (line,) = evaluate_folders(tmp_path / "a.dcm", tmp_path / "b.dcm")["warnings"]
    assert "a.dcm: a segmentation of another image than its reference" in line


def broken(made: Dataset, what: str) -> None:
    image = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    if what == "count":
        made.NumberOfFrames = 7
    elif what == "cut":
        made.PixelData = made.PixelData[:500]
    elif what == "place":
        del image.ReferencedSOPInstanceUID
    elif what == "number":
        image.ReferencedFrameNumber = 0
    elif what == "bits":
        made.BitsAllocated = 3
    elif what == "rows":
        made.Rows = 0
    else:
        del made.PixelData


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("count", "NumberOfFrames is 7, but 2 frames are described"),
        ("cut", "(the file is cut off|pixel data hold 500 bytes|500 vs 1058 bytes)"),
        ("place", "no Derivation Image functional group"),
        ("number", "ReferencedFrameNumber is 0; expected a whole number from 1"),
        ("bits", "BitsAllocated is 3"),
        ("rows", "Rows is 0; expected a whole number from 1"),
        ("pixels", "no pixel data"),
    ],
)
def test_damage_is_named(cine: Path, tmp_path: Path, what: str, text: str) -> None:
    made = make_segmentation(cine, dict(enumerate(bars(10, 20))))
    broken(made, what)
    save_dicom(tmp_path / "a.dcm", made)
    with pytest.raises(DataError, match=rf"a\.dcm: .*{text}"):
        read_mask(tmp_path / "a.dcm")


def test_object_in_memory_is_named_by_its_uid(cine: Path) -> None:
    made = make_segmentation(cine, dict(enumerate(bars(10, 20))))
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.PixelData = made.PixelData[:500]
    with pytest.raises(DataError, match=r"^segmentation 1\.2\.3: "):
        parse_segmentation(made)


def test_damaged_bytes_give_masks_or_one_line(cine: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path / "a.dcm", cine, dict(enumerate(bars(10, 20))))
    whole, random = (tmp_path / "a.dcm").read_bytes(), np.random.default_rng(4)
    refused: list[str] = []
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(132, 3000, size=int(random.integers(1, 8))):
            damaged[place] = int(random.integers(256))
        (tmp_path / "a.dcm").write_bytes(damaged[: None if random.random() < 0.8 else int(random.integers(len(whole)))])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # pydicom's would show values of the file as they are
                read_mask(tmp_path / "a.dcm")
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert [line for line in refused if not line.isprintable() or not line.startswith(f"{tmp_path / 'a.dcm'}: ")] == []


def test_read_like_highdicom_writes_it(cine: Path, tmp_path: Path) -> None:
    """A fractional Segmentation of a single-frame image, which highdicom takes XA for none of."""
    highdicom = pytest.importorskip("highdicom")
    source = pydicom.dcmread(cine)
    source.PixelData = source.PixelData[: SIDE * SIDE + 1]
    del source.NumberOfFrames
    source.SOPClassUID = source.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    code = highdicom.sr.CodedConcept("41801008", "SCT", "Coronary artery")
    category = highdicom.sr.CodedConcept("91723000", "SCT", "Anatomical Structure")
    segment = highdicom.seg.SegmentDescription(
        1, "Coronary artery", category, code, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    )
    made = highdicom.seg.Segmentation(
        [source], bars(15)[0].T.astype(np.float32)[None], highdicom.seg.SegmentationTypeValues.FRACTIONAL, [segment],
        highdicom.UID(), 1, highdicom.UID(), 1, "CASR-Net", "test", "1", "0",
    )  # fmt: skip
    made.save_as(tmp_path / "a.dcm")
    assert np.array_equal(read_mask(tmp_path / "a.dcm")[..., 0], bars(15)[0])
