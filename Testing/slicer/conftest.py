"""The tests of the 3D Slicer extension need Slicer's C++ classes and Qt; without them they are left out."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parents[1]
MISSING = [name for name in ("slicer", "PySide6") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
for folder in (TESTING, Path(os.environ.get("CASR_EXTENSION_DIR", TESTING.parent / "CASRSegmentation"))):
    sys.path.insert(0, str(folder))


def pytest_report_header(config: pytest.Config) -> str:
    if MISSING:
        return f"slicer: tests left out, since {' and '.join(MISSING)} cannot be imported"
    return "slicer: on Slicer's own C++ classes"
