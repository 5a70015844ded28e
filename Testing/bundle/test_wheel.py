"""The wheel carries all that ``casr`` needs, so that it works without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    # setuptools leaves its build folder beside the sources; the repository stays clean.
    shutil.copytree(ROOT / "monai_bundle", source / "monai_bundle")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_has_configurations_and_weights(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "configs/inference.json",
        "configs/metadata.json",
        "models/calibration.json",
        "models/model.pt",
        "docs/README.md",
        "docs/run.schema.json",
    ):
        assert f"casr_net/_bundle/{name}" in names
    assert "casr_net/py.typed" in names
    package = ROOT / "monai_bundle" / "casr_net"
    modules = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    assert not any(name.startswith(("Testing", "experiments", "monai_bundle")) for name in names)


def test_casr_works_without_the_repository(wheel: Path, png: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    # -P and the wheel first on the path: neither the working folder nor the repository's package is found.
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import casr_net, sys; sys.stdout.write(casr_net.__file__); from casr_net.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "segment", str(png), "--output", str(tmp_path / "out"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str(installed))
    assert (tmp_path / "out" / "angio_mask.png").is_file()
