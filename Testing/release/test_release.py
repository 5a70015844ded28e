"""What README promises a newcomer, and what a release uploads."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import setuptools
import yaml
from PIL import Image

from casr_net import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def way_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module("way_in")


def test_first_steps_are_what_was_walked(way_in: Any) -> None:
    record = json.loads(way_in.RESULT.read_text(encoding="utf-8"))
    assert way_in.first_steps(README) == [step["command"] for step in record["seconds"]]
    filled = importlib.import_module("tables").filled(ROOT / "README.md", way_in.sentence(record), "way in")
    assert filled == README, "run experiments/way_in.py"
    for name in re.findall(
        r"`((?:results|reports)/[\w.-]+)`", README.split("## The first minute")[1].split("\n## ")[0]
    ):
        assert name in record["results"]


def test_commands_of_readme_and_guides_parse() -> None:
    parser = cli._parser(cli.COMMANDS)
    found = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            command = re.sub(r"\s#.*", "", line.strip())
            if line.startswith("    casr ") and "[" not in command and "..." not in command:
                parser.parse_args(shlex.split(command)[1:])
                found += 1
    assert found > 20


def test_the_way_in_begins_with_pip() -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    ")]
    assert commands[0].startswith("pip install torch --index-url")
    address = runpy_setup()["ADDRESS"]
    assert f"@ git+{address}" in commands[1]
    assert address in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert README.index("pip install") < README.index("make demo") < README.index("<!-- tables -->")


def test_make_targets_of_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^    make ([\w-]+)", README, flags=re.M)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_the_moving_picture_is_small_and_moves() -> None:
    path = ROOT / "docs" / "cine.webp"
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as image:
        assert image.n_frames > 10


def runpy_setup() -> dict[str, Any]:
    """The names of setup.py, without running setuptools."""
    real, setuptools.setup = setuptools.setup, lambda **options: None
    try:
        return runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = real


def test_links_of_the_index_page_are_absolute() -> None:
    told = runpy_setup()["absolute"](README)
    links = [target for target in re.findall(r"\]\(([^)\s]+)\)", told) if not target.startswith("#")]
    assert links and all(re.match(r"https?://", target) for target in links)
    assert "/raw/main/docs/cine.webp)" in told


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in uses)
    assert "secrets." not in text


def test_the_release_checks_version_and_files() -> None:
    (path,) = (path for path in WORKFLOWS if path.name == "release.yml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    runs = [step["run"] for step in content["jobs"]["build"]["steps"] if "run" in step]
    assert any(run.startswith("make dist") for run in runs)
    (check,) = (run for run in runs if run.startswith("grep"))
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "monai_bundle/casr_net/__init__.py").read_text(), re.M)
    assert version
    for tag, code in ((f"v{version[1]}", 0), ("v9.9.9", 1)):
        done = subprocess.run(["bash", "-c", check], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"})
        assert done.returncode == code


def test_source_archive_makes_the_wheel(tmp_path: Path) -> None:
    """As ``make dist``: the archive, the wheel from it, and twine's check of both."""
    source, output = tmp_path / "source", tmp_path / "dist"
    shutil.copytree(
        ROOT / "monai_bundle", source / "monai_bundle", ignore=shutil.ignore_patterns("label_app", ".runtimes")
    )
    for name in (
        "pyproject.toml",
        "setup.py",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "CHANGELOG.md",
    ):
        shutil.copy(ROOT / name, source)
    for command in (["build", "--no-isolation", "--outdir", str(output), str(source)], ["twine", "check", "--strict"]):
        files = sorted(map(str, output.glob("*"))) if command[0] == "twine" else []
        done = subprocess.run([sys.executable, "-m", *command, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (archive,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    with tarfile.open(archive) as content:
        names = {name.split("/", 1)[1] for name in content.getnames() if "/" in name}
    assert {"pyproject.toml", "setup.py", "monai_bundle/models/model.pt", "LICENSE"} <= names
    assert wheel.stat().st_size > 9_000_000
