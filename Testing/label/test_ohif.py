"""OHIF, and the page in front of a PACS, with a token set, in a real browser; and what OHIF is served with."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from makers.orthanc import ORTHANC, PLUGIN, Orthanc, free_port
from makers.orthanc import REASON as NO_ORTHANC

from casr_net.files.dicom import save_dicom
from casr_net.files.dicom_derived import named_frames
from casr_net.files.dicom_seg import parse_segmentation
from casr_net.synthetic.dataset import write_dataset

from .browser import CHROMIUM, REASON, WEBGL, Page, chromium
from .conftest import APP, PYTHON, Server
from .conftest import REASON as NO_SERVER

TOKEN = "correct-horse-battery-staple"
SIZE, NEARLY_ALL = 128, 0.9
in_browser = pytest.mark.skipif(CHROMIUM is None or importlib.util.find_spec("playwright") is None, reason=REASON)
with_pacs = pytest.mark.skipif(ORTHANC is None or not PLUGIN.is_file(), reason=NO_ORTHANC)


# What is served


def test_folder_has_a_page_that_says_what_ohif_needs(server: Server) -> None:
    for path in ("/ohif/", "/ohif/viewer", "/ohif/app-config.js"):
        answer = server.get(path)
        assert answer.status == 404 and answer.headers["content-type"].startswith("text/html"), path
        assert b"OHIF needs a PACS" in answer.body and b'href="/"' in answer.body
    assert server.get("/page/viewer").json == {"ohif": False, "unchanged": []}


@pytest.mark.skipif(not PYTHON.is_file(), reason=NO_SERVER)
def test_only_known_files_are_changed(tmp_path: Path) -> None:
    """Each change finds its place in MONAI Label's files; in others, nothing is touched, and that is said."""
    script = """
import hashlib, json, logging, sys
from pathlib import Path
import monailabel
from casr_label.ohif import OHIF
from casr_label.ohif_changes import CHANGED
logging.basicConfig(stream=sys.stderr)
source = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"
before = {name: (source / name).read_text() for name in CHANGED}
missing = [old for name, one in CHANGED.items() for old in one.changes if old not in before[name]]
known = OHIF(source)
copy = Path(sys.argv[1])
for name, text in before.items():
    (copy / name).write_text(text + (" " if name.startswith("3933") else ""))
other = OHIF(copy)
names = {name: sorted(one._made) == sorted(CHANGED) for name, one in (("known", known), ("other", other))}
print(json.dumps([missing, known.unchanged, other.unchanged, names, known._index.decode()]))
"""
    environment = {**os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}"}
    done = subprocess.run(
        [str(PYTHON), "-c", script, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    missing, known, other, complete, index = json.loads(done.stdout.splitlines()[-1])
    panel = "3933.bundle.92d0a0e9bc7e6861b7c9.js"
    assert missing == [] and known == [] and other == [panel]
    assert complete == {"known": True, "other": False}
    assert f"{panel}: not the known version" in done.stderr and "google" not in index


# In the browser


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One study: two cines of three frames in one series, a single image in another."""
    folder = tmp_path_factory.mktemp("study")
    files = [file for file in sorted(write_dataset(folder, 3, seed=8, frames=4, size=SIZE)) if file.suffix == ".dcm"]
    first, made = pydicom.dcmread(files[0]), []
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName"):
            setattr(data, keyword, first[keyword].value)
        data.SeriesNumber, data.InstanceNumber = number // 2 + 1, number + 1
        if number == 1:
            data.SeriesInstanceUID = first.SeriesInstanceUID
        if number == 2:
            size = data.Rows * data.Columns * data.BitsAllocated // 8
            data.PixelData = data.PixelData[3 * size : 4 * size]
            for keyword in ("NumberOfFrames", "FrameTime", "FrameIncrementPointer"):
                if keyword in data:
                    delattr(data, keyword)
        made.append(folder / f"image{number}.dcm")
        save_dicom(made[-1], data)
    return made


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, study: list[Path]) -> Iterator[Orthanc]:
    one = Orthanc(tmp_path_factory.mktemp("orthanc"), free_port()).start()
    for file in study:
        one.store(file)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, orthanc: Orthanc) -> Iterator[Server]:
    """A server in front of it that wants a token."""
    if not PYTHON.is_file():
        pytest.skip(NO_SERVER)
    folder = tmp_path_factory.mktemp("state")
    one = Server(
        orthanc.url, folder / "server.log", "--state", str(folder / "state"), environment={"CASR_LABEL_TOKEN": TOKEN},
        headers={"Authorization": f"Bearer {TOKEN}"},
    ).start()  # fmt: skip
    yield one
    one.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*WEBGL) as one:
        yield one


@pytest.fixture
def page(browser: Any, served: Server) -> Iterator[Page]:
    """A window that has not logged in."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    made = Page(context, served)
    yield made
    context.close()
    assert made.elsewhere == [], "nothing is asked from outside"


def uid(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)


def title_of(file: Path) -> str:
    data = pydicom.dcmread(file, stop_before_pixels=True)
    return f"{data.PatientID}, {data.SeriesDescription}, no. {data.InstanceNumber}"


def drawn(page: Page) -> np.ndarray:
    """What of OHIF's viewport has the colour of the segment, bool (SIZE, SIZE)."""
    canvas = page.tab.locator("canvas")
    shot = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR).astype(int)
    height, width = shot.shape[:2]
    side = round(min(height, width) / 1.1)  # the viewer leaves a margin
    top, left = (height - side) // 2, (width - side) // 2
    shot = shot[top : top + side, left : left + side]
    colour = (shot[..., 0] - shot[..., 1] > 40) & (shot[..., 2] - shot[..., 1] > 40)
    return cv2.resize(colour.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 0.5


def overlap(page: Page, mask: np.ndarray) -> float:
    """Share of what is drawn that lies within two pixels of a mask, or of the mask near what is drawn, whichever is
    less; as soon as it is high, or after a while."""
    near, end = np.ones((5, 5), np.uint8), time.monotonic() + 60
    while True:
        found = drawn(page)
        around, about = (cv2.dilate(one.astype(np.uint8), near) > 0 for one in (found, mask))
        shares = [(found & about).sum() / max(1, found.sum()), (mask & around).sum() / max(1, mask.sum())]
        if min(shares) > NEARLY_ALL or time.monotonic() > end:
            return float(min(shares))
        time.sleep(0.5)


def proposed(served: Server, image: str, frame: int) -> np.ndarray:
    """Mask of the server, bool (rows, columns)."""
    assert served.request("POST", f"/page/infer?image={image}&frame={frame}").status == 200
    answer = served.get(f"/page/proposal?image={image}&frame={frame}")
    return np.asarray(cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_GRAYSCALE)) > 0


def segmentations(orthanc: Orthanc, folder: Path) -> list[Any]:
    files = [orthanc.file(name, folder / f"{name}.dcm") for name in orthanc.instances("SEG")]
    return [parse_segmentation(pydicom.dcmread(file)) for file in files]


@in_browser
@with_pacs
def test_page_in_front_of_a_pacs(page: Page, orthanc: Orthanc, study: list[Path], tmp_path: Path) -> None:
    """Log in, open, let it propose, draw, accept: a segmentation lies in the PACS."""
    page.log_in("this-is-not-the-token").says("This is not the token.", "[role=alert]")
    page.tab.fill("input[type=password]", TOKEN)
    page.tab.click("button")
    page.says("3 images", "#count")
    image, title = uid(study[2]), title_of(study[2])
    assert title.count(", ") == 2, "people know it by patient, series and number, not by its UID"
    page.open(title, ", proposal")
    page.draw((0.1, 0.9), (0.4, 0.9))
    page.saved()
    pixels = page.pixels()
    page.tab.click("#accept")
    page.says("Final label stored", "#saving").says(f"{title}, final")
    (stored,) = segmentations(orthanc, tmp_path)
    assert stored.source_instance == image and stored.frames == [0]
    assert stored.masks.sum() == pixels and stored.masks[30, 115, 0], "what was drawn"
    page.tab.click("#export-store")
    page.says("The picture is stored in the PACS", "#saving")
    (name,) = orthanc.instances("OT")
    kept = pydicom.dcmread(orthanc.file(name, tmp_path / "kept.dcm"))
    assert kept.SourceImageSequence[0].ReferencedSOPInstanceUID == image and kept.PhotometricInterpretation == "RGB"
    with page.tab.expect_download() as download:
        page.tab.click("#export-gsps")
    assert download.value.suggested_filename == f"{image}_presentation.dcm"
    state = pydicom.dcmread(download.value.path())
    assert state.Modality == "PR" and state.StudyInstanceUID == kept.StudyInstanceUID
    link = page.tab.get_attribute("#ohif", "href")
    assert link == f"/ohif/monai-label?StudyInstanceUIDs={pydicom.dcmread(study[0]).StudyInstanceUID}"
    page.tab.screenshot(path=tmp_path / "page.png")  # to be looked at
    page.tab.context.clear_cookies()  # as after its end
    page.tab.click("#next")
    page.tab.wait_for_selector("input[type=password]")
    page.tab.fill("input[type=password]", TOKEN)
    page.tab.click("button")
    page.says(f"{title}, final")  # what was open is open again
    assert page.faults == []


@in_browser
@with_pacs
def test_ohif_finds_draws_and_scrolls(page: Page, served: Server, study: list[Path], tmp_path: Path) -> None:
    """Its panel, with both cines of one series, and from there to the page that stores."""
    header = pydicom.dcmread(study[0], stop_before_pixels=True)
    page.log_in(TOKEN, f"/ohif/monai-label?StudyInstanceUIDs={header.StudyInstanceUID}")
    tab = page.tab
    tab.wait_for_selector("canvas")
    tab.click("text=Confirm and Hide")
    assert tab.input_value("#monailabelServerURL") == f"http://127.0.0.1:{served.port}/"
    tab.click(".settingsTable button")
    run = tab.locator("button[title='Run Segmentation']")
    run.wait_for()
    thumbnails = tab.locator("[data-cy=study-browser-thumbnail]")
    asked = []
    for number, frame in ((0, 3), (1, 2)):
        if number:
            thumbnails.nth(number).dblclick()
            page.says("(1/4)", "[data-cy=viewport-overlay-bottom-right]")
        with tab.expect_response(lambda one: "/infer/" in one.url) as answer:
            run.click()
        assert answer.value.status == 200
        asked.append(answer.value.url)
        tab.mouse.move(*_middle(tab))
        for _ in range(frame):
            tab.mouse.wheel(0, 100)
            time.sleep(0.3)
        page.says(f"({frame + 1}/4)", "[data-cy=viewport-overlay-bottom-right]")
        assert overlap(page, proposed(served, uid(study[number]), frame)) > NEARLY_ALL
    assert [url.partition("image=")[2].partition("&")[0] for url in asked] == [uid(study[0]), uid(study[1])]
    thumbnails.nth(0).dblclick()
    assert overlap(page, proposed(served, uid(study[0]), 3)) > NEARLY_ALL, "the first one kept its mask"
    tab.screenshot(path=tmp_path / "ohif.png")  # to be looked at
    tab.route("**/infer/**", lambda route: route.fulfill(status=400, json={"detail": "frame is 9; expected 0 to 3."}))
    run.click()
    page.says("frame is 9; expected 0 to 3.", "body")  # the server's reason
    with tab.context.expect_page() as opened:
        tab.click("text=Correct and store")
    opened.value.wait_for_selector("#title:has-text(', frame 4 of 4')")
    assert uid(study[0]) in opened.value.url
    assert page.faults == []


def _middle(tab: Any) -> tuple[float, float]:
    box = tab.locator("canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@with_pacs
def test_exports_of_a_label(served: Server, study: list[Path], tmp_path: Path) -> None:
    image = uid(study[1])
    answer = served.get(f"/page/export?image={image}")
    assert answer.status == 404 and "has no final label" in answer.detail
    assert served.infer(image, frame=2, save_label=True, label_tag="final").status == 200
    for kind, modality in (("sc", "OT"), ("gsps", "PR"), ("seg", "SEG")):
        answer = served.get(f"/page/export?image={image}&format={kind}")
        assert answer.status == 200 and answer.headers["content-type"] == "application/dicom", answer.body
        (tmp_path / "x.dcm").write_bytes(answer.body)
        made = pydicom.dcmread(tmp_path / "x.dcm")
        assert made.Modality == modality and (kind == "seg" or named_frames(tmp_path / "x.dcm") == [2])
    assert served.get(f"/page/export?image={image}&format=png").status in (400, 422)
    assert served.get("/page/export?image=1.2.3").status == 404


def test_exports_need_a_dicom_image(server: Server) -> None:
    answer = server.get("/page/export?image=grey")
    assert answer.status == 400 and "is no DICOM file" in answer.detail
    answer = server.request("POST", "/page/export?image=grey")
    assert answer.status == 400 and "there is no PACS" in answer.detail


@in_browser
@with_pacs
def test_ohif_shows_the_picture_and_survives_the_segmentation(
    page: Page, served: Server, study: list[Path], tmp_path: Path
) -> None:
    """A segmentation of a projection it cannot show: as it comes from MONAI Label, the whole window becomes black. The
    Secondary Capture it can."""
    image = uid(study[0])
    assert served.infer(image, frame="all", save_label=True, label_tag="final").status == 200
    assert served.request("POST", f"/page/export?image={image}").status == 200
    header = pydicom.dcmread(study[0], stop_before_pixels=True)
    page.log_in(TOKEN, f"/ohif/viewer?StudyInstanceUIDs={header.StudyInstanceUID}")
    page.tab.wait_for_selector("canvas")
    page.tab.click("text=Confirm and Hide")
    one = page.tab.locator("[data-cy^=study-browser-thumbnail]:has-text('SEG')").first
    one.dblclick()
    time.sleep(1)
    assert page.tab.locator("canvas").count() == 1 and one.is_visible()
    page.tab.locator("[data-cy^=study-browser-thumbnail]:has-text('OT')").last.dblclick()
    end, green = time.monotonic() + 90, 0
    while green < 100 and time.monotonic() < end:
        shot = cv2.imdecode(np.frombuffer(page.tab.locator("canvas").screenshot(), np.uint8), cv2.IMREAD_COLOR)
        green = int(((shot[..., 1] > 200) & (shot[..., 0] < 90) & (shot[..., 2] < 90)).sum())
        page.tab.mouse.move(*_middle(page.tab))
        page.tab.mouse.wheel(0, 100)  # its first frame may show no vessel
        time.sleep(0.5)
    assert green >= 100
    page.tab.screenshot(path=tmp_path / "picture.png")  # to be looked at
    assert page.faults == []
