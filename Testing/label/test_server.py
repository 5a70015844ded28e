"""REST: what clients of MONAI Label send, on a really started server with the shipped weights."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import nibabel
import nrrd
import numpy as np
import pytest

from casr_net import Segmenter
from casr_net.files.images import read_angiogram
from casr_net.inference.calibrated import WeightsCalibration

from .conftest import APP, Server, png


@pytest.fixture(scope="module")
def expected(shared_studies: Path) -> np.ndarray:
    """What the network gives for the grey picture, bool (rows, columns)."""
    return Segmenter(device="cpu", tta=False)(shared_studies / "grey.png").mask


def read_nrrd(content: bytes, tmp_path: Path) -> tuple[np.ndarray, dict]:
    path = tmp_path / "result.nrrd"
    path.write_bytes(content)
    return nrrd.read(str(path))


def test_info(server: Server) -> None:
    info = server.get("/info/").json
    assert info["labels"] == ["coronary artery"] and info["models"]["casr_net"]["labels"] == {"coronary artery": 1}
    assert info["models"]["casr_net"]["dimension"] == 2
    assert set(info["strategies"]) == {
        "uncertain", "uncertain_dropout", "uncertain_disagreement", "uncertain_quality", "diverse", "random", "first",
    }  # fmt: skip
    assert set(info["scoring"]) == {"tta", "dropout", "disagreement", "quality"}
    assert info["trainers"]["casr_net"]["version"] == 0


@pytest.mark.parametrize("image", ["grey", "color", "slice", "volume"])
def test_mask_is_that_of_the_bundle(server: Server, expected: np.ndarray, tmp_path: Path, image: str) -> None:
    answer = server.infer(image, "image", result_extension=".nrrd", result_dtype="uint8")
    assert answer.status == 200, answer.body
    mask, _ = read_nrrd(answer.body, tmp_path)
    assert mask.dtype == np.uint8 and mask.shape == (128, 128, 1) and set(np.unique(mask)) == {0, 1}
    assert (expected == mask[..., 0].T).mean() > 0.995


@pytest.mark.parametrize("image", ["photo", "photo_color"])
def test_jpeg(server: Server, expected: np.ndarray, tmp_path: Path, image: str) -> None:
    mask, _ = read_nrrd(server.infer(image, "image").body, tmp_path)
    assert mask.shape == (128, 128, 1) and (expected == mask[..., 0].T).mean() > 0.97


def test_geometry_of_a_slice_is_kept(server: Server, shared_studies: Path, tmp_path: Path) -> None:
    _, header = read_nrrd(server.infer("slice", "image").body, tmp_path)
    _, source = nrrd.read(str(shared_studies / "slice.nrrd"))
    assert np.allclose(header["space directions"], source["space directions"])
    assert np.allclose(header["space origin"], source["space origin"])
    content = server.infer("volume", "image", result_extension=".nii.gz").body
    (tmp_path / "result.nii.gz").write_bytes(content)
    result, volume = nibabel.load(tmp_path / "result.nii.gz"), nibabel.load(shared_studies / "volume.nii.gz")
    assert np.allclose(result.affine, volume.affine) and result.shape == (128, 128, 1)


def test_png_result(server: Server, expected: np.ndarray) -> None:
    content = server.infer("grey", "image", result_extension=".png").body
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) == {0, 255} and ((mask > 0) == expected).mean() > 0.995


def test_json_has_score_and_pixels(server: Server, expected: np.ndarray) -> None:
    params = server.infer("grey").json
    assert params["label_names"] == {"coronary artery": 1} and params["frames"] == [0]
    assert abs(params["pixels"][0] - expected.sum()) <= 0.005 * expected.size and 0 < params["uncertainty"][0] < 1
    assert len(params["quality"]) == 1 and 0 < params["quality"][0] < 1


def test_uncertainty_map_on_request(server: Server, tmp_path: Path) -> None:
    mask, _ = read_nrrd(server.infer("grey", "image").body, tmp_path)
    entropy, _ = read_nrrd(server.infer("grey", "image", result="uncertainty").body, tmp_path)
    probability, _ = read_nrrd(server.infer("grey", "image", result="probability").body, tmp_path)
    assert entropy.dtype == np.float32 and entropy.min() >= 0 and 0.5 < entropy.max() <= 1
    calibrated = WeightsCalibration(APP.parent / "models" / "model.pt")(probability)
    unsure = (calibrated > 0.4) & (calibrated < 0.6)
    assert unsure.any() and entropy[unsure].min() > 0.95 and entropy[calibrated < 0.01].max() < 0.1
    assert ((probability >= 0.5) == (mask > 0)).mean() > 0.95


def test_all_of_it_in_one_answer(server: Server) -> None:
    answer = server.infer("grey", "all", result_extension=".nrrd")
    assert b'name="params"' in answer.body and b"NRRD000" in answer.body


def test_threshold_and_refinement_of_a_request(server: Server) -> None:
    counts = [server.infer("grey", threshold=value, refine=False).json["pixels"][0] for value in (0.2, 0.5, 0.9)]
    assert counts[0] > counts[1] > counts[2] > 0


def test_refinement_of_a_request_is_of_that_request_only(server: Server, shared_studies: Path) -> None:
    """A speck beside the vessels: refinement removes it, also after a request that did not want refinement."""
    counts = [server.infer("grey", threshold=0.05, refine=refine).json["pixels"][0] for refine in (True, False, True)]
    assert counts[0] == counts[2] != counts[1]


def test_volume_is_refused(server: Server) -> None:
    answer = server.infer("solid")
    assert answer.status == 400 and answer.detail.startswith("image 'solid': a volume of 128 x 128 x 3"), answer.detail


def test_frames_of_a_cine(server: Server, tmp_path: Path) -> None:
    one, _ = read_nrrd(server.infer("cine", "image", frame=2).body, tmp_path)
    whole, _ = read_nrrd(server.infer("cine", "image", frame="all").body, tmp_path)
    assert one.shape == (128, 128, 1) and whole.shape == (128, 128, 1, 3) and (whole[..., 2] == one).all()
    assert server.infer("cine").json["frames"] == [0, 1, 2], (
        "clients that know no frames get a label of the whole image"
    )
    assert server.infer("cine", frame=3).status == 400
    for extension, words in ((".png", "holds one frame; 3 are"), (".dcm", "needs a DICOM image")):
        answer = server.infer("cine", result_extension=extension)
        assert answer.status == 400 and words in answer.detail


def test_upload(server: Server, shared_studies: Path, expected: np.ndarray, tmp_path: Path) -> None:
    content = (shared_studies / "grey.png").read_bytes()
    answer = server.form(
        "POST",
        "/infer/casr_net?output=image",
        {"params": '{"result_extension": ".nrrd"}'},
        {"file": ("a.png", content)},
    )
    mask, _ = read_nrrd(answer.body, tmp_path)
    assert (expected == mask[..., 0].T).mean() > 0.995


def test_session(server: Server, shared_studies: Path) -> None:
    """What the Slicer client does with an image that the server does not have."""
    content = (shared_studies / "slice.nrrd").read_bytes()
    session = server.form("PUT", "/session/", {}, {"files": ("local.nrrd", content)}).json["session_id"]
    answer = server.form("POST", f"/infer/casr_net?session_id={session}&output=json", {"params": "{}"})
    assert answer.status == 200 and answer.json["pixels"][0] > 100


@pytest.mark.skipif(
    not (Path(__file__).resolve().parents[3] / "shared" / "data" / "xa_dicom").is_dir(), reason="no ../shared/data"
)
def test_real_xa_file(start, tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[3] / "shared" / "data" / "xa_dicom" / "phantom_14frames.dcm"
    (tmp_path / "xa").mkdir()
    (tmp_path / "xa" / "phantom.dcm").write_bytes(source.read_bytes())
    server = start(tmp_path / "xa")
    assert server.infer("phantom", frame=9).json["frames"] == [9]
    answer = server.infer("phantom", frame=14)
    assert answer.status == 400 and "expected 0 to 13" in answer.detail


def test_synthetic_xa_file(start, tmp_path: Path) -> None:
    """The cine of the Slicer extension, a DICOM XA file of 12 frames."""
    source = Path(__file__).resolve().parents[2] / "CASRSegmentation" / "Resources" / "SampleData" / "casr_cine.dcm"
    (tmp_path / "xa").mkdir()
    (tmp_path / "xa" / "cine.dcm").write_bytes(source.read_bytes())
    server = start(tmp_path / "xa")
    wanted = Segmenter(device="cpu").of(read_angiogram(source), 5).mask
    mask, _ = read_nrrd(server.infer("cine", "image", frame=5).body, tmp_path)
    assert (wanted == mask[..., 0].T).mean() > 0.995


# Labels, on a server of their own, which begins every test without any


@pytest.fixture(scope="module")
def labelling(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("labelling") / "studies"
    folder.mkdir()
    for number, image in enumerate(angiograms[:4]):
        (folder / f"frame{number}.png").write_bytes(png(image))
    one = Server(folder, folder.parent / "server.log").start()
    yield one
    one.stop()


@pytest.fixture
def empty(labelling: Server) -> tuple[Server, Path]:
    """The server and its studies."""
    for number in range(4):
        for tag in ("final", "original"):
            labelling.request("DELETE", f"/datastore/label?id=frame{number}&tag={tag}")
    assert labelling.get("/datastore/").json["label_tags"] == {}
    return labelling, Path(labelling.studies)


def test_an_image_is_not_replaced_below_its_label(empty: tuple[Server, Path], angiograms: list[np.ndarray]) -> None:
    """Its label, scores and patient would be taken for those of the new picture, and trained on."""
    server, studies = empty
    mask = np.zeros((128, 128), np.uint8)
    mask[20:40, 30:90] = 255
    assert server.label("frame1", "x.png", png(mask)).status == 200
    before = {path: path.read_bytes() for path in studies.rglob("*.png")}
    answer = server.form("PUT", "/datastore/image?image=frame1", {}, {"file": ("x.png", png(angiograms[0]))})
    assert answer.status == 409 and answer.detail == (
        "image 'frame1': there is another one of that name; take another name, or remove that one first."
    )
    same = server.form("PUT", "/datastore/image?image=frame1", {}, {"file": ("x.png", png(angiograms[1]))})
    assert same.status == 200 and {path: path.read_bytes() for path in studies.rglob("*.png")} == before


def test_label_is_stored_and_read_back(empty: tuple[Server, Path]) -> None:
    server, studies = empty
    mask = np.zeros((128, 128), np.uint8)
    mask[20:40, 30:90] = 255
    assert server.label("frame1", "x.png", png(mask)).status == 200
    stored = studies / "labels" / "final" / "frame1.png"
    assert stored.read_bytes() == png(mask)
    listed = server.get("/datastore/?output=train").json
    assert [Path(item["label"]).name for item in listed] == ["frame1.png"]
    assert server.get("/datastore/label?label=frame1&tag=final").body == png(mask)
    assert server.post("/activelearning/first").json["id"] == "frame0"


def test_label_of_another_kind_replaces_the_first(empty: tuple[Server, Path]) -> None:
    server, studies = empty
    mask = np.zeros((128, 128), np.uint8)
    mask[20:40, 30:90] = 1
    server.label("frame1", "x.png", png(mask * 255))
    buffer = io.BytesIO()
    path = studies.parent / "x.nrrd"
    nrrd.write(str(path), np.ascontiguousarray(mask.T[..., None]))
    buffer.write(path.read_bytes())
    assert server.label("frame1", "x.nrrd", buffer.getvalue()).status == 200
    assert sorted(p.name for p in (studies / "labels" / "final").iterdir()) == ["frame1.nrrd"]
    assert server.get("/datastore/label?label=frame1&tag=final").body == buffer.getvalue()


def test_new_files_of_the_folder_are_found(empty: tuple[Server, Path], angiograms: list[np.ndarray]) -> None:
    server, studies = empty
    (studies / "late.png").write_bytes(png(angiograms[4]))
    assert server.infer("late").status == 200
    (studies / "late.png").unlink()
    assert server.infer("late").status == 404


def test_result_is_saved_as_original_on_request(empty: tuple[Server, Path]) -> None:
    server, studies = empty
    assert server.infer("frame0", save_label=True).status == 200
    assert (studies / "labels" / "original" / "frame0.nrrd").is_file()
    assert server.get("/datastore/").json["completed"] == 0, "an original label is not a finished one"


def test_batch(empty: tuple[Server, Path]) -> None:
    server, studies = empty
    answer = server.post("/batch/infer/casr_net?images=unlabeled&run_sync=true", {"save_label": True})
    assert answer.status == 200, answer.body
    assert sorted(p.name for p in (studies / "labels" / "original").iterdir()) == [f"frame{i}.nrrd" for i in range(4)]


def test_server_answers_on_the_loopback_only(server: Server) -> None:
    import psutil

    assert server.process is not None
    listening = [
        c.laddr for c in psutil.Process(server.process.pid).net_connections() if c.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_log_of_a_start_is_clean(server: Server) -> None:
    time.sleep(0.1)
    assert "Traceback" not in server.log.read_text(errors="replace")
    assert json.loads(json.dumps(server.get("/datastore/").json))["total"] >= 6
