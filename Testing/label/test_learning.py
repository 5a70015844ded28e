"""REST: scores, strategies, training, versions of the weights."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from casr_net import Segmenter
from casr_net.inference.calibrated import WeightsCalibration
from casr_net.uncertainty.platt import SLOPES

from .conftest import APP, PYTHON, REASON, Server, png

OF_BUNDLE = {
    kind: WeightsCalibration(APP.parent / "models" / "model.pt", tta=kind == "tta").record()
    for kind in ("single", "tta")
}
QUICK = {"max_epochs": 1, "samples_per_epoch": 4, "batch_size": 2, "crop_size": 64}


def info(server: Server, image: str) -> dict:
    return server.get(f"/datastore/image/info?image={image}").json


def train(server: Server, **options: object) -> dict:
    """Train in the background, as clients do; the task at its end."""
    server.post("/train/casr_net", {**QUICK, **options})
    end = time.monotonic() + 240
    while time.monotonic() < end:
        task = server.get("/train/").json
        if task["status"] not in ("SUBMITTED", "RUNNING"):
            return task
        time.sleep(0.5)
    raise AssertionError("the training does not end")


def label_all(server: Server, studies: Path) -> None:
    """Final labels that are what the shipped weights give."""
    segmenter = Segmenter(device="cpu", tta=False)  # as the server
    for path in sorted(studies.glob("frame*.png")):
        assert server.label(path.stem, "x.png", png(segmenter(path).mask.astype(np.uint8) * 255)).status == 200


@pytest.mark.parametrize("method", ["tta", "dropout", "disagreement", "quality"])
def test_scores(start: Callable[..., Server], studies: Path, method: str) -> None:
    server = start(studies)
    assert server.post(f"/scoring/{method}?run_sync=true").json == {"executed": 4, "failed": {}}
    scores = [info(server, f"frame{i}")[f"casr_{method}"] for i in range(4)]
    assert all(0 <= score <= 1 for score in scores) and len(set(scores)) > 1
    assert server.post(f"/scoring/{method}?run_sync=true").json["executed"] == 0, "the same weights: nothing to do"
    name = {"tta": "uncertain"}.get(method, f"uncertain_{method}")
    assert server.post(f"/activelearning/{name}").json["id"] == f"frame{int(np.argmax(scores))}"


def test_image_that_cannot_be_scored_does_not_stop_the_others(start: Callable[..., Server], studies: Path) -> None:
    (studies / "broken.png").write_bytes(b"no picture")
    server = start(studies)
    done = server.post("/scoring/disagreement?run_sync=true").json
    assert done["executed"] == 4 and "broken" in done["failed"]


def test_strategies(start: Callable[..., Server], studies: Path) -> None:
    server = start(studies)
    assert server.post("/activelearning/first").json["id"] == "frame0"
    assert server.post("/activelearning/random").json["id"].startswith("frame")
    unscored = server.post("/activelearning/uncertain").json
    assert unscored["id"].startswith("frame") and "scored" in unscored["note"]
    server.post("/scoring/tta?run_sync=true")
    chosen = server.post("/activelearning/diverse").json
    assert chosen["id"] in [f"frame{i}" for i in range(4)] and chosen["path"].endswith(f"{chosen['id']}.png")
    label_all(server, studies)
    assert server.post("/activelearning/diverse").json == {} == server.post("/activelearning/uncertain").json


def test_training_makes_a_version_and_publishes_it_only_if_it_is_not_worse(
    start: Callable[..., Server], studies: Path
) -> None:
    """Labels are what the weights in use give: no other weights can have a higher Dice on them."""
    (studies / "frame5.png").write_bytes((studies / "frame2.png").read_bytes())
    server = start(studies)
    label_all(server, studies)
    before = server.infer("frame0").json["pixels"]
    task = train(server, learning_rate=0.05, val_split=0.5)
    assert task["status"] == "DONE", task
    assert any("casr_net: Dice of version 1" in line for line in task["details"])
    (record,) = server.get("/info/").json["train_stats"]["casr_net"]["versions"]
    # Not 1: in bfloat16 the server's mask has some other pixels than that of another process.
    assert record["dice_before"] > max(0.97, record["dice_after"]) and not record["published"]
    assert record["held"] == ["frame0", "frame1", "frame5"] and record["train"] == ["frame2", "frame3"]
    assert record["calibration"].keys() == OF_BUNDLE.keys()
    for kind, fit in record["calibration"].items():  # of the held labels
        assert fit != OF_BUNDLE[kind] and all(SLOPES[0] <= fit[side] <= SLOPES[1] for side in ("below", "above"))
    assert server.infer("frame0").json["pixels"] == before, "the weights in use stay"


def test_better_weights_are_used_at_once_and_can_be_taken_back(start: Callable[..., Server], studies: Path) -> None:
    """There is no vessel, say the labels: the weights' Dice is 0, and to find none is quickly learned.

    On labels like "vessel where the weights see none", some steps end anywhere, and elsewhere on another processor.
    """
    server = start(studies)
    for path in sorted(studies.glob("frame*.png")):
        server.label(path.stem, "x.png", png(np.zeros((128, 128), np.uint8)))
    before = server.infer("frame0").json["pixels"][0]
    task = train(server, learning_rate=0.02, samples_per_epoch=24, max_epochs=2)
    assert task["status"] == "DONE", task
    stats = server.get("/info/").json["train_stats"]["casr_net"]
    assert stats["current"] == 1 and stats["versions"][0]["published"]
    assert stats["versions"][0]["dice_before"] == 0 and stats["versions"][0]["dice_after"] == 1
    assert stats["versions"][0]["calibration"] == OF_BUNDLE, "one held frame is too few for another"
    after = server.infer("frame0").json["pixels"][0]
    assert after != before, "without a restart"
    assert server.post("/train/casr_net?run_sync=true", {"rollback": 0}).json == {"version": 0}
    assert server.infer("frame0").json["pixels"][0] == before
    assert server.post("/train/casr_net?run_sync=true", {"rollback": 1}).json == {"version": 1}
    assert server.infer("frame0").json["pixels"][0] == after
    for query in ("", "?run_sync=true"):  # at once in any case
        answer = server.post(f"/train/casr_net{query}", {"rollback": 9})
        assert answer.status == 400 and "known are 0 (the bundle's) and [1]" in answer.detail
    server.kill()
    server.start()
    assert server.infer("frame0").json["pixels"][0] == after, "after a restart too"


def test_killed_training_goes_on(start: Callable[..., Server], studies: Path) -> None:
    server = start(studies)
    label_all(server, studies)
    options = {"max_epochs": 12, "samples_per_epoch": 8, "learning_rate": 1e-5}
    server.post("/train/casr_net", {**QUICK, **options})
    last = studies / ".casr" / "run" / "last.ckpt"
    end = time.monotonic() + 240
    while not last.is_file() and time.monotonic() < end:
        time.sleep(0.1)
    server.kill()
    assert last.is_file() and not (studies / ".casr" / "published.pt").exists()
    server.start()
    task = train(server, **options)
    assert task["status"] == "DONE", task
    (record,) = server.get("/info/").json["train_stats"]["casr_net"]["versions"]
    assert record["resumed"] and record["options"]["max_epochs"] == 12
    assert not (studies / ".casr" / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_epochs": 0}, "max_epochs"), ({"learning_rate": "x"}, "learning_rate"), ({"crop_size": 5}, "crop_size"),
        ({"rollback": "../x"}, "rollback"), ({"device": "cuda:9"}, "device"), ({"val_split": 2}, "val_split"),
    ],
)  # fmt: skip
def test_wrong_options_of_a_training(server: Server, options: dict, words: str) -> None:
    answer = server.post("/train/casr_net?run_sync=true", options)
    assert answer.status == 400 and (words in answer.detail or "label" in answer.detail)


def test_bundle_stays_as_it_is() -> None:
    """Whatever is learned lies in the studies folder."""
    import subprocess

    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        ["git", "status", "--porcelain", "monai_bundle/models", "monai_bundle/configs"],
        capture_output=True, text=True, cwd=root,
    )  # fmt: skip
    assert done.returncode != 0 or done.stdout == "", json.dumps(done.stdout)


RECORDS = """
import json, sys
from pathlib import Path
import numpy as np
from casr_label.state import StateFolder
state = StateFolder(Path(sys.argv[1]), Path(sys.argv[2]))
found = [state.calibrations.record()]
for calibration in ({"single": {"slope": 2.0, "intercept": -1.0}}, {"tta": {"below": 0.5, "above": 2.0}}):
    state.use(state.add(Path(sys.argv[2]), {"calibration": calibration}))
    one = state.calibrations
    found.append([[round(float(value), 4) for value in kind(np.array([0.2, 0.8]))] for kind in (one.single, one.tta)])
state.use(0)
found.append(state.calibrations.record())
print(json.dumps(found))
"""


@pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)
def test_calibrations_of_versions(tmp_path: Path) -> None:
    """Of the bundle's weights those of the bundle; of versions what they are kept with, also that of before 0.10."""
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    command = [str(PYTHON), "-c", RECORDS, str(tmp_path), str(APP.parent / "models" / "model.pt")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    logit = np.log(4)
    platt = [round(float(1 / (1 + np.exp(-(2 * value - 1)))), 4) for value in (-logit, logit)]
    sides = [round(float(1 / (1 + np.exp(-value))), 4) for value in (-0.5 * logit, 2 * logit)]
    unchanged = [0.2, 0.8]
    assert json.loads(done.stdout) == [OF_BUNDLE, [platt, unchanged], [unchanged, sides], OF_BUNDLE]
