"""Ranges of pyproject.toml, versions of constraints.txt, the bundle's metadata and the label server's list agree."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(path: Path) -> dict[str, str]:
    """Versions by name, as pip spells it."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = dict(line.split("==") for line in lines if line)
    return {canonicalize_name(name): version for name, version in found.items()}


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    return pins(ROOT / "constraints.txt")


def requirements(*extras: str) -> list[Requirement]:
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in extras)]
    return [Requirement(text) for group in groups for text in group if not text.startswith("casr-net[")]


def test_constraints_name_all_that_is_required(constraints: dict[str, str]) -> None:
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        version = constraints.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), requirement


def test_the_wheel_forces_no_exact_version() -> None:
    for requirement in requirements("train"):
        assert not any(part.operator in ("==", "===") for part in requirement.specifier), requirement


def test_metadata_of_the_bundle_agree(bundle: Path, constraints: dict[str, str]) -> None:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["monai_version"] == constraints["monai"]
    assert metadata["pytorch_version"] == constraints["torch"]
    assert metadata["numpy_version"] == constraints["numpy"]
    named = {canonicalize_name(name): version for name, version in metadata["required_packages_version"].items()}
    assert named == {name: constraints[name] for name in named}
    runtime = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert runtime - {"torch", "monai", "numpy", "lazy-loader"} <= set(named)


def test_the_label_server_has_all_that_the_package_needs() -> None:
    """Its numpy and pydicom are older, which the package bears."""
    served = pins(ROOT / "monai_bundle" / "label_app" / "requirements-label.txt")
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        assert name in served, name
        assert name == "pydicom" or requirement.specifier.contains(served[name]), name


def test_run_json_names_the_packages(constraints: dict[str, str]) -> None:
    from casr_net.inference.record import package_versions

    versions = {canonicalize_name(name): version for name, version in package_versions().items()}
    read = {"torch", "monai", "numpy", "scipy", "scikit-image", "opencv-python-headless", "pillow", "tifffile",
            "imagecodecs", "pydicom", "python-gdcm", "simpleitk", "nibabel"}  # fmt: skip
    assert read <= set(versions)
    assert "not installed" not in versions.values()


def test_lowest_versions_are_taken_from_the_ranges() -> None:
    script = runpy.run_path(str(ROOT / ".ci" / "oldest.py"))
    lines = script["requirements"]()
    exact = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    for requirement in requirements():
        if requirement.name != "torch":
            (floor,) = (part.version for part in requirement.specifier if part.operator == ">=")
            assert exact[canonicalize_name(requirement.name)] == floor
    assert "torch" not in exact and any(line.startswith("pytest") for line in lines)
    with pytest.raises(SystemExit, match="has no lowest version"):
        script["lowest"]("numpy==2.0")


def test_supported_pythons() -> None:
    named = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert named == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
