"""Images of one frame go through the network with their mirror images, as everywhere; cines do not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from casr_net import Segmenter
from casr_net.files.images import read_angiogram
from casr_net.inference.calibrated import WeightsCalibration
from casr_net.uncertainty.entropy import entropy_score
from casr_net.uncertainty.quality import soft_dice_confidence

from .conftest import APP, PYTHON, REASON, Server, png
from .test_page import decoded

WEIGHTS = APP.parent / "models" / "model.pt"
NEAR = 0.02
"""Mean difference of probabilities between processes, which is that of bfloat16; mirror images make three times as
much of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Path:
    made = tmp_path_factory.mktemp("mirrored")
    for number in range(3):
        (made / f"frame{number}.png").write_bytes(png(angiograms[number]))
    stack = np.stack([frame.T for frame in angiograms[:2]], axis=-1)
    nrrd.write(str(made / "cine.nrrd"), stack, {"kinds": ["domain", "domain", "list"]})
    return made


@pytest.fixture(scope="module")
def mirrored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(folder, tmp_path_factory.mktemp("log") / "server.log", mirrored=True).start()
    yield one
    one.stop()


def probability(server: Server, image: str, tmp_path: Path, **params: Any) -> np.ndarray:
    """(rows, columns) of the first frame."""
    answer = server.infer(image, "image", result="probability", result_extension=".nrrd", **params)
    assert answer.status == 200, answer.body
    (tmp_path / "p.nrrd").write_bytes(answer.body)
    return nrrd.read(str(tmp_path / "p.nrrd"))[0][..., 0].T


def ways(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the bundle for the first frame: one pass, and the mean over mirror images."""
    source = read_angiogram(path)
    one, mean = (Segmenter(device="cpu", runtime="torch", tta=tta).of(source, 0).probability for tta in (False, True))
    return one, mean


def differs(one: np.ndarray, other: np.ndarray) -> float:
    """In what is unsure, where there is something to see."""
    unsure = (one > 0.05) & (one < 0.95)
    return float(np.abs(one - other)[unsure].mean())


def test_ways_can_be_told_apart(folder: Path) -> None:
    for name in ("frame0.png", "cine.nrrd"):
        assert differs(*ways(folder / name)) > 3 * NEAR


def test_single_images_and_cines(mirrored: Server, folder: Path, tmp_path: Path) -> None:
    assert differs(ways(folder / "frame0.png")[1], probability(mirrored, "frame0", tmp_path)) < NEAR
    assert differs(ways(folder / "cine.nrrd")[0], probability(mirrored, "cine", tmp_path, frame=0)) < NEAR


@pytest.mark.parametrize("image", ["frame0", "cine"])
def test_scores_are_calibrated_as_what_they_are_of(mirrored: Server, tmp_path: Path, image: str) -> None:
    answer = mirrored.infer(image, "json", frame=0).json
    found = probability(mirrored, image, tmp_path, frame=0)
    fits = {tta: WeightsCalibration(WEIGHTS, tta=tta).fit() for tta in (False, True)}
    said = {tta: entropy_score(fit(found)) for tta, fit in fits.items()}
    single = image == "frame0"
    assert answer["uncertainty"] == [pytest.approx(said[single], abs=2e-3)]
    assert abs(said[True] - said[False]) > 4e-3, "else this test sees nothing"
    content = mirrored.infer(image, "image", frame=0, result_extension=".nrrd").body
    (tmp_path / "m.nrrd").write_bytes(content)
    mask = nrrd.read(str(tmp_path / "m.nrrd"))[0][..., 0].T
    assert answer["quality"] == [pytest.approx(soft_dice_confidence(fits[single](found), mask), abs=2e-3)]


def test_proposals_of_the_page(mirrored: Server, folder: Path, start: Callable[..., Server], tmp_path: Path) -> None:
    """Those of a server that segments in one pass are not those of one that does not, though both keep them."""
    one, mean = ways(folder / "frame1.png")
    plain = start(folder)
    for server, wanted in ((plain, one), (mirrored, mean), (plain, one)):
        assert not server.request("POST", "/page/infer?image=frame1&frame=0").json["known"]
        levels = decoded(server.get("/page/probability?image=frame1&frame=0")) / 256
        assert differs(wanted, levels) < NEAR
    said = [server.request("POST", "/page/infer?image=cine&frame=1").json["known"] for server in (plain, mirrored)]
    assert said == [False, True], "a cine is segmented alike"


def test_quality_score_is_of_the_mask_that_is_shown(mirrored: Server) -> None:
    assert mirrored.post("/scoring/quality?run_sync=true").json["failed"] == {}
    score = mirrored.get("/datastore/image/info?image=frame2").json["casr_quality"]
    assert 1 - mirrored.infer("frame2").json["quality"][0] == pytest.approx(score, abs=2e-3)


def test_scores_of_one_pass_are_made_anew(mirrored: Server, start: Callable[..., Server], tmp_path: Path) -> None:
    """Those of masks; what a server in one pass has scored is no score of this one, but for cines."""
    studies = Path(mirrored.studies)
    plain = start(studies, "--state", str(tmp_path / "state"))
    for method, again in (("disagreement", 3), ("quality", 3), ("tta", 0)):
        done = [server.post(f"/scoring/{method}?run_sync=true").json for server in (mirrored, plain, mirrored)]
        assert [one["executed"] for one in done[1:]] == [again, again], (method, done)


# Which way each part of the app goes, by a network that computes nothing.
WAYS = """
import sys
from pathlib import Path
from types import SimpleNamespace
import casr_label.shim
import numpy as np, torch
import casr_label.inference, casr_net.inference.segmenter
from casr_label.inference import CASRInferTask
from casr_label.requests import checked_request
from casr_label.scoring import DisagreementScoring, DropoutScoring, QualityScoring, TTAScoring
from casr_label.state import Calibrations
from casr_label.training import CASRTrainTask
from casr_net.inference.mirrored import is_mirrored
ways = []

def watched(data, channels, network, inferer, post, device):
    ways.append(int(is_mirrored(inferer.tta, data["image"].meta.get("frames"))))
    with torch.no_grad():
        network.encoder(torch.zeros(1, 3, 32, 32))
    blob = torch.zeros(1, 64, 64)
    blob[:, 20:30] = 0.7
    return {"pred": blob > 0.5, "probability": blob}

casr_label.inference.predict = casr_net.inference.segmenter.predict = watched
bundle, image = sys.argv[1:]
task = CASRInferTask(bundle, {})
options = checked_request({"device": "cpu"})

def told(name, work):
    ways.clear()
    work()
    print(name, *ways)

case = SimpleNamespace(image=image, frame=0, mask=lambda: np.eye(64, dtype=bool))
trainer = SimpleNamespace(state=None, task=task)
told("calibrations", lambda: CASRTrainTask._calibrations(trainer, task, [case] * 3, "cpu"))
told("dice", lambda: CASRTrainTask._dice(trainer, task, [case], "cpu"))
told("dropout", lambda: DropoutScoring(task).score("", image, 0, options))
told("tta", lambda: TTAScoring(task, SimpleNamespace(store=lambda *_: None)).score("", image, 0, options))
told("quality", lambda: QualityScoring(task).score("", image, 0, options))
told("disagreement", lambda: DisagreementScoring(task).score("", image, 0, options))
segmenter = task.segmenter({**options, "refine": True})
told("measured", lambda: segmenter.grey(np.zeros((64, 64), np.float32), frames=1))
told("measured cine", lambda: segmenter.grey(np.zeros((64, 64), np.float32), frames=9))
plain = CASRInferTask(bundle, {"tta": "false"})
told("after a training", lambda: plain.of(plain.weights).segment_frame(image, 0, options))
"""


@pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)
def test_ways_of_all_parts(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    command = [str(PYTHON), "-c", WAYS, str(APP.parent), str(folder / "frame0.png")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "calibrations" + " 0" * 15, "dice 1", "dropout" + " 0" * 8, "tta" + " 0" * 4, "quality 1", "disagreement 1",
        "measured 1", "measured cine 0", "after a training 0",
    ]  # fmt: skip


@pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)
def test_setting_of_the_app(tmp_path: Path) -> None:
    text = (
        "import sys, json, casr_label.shim\n"
        "from casr_label.inference import CASRInferTask\nfrom casr_net.errors import UsageError\n"
        "for said in json.loads(sys.argv[2]):\n"
        "    try:\n        print(CASRInferTask(sys.argv[1], {'tta': said}).is_mirrored(1), end=' ')\n"
        "    except UsageError as error:\n        print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    command = [str(PYTHON), "-c", text, str(APP.parent), json.dumps(["auto", "True", "false", "yes"])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.splitlines()[-1] == "True True False --conf tta is 'yes'; expected auto, true or false."
