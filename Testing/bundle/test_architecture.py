"""The house: who may import whom, what stays light, and names that outlive a move of files."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "monai_bundle"
PACKAGE = BUNDLE / "casr_net"

#: Rooms by floor, from the ground up. A module imports from its own floor and from those below.
FLOORS = (
    {"errors"},
    {"files", "vessels"},
    {"preprocessing", "network", "uncertainty", "synthetic"},
    {"refinement", "training"},
    {"inference"},
    {"cine", "evaluation", "report"},
    {"cli", "worker"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = {"torch", "monai", "ignite", "pydicom", "SimpleITK", "itk", "nibabel", "cv2", "skimage", "scipy", "PIL"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Dotted name below ``casr_net``, and the code, of every module but the root itself."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


def imported(name: str, node: ast.AST) -> list[str]:
    """What one statement of a module imports, by absolute names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    base = ["casr_net", *name.split(".")][: -node.level]
    module = ".".join([*base, *([node.module] if node.module else [])])
    return [f"{module}.{alias.name}" for alias in node.names]


def rooms_of(names: list[str]) -> set[str]:
    """Rooms that imports lead to; names of the root, such as the version, belong to none."""
    parts = [name.split(".") for name in names]
    found = {part[1] for part in parts if part[0] == "casr_net" and len(part) > 1}
    return {room for room in found if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()}


def test_every_room_has_its_floor() -> None:
    rooms = {name.split(".")[0] for name, _ in modules()}
    assert rooms - set(FLOOR) == set(), "a new room: give it a floor here and in the layout"


def test_imports_go_downward() -> None:
    upward = [
        f"{name} imports {room} (line {node.lineno})"
        for name, tree in modules()
        for node in ast.walk(tree)
        for room in rooms_of(imported(name, node))
        if FLOOR[room] > FLOOR[name.split(".")[0]]
    ]
    assert upward == []


def test_rooms_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, tree in modules():
        room = name.split(".")[0]
        for node in ast.walk(tree):
            graph.setdefault(room, set()).update(rooms_of(imported(name, node)) - {room})
    assert list(TopologicalSorter(graph).static_order()), "graphlib names the circle"


def test_files_need_no_network_library() -> None:
    """Only the readers for MONAI may import it; what a function imports when it runs does not count."""
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        if name.startswith("files.") and name != "files.readers"
        for node in tree.body
        for target in imported(name, node)
        if target.split(".")[0] in ("torch", "monai", "ignite")
    ]
    assert wrong == []


def test_bundle_does_not_import_its_users() -> None:
    users = ("casr_label", "monailabel", "CASRSegmentationLib", "SegmentEditorCASRLib", "slicer", "qt")
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for node in ast.walk(tree)
        for target in imported(name, node)
        if target.split(".")[0] in users
    ]
    assert wrong == []


@pytest.mark.parametrize("module", ["casr_net", "casr_net.cli", "casr_net.errors", "casr_net.files"])
def test_light_imports(module: str) -> None:
    """Measured by what was imported, since seconds depend on the machine."""
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


def targets(content: object) -> Iterator[str]:
    if isinstance(content, dict):
        if isinstance(content.get("_target_"), str):
            yield content["_target_"]
        yield from (found for value in content.values() for found in targets(value))
    elif isinstance(content, list):
        yield from (found for value in content for found in targets(value))
    elif isinstance(content, str) and content.startswith("casr_net."):
        yield content  # an argument, such as the reader of LoadImaged


@pytest.mark.parametrize("config", sorted(path.name for path in (BUNDLE / "configs").glob("*.json")))
def test_configs_name_packages(config: str) -> None:
    """``casr_net.<package>.<Name>``, which the package offers: files may move below it."""
    content = json.loads((BUNDLE / "configs" / config).read_text(encoding="utf-8"))
    for target in {name for name in targets(content) if name.startswith("casr_net")}:
        root, package, name = target.split(".")
        offered = importlib.import_module(f"{root}.{package}")
        assert not (PACKAGE / package / f"{name}.py").exists(), f"{target} is a file"
        assert callable(getattr(offered, name)), target
