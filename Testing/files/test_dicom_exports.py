"""Secondary Captures and Presentation States: written, judged by dciodvfy and dcmpschk, and looked at again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from casr_net.errors import DataError, UsageError
from casr_net.files import dicom_capture, dicom_presentation
from casr_net.files.dicom import save_dicom
from casr_net.files.dicom_capture import MULTI_FRAME, SINGLE_FRAME, write_capture
from casr_net.files.dicom_derived import named_frames
from casr_net.files.dicom_presentation import PRESENTATION_STATE, write_presentation
from casr_net.files.images import read_angiogram
from casr_net.files.inputs import find_inputs
from casr_net.files.overlay import CONTOUR_COLOUR, draw_overlay
from casr_net.files.results import ResultWriter
from casr_net.synthetic.dataset import write_dataset

SIZE = 65
WRITERS = {"sc": write_capture, "gsps": write_presentation}


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM XA of 5 frames of 65 x 65 pixels: an odd number of bytes in colour, too."""
    folder = tmp_path_factory.mktemp("cine")
    return next(p for p in write_dataset(folder, 1, seed=5, frames=5, size=SIZE) if p.suffix == ".dcm")


def changed(cine: Path, path: Path, frames: int = 5, **values: object) -> Path:
    """The first frames of the cine, with other attributes; a single one without their number."""
    data = pydicom.dcmread(cine)
    data.PixelData = data.PixelData[: frames * SIZE * SIZE + frames % 2]
    data.NumberOfFrames = frames
    if frames == 1:
        del data.NumberOfFrames, data.FrameTime, data.FrameIncrementPointer
    for keyword, value in values.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    save_dicom(path, data)
    return path


def disc(row: int = 30, column: int = 20) -> np.ndarray:
    """(X, Y)."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(mask, (column, row), 9, 1, -1)
    return mask.T


def masks_of(*frames: int) -> dict[int, np.ndarray]:
    return {frame: disc(20 + 5 * frame) for frame in frames}


@pytest.mark.parametrize("kind", ["sc", "gsps"])
@pytest.mark.parametrize("frames", [(0, 1, 2, 3, 4), (1, 3), (2,), None])
@pytest.mark.parametrize("colour", ["MONOCHROME2", "MONOCHROME1"])
def test_conforms(cine: Path, tmp_path: Path, kind: str, frames: tuple[int, ...] | None, colour: str) -> None:
    if shutil.which("dciodvfy") is None or shutil.which("dcmpschk") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) or dcmpschk (dcmtk) is not there")
    values = {"StudyDate": "20260102", "StudyTime": "101112", "StudyID": "7"}  # else it warns of the source's lack
    source = changed(cine, tmp_path / "in.dcm", 5 if frames else 1, PhotometricInterpretation=colour, **values)
    WRITERS[kind](tmp_path / "out.dcm", source, masks_of(*(frames or (0,))), weights=cine)
    done = subprocess.run(["dciodvfy", "-new", str(tmp_path / "out.dcm")], capture_output=True, text=True)
    found = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    assert [line for line in found if "Retired Person Name form" not in line] == []
    assert named_frames(tmp_path / "out.dcm") == list(frames or (0,))
    if kind == "gsps":
        done = subprocess.run(["dcmpschk", str(tmp_path / "out.dcm")], capture_output=True, text=True)
        assert "Test passed" in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["sc", "gsps"])
def test_belongs_to_patient_and_study_of_the_source(cine: Path, tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "out.dcm", cine, masks_of(1, 3), version="9.9")
    source, made = pydicom.dcmread(cine), pydicom.dcmread(tmp_path / "out.dcm")
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert made[keyword].value == source[keyword].value, keyword
    assert made.SeriesInstanceUID != source.SeriesInstanceUID and made.SOPInstanceUID != source.SOPInstanceUID
    assert made.SoftwareVersions == "9.9" and "research use only" in made.SeriesDescription
    assert made.SOPClassUID == {"sc": MULTI_FRAME, "gsps": PRESENTATION_STATE}[kind]
    assert made.Modality == {"sc": "OT", "gsps": "PR"}[kind], "whoever looks for angiograms does not find it"
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID


def test_capture_shows_the_angiogram_with_the_contour(cine: Path, tmp_path: Path) -> None:
    masks = masks_of(1, 3)
    write_capture(tmp_path / "sc.dcm", cine, masks, window=(100, 80))
    pixels, opened = pydicom.dcmread(tmp_path / "sc.dcm").pixel_array, read_angiogram(cine, (100, 80))
    for place, frame in enumerate((1, 3)):
        assert (pixels[place] == draw_overlay(opened.grey(frame).T, masks[frame].T)).all()
        green = (pixels[place] == CONTOUR_COLOUR).all(axis=-1)
        assert green.any() and not green[~(masks[frame].T > 0)].any()
    write_capture(tmp_path / "one.dcm", changed(cine, tmp_path / "in.dcm", 1), {0: np.zeros((SIZE, SIZE))})
    made = pydicom.dcmread(tmp_path / "one.dcm")
    assert made.SOPClassUID == SINGLE_FRAME and made.pixel_array.shape == (SIZE, SIZE, 3)
    assert "ReferencedFrameNumber" not in made.SourceImageSequence[0] and "NumberOfFrames" not in made


@pytest.mark.parametrize(
    ("frames", "stated", "found"),
    [(5, "NO", "NO"), (5, "YES", "YES"), (5, None, "YES"), (1, None, ""), (1, "NO", "NO"), (1, "YES", "YES")],
)
def test_burned_in_annotation_is_that_of_the_source(
    cine: Path, tmp_path: Path, frames: int, stated: str | None, found: str
) -> None:
    """The contour identifies nobody; a cine whose source says nothing could show anything."""
    values = {} if stated is None else {"BurnedInAnnotation": stated}
    source = changed(cine, tmp_path / "in.dcm", frames, **values)
    write_capture(tmp_path / "sc.dcm", source, masks_of(*range(frames)))
    assert pydicom.dcmread(tmp_path / "sc.dcm").get("BurnedInAnnotation", "") == found


def test_times_of_a_capture(cine: Path, tmp_path: Path) -> None:
    def made(source: Path, *frames: int) -> pydicom.Dataset:
        write_capture(tmp_path / "sc.dcm", source, masks_of(*frames))
        return pydicom.dcmread(tmp_path / "sc.dcm")

    assert made(cine, 1, 2, 3).FrameTime == pydicom.dcmread(cine).FrameTime
    apart = made(cine, 0, 3)
    assert list(apart.PageNumberVector) == [1, 4] and "FrameTime" not in apart, "a frame between them is left out"
    vector = changed(
        cine, tmp_path / "in.dcm", FrameTime=None, FrameTimeVector=[0, 10, 20, 30, 40],
        FrameIncrementPointer=pydicom.tag.Tag("FrameTimeVector"),
    )  # fmt: skip
    assert list(made(vector, 2, 3, 4).FrameTimeVector) == [0, 30, 40]
    none = changed(cine, tmp_path / "in.dcm", FrameTime=None)
    assert list(made(none, 0, 1).PageNumberVector) == [1, 2]


def test_state_draws_the_outline_over_each_frame(cine: Path, tmp_path: Path) -> None:
    masks = {**masks_of(1, 3), 4: np.zeros((SIZE, SIZE))}
    masks[3][0, 0] = masks[3][60, 60] = 1  # a pixel alone, and one at the corner
    write_presentation(tmp_path / "pr.dcm", cine, masks)
    made = pydicom.dcmread(tmp_path / "pr.dcm")
    assert named_frames(tmp_path / "pr.dcm") == [1, 3, 4], "frame 5 was looked at, and holds nothing"
    drawn = {one.ReferencedImageSequence[0].ReferencedFrameNumber - 1: one for one in made.GraphicAnnotationSequence}
    assert sorted(drawn) == [1, 3]
    for frame, one in drawn.items():
        again = np.zeros((SIZE, SIZE), np.uint8)
        for line in one.GraphicObjectSequence:
            points = np.array(line.GraphicData).reshape(-1, 2)
            assert len(points) == line.NumberOfGraphicPoints and points.min() > 0 and points.max() < SIZE
            cv2.fillPoly(again, [(points - 0.5).astype(np.int32)], 1)
        assert (masks[frame] == again.T).all()


def test_state_shows_what_the_file_shows(cine: Path, tmp_path: Path) -> None:
    def made(window: tuple[float, float] | None = None, **values: object) -> pydicom.Dataset:
        source = changed(cine, tmp_path / "in.dcm", **values)
        write_presentation(tmp_path / "pr.dcm", source, masks_of(0), window=window)
        return pydicom.dcmread(tmp_path / "pr.dcm")

    plain = made(WindowCenter=90, WindowWidth=60)
    (voi,) = plain.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (90, 60) and plain.PresentationLUTShape == "IDENTITY"
    other = made((70, 40), PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=-5)
    (voi,) = other.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (70, 40) and other.PresentationLUTShape == "INVERSE"
    assert (other.RescaleSlope, other.RescaleIntercept) == (2, -5)


def test_long_outlines_are_cut(cine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_presentation, "MAX_POINTS", 8)
    write_presentation(tmp_path / "pr.dcm", cine, masks_of(0))
    lines = pydicom.dcmread(tmp_path / "pr.dcm").GraphicAnnotationSequence[0].GraphicObjectSequence
    points = [np.array(line.GraphicData).reshape(-1, 2) for line in lines]
    assert len(lines) > 1 and max(map(len, points)) <= 8
    assert all((before[-1] == after[0]).all() for before, after in zip(points, [*points[1:], points[0]], strict=True))


@pytest.mark.parametrize("kind", ["sc", "gsps"])
def test_what_does_not_fit_is_refused(cine: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = WRITERS[kind]
    with pytest.raises(UsageError, match="no frame"):
        write(tmp_path / "x.dcm", cine, {})
    with pytest.raises(DataError, match="no frame 5"):
        write(tmp_path / "x.dcm", cine, masks_of(5))
    with pytest.raises(DataError, match="has 3 x 3 pixels"):
        write(tmp_path / "x.dcm", cine, {0: np.ones((3, 3))})
    monkeypatch.setattr(dicom_capture, "MAX_BYTES", 1000)
    if kind == "sc":
        with pytest.raises(DataError, match="take 12675 bytes; a Secondary Capture holds 1000"):
            write(tmp_path / "x.dcm", cine, masks_of(1))
    assert not (tmp_path / "x.dcm").exists()


@pytest.mark.parametrize(("format", "name"), [("sc", "syn_00001_capture.dcm"), ("gsps", "syn_00001_presentation.dcm")])
def test_results_of_a_run(cine: Path, tmp_path: Path, format: str, name: str) -> None:
    shutil.copy(cine, tmp_path / cine.name)
    writer, items = ResultWriter(tmp_path, format), find_inputs([str(cine)]).items
    some = [item for item in items if item["frame"] in (1, 3)]
    writer.expect(some)
    assert [writer.write(item, disc(), None) for item in some] == [[], [tmp_path / name]]
    assert named_frames(tmp_path / name) == [1, 3]
    writer.check_kept(some)
    with pytest.raises(DataError, match="it holds 2 frames, and other ones"):
        writer.check_kept(items)
    found = {Path(item["path"]).name for item in find_inputs([str(tmp_path)]).items}
    assert found == {cine.name}, "a result is no input"
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((SIZE, SIZE), np.uint8))
    with pytest.raises(DataError, match=f"the format {format} needs a DICOM image"):
        writer.expect(find_inputs([str(tmp_path / "plain.png")]).items)
