"""DICOM Segmentation: written, judged by dciodvfy, read back here and by highdicom."""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement

from casr_net.errors import DataError, UsageError
from casr_net.files.dicom_seg import SEGMENTATION_STORAGE, make_segmentation, parse_segmentation, write_segmentation
from casr_net.files.stacks import Stack
from casr_net.synthetic.dataset import write_dataset


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM XA of 5 frames of 65 x 65 pixels: an odd number, so that frames share bytes in the packed pixels."""
    folder = tmp_path_factory.mktemp("cine")
    return next(p for p in write_dataset(folder, 1, seed=5, frames=5, size=65) if p.suffix == ".dcm")


@pytest.fixture
def masks() -> dict[int, np.ndarray]:
    """Frames 1, 3 (empty) and 4."""
    rng = np.random.default_rng(1)
    return {4: rng.random((65, 65)) > 0.9, 1: rng.random((65, 65)) > 0.5, 3: np.zeros((65, 65), np.uint8)}


@pytest.fixture
def written(cine: Path, masks: dict[int, np.ndarray], tmp_path: Path) -> Path:
    write_segmentation(tmp_path / "seg.dcm", cine, masks, weights=cine)
    return tmp_path / "seg.dcm"


def test_round_trip(cine: Path, masks: dict[int, np.ndarray], written: Path) -> None:
    source, found = pydicom.dcmread(cine), parse_segmentation(written)
    assert found.frames == [1, 3, 4]
    assert (found.masks == np.stack([masks[f] != 0 for f in found.frames], axis=-1)).all()
    assert found.source_instance == source.SOPInstanceUID and found.source_series == source.SeriesInstanceUID
    whole = found.stack(5)
    assert whole.shape == (65, 65, 5) and not whole[..., 0].any() and (whole[..., 4] == masks[4]).all()
    with pytest.raises(DataError, match="names frame 5; the image has 4"):
        found.stack(4)


def test_belongs_to_patient_and_study_of_the_source(cine: Path, written: Path) -> None:
    source, data = pydicom.dcmread(cine), pydicom.dcmread(written)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert data[keyword].value == source[keyword].value, keyword
    assert data.SeriesInstanceUID != source.SeriesInstanceUID and data.SOPClassUID == SEGMENTATION_STORAGE
    assert "FrameOfReferenceUID" not in data and "PixelMeasuresSequence" not in data.SharedFunctionalGroupsSequence[0]
    other = make_segmentation(cine, {0: np.ones((65, 65))})
    assert other.SeriesInstanceUID != data.SeriesInstanceUID and other.SOPInstanceUID != data.SOPInstanceUID


def test_single_frame_names_no_frame_number(cine: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(cine)
    source.PixelData = source.PixelData[: 65 * 65 + 1]
    del source.NumberOfFrames
    mask = np.eye(65) > 0
    write_segmentation(tmp_path / "one.dcm", source, {0: mask}, algorithm="MANUAL")
    data = pydicom.dcmread(tmp_path / "one.dcm")
    image = data.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert "ReferencedFrameNumber" not in image and "SegmentAlgorithmName" not in data.SegmentSequence[0]
    found = parse_segmentation(data)
    assert found.frames == [0] and (found.masks[..., 0] == mask).all()


def test_lossy_compression_is_carried_over(cine: Path) -> None:
    source = pydicom.dcmread(cine)
    source.LossyImageCompression, source.LossyImageCompressionRatio = "01", 12.5
    made = make_segmentation(source, {0: np.ones((65, 65))})
    assert made.LossyImageCompression == "01" and float(made.LossyImageCompressionRatio) == 12.5


def test_name_outside_latin1(cine: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(cine)
    source.PatientName = "山田^太郎"
    write_segmentation(tmp_path / "x.dcm", source, {0: np.ones((65, 65))})
    assert str(pydicom.dcmread(tmp_path / "x.dcm").PatientName) == "山田^太郎"


def test_long_cine_is_packed_frame_by_frame(cine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cine whose masks wait on the disk: in memory are eight of them, and the description of the frames."""
    source, frames, side = pydicom.dcmread(cine), 60, 511
    source.NumberOfFrames, source.Rows, source.Columns = frames, side, side
    monkeypatch.setattr("casr_net.files.stacks.STACK_IN_MEMORY", 0)
    stack = Stack("x", range(frames), (side, side))
    for frame in range(frames):
        mask = np.zeros((side, side), np.uint8)
        mask[frame, : frame + 1] = 1
        stack.put(frame, mask)
    tracemalloc.start()
    write_segmentation(tmp_path / "x.dcm", source, stack)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * side * side + 2**21 < frames * side * side
    found = parse_segmentation(tmp_path / "x.dcm")
    assert [np.argwhere(found.masks[..., frame]).tolist() for frame in (0, 2, 59)] == [
        [[frame, row] for row in range(frame + 1)] for frame in (0, 2, 59)
    ]
    whole = make_segmentation(source, stack)
    assert whole.PixelData == pydicom.dcmread(tmp_path / "x.dcm").PixelData


DAMAGED = {
    "PatientName": ("PN", b"a=b=c=d^^^^^^^"), "PatientBirthDate": ("DA", b"1.1.1950"), "StudyDate": ("DA", b"today "),
    "StudyTime": ("TM", b"noon"), "PatientAge": ("AS", b"old "), "PatientWeight": ("DS", b"a\\b "),
    "LossyImageCompressionRatio": ("DS", b"x\\1e999 "), "PatientSex": ("CS", b"lower case"),
    "AccessionNumber": ("SH", b"x" * 64), "LossyImageCompression": ("CS", b"yes "),
    "PatientComments": ("LT", b"\xff\xfe"),
}  # fmt: skip


@pytest.mark.parametrize("keyword", DAMAGED)
@pytest.mark.filterwarnings("error")
def test_damaged_values_of_the_source_cost_no_mask(cine: Path, tmp_path: Path, keyword: str) -> None:
    source, tag = pydicom.dcmread(cine), pydicom.tag.Tag(keyword)
    representation, value = DAMAGED[keyword]
    source[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)
    write_segmentation(tmp_path / "x.dcm", source, {2: np.eye(65)})
    assert (parse_segmentation(tmp_path / "x.dcm").masks[..., 0] == np.eye(65)).all()


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not there (Debian package dicom3tools)")
@pytest.mark.parametrize("algorithm", ["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"])
def test_standard_is_kept(cine: Path, masks: dict[int, np.ndarray], tmp_path: Path, algorithm: str) -> None:
    source = pydicom.dcmread(cine)
    source.StudyDate, source.StudyTime, source.PatientSex = "20260101", "120000", "O"
    write_segmentation(tmp_path / "x.dcm", source, masks, algorithm=algorithm)
    done = subprocess.run(["dciodvfy", "-new", str(tmp_path / "x.dcm")], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("Segmentation" in line for line in lines), lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_read_by_other_software(cine: Path, masks: dict[int, np.ndarray], written: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    found = highdicom.seg.segread(str(written))
    assert [segment.segment_label for segment in (found.get_segment_description(1),)] == ["Coronary artery"]
    pixels = found.get_pixels_by_source_frame(
        source_sop_instance_uid=str(pydicom.dcmread(cine).SOPInstanceUID), source_frame_numbers=[2, 4, 5],
        ignore_spatial_locations=True,
    )  # fmt: skip
    for number, frame in enumerate((1, 3, 4)):
        assert ((masks[frame] != 0) == pixels[number, ..., 0].T).all()


def test_segments_of_other_software_are_joined(cine: Path) -> None:
    """Two segments on the same frame: what is in either is vessel."""
    made = make_segmentation(cine, {2: np.eye(65)})
    second = made.PerFrameFunctionalGroupsSequence[0]
    made.PerFrameFunctionalGroupsSequence = [second, second]
    made.NumberOfFrames = 2
    bits = np.zeros((2, 65, 65), bool)
    bits[0, 3, 5], bits[1, 7, 9] = True, True
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    found = parse_segmentation(made)
    assert found.frames == [2] and sorted(map(tuple, np.argwhere(found.masks[..., 0]))) == [(5, 3), (9, 7)]


def test_what_is_wrong_is_said(cine: Path, masks: dict[int, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no frame to store"):
        make_segmentation(cine, {})
    with pytest.raises(UsageError, match="algorithm is 'AI'"):
        make_segmentation(cine, masks, algorithm="AI")
    with pytest.raises(DataError, match="no frame 5 to store a mask for; it has 5"):
        make_segmentation(cine, {5: np.zeros((65, 65))})
    nameless = pydicom.dcmread(cine)
    del nameless.StudyInstanceUID
    with pytest.raises(DataError, match="image: has no StudyInstanceUID; what is derived"):
        make_segmentation(nameless, masks)
    with pytest.raises(DataError, match="the mask of frame 1 has 65 x 64 pixels; the image has 65 x 65"):
        make_segmentation(cine, {0: np.zeros((65, 64))})
    with pytest.raises(DataError, match=r"SOP class is 1\.2\.840\.10008\.5\.1\.4\.1\.1\.12\.1"):
        parse_segmentation(cine)
    made = make_segmentation(cine, masks)
    del made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    with pytest.raises(DataError, match="no Derivation Image"):
        parse_segmentation(made)
    (tmp_path / "x.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match=r"x\.dcm"):
        parse_segmentation(tmp_path / "x.dcm")
