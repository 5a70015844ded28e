"""``casr segment --format seg``: each mask lies on its own frame of the DICOM source, for every reader."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import pydicom
import pytest
from makers.dicoms import compressed, write, xa
from makers.orthanc import ORTHANC, PLUGIN, REASON, Orthanc
from PIL import Image
from pydicom.uid import generate_uid

from casr_net.cli import main
from casr_net.files.dicom_derived import named_frames
from casr_net.files.dicom_seg import parse_segmentation
from casr_net.files.inputs import find_inputs
from casr_net.files.results import ResultWriter
from casr_net.inference.record import RunReport
from casr_net.inference.run import wanted_items
from casr_net.network.weights import sha256

from .conftest import files, record
from .test_runs import SCHEMA, interrupt_at

FRAMES, ROWS, COLUMNS = 11, 97, 121  # an odd number of pixels: in packed bits, frames share bytes


def drawn(frames: int = FRAMES) -> np.ndarray:
    """uint8 (frames, rows, columns), a dark bar that lies elsewhere in each frame."""
    images = np.random.default_rng(4).integers(180, 220, (frames, ROWS, COLUMNS)).astype(np.uint8)
    for index in range(frames):
        images[index, 8 + 7 * index : 14 + 7 * index, 10 + 3 * index : 80 + 3 * index] = 30
    return images


IDENTITY: dict[str, Any] = {
    "PatientName": "Phantom^XA", "PatientID": "P1", "PatientBirthDate": "", "PatientSex": "O", "StudyDate": "20260101",
    "StudyTime": "120000", "StudyID": "1", "AccessionNumber": "", "ReferringPhysicianName": "",
}  # fmt: skip


def identity(**more: Any) -> dict[str, Any]:
    return IDENTITY | {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()} | more


@pytest.fixture(scope="module", autouse=True)
def darkness() -> Iterator[None]:
    """In place of a trained network: dark is vessel."""
    from casr_net.network.casrnet import CASRNet

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CASRNet, "forward", lambda self, x: -8 * x[:, :1])
        yield


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    """A multi-frame XA in which every frame shows something else."""
    (tmp_path / "in").mkdir(exist_ok=True)
    return write(tmp_path / "in" / "run1.dcm", xa(drawn(), **identity()))


def pictures(folder: Path, name: str = "run1", frames: int = FRAMES) -> list[np.ndarray]:
    """bool (rows, columns), the masks as PNG."""
    return [np.asarray(Image.open(folder / f"{name}_f{frame:04d}_mask.png")) > 0 for frame in range(frames)]


class Done(NamedTuple):
    """A cine, its Segmentation, and the masks that the PNG writer makes of it, bool (rows, columns) each."""

    cine: Path
    path: Path
    masks: list[np.ndarray]


@pytest.fixture(scope="module")
def done(darkness: None, random_weights: Path, small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("seg")
    cine = write(folder / "run1.dcm", xa(drawn(), **identity()))
    command = ["segment", str(cine), "--output", str(folder / "out"), "--weights", str(random_weights), "--quiet"]
    command += ["--config", str(small_config)]
    assert main([*command, "--format", "seg"]) == main(command) == 0
    masks = pictures(folder / "out")
    assert len({mask.tobytes() for mask in masks}) == FRAMES
    for index, mask in enumerate(masks):  # what the frame shows, not what another one does
        rows, columns = np.nonzero(mask)
        assert abs(rows.mean() - (10.5 + 7 * index)) < 1 and abs(columns.mean() - (44.5 + 3 * index)) < 2
    return Done(cine, folder / "out" / "run1_mask.dcm", masks)


def by_hand(path: Path) -> dict[int, np.ndarray]:
    """Masks by frame of the source, from 0: from the bits of the pixel data and the functional groups alone."""
    data = pydicom.dcmread(path)
    size = data.Rows * data.Columns
    bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")
    assert len(data.PixelData) % 2 == 0 and 0 <= len(bits) - data.NumberOfFrames * size < 16
    found = {}
    for place, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = image.get("ReferencedFrameNumber", 1)
        plane = bits[place * size : (place + 1) * size].reshape(data.Rows, data.Columns)
        assert group.FrameContentSequence[0].TemporalPositionIndex == number
        found[int(number) - 1] = plane > 0
    return found


def test_each_mask_lies_on_its_own_frame(done: Done) -> None:
    cine, path, masks = done
    found, hand = parse_segmentation(path), by_hand(path)
    assert found.frames == list(hand) == list(range(FRAMES))
    assert found.source_instance == pydicom.dcmread(cine).SOPInstanceUID
    for frame, mask in enumerate(masks):
        assert (hand[frame] == mask).all() and (mask == found.masks[..., frame].T).all()


def test_highdicom_reads_it(done: Done) -> None:
    highdicom = pytest.importorskip("highdicom")
    cine, path, masks = done
    source = str(pydicom.dcmread(cine).SOPInstanceUID)
    pixels = highdicom.seg.segread(str(path)).get_pixels_by_source_frame(
        source_sop_instance_uid=source, source_frame_numbers=[*range(1, FRAMES + 1)], ignore_spatial_locations=True
    )
    assert (pixels[..., 0] == np.stack(masks)).all()


def test_evaluate_pairs_it_with_pictures(done: Done, tmp_path: Path) -> None:
    _, path, masks = done
    (tmp_path / "truth").mkdir()
    for frame, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "truth" / f"run1_f{frame:04d}.png")
    assert main(["evaluate", str(path), str(tmp_path / "truth"), "--json", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["images"]] == [f"run1_f{frame:04d}" for frame in range(FRAMES)]
    assert all(row["dice"] == 1 for row in report["images"])


def test_object_is_described(done: Done, random_weights: Path) -> None:
    data, source = pydicom.dcmread(done.path), pydicom.dcmread(done.cine)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate"):
        assert data[keyword].value == source[keyword].value
    (segment,) = data.SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (segment.SegmentAlgorithmType, algorithm.AlgorithmName) == ("AUTOMATIC", "CASR-Net")
    assert algorithm.AlgorithmVersion == data.SoftwareVersions
    assert data.DeviceSerialNumber == sha256(random_weights)[:16]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not there (Debian package dicom3tools)")
def test_standard_is_kept(done: Done) -> None:
    said = subprocess.run(["dciodvfy", "-new", str(done.path)], capture_output=True, text=True)
    lines = (said.stdout + said.stderr).splitlines()
    assert any("Segmentation" in line for line in lines), lines
    assert [line for line in lines if line.startswith("Error")] == []


@pytest.mark.skipif(ORTHANC is None or not PLUGIN.is_file(), reason=REASON)
def test_a_pacs_takes_and_gives_it(done: Done, orthanc: Orthanc, tmp_path: Path) -> None:
    """STOW-RS, QIDO-RS and WADO-RS; source and Segmentation are one study there."""
    pytest.importorskip("dicomweb_client")
    from casr_net.files.dicomweb import DICOMwebArchive, Instance

    cine, path, masks = done
    archive = DICOMwebArchive(orthanc.url)
    for file in (cine, path):
        archive.store(pydicom.dcmread(file))
    sent = pydicom.dcmread(path)
    (series,) = archive.series({"StudyInstanceUID": str(sent.StudyInstanceUID), "Modality": "SEG"})
    assert series.series == sent.SeriesInstanceUID
    assert len(archive.series({"StudyInstanceUID": str(sent.StudyInstanceUID)})) == 2
    where = Instance(series.study, series.series, str(sent.SOPInstanceUID))
    archive.download(where, tmp_path / "back.dcm")
    hand = by_hand(tmp_path / "back.dcm")
    assert all((hand[frame] == mask).all() for frame, mask in enumerate(masks)) and len(hand) == FRAMES


@pytest.mark.parametrize("kind", ["rle", "jpeg", "lossless", "jpegls", "jpeg2000"])
def test_compressed_sources(segment, tmp_path: Path, kind: str) -> None:
    if kind not in ("rle", "jpeg"):
        pytest.importorskip("gdcm")
    path = write(tmp_path / "x.dcm", compressed(drawn(3)[:, :, :118], kind, **identity()))
    code, output = segment(path, options=("--format", "seg", "--no-refine"))
    assert code == 0 and files(output) == ["run.json", "x_mask.dcm"]
    for frame, mask in by_hand(output / "x_mask.dcm").items():
        rows, columns = np.nonzero(mask)
        assert abs(rows.mean() - (10.5 + 7 * frame)) < 1 and abs(columns.mean() - (44.5 + 3 * frame)) < 2


@pytest.mark.parametrize("frames", [1, None])
def test_single_secondary_capture(segment, tmp_path: Path, frames: int | None) -> None:
    """Its reference has a frame number only where the source counts frames."""
    capture = "1.2.840.10008.5.1.4.1.1.7"
    source = xa(drawn(1), **identity(SOPClassUID=capture, Modality="OT", ConversionType="WSD", NumberOfFrames=frames))
    source.file_meta.MediaStorageSOPClassUID = capture
    code, output = segment(write(tmp_path / "x.dcm", source), options=("--format", "seg"))
    data = pydicom.dcmread(output / "x_mask.dcm")
    image = data.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert code == 0 and image.ReferencedSOPClassUID == capture and ("ReferencedFrameNumber" in image) == bool(frames)
    assert list(by_hand(output / "x_mask.dcm")) == [0]


def test_some_frames_only(cine: Path, tmp_path: Path) -> None:
    """As key frames are: the object holds just those, and each names its own frame."""
    writer, report = ResultWriter(tmp_path / "out", format="seg"), RunReport(tmp_path / "out")
    inputs = find_inputs(cine)
    inputs.items = [item for item in inputs.items if item["frame"] in (7, 2)]
    for item in wanted_items(inputs, writer, report):
        mask = np.zeros((COLUMNS, ROWS))
        mask[item["frame"], 5] = 1
        written = writer.write(item, mask, None)
    assert written == [tmp_path / "out" / "run1_mask.dcm"]
    assert {frame: np.argwhere(mask).tolist() for frame, mask in by_hand(written[0]).items()} == {
        2: [[5, 2]], 7: [[5, 7]],
    }  # fmt: skip
    for kind in ("nrrd", "mha", "nii.gz"):
        report = RunReport(tmp_path / kind)
        assert wanted_items(inputs, ResultWriter(tmp_path / kind, format=kind), report) == []
        assert "2 of its 11 frames are asked for" in str(report.failures[str(cine)])


def test_another_choice_of_frames_is_no_result_of_this_run(segment, cine: Path, monkeypatch, capsys) -> None:
    code, output = segment(cine, options=("--format", "seg"))
    assert code == 0
    before = (output / "run1_mask.dcm").read_bytes()
    assert segment(cine, options=("--format", "seg"))[0] == 0

    def some(*paths: Any, **more: Any) -> Any:
        inputs = find_inputs(*paths, **more)
        inputs.items = [item for item in inputs.items if item["frame"] in (2, 7)]
        return inputs

    monkeypatch.setattr("casr_net.files.inputs.find_inputs", some)
    monkeypatch.setattr("casr_net.files.find_inputs", some, raising=False)
    assert segment(cine, options=("--format", "seg"))[0] == 1
    assert "exists already and was kept, it holds 11 frames, and other ones than those" in capsys.readouterr().err
    assert (output / "run1_mask.dcm").read_bytes() == before
    assert segment(cine, options=("--format", "seg", "--overwrite"))[0] == 0
    assert parse_segmentation(output / "run1_mask.dcm").frames == [2, 7]


@pytest.mark.parametrize(("format", "kind"), [("sc", "capture"), ("gsps", "presentation")])
def test_objects_for_viewers_that_show_no_segmentation(segment, cine: Path, format: str, kind: str, capsys) -> None:
    code, output = segment(cine, options=("--format", format))
    file = output / f"run1_{kind}.dcm"
    assert code == 0 and named_frames(file) == list(range(FRAMES))
    content = json.loads((output / "run.json").read_text())
    assert [one["kind"] for one in content["outputs"].values()] == [kind]
    jsonschema.validate(content, SCHEMA)
    before = file.read_bytes()
    assert segment(cine, options=("--format", format))[0] == 0 and file.read_bytes() == before
    assert segment(output, options=("--format", format))[0] == 2
    assert "holds no images (passed over: 1 files)" in capsys.readouterr().err, "a result is no input"


def test_what_cannot_be_a_source_is_refused_before_any_work(
    segment, png: Path, cine: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    from casr_net.inference.predict import FrameInferer

    nameless = write(tmp_path / "in" / "nameless.dcm", xa(drawn(2)))
    short = write(tmp_path / "in" / "short.dcm", xa(drawn(5), **identity(NumberOfFrames=2)))
    seen: list[int] = []
    call = FrameInferer.__call__
    monkeypatch.setattr(FrameInferer, "__call__", lambda self, x, net: seen.append(len(x)) or call(self, x, net))
    code, output = segment(cine.parent, options=("--format", "seg"))
    lines = capsys.readouterr().err.splitlines()
    assert code == 1 and len(seen) == FRAMES and files(output) == ["run.json", "run1_mask.dcm"]
    assert f"{png}: the format seg needs a DICOM image; this is none." in lines
    missing = "has no SeriesInstanceUID and no StudyInstanceUID; what is derived from an image names it by them."
    assert f"{nameless}: {missing}" in lines
    assert any(line.startswith(f"{short}: NumberOfFrames states 2, but there are more frames") for line in lines)
    assert len(lines) == 3
    (run,) = record(output)["runs"]
    assert sorted(file["state"] for file in run["files"]) == ["done", "failed", "failed", "failed"]


def test_runs_go_on_and_keep(segment, cine: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        code, output = segment(cine, options=("--format", "seg"))
    assert code == 130 and files(output) == ["run.json"]
    assert segment(cine, options=("--format", "seg"))[0] == 0
    first = (output / "run1_mask.dcm").read_bytes()
    assert segment(cine, options=("--format", "seg"))[0] == 0
    assert (output / "run1_mask.dcm").read_bytes() == first and files(output) == ["run.json", "run1_mask.dcm"]
    assert record(output)["outputs"]["run1_mask.dcm"] == {
        "run": 2, "input": str(cine), "kind": "mask", "frame": None, "bytes": len(first)
    }  # fmt: skip
    assert segment(cine, options=("--format", "seg", "--overwrite"))[0] == 0
    again = pydicom.dcmread(output / "run1_mask.dcm")
    assert again.SOPInstanceUID != pydicom.dcmread(pydicom.filebase.DicomBytesIO(first)).SOPInstanceUID
    (output / "run1_mask.dcm").write_bytes(first[:900])
    assert segment(cine, options=("--format", "seg"))[0] == 1, "a damaged result is no result"
    assert segment(cine.parent, options=("--format", "seg"))[0] == 1


def test_own_segmentations_are_no_inputs(segment, cine: Path) -> None:
    for _ in range(2):
        assert main(["segment", str(cine.parent), "--output", str(cine.parent), "--format", "seg", "--overwrite",
                     "--quiet", "--no-refine"]) == 0  # fmt: skip
    assert files(cine.parent) == ["run.json", "run1.dcm", "run1_mask.dcm"]
