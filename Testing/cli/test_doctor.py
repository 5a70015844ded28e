"""``casr doctor`` says what is there, and works where packages are not."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from casr_net import __version__
from casr_net.cli import checkup, main
from casr_net.files.digest import sha256
from casr_net.inference.bundle import bundle_root

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def quick(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = main(["doctor", "--quick", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = quick(capsys)
    assert (code, found["problems"]) == (0, [])
    assert found["casr_net"]["version"] == __version__
    needed = [Requirement(text).name for text in PROJECT["dependencies"]]
    assert [row["name"] for row in found["packages"]] == needed
    assert {row["state"] for row in found["packages"]} == {"ok"}
    assert {row["name"] for row in found["extras"]} == set(checkup.EXTRAS)
    weights = bundle_root() / "models" / "model.pt"
    assert found["weights"]["sha256"] == sha256(weights)
    assert "torch" in found["runtimes"]
    assert found["devices"][0]["name"] == "cpu"
    assert found["network"]["note"] == "not tried"


def test_the_network_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "the shipped sample in" in out
    assert "auto                    torch" in out  # CASR_RUNTIME in tests
    assert "All that is needed works." in out


def test_a_missing_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdcm", None)
    code, found = quick(capsys)
    assert code == 1
    (row,) = (row for row in found["packages"] if row["name"] == "python-gdcm")
    assert row["state"] == "missing"
    assert "pip install 'python-gdcm>=" in found["problems"][0]
    assert main(["doctor", "--quick"]) == 1
    assert "1 to mend:" in capsys.readouterr().out


def test_a_broken_and_an_old_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkup.importlib.import_module

    def fail(name: str, package: str | None = None) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, package)

    monkeypatch.setattr(checkup.importlib, "import_module", fail)
    monkeypatch.setattr(checkup, "version", lambda name: "0.1" if name == "tqdm" else "99")
    code, found = quick(capsys)
    states = {row["name"]: row["state"] for row in found["packages"]}
    assert code == 1
    assert states["opencv-python-headless"] == "broken"
    assert states["tqdm"] == "other version"
    assert any("libGL" in line for line in found["problems"])


def test_wrong_weights(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkup, "_bundle", lambda folder: tmp_path)
    code, found = quick(capsys)
    assert code == 1
    assert "no such file" in found["weights"]["problem"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "Git LFS" in quick(capsys)[1]["problems"][0]


def test_without_the_packages_that_the_other_commands_import() -> None:
    code = (
        "import sys\nfor name in ('lazy_loader', 'torch', 'monai', 'packaging'): sys.modules[name] = None\n"
        "from casr_net.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    states = {row["name"]: row["state"] for row in json.loads(done.stdout)["packages"]}
    assert states["lazy-loader"] == states["torch"] == "missing"
    assert "lazy_loader is missing" in done.stderr


def test_what_is_declared_by_installed_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a wheel, where there is no pyproject.toml."""

    about = Message()
    about["Requires-Python"], about["Provides-Extra"] = ">=3.11", "onnx"
    monkeypatch.setattr(checkup, "__file__", "/nowhere/casr_net/cli/checkup.py")
    monkeypatch.setattr(checkup, "metadata", lambda name: about)
    monkeypatch.setattr(checkup, "requires", lambda name: ["tqdm>=4.66", 'onnx>=1.19; extra == "onnx"'])
    checkup._declared.cache_clear()
    try:
        assert checkup._declared() == {"python": ">=3.11", "needed": ["tqdm>=4.66"], "extras": {"onnx": ["onnx>=1.19"]}}
        assert checkup._required("onnx") == {"onnx": ">=1.19"}
    finally:
        checkup._declared.cache_clear()


def test_modules_of_all_packages_are_known() -> None:
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in checkup.EXTRAS)]
    installed = {canonicalize_name(found.name) for found in distributions()}
    for requirement in (Requirement(text) for group in groups for text in group):
        if canonicalize_name(requirement.name) in installed:
            assert checkup._findable(checkup.module_name(requirement.name)), requirement.name
