"""A really started MONAI Label server, in its own environment, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pytest
from makers.orthanc import free_port

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "monai_bundle" / "label_app"
WEB = APP / "web"
PYTHON = Path(os.environ.get("CASR_LABEL_PYTHON") or ROOT / ".venv-label" / "bin" / "python")
REASON = f"{PYTHON} is not there: `make label-test` makes it, or set CASR_LABEL_PYTHON"

collect_ignore_glob: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        needs = {"server", "start"} & set(getattr(item, "fixturenames", ()))
        if needs and not PYTHON.is_file() and Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skip(reason=REASON))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass
class Answer:
    """Of a request."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


def measured() -> dict[str, str]:
    """Environment that makes a server measure its coverage, if that of the tests is measured. The package is in the
    server's environment for this alone (Makefile); its .pth file starts it."""
    coverage = sys.modules.get("coverage")
    if coverage is None or coverage.Coverage.current() is None:
        return {}
    return {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(ROOT / ".coverage")}


class Server:
    """A server process and a small client. Without mirror images, for speed, unless they are asked for."""

    def __init__(
        self,
        studies: Path | str,
        log: Path,
        *more: str,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
        headers: dict[str, str] | None = None,
        mirrored: bool = False,
    ) -> None:
        more = more if mirrored else ("--no-tta", *more)
        self.studies, self.port, self.log = studies, free_port(), log
        self._more, self._folder, self._headers = more, folder, headers or {}
        self._environment = {
            **os.environ, "PYTHONPATH": f"{APP}{os.pathsep}{APP.parent}", "OMP_NUM_THREADS": "1", **measured(),
            **(environment or {}),
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What starts it."""
        return [
            str(PYTHON), "-m", "casr_label", "--studies", str(self.studies), "--port", str(self.port), *self._more,
        ]  # fmt: skip

    def start(self) -> Self:
        """Start, and wait until it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, env=self._environment, cwd=self._folder, start_new_session=True
            )
        end = time.monotonic() + 180
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.get("/info/").status == 200:
                    return self
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"the server did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """The end of a test. A process whose coverage is measured has to end by itself to write it."""
        if self.process is not None and "COVERAGE_PROCESS_START" in self._environment:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.kill()

    def kill(self) -> None:
        """kill -9, with everything that it has started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        timeout: float = 300,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Any request; redirections are not followed."""
        made = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": kind, **self._headers, **(headers or {})},
            method=method,
        )  # fmt: skip
        try:
            with _OPENER.open(made, timeout=timeout) as answer:
                return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()})
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), {k.lower(): v for k, v in error.headers.items()})

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, values: Any = None) -> Answer:
        return self.request("POST", path, json.dumps(values or {}).encode())

    def form(
        self, method: str, path: str, fields: dict[str, str], files: dict[str, tuple[str, bytes]] | None = None
    ) -> Answer:
        """A form with files, as clients of MONAI Label send it."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        for name, (filename, content) in (files or {}).items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n")
        parts.append(f"--{boundary}--\r\n".encode())
        return self.request(method, path, b"".join(parts), f"multipart/form-data; boundary={boundary}")

    def infer(self, image: str, output: str = "json", **params: Any) -> Answer:
        """Inference on an image of the datastore."""
        query = f"image={urllib.parse.quote(image)}&output={output}"
        return self.form("POST", f"/infer/casr_net?{query}", {"params": json.dumps(params)})

    def label(self, image: str, name: str, content: bytes, tag: str = "final") -> Answer:
        """Save a label."""
        query = f"image={urllib.parse.quote(image)}&tag={urllib.parse.quote(tag)}"
        return self.form("PUT", f"/datastore/label?{query}", {"params": "{}"}, {"label": (name, content)})

    @property
    def memory(self) -> int:
        """Resident bytes of the server process."""
        import psutil

        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)


def png(image: np.ndarray) -> bytes:
    """A PNG file."""
    return bytes(cv2.imencode(".png", image)[1])


def full_mask() -> np.ndarray:
    """(128, 128), 255 in a rectangle."""
    mask = np.zeros((128, 128), np.uint8)
    mask[20:40, 30:90] = 255
    return mask


@pytest.fixture(scope="session")
def angiograms() -> list[np.ndarray]:
    """Synthetic frames, uint8 (128, 128), and one more."""
    from casr_net.synthetic.angiogram import make_cine

    frames = make_cine(seed=3, frames=8)
    return [cv2.resize(frame.image, (128, 128), interpolation=cv2.INTER_AREA) for frame in frames[3:]]


@pytest.fixture
def studies(tmp_path: Path, angiograms: list[np.ndarray]) -> Path:
    """Four images of the datastore: frame0.png to frame3.png."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for number, image in enumerate(angiograms[:4]):
        (folder / f"frame{number}.png").write_bytes(png(image))
    return folder


@pytest.fixture(scope="module")
def shared_studies(tmp_path_factory: pytest.TempPathFactory, angiograms: list[np.ndarray]) -> Path:
    """A folder that the tests of a module share: one image of each kind."""
    import nibabel
    import nrrd

    folder = tmp_path_factory.mktemp("studies")
    image = angiograms[0]
    (folder / "grey.png").write_bytes(png(image))
    (folder / "color.png").write_bytes(png(np.stack([image] * 3, axis=-1)))
    (folder / "photo.jpg").write_bytes(bytes(cv2.imencode(".jpg", image)[1]))
    (folder / "photo_color.jpg").write_bytes(bytes(cv2.imencode(".jpg", np.stack([image] * 3, axis=-1))[1]))
    header = {
        "space": "left-posterior-superior", "space directions": np.diag([0.3, 0.25, 1.0]),
        "space origin": [5.0, -7.0, 2.0], "kinds": ["domain"] * 3,
    }  # fmt: skip
    nrrd.write(str(folder / "slice.nrrd"), np.ascontiguousarray(image.T[..., None]), header)
    affine = np.array([[-0.3, 0, 0, 4], [0, -0.25, 0, 6], [0, 0, 1, 8], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(image.T[..., None]), affine), folder / "volume.nii.gz")
    stack = np.stack([frame.T for frame in angiograms[:3]], axis=-1)
    nrrd.write(str(folder / "cine.nrrd"), stack, {"kinds": ["domain", "domain", "list"]})
    nrrd.write(str(folder / "solid.nrrd"), stack, header)
    return folder


@pytest.fixture(scope="module")
def server(shared_studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the shared folder."""
    one = Server(shared_studies, tmp_path_factory.mktemp("log") / "server.log").start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in front of the module's own ``folder``."""
    one = Server(folder, tmp_path_factory.mktemp("log") / "server.log").start()
    yield one
    one.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """``start(studies, *arguments)`` -> a server that the test may kill."""
    made: list[Server] = []

    def begin(studies: Path | str, *arguments: str, **options: Any) -> Server:
        made.append(Server(studies, tmp_path / f"server{len(made)}.log", *arguments, **options).start())
        return made[-1]

    yield begin
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; tests that ask for it skip where it is absent (browser.py)."""
    from .browser import chromium

    with chromium() as one:
        yield one


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A user of the browser, with a window of the smallest size that is promised."""
    one = browser.new_context(viewport={"width": 1280, "height": 720})
    yield one
    one.close()


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's source with the packages of its lock file."""
    if (WEB / "node_modules" / "esbuild").is_dir():
        return WEB
    copy = tmp_path_factory.mktemp("web")
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules", "dist"), dirs_exist_ok=True)
    if shutil.which("npm") is None:
        pytest.skip("npm is not there")
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=copy, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"npm ci has no packages: {done.stderr.strip()[-200:]}")
    return copy
