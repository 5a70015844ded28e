"""What the page asks for, at a really started server: pictures, proposals, drafts with revisions, final labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from makers.fake_pacs import FakePACS

from casr_net import Segmenter
from casr_net.cine.curve import ContrastCurve
from casr_net.cine.survey import survey
from casr_net.files.dicom import save_dicom
from casr_net.files.images import read_angiogram
from casr_net.files.masks import read_mask
from casr_net.refinement.contours import RefinementParameters, refine
from casr_net.synthetic.dataset import write_dataset

from .conftest import Answer, Server, full_mask, png


def decoded(answer: Answer) -> np.ndarray:
    assert answer.status == 200 and answer.headers["content-type"] == "image/png", answer.body[:300]
    return cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_UNCHANGED)


def put(server: Server, image: str, mask: np.ndarray, seen: int, frame: int = 0, **fields: str) -> Answer:
    path = f"/page/draft?image={image}&frame={frame}&seen={seen}"
    return server.form("PUT", path, fields, {"mask": ("m.png", png(mask))})


def state(server: Server, image: str) -> str:
    return next(one["state"] for one in server.get("/page/images").json["images"] if one["id"] == image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Path:
    """Two frames, a cine of five, and a stack of 16 bits."""
    made = tmp_path_factory.mktemp("page")
    for number in (0, 1):
        (made / f"frame{number}.png").write_bytes(png(angiograms[number]))
    assert cv2.imwritemulti(str(made / "cine.tif"), angiograms[:5])
    cv2.imwrite(str(made / "deep.tif"), angiograms[0].astype(np.uint16) * 16 + 100)
    return made


def test_list_and_description(served: Server) -> None:
    images = {one["id"]: one for one in served.get("/page/images").json["images"]}
    assert {name: one["frames"] for name, one in images.items()} == {"frame0": 1, "frame1": 1, "cine": 5, "deep": 1}
    assert all(one["state"] == "new" and one["scores"] == {} for one in images.values())
    said = served.get("/page/image?image=cine").json
    assert (said["frames"], said["columns"], said["rows"], said["rate"]) == (5, 128, 128, 15.0)
    assert said["drafts"] == {} and said["proposed"] == [] and said["final"] is None and not said["deep"]
    assert served.get("/page/image?image=deep").json["deep"]


def test_frame_is_the_grey_that_is_shown_everywhere(served: Server, folder: Path) -> None:
    for image, file, frame in (("cine", "cine.tif", 3), ("deep", "deep.tif", 0)):
        answer = served.get(f"/page/frame?image={image}&frame={frame}")
        expected = np.rint(read_angiogram(folder / file).grey(frame).T * 255)
        assert (decoded(answer) == expected).all()
        again = served.get(f"/page/frame?image={image}&frame={frame}", If_None_Match=answer.headers["etag"])
        assert again.status == 304 and again.body == b""
    assert max(decoded(served.get("/page/thumbnail?image=frame0")).shape) == 120


def test_values_reach_beyond_the_shown_window(served: Server, folder: Path) -> None:
    raw = np.frombuffer(served.get("/page/values?image=deep&frame=0").body, "<u2").reshape(128, 128)
    grey = np.clip(raw / 65535 * 3 - 1, 0, 1)
    assert np.abs(grey - read_angiogram(folder / "deep.tif").grey(0).T).max() < 1e-4
    assert len(np.unique(raw)) > 100


def test_proposal_is_the_mask_of_the_bundle(served: Server, folder: Path) -> None:
    assert served.get("/page/probability?image=frame0&frame=0").status == 404
    said = served.request("POST", "/page/infer?image=frame0&frame=0").json
    assert said["frame"] == 0 and 0 < said["uncertainty"] < 1 and not said["known"]
    assert served.request("POST", "/page/infer?image=frame0&frame=0").json["known"], "it is kept"
    result = Segmenter(device="cpu", runtime="torch", tta=False)(folder / "frame0.png")  # as the server
    levels = decoded(served.get("/page/probability?image=frame0&frame=0"))
    # In bfloat16 sums come out otherwise with another number of threads; against single precision it is 0.17.
    assert np.abs(levels / 256 - result.probability).max() < 0.05
    for threshold, refined in ((0.5, True), (0.3, True), (0.5, False), (0.75, False)):
        path = f"/page/proposal?image=frame0&frame=0&threshold={threshold}&refine={str(refined).lower()}"
        mask = decoded(served.get(path)) > 0
        parameters = RefinementParameters(threshold=threshold)
        expected = refine(result.probability.T, parameters if refined else parameters.threshold_only()).T
        assert (mask == expected).mean() > 0.997
        if not refined:
            assert (mask == (levels >= 256 * threshold)).all(), "as the page makes it from what it has"
    assert state(served, "frame0") == "proposed"


def test_drafts_have_revisions(served: Server) -> None:
    mask = full_mask()
    first = put(served, "frame1", mask, 0, threshold="0.4", refine="false").json["revision"]
    got = served.get("/page/draft?image=frame1&frame=0")
    assert (decoded(got) == mask).all() and int(got.headers["x-casr-revision"]) == first
    assert json.loads(got.headers["x-casr-settings"]) == {"threshold": 0.4, "refine": False}
    assert served.get("/page/image?image=frame1").json["drafts"] == {"0": first}
    assert state(served, "frame1") == "corrected"
    late = put(served, "frame1", 255 - mask, 0)
    assert late.status == 409 and "frame 1" in late.detail and "nothing was overwritten" in late.detail
    second = put(served, "frame1", 255 - mask, first).json["revision"]
    assert second > first and (decoded(served.get("/page/draft?image=frame1&frame=0")) == 255 - mask).all()
    assert served.request("DELETE", f"/page/draft?image=frame1&frame=0&seen={first}").status == 409
    assert served.request("DELETE", f"/page/draft?image=frame1&frame=0&seen={second}").status == 200
    assert served.get("/page/draft?image=frame1&frame=0").status == 404
    assert put(served, "frame1", mask, second).status == 409, "a window that still shows what was discarded is told"


def test_second_try_of_a_window_replaces_its_first_one(served: Server) -> None:
    """Its answer was lost: only that of the same window, made from the same revision, and only by a newer one."""
    mask = full_mask()

    def sent(mask: np.ndarray, seen: int, writer: str, turn: int) -> Answer:
        return put(served, "frame0", mask, seen, writer=writer, turn=str(turn))

    one = sent(mask, 0, "me", 1).json["revision"]
    again = sent(mask.T, 0, "me", 2)
    assert again.status == 200 and again.json["revision"] > one
    late = sent(mask, 0, "me", 1)
    assert late.status == 200 and late.json["revision"] == again.json["revision"], "overtaken on the way"
    assert sent(mask, 0, "other", 3).status == 409 and put(served, "frame0", mask, 0).status == 409
    last = sent(mask, again.json["revision"], "other", 1)
    assert last.status == 200 and sent(mask.T, again.json["revision"], "me", 3).status == 409
    assert (decoded(served.get("/page/draft?image=frame0&frame=0")) == mask).all()
    assert served.request("DELETE", f"/page/draft?image=frame0&frame=0&seen={last.json['revision']}").status == 200


def test_accepted_drafts_are_the_final_label(served: Server, folder: Path) -> None:
    mask = full_mask()
    two = {frame: put(served, "cine", mask if frame == 1 else mask.T, 0, frame).json["revision"] for frame in (1, 3)}

    def accept(drafts: dict[int, int], final: str = "") -> Answer:
        return served.post("/page/accept?image=cine", {"drafts": drafts, "final": final})

    assert accept({1: two[1] - 1}).status == 409 and accept({}).status == 400
    done = accept(two)
    assert done.status == 200 and done.json["frames"] == [1, 3], done.body
    stored = read_mask(folder / "labels" / "final" / "cine.nrrd")
    assert ((mask > 0) == stored[..., 1].T).all() and ((mask.T > 0) == stored[..., 3].T).all()
    assert not stored[..., [0, 2, 4]].any() and state(served, "cine") == "final"
    assert served.get("/page/image?image=cine").json["drafts"] == {}
    assert served.get("/page/image?image=cine").json["final"] == {"frames": [1, 3], "stamp": done.json["stamp"]}
    assert (decoded(served.get("/page/final?image=cine&frame=3")) == mask.T).all()
    assert served.get("/page/final?image=cine&frame=2").status == 404
    # Somebody else stores a label, by Slicer; then a further frame is accepted.
    form = {"params": json.dumps({"frame": 0})}
    other = served.form("PUT", "/datastore/label?image=cine&tag=final", form, {"label": ("x.png", png(mask))})
    assert other.status == 200
    further = {4: put(served, "cine", mask, 0, 4).json["revision"]}
    told = accept(further, done.json["stamp"])
    assert told.status == 409 and "somebody else" in told.detail
    assert accept(further, served.get("/page/image?image=cine").json["final"]["stamp"]).json["frames"] == [0, 1, 3, 4]


def test_file_is_tried_and_not_stored(served: Server, folder: Path, angiograms: list[np.ndarray]) -> None:
    before = sorted(path.name for path in folder.iterdir())
    answer = served.form("PUT", "/page/trial", {}, {"file": ("new one.png", png(angiograms[2]))})
    trial = answer.json["trial"]
    assert served.get(f"/page/image?trial={trial}").json["columns"] == 128
    assert served.request("POST", f"/page/infer?trial={trial}&frame=0").status == 200
    assert decoded(served.get(f"/page/proposal?trial={trial}&frame=0")).any()
    assert served.post(f"/page/accept?trial={trial}", {"drafts": {0: 1}}).status == 400
    assert sorted(path.name for path in folder.iterdir()) == before
    assert served.request("DELETE", f"/page/trial?trial={trial}").status == 200
    gone = served.get(f"/page/image?trial={trial}")
    assert gone.status == 404 and "drop it once more" in gone.detail
    names = [
        served.form("PUT", "/page/trial", {}, {"file": ("x.png", png(angiograms[0]))}).json["trial"] for _ in "12345"
    ]
    kept = [served.get(f"/page/image?trial={name}").status for name in names]
    assert kept == [404, 200, 200, 200, 200], "only the last ones are kept"


def test_bad_input_is_answered_in_words(served: Server, folder: Path) -> None:
    small, large = np.zeros((16, 16), np.uint8), np.zeros((4096, 4096), np.uint8)
    grey = (np.arange(128 * 128) % 256).astype(np.uint8).reshape(128, 128)
    for answer, status, words in (
        (put(served, "frame0", small, 0), 400, "16 x 16"), (put(served, "frame0", large, 0), 400, "4096 x 4096"),
        (put(served, "frame0", grey, 0), 400, "grey"), (put(served, "frame0", full_mask(), 0, 1), 404, "frame 2"),
        (put(served, "nothing", full_mask(), 0), 404, "nothing"), (put(served, "..", full_mask(), 0), 400, "path"),
        (served.get("/page/frame?image=cine&frame=5"), 400, "no frame 5"), (served.get("/page/image"), 400, "image"),
        (served.get("/page/proposal?image=frame0&frame=0&threshold=2"), 400, "threshold"),
        (served.form("PUT", "/page/trial", {}, {"file": ("notes.txt", b"no image")}), 400, "notes.txt"),
    ):  # fmt: skip
        assert answer.status == status and words in answer.detail, answer.body
        assert str(folder) not in answer.detail and "/tmp" not in answer.detail
    assert served.get("/page/frame?image=cine&frame=-1").status == 422
    # As on a full disk.
    blocked = folder / ".casr" / "drafts" / hashlib.sha256(b"deep").hexdigest()[:32]
    blocked.write_bytes(b"")
    full = put(served, "deep", full_mask(), 0)
    assert full.status == 400 and full.detail.startswith("the draft of frame 1 of 'deep' cannot be written: ")
    blocked.unlink()
    assert not list((folder / ".casr" / "drafts").rglob(".part-*"))


def test_page_needs_nothing_from_elsewhere(served: Server) -> None:
    answer = served.get("/")
    assert answer.status == 200 and answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert b"http://" not in answer.body and b"https://" not in answer.body
    for name in ("app.js", "app.css"):
        assert served.get(f"/assets/{name}").status == 200
    for path in ("/api", "/docs"):
        answer = served.get(path)
        assert b"swagger" in answer.body and b"http" not in answer.body.replace(b"http-equiv", b"")
        assert "script" not in answer.headers["content-security-policy"], "no script but that of files"
    assert b"SwaggerUIBundle" in served.get("/assets/swagger/swagger-ui-bundle.js").body


def test_drafts_survive_a_killed_server(start: Callable[..., Server], studies: Path) -> None:
    one = start(studies)
    revision = put(one, "frame0", full_mask(), 0).json["revision"]
    (place,) = (studies / ".casr" / "drafts").iterdir()
    (place / ".part-999999-1.png").write_bytes(b"half")
    one.kill()
    (studies / "frame0.png").rename(studies.parent / "taken.png")
    one.start()
    assert put(one, "frame0", full_mask(), revision).status == 404, "the image is gone; its draft is kept"
    (studies.parent / "taken.png").rename(studies / "frame0.png")
    got = one.get("/page/draft?image=frame0&frame=0")
    assert (decoded(got) == full_mask()).all() and int(got.headers["x-casr-revision"]) == revision
    assert [path.name for path in place.iterdir()] == [f"f00000-r{revision}.png"]


def test_page_in_front_of_a_pacs(start: Callable[..., Server], tmp_path: Path) -> None:
    (file,) = [path for path in write_dataset(tmp_path / "xa", 1, seed=8, frames=3, size=128) if path.suffix == ".dcm"]
    data = pydicom.dcmread(file)
    data.CineRate = 30
    save_dicom(file, data)
    pacs = FakePACS([file])
    try:
        one = start(pacs.url, "--state", str(tmp_path / "state"))
        (uid,) = pacs.headers
        (image,) = one.get("/page/images").json["images"]
        facts = {"id": uid, "title": uid, "state": "new", "final": False, "scores": {}, "frames": None}
        assert image == facts, "told nothing else"
        said = one.get(f"/page/image?image={uid}").json
        assert said["frames"] == 3 and said["columns"] == 128 and said["rate"] == 30
        assert one.get("/page/images").json["images"][0]["frames"] == 3, "known as soon as it was fetched"
        drafts = {2: put(one, uid, full_mask(), 0, 2).json["revision"]}
        pacs.saying = (503, "text/plain", b"no")
        refused = one.post(f"/page/accept?image={uid}", {"drafts": drafts})
        assert refused.status == 502 and "kept here" in refused.detail
        assert (decoded(one.get(f"/page/draft?image={uid}&frame=2")) == full_mask()).all(), "nothing is lost"
        pacs.saying = None
        stamp = one.get(f"/page/image?image={uid}").json["final"]["stamp"]
        done = one.post(f"/page/accept?image={uid}", {"drafts": drafts, "final": stamp})
        assert done.status == 200 and done.json["frames"] == [2], done.body
        assert any(asked.method == "POST" and asked.path.endswith("/studies") for asked in pacs.asked)
    finally:
        pacs.stop()


def test_contrast_curve_of_a_segmented_cine(served: Server, folder: Path) -> None:
    for frame in range(4):
        assert served.request("POST", f"/page/infer?image=cine&frame={frame}").status == 200
    assert not served.get("/page/image?image=cine").json["curve"]
    assert served.get("/page/curve?image=cine").status == 404
    served.request("POST", "/page/infer?image=cine&frame=4")
    assert served.get("/page/image?image=cine").json["curve"]
    found = ContrastCurve.from_dict(served.get("/page/curve?image=cine").json)
    assert found.frames.tolist() == [0, 1, 2, 3, 4] and found.size == (128, 128) and found.opacity.max() == 1
    source, segmenter = read_angiogram(folder / "cine.tif"), Segmenter(device="cpu")
    assert found.length == pytest.approx(survey(source, segmenter).length, rel=0.1)
    answer = served.get("/page/curve?image=frame0")
    assert answer.status == 404 and "needs a cine" in answer.detail


def test_next_passes_over_what_cannot_be_read(served: Server, folder: Path) -> None:
    bad = folder / "aaa.png"  # the first by its name
    bad.write_text("no picture")
    try:
        images = served.get("/page/images").json["images"]
        assert [one["frames"] for one in images if one["id"] == "aaa"] == [0]
        for strategy in ("first", "random", "random", "random", "uncertain", "diverse"):
            assert served.post(f"/activelearning/{strategy}", {}).json["id"] != "aaa"
    finally:
        bad.unlink()


def test_a_final_image_that_is_drawn_on_stays_final_in_the_list(served: Server) -> None:
    revision = put(served, "deep", full_mask(), 0).json["revision"]
    assert served.post("/page/accept?image=deep", {"drafts": {0: revision}, "final": None}).status == 200
    put(served, "deep", full_mask().T, 0)
    (found,) = (one for one in served.get("/page/images").json["images"] if one["id"] == "deep")
    assert found["final"] and found["state"] == "corrected"
