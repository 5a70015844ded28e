"""What the Extensions Index checks of an extension, and what its code may do when it is loaded."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "CASRSegmentation"
METADATA = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")


def _cmake() -> str:
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


# The Extensions Index reads CMakeLists.txt as text and the entry as JSON.
def _address(key: str) -> str:
    found = re.findall(rf'set\s*\(EXTENSION_{key}\s*"([^"]+)"\)', _cmake())
    assert len(found) == 1, f"EXTENSION_{key} must be one quoted text with the bracket right behind it"
    return found[0]


@pytest.fixture(scope="module")
def entry() -> dict:
    return json.loads((MODULE / "Resources" / "CASRSegmentation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("key", METADATA)
def test_metadata_is_plain_text(key):
    text = _address(key)
    assert "$" not in text and "\\" not in text and "\n" not in text and text.strip() == text


def test_project_name_is_the_entry_name():
    names = re.findall(r"project\s*\(\s*([^\s\)]+)", _cmake())
    assert names == ["CASRSegmentation"] == [(MODULE / "Resources" / "CASRSegmentation.json").stem]
    assert not names[0].startswith("Slicer")


def test_entry_follows_the_schema(entry):
    kinds = {
        "$schema": str, "category": str, "scm_url": str, "scm_revision": str, "scm_type": str,
        "build_dependencies": list, "dicom_support_rule": str, "build_subdirectory": str, "enabled": bool, "tier": int,
    }  # fmt: skip
    assert set(entry) == set(kinds), "version 1.0.2 of the schema allows no other keys"
    for key, kind in kinds.items():
        assert type(entry[key]) is kind, key
    assert entry["$schema"].endswith("/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert 1 <= entry["tier"] <= 5
    assert entry["scm_type"] == "git" and entry["scm_url"].startswith("https://")
    assert entry["category"] == _address("CATEGORY")
    assert entry["category"] in ("Cardiac", "Segmentation"), "the Index accepts a closed list"
    assert " ".join(entry["build_dependencies"]) == _address("DEPENDS") == "PyTorch"


def test_entry_has_unix_line_ends():
    data = (MODULE / "Resources" / "CASRSegmentation.json").read_bytes()
    assert b"\r" not in data and data.endswith(b"}\n") and not data.startswith(b"\xef\xbb\xbf")


def test_entry_offers_the_extension_for_xa_images(entry):
    rule = entry["dicom_support_rule"].replace(" or ", "|").replace(" ", "")
    assert rule == "Modality=='XA'|SOPClassUID=='1.2.840.10008.5.1.4.1.1.12.1'"


def test_all_addresses_belong_to_one_repository(entry):
    homepage = _address("HOMEPAGE")
    owner, name = homepage.removeprefix("https://github.com/").split("/")
    assert name.startswith("Slicer"), "the Index wants repository names that start with Slicer"
    assert entry["scm_url"] == f"{homepage}.git"
    raw = f"https://raw.githubusercontent.com/{owner}/{name}/{entry['scm_revision']}/"
    pictures = [_address("ICONURL"), *_address("SCREENSHOTURLS").split()]
    for address in pictures:
        assert address.startswith(raw), address
        path = ROOT / address.removeprefix(raw)
        assert path.is_file() and path.suffix in (".png", ".jpg", ".gif"), f"{path} is not in the repository"


def test_license_is_where_the_index_looks():
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "size"),
    [("Resources/Icons/CASRSegmentation.png", 128), ("SegmentEditorCASRLib/SegmentEditorEffect.png", 26)],
)
def test_icons(name, size):
    data = (MODULE / name).read_bytes()
    assert data.startswith(b"\x89PNG") and tuple(np.frombuffer(data[16:24], ">u4")) == (size, size)
    assert data[25] == 6, "RGBA, so that the corners are transparent"


# The code, as the Index and Slicer want it.
@pytest.mark.parametrize("path", sorted(MODULE.rglob("*.py")), ids=lambda path: path.relative_to(MODULE).as_posix())
def test_code_loads_on_a_bare_slicer(path):
    """No third-party import when a file is loaded, and no syntax newer than Python 3.10."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
    allowed = {
        "slicer",
        "vtk",
        "qt",
        "ctk",
        "numpy",
        "CASRSegmentationLib",
        "SegmentEditorCASRLib",
        "SegmentEditorEffects",
    }
    for node in _run_at_import(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if isinstance(node, ast.ImportFrom) and node.level:
            continue
        for name in names:
            top = name.partition(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, (
                f"{path.name}, line {node.lineno}: import of {name}"
            )


def _run_at_import(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not _type_checking(child):
            yield from _run_at_import(child)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
