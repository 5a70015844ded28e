"""The steps of Dockerfiles and docker-compose.yml without Docker, and those of the guide that need none."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from label.conftest import PYTHON
from makers.orthanc import ORTHANC, PLUGIN, REASON, free_port

from .dockerfiles import FOLDER, ROOT, Dockerfile

pytestmark = pytest.mark.skipif(
    ORTHANC is None or not PLUGIN.is_file() or not PYTHON.is_file(), reason=f"{REASON}, or no {PYTHON}"
)

TOKEN, PASSWORD = "t" * 32, "p" * 32
CINE = ROOT / "CASRSegmentation" / "Resources" / "SampleData" / "casr_cine.dcm"


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``begin(command, environment)`` -> a process that ends with the test."""
    made: list[subprocess.Popen[bytes]] = []

    def one(command: list[str] | str, environment: dict[str, str], folder: Path = tmp_path) -> subprocess.Popen[bytes]:
        with open(tmp_path / f"log{len(made)}", "wb") as log:
            made.append(
                subprocess.Popen(
                    command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True,
                    shell=isinstance(command, str), executable="/bin/bash" if isinstance(command, str) else None,
                )
            )  # fmt: skip
        return made[-1]

    yield one
    for process in made:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait()


def asked(port: int, path: str, token: str = TOKEN, method: str = "GET", values: Any = None) -> Any:
    body = None if values is None else json.dumps(values).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    made = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    with urllib.request.urlopen(made, timeout=120) as answer:
        return json.loads(answer.read())


def healthy(command: list[str], environment: dict[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask as Docker does, until the answer is yes."""
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        if subprocess.run(command, env=environment, capture_output=True).returncode == 0:
            return
        time.sleep(0.5)
    raise AssertionError(log.read_text(errors="replace")[-3000:])


def replaced(words: list[str], **places: str) -> list[str]:
    found = words
    for old, new in places.items():
        found = [word.replace(old, new) for word in found]
    return found


def test_same_steps_without_docker(begin: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    archive, label = (Dockerfile.read(FOLDER / f"{name}.Dockerfile") for name in ("orthanc", "label"))
    ports = {name: free_port() for name in ("8042", "4242", "8000")}
    for name in ("archive", "state", "opt", "tmp"):
        (tmp_path / name).mkdir()

    def variables(image: Dockerfile, service: str) -> dict[str, str]:
        given = {**image.environment, **compose[service]["environment"]}
        for name, value in given.items():
            value = re.sub(r"\$\{CASR_LABEL_TOKEN:.*?\}", TOKEN, value)
            value = re.sub(r"\$\{ORTHANC_PASSWORD:.*?\}", PASSWORD, value)
            value = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
            given[name] = value.replace("/opt/casr", str(tmp_path / "opt"))
        return {"PATH": "/usr/sbin:/usr/bin:/bin", "OMP_NUM_THREADS": "1", **given}

    # The archive.
    environment = {**variables(archive, "orthanc"), "ORTHANC_STORAGE": str(tmp_path / "archive")}
    ((source, target),) = archive.copied
    configuration = (ROOT / source).read_text(encoding="utf-8")
    assert "8042" in configuration and "4242" in configuration
    for port in ("8042", "4242"):
        configuration = configuration.replace(port, str(ports[port]))
    (tmp_path / "orthanc.json").write_text(configuration)
    command = [*archive.command("ENTRYPOINT"), *archive.command("CMD")]
    assert command[-1] == target
    orthanc = begin([*command[:-1], str(tmp_path / "orthanc.json")], environment)
    check = [word.replace("8042", str(ports["8042"])) for word in archive.command("HEALTHCHECK")]
    healthy(check, environment, orthanc, tmp_path / "log0")
    wrong = subprocess.run(check, env={**environment, "ORTHANC_PASSWORD": "x"}, capture_output=True)
    assert wrong.returncode != 0, "nobody comes in without the password"
    stored = ["curl", "-fsS", "-u", f"casr:{PASSWORD}", f"http://127.0.0.1:{ports['8042']}/instances"]
    subprocess.run([*stored, "--data-binary", f"@{CINE}"], check=True, capture_output=True)

    # The label server: what is copied, what is run when the image is built, and what is run later.
    for source, _ in label.copied:
        if source.endswith("/"):
            left = shutil.ignore_patterns("__pycache__", "node_modules", "src")
            shutil.copytree(ROOT / source, tmp_path / "opt" / source, ignore=left)
        else:
            shutil.copy(ROOT / source, tmp_path / "opt")
    compiled = [run for run in label.of("RUN") if run.startswith("python -m compileall")]
    for run in compiled:
        subprocess.run([PYTHON, *run.split()[1:]], cwd=tmp_path / "opt", check=True)
    assert compiled, "an image that cannot be written into has it done before"
    before = sorted((tmp_path / "opt").rglob("*"))
    environment = {**variables(label, "label"), "HOME": str(tmp_path / "tmp"), "TMPDIR": str(tmp_path / "tmp")}
    command = [*label.command("ENTRYPOINT"), *compose["label"]["command"]]
    assert command[0] == "python" and "http://orthanc:8042/dicom-web" in command
    command = [
        word.replace("/state", str(tmp_path / "state")).replace("orthanc:8042", f"127.0.0.1:{ports['8042']}")
        for word in (str(PYTHON), *command[1:], "--port", str(ports["8000"]))
    ]
    refused = subprocess.run(
        command, env={**environment, "CASR_LABEL_TOKEN": ""}, cwd=tmp_path / "opt", capture_output=True, text=True
    )
    assert refused.returncode == 2 and "set CASR_LABEL_TOKEN" in refused.stderr
    server = begin(command, environment, tmp_path / "opt")
    check = [str(PYTHON), *label.command("HEALTHCHECK")[1:], str(ports["8000"])]
    healthy(check, environment, server, tmp_path / "log1")
    assert subprocess.run(check, env={**environment, "CASR_LABEL_TOKEN": "x"}, capture_output=True).returncode == 1

    # From the image to the stored label.
    port = ports["8000"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        asked(port, "/page/images", token="x" * 32)
    (image,) = [one["id"] for one in asked(port, "/page/images")["images"]]
    assert asked(port, f"/page/infer?image={image}&frame=0", method="POST")["frame"] == 0
    form = [
        "curl", "-fsS", "-X", "PUT", "-H", f"Authorization: Bearer {TOKEN}",
        f"http://127.0.0.1:{port}/page/draft?image={image}&frame=0", "-F", f"mask=@{tmp_path / 'mask.png'}",
    ]  # fmt: skip
    proposal = ["-H", f"Authorization: Bearer {TOKEN}", f"http://127.0.0.1:{port}/page/proposal?image={image}&frame=0"]
    subprocess.run(["curl", "-fsS", "-o", str(tmp_path / "mask.png"), *proposal], check=True)
    revision = json.loads(subprocess.run(form, check=True, capture_output=True).stdout)["revision"]
    done = asked(port, f"/page/accept?image={image}", method="POST", values={"drafts": {"0": revision}})
    assert done["frames"] == [0]
    known = json.loads(subprocess.run([*stored[:-1], f"{stored[-1]}?expand"], check=True, capture_output=True).stdout)
    assert len(known) == 2, "the cine and its segmentation"
    server.send_signal(signal.SIGTERM)
    assert server.wait(90) == 128 + signal.SIGTERM
    assert sorted((tmp_path / "opt").rglob("*")) == before, "nothing is written into the image"
    assert any((tmp_path / "state").iterdir())
    orthanc.send_signal(signal.SIGTERM)
    assert orthanc.wait(60) == 0


def test_commands_of_the_guide(begin: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """Those without Docker, as they stand there, but for ports and what needs another user."""
    guide = (ROOT / "docs" / "department.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", guide[guide.index("## Without Docker") :], re.DOTALL)
    ports = {name: str(free_port()) for name in ("8042", "4242", "8000")}
    (tmp_path / "docker").mkdir()
    lines = [line for line in block.splitlines() if not line.startswith("sudo ")]
    text = (FOLDER / "orthanc.json").read_text(encoding="utf-8")
    for name in ("8042", "4242"):
        text, lines = text.replace(name, ports[name]), [line.replace(name, ports[name]) for line in lines]
    (tmp_path / "orthanc.json").write_text(text)
    lines = [line.replace("docker/orthanc.json", str(tmp_path / "orthanc.json")) for line in lines]
    assert lines[-1].startswith("make label STUDIES=")
    # An environment that is there already is not made again.
    lines[-1] += f" PORT={ports['8000']} LABEL_VENV={PYTHON.parents[1]} --assume-old={PYTHON.parents[1]}/.label"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    if not (PYTHON.parents[1] / ".label").is_file():
        pytest.skip(f"{PYTHON.parents[1]} was not made by make")
    process = begin("set -e\n" + "\n".join(lines), environment, ROOT)
    end, found = time.monotonic() + 120, None
    while found is None and time.monotonic() < end and process.poll() is None:
        try:
            found = asked(int(ports["8000"]), "/page/images")["images"]
        except OSError:
            time.sleep(0.5)
    log = (tmp_path / "log0").read_text(errors="replace")
    assert found is not None and len(found) == 1, log[-3000:]
    assert "casr_label: ready: open http://127.0.0.1:" in log
