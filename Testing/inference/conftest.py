"""Weights for tests of what is kept beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def weights(random_weights: Path, tmp_path: Path) -> Path:
    """In a folder of their own, where plans are kept."""
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    shutil.copyfile(random_weights, path)
    return path
