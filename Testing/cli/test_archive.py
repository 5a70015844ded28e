"""``casr segment https://.../dicom-web?...``: instances of a DICOMweb server in place of files; and lists of inputs."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pydicom
import pytest
from makers.dicoms import write, xa
from makers.orthanc import ORTHANC, PLUGIN, REASON, Orthanc

from casr_net.errors import UsageError
from casr_net.files.addresses import Search, instance_address, parse_search, place_of
from casr_net.files.inputs import find_inputs
from casr_net.files.lists import is_list

from .conftest import files, record
from .test_runs import SCHEMA
from .test_seg import by_hand, identity

pytest.importorskip("dicomweb_client")
from makers.fake_pacs import Asked, FakePACS

FRAMES = 3


@pytest.fixture
def sources(tmp_path: Path, angiogram: np.ndarray) -> list[Path]:
    """Three cines of one series."""
    (tmp_path / "pacs").mkdir()
    same = identity(PatientID="P7")
    cines = [np.stack([np.roll(angiogram, 9 * i + 40 * n, axis=0) for i in range(FRAMES)]) for n in range(3)]
    return [write(tmp_path / "pacs" / f"{n}.dcm", xa(cine, **same)) for n, cine in enumerate(cines)]


@pytest.fixture
def pacs(sources: list[Path]) -> Iterator[FakePACS]:
    one = FakePACS(sources)
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "USER", "PASSWORD"):
        monkeypatch.delenv(f"CASR_DICOMWEB_{name}", raising=False)


def downloads(pacs: FakePACS) -> list[str]:
    """Instances that were asked for."""
    return [one.path.rpartition("/")[2] for one in pacs.asked if re.search(r"/instances/[0-9.]+$", one.path)]


def uids(file: Path) -> tuple[str, str, str]:
    data = pydicom.dcmread(file, stop_before_pixels=True)
    return str(data.StudyInstanceUID), str(data.SeriesInstanceUID), str(data.SOPInstanceUID)


def test_instances_are_segmented_as_their_files_are(
    segment, pacs: FakePACS, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    most = []
    address = f"{pacs.url}?PatientID=P7&Modality=XA"

    def count(asked: Asked) -> bool:
        most.append(len(list((tmp_path / "tmp").rglob("*.dcm"))))
        return False

    pacs.holding = count
    code, output = segment(address, options=("--format", "seg"))
    assert code == 0
    assert max(most) <= 2 and not list((tmp_path / "tmp").rglob("*.dcm")), "few lie on the disk, and none at the end"
    found = record(output)
    jsonschema.validate(found, SCHEMA, jsonschema.Draft202012Validator)
    assert found["runs"][0]["inputs"] == [address]
    series = pacs.asked[0].path
    assert "PatientID=P7" in series and "Modality=XA" in series
    output.rename(tmp_path / "remote")
    assert segment(*sources, options=("--format", "seg"))[0] == 0
    for place, source in enumerate(sources):
        study, group, instance = uids(source)
        result = f"{study}/{group}/{instance}_mask.dcm"
        path = instance_address(pacs.url, study, group, instance)
        size = (tmp_path / "remote" / result).stat().st_size
        assert found["outputs"][result] == {"run": 1, "input": path, "kind": "mask", "frame": None, "bytes": size}
        file = next(one for one in found["runs"][0]["files"] if one["path"] == path)
        assert (file["state"], file["done"], file["instance"], file["rows"]) == ("done", FRAMES, instance, 128)
        assert file["bytes"] > 0 and file["grey"] and "modified" not in file and "sha256" not in file
        remote, local = by_hand(tmp_path / "remote" / result), by_hand(output / f"{place}_mask.dcm")
        assert remote.keys() == local.keys() and all((remote[frame] == local[frame]).all() for frame in local)


def test_what_is_there_is_not_fetched_again(segment, pacs: FakePACS, sources: list[Path], capsys) -> None:
    code, output = segment(f"{pacs.url}?Modality=XA", options=("--flat", "--overlay"))
    assert code == 0 and sorted(downloads(pacs)) == sorted(uids(source)[2] for source in sources)
    assert len(files(output)) == 3 * FRAMES * 2 + 1
    study, series, instance = uids(sources[1])
    for path in output.glob(f"{instance}_f0001_*"):
        path.unlink()
    pacs.asked.clear()
    # By another search, and below its series.
    assert segment(f"{pacs.url}/studies/{study}/series/{series}?Modality=XA", options=("--flat", "--overlay"))[0] == 0
    assert downloads(pacs) == [instance]
    states = {file["path"].rpartition("/")[2]: file["state"] for file in record(output)["runs"][1]["files"]}
    assert states.pop(instance) == "done" and set(states.values()) == {"kept"}
    assert segment(f"{pacs.url}?Modality=XA", options=("--flat", "--overlay", "--no-refine"))[0] == 1
    assert "reconnect true, now false; remove_components true, now false); --overwrite" in capsys.readouterr().err
    assert downloads(pacs) == [instance]


def test_by_ray(segment, pacs: FakePACS, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its workers run, in this process."""
    from casr_net.inference import engines, ray_engine

    def through(ray: Any, settings: Any, jobs: Any, *_: Any) -> Iterator[Any]:
        actor = ray_engine.Actor(settings)
        for job in jobs:
            yield actor._part(job)

    monkeypatch.setattr(ray_engine, "_through_pool", through)
    monkeypatch.setattr(ray_engine, "_cluster", lambda workers: contextlib.nullcontext())
    monkeypatch.setattr(ray_engine, "_limit_threads", lambda threads: None)
    monkeypatch.setattr("casr_net.cli.segment.require_ray", lambda: None)
    assert "ray" in engines.ENGINES
    code, output = segment(f"{pacs.url}?Modality=XA", options=("--engine", "ray"))
    assert code == 0 and len(downloads(pacs)) == 3 and len(record(output)["outputs"]) == 3 * FRAMES


def test_a_token_is_sent_and_never_written(
    segment, pacs: FakePACS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "token").write_text("abc.def-123\n")
    code, output = segment(f"{pacs.url}?Modality=XA", options=("--token-file", tmp_path / "token"))
    assert code == 0
    assert {one.headers["authorization"] for one in pacs.asked} == {"Bearer abc.def-123"}
    assert "abc.def" not in (output / "run.json").read_text()
    for names, sent in (({"TOKEN": "xyz"}, "Bearer xyz"), ({"USER": "u", "PASSWORD": "p"}, "Basic dTpw")):
        for name, value in names.items():
            monkeypatch.setenv(f"CASR_DICOMWEB_{name}", value)
        pacs.asked.clear()
        segment(f"{pacs.url}?Modality=XA")
        assert {one.headers["authorization"] for one in pacs.asked} == {sent}
        monkeypatch.delenv(f"CASR_DICOMWEB_{next(iter(names))}")
    pacs.saying = (401, "text/plain", b"")
    assert segment(f"{pacs.url}?Modality=XA")[0] == 1
    assert f"{pacs.url}: answered with HTTP status 401: it wants a token" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "two words", "x" * 20_000])
def test_tokens_that_cannot_be_used(segment, pacs: FakePACS, tmp_path: Path, capsys, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    code, output = segment(f"{pacs.url}?Modality=XA", options=("--token-file", tmp_path / "token"))
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2 and str(tmp_path / "token") in line and "token" in line and len(line) < 300
    assert not pacs.asked and not output.exists()


def test_a_failed_download_costs_one_instance_and_a_dead_server_the_run(
    segment, pacs: FakePACS, sources: list[Path], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = uids(sources[1])[2]
    sources[1].write_bytes(b"no DICOM")
    code, output = segment(f"{pacs.url}?Modality=XA")
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1 and f"{pacs.url}: no usable answer" in line
    states = {file["path"].rpartition("/")[2]: file["state"] for file in record(output)["runs"][0]["files"]}
    assert states.pop(bad) == "failed" and set(states.values()) == {"done"}
    monkeypatch.setattr("casr_net.inference.files_run.UNREACHABLE", 1)
    assert segment(f"{pacs.url}?Modality=XA")[0] == 1
    assert "the run stops, since 1 instances one after the other could not be fetched" in capsys.readouterr().err
    assert record(output)["runs"][1]["state"] == "stopped"


def test_frames_that_the_server_states_wrongly(segment, pacs: FakePACS, sources: list[Path], capsys) -> None:
    pacs.headers[uids(sources[0])[2]].NumberOfFrames = 7
    code, _ = segment(f"{pacs.url}?Modality=XA")
    error = capsys.readouterr().err
    assert code == 1 and f"{uids(sources[0])[2]}: has 3 frames; the server stated 7." in error
    assert tempfile.gettempdir() not in error


def test_what_is_no_image_is_passed_over(pacs: FakePACS, sources: list[Path]) -> None:
    one, two, _ = (pacs.headers[uids(source)[2]] for source in sources)
    del one.Rows
    two.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    inputs = find_inputs([f"{pacs.url}?PatientID=P7"])
    assert len(inputs.paths) == 1 and sum(inputs.passed_over.values()) == 2 and not inputs.failures
    pacs.headers.clear()
    inputs = find_inputs([f"{pacs.url}?PatientID=P7"])
    assert [str(error) for error in inputs.failures.values()] == [
        f"{pacs.url}?PatientID=P7: the server finds no images."
    ]


def test_key_frames_need_files(segment, tmp_path: Path, capsys) -> None:
    (tmp_path / "list.txt").write_text("https://host/dicom-web?Modality=XA\n")
    for given in ("https://host/dicom-web?Modality=XA", tmp_path / "list.txt"):
        assert segment(given, options=("--key-frames", 1))[0] == 2
        assert "--key-frames looks at all frames before" in capsys.readouterr().err


@pytest.mark.skipif(ORTHANC is None or not PLUGIN.is_file(), reason=REASON)
def test_a_real_pacs(segment, orthanc: Orthanc, sources: list[Path], tmp_path: Path, angiogram: np.ndarray) -> None:
    """Searches as PS3.18 has them, by page; another patient's cine is not touched."""
    other = write(tmp_path / "other.dcm", xa(angiogram[None], **identity(PatientID="P8", NumberOfFrames=None)))
    for file in (*sources, other):
        orthanc.store(file)
    code, output = segment(f"{orthanc.url}?PatientID=P7&Modality=XA", options=("--flat", "--format", "seg"))
    assert code == 0
    assert files(output) == sorted(["run.json", *(f"{uids(source)[2]}_mask.dcm" for source in sources)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("casr_net.files.dicomweb.PAGE", 1)
        found = find_inputs([f"{orthanc.url}?Modality=XA"], flat=True)
    assert {(item["name"], item["frames"]) for item in found.items} == {
        *((uids(source)[2], FRAMES) for source in sources), (uids(other)[2], 1)
    }  # fmt: skip
    (one,) = find_inputs([f"{orthanc.url}?SOPInstanceUID={uids(other)[2]}"]).paths
    assert place_of(one)[1:] == uids(other)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://me:secret@host/dicom-web?Modality=XA", "user and password do not belong there"),
        ("https://host/dicom-web", "names the whole archive"),
        ("https:///dicom-web?Modality=XA", "names no server"),
        ("https://host:port/dicom-web?Modality=XA", "not an address"),
        ("https://host/dicom-web?access-token=secret", "'access-token' is no attribute to search by"),
        ("https://host/dicom-web?Modality=", "Modality has no value"),
        ("https://host/dicom-web?Modality=XA&Modality=SC", "Modality stands twice"),
        ("ftp://host/dicom-web?Modality=XA", "'ftp://host/dicom-web?Modality=XA': no address of a DICOMweb server"),
    ],
)
def test_addresses_that_are_no_search(segment, capsys, address: str, words: str) -> None:
    code, output = segment(address)
    error = capsys.readouterr().err
    assert code == 2 and words in error and "secret" not in error and len(error.splitlines()) == 1
    assert not output.exists()


def test_what_an_address_asks_for() -> None:
    assert parse_search("https://h:8/a/dicom-web/?PatientID=7%5E1&Modality=XA&SOPInstanceUID=1.2") == Search(
        "https://h:8/a/dicom-web", {"PatientID": "7^1", "Modality": "XA"}, {"SOPInstanceUID": "1.2"}
    )
    assert parse_search("http://h/rs/studies/1.2/series/1.3") == Search(
        "http://h/rs", {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}
    )
    with pytest.raises(UsageError):
        place_of("http://h/rs/studies/1.2")


def test_a_list_names_inputs(segment, picture: Callable[[Path], Path], tmp_path: Path, monkeypatch) -> None:
    """Cines that are called alike stay apart by their folders, and a name does not depend on the other lines."""
    for folder in ("a", "b", "c/d"):
        picture(tmp_path / "data" / folder / "IM0001.png")
    monkeypatch.chdir(tmp_path)
    lines = ["data/a/IM0001.png", "", str(tmp_path / "data" / "b" / "IM0001.png"), "data/c"]
    (tmp_path / "cines.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    code, output = segment("cines.txt")
    assert code == 0 and record(output)["runs"][0]["inputs"] == ["cines.txt"]
    absolute = (tmp_path / "data" / "b").relative_to(tmp_path.anchor).as_posix()
    masks = {"data/a/IM0001_mask.png", f"{absolute}/IM0001_mask.png", "data/c/d/IM0001_mask.png"}
    assert set(files(output)) == {"run.json", *masks}
    (tmp_path / "cines.txt").write_text("data/a/../b/IM0001.png\n")
    assert segment("cines.txt")[0] == 0
    assert record(output)["runs"][1]["files"][0]["state"] == "kept"


def test_an_image_is_no_list_whatever_it_is_called(segment, picture: Callable[[Path], Path], tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png").rename(tmp_path / "a.txt")
    code, output = segment(image)
    assert code == 0 and set(files(output)) == {"run.json", "a_mask.png"}
    (tmp_path / "BM.txt").write_text(f"BM/none.png\n{image}\n")
    assert is_list(tmp_path / "BM.txt") and not is_list(image)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a.png\n\0\1\n", "line 2 is no path but "), (None, "no such file or folder"),
        ("\n \n", "the list names nothing"),
        ("a.png\nother.txt\n", "line 2 names another list, other.txt"),
        ("missing.png\n", "missing.png: no such file or folder, which "),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_used(segment, tmp_path: Path, capsys, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "cines.txt").write_text(content)
    code, _ = segment(tmp_path / "cines.txt", quiet=False)
    said = capsys.readouterr().err
    assert code == 1 and words in said and len(said.splitlines()) == 1, "at once, before the network is loaded"
    assert os.listdir(tmp_path) in (["cines.txt"], [])
