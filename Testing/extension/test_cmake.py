"""The package: CMake against a strict stand-in of Slicer's, and the installed tree."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.installed import configure, install_extension

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "CASRSegmentation"
BUNDLE = ROOT / "monai_bundle"
METADATA = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="CMake is not installed")


def _cmake() -> str:
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def _files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found if "__pycache__" not in path.parts}


def _wanted() -> set[str]:
    """What the installed folder of the modules has to hold, found on disk, not in the lists of CMake."""
    skipped = {"CMakeLists.txt", "README.md", "Resources/CASRSegmentation.json"}
    own = {name for name in _files(MODULE) if name not in skipped and not name.startswith("Resources/Screenshots/")}
    parts = ("casr_net", "configs", "docs", "models")
    bundle = {f"{part}/{name}" for part in parts for name in _files(BUNDLE / part)} | {"LICENSE"}
    bundle = {name for name in bundle if not name.startswith("models/.runtimes/")}  # converted on this machine
    bundle |= {f"sample/images/{name}" for name in _files(BUNDLE / "sample" / "images")}
    return own | {f"Resources/monai_bundle/{name}" for name in bundle}


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of the modules in the installed tree and in the build tree."""
    return install_extension(ROOT, tmp_path_factory.mktemp("extension"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of what CMake reads, in which single things can be broken; ``copy / "build"`` is kept to save time."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("CASRSegmentation", "monai_bundle"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = configure(folder, folder / "build")
    assert done.returncode == 0, done.stderr
    return folder


@contextlib.contextmanager
def _changed(path: Path, content: bytes | None) -> Iterator[None]:
    """A file with other content, or without the file (None); put back afterwards."""
    before = path.read_bytes() if path.is_file() else None
    try:
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def _configured(copy: Path) -> tuple[bool, str]:
    done = configure(copy, copy / "build")
    return done.returncode == 0, " ".join(done.stderr.split())


# The trees.
@needs_cmake
@pytest.mark.parametrize("which", [0, 1], ids=["installed", "build"])
def test_tree_holds_everything_and_nothing_else(trees, which):
    assert _files(trees[which]) == _wanted()
    for name in ("CASRSegmentation.py", "Resources/monai_bundle/models/model.pt", "Resources/requirements.txt"):
        bundle = name.startswith("Resources/monai_bundle/")
        source = BUNDLE / name.removeprefix("Resources/monai_bundle/") if bundle else MODULE / name
        assert (trees[which] / name).read_bytes() == source.read_bytes()


@needs_cmake
def test_nothing_is_installed_elsewhere(trees):
    prefix = trees[0].parents[2]
    assert {path.split("/")[0:3][-1] for path in _files(prefix)} == {"qt-scripted-modules"}


@needs_cmake
def test_tests_for_slicer_itself_are_known_to_ctest(trees):
    done = subprocess.run(["ctest", "-N"], cwd=trees[1].parents[2], capture_output=True, text=True, check=True)
    assert set(re.findall(r"Test +#\d+: (\S+)", done.stdout)) == {
        "py_CASRSegmentation",
        "py_nomainwindow_qSlicerCASRSegmentationModuleGenericTest",
        "py_nomainwindow_qSlicerSegmentEditorCASRModuleGenericTest",
    }


_IMPORT_ALL = """
import importlib, pathlib, sys
import slicer  # before Testing is on the path: slicer imports what lies in folders of its own name
tree, testing = map(pathlib.Path, sys.argv[1:])
sys.path[:0] = [str(tree), str(testing)]
from standins import install
install()
names = [path.relative_to(tree).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
         for path in sorted([*tree.glob("*.py"), *tree.glob("*Lib/*.py")])]
for name in names:
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__).is_relative_to(tree), module.__file__
print(len(names), [name for name in ("torch", "monai", "cv2", "skimage", "casr_net") if name in sys.modules])
"""


@needs_cmake
def test_installed_modules_import_without_torch(trees, tmp_path):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, str(trees[0]), str(ROOT / "Testing")],
        capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    count = len([*MODULE.glob("*.py"), *MODULE.glob("*Lib/*.py")])
    assert done.stdout.splitlines()[-1] == f"{count} []"


@needs_cmake
def test_worker_of_the_installed_bundle_answers(trees, tmp_path):
    bundle = trees[0] / "Resources" / "monai_bundle"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(bundle)}
    done = subprocess.run(
        [sys.executable, "-m", "casr_net.worker"], input="", capture_output=True, text=True, cwd=tmp_path,
        env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hello = json.loads(done.stdout)
    assert hello["event"] == "hello"
    assert hello["version"] == json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]


@needs_cmake
def test_suites_pass_on_the_installed_tree(trees):
    """A quick part of them; all: see the first lines of Testing/standins/installed.py."""
    suites = [
        str(Path(__file__).with_name(f"test_{name}.py"))
        for name in (
            "bundles",
            "effect_writing",
            "frames",
            "installation",
            "logic",
            "packages",
            "results",
            "sample_data",
            "sources",
            "widget",
        )
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not nothing_but", *suites],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
        env=os.environ | {"CASR_EXTENSION_DIR": str(trees[0]), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed.group(1)) > 50


# What has to fail.
@needs_cmake
@pytest.mark.parametrize(
    "name",
    [
        "CASRSegmentation/CASRSegmentation.py",
        "CASRSegmentation/CASRSegmentationLib/protocol.py",
        "CASRSegmentation/Resources/requirements.txt",
        "CASRSegmentation/Resources/UI/CASRSegmentation.ui",
        "CASRSegmentation/Resources/SampleData/casr_cine.seq.nrrd",
        "CASRSegmentation/SegmentEditorCASRLib/SegmentEditorEffect.png",
        "monai_bundle/models/model.pt",
        "monai_bundle/configs/inference.json",
        "monai_bundle/casr_net/worker.py",
        "monai_bundle/LICENSE",
        "LICENSE",
        "README.md",
    ],
)
def test_missing_file_fails(copy, name):
    with _changed(copy / name, None):
        fine, text = _configured(copy)
    assert not fine and name.removeprefix("CASRSegmentation/") in text


@needs_cmake
@pytest.mark.parametrize(
    "name",
    [
        "CASRSegmentationLib/forgotten.py",
        "SegmentEditorCASRLib/forgotten.py",
        "Forgotten.py",
        "Resources/Icons/forgotten.png",
        "Resources/UI/forgotten.ui",
        "Resources/SampleData/forgotten.nrrd",
    ],
)
def test_forgotten_file_fails(copy, name):
    with _changed(copy / "CASRSegmentation" / name, b"x"):
        fine, text = _configured(copy)
    assert not fine and f"'{name}' is not listed" in text


@needs_cmake
@pytest.mark.parametrize("name", ["Resources/Screenshots/other.png", "CASRSegmentationLib/__pycache__/x.pyc"])
def test_what_is_not_meant_to_be_installed_may_lie_there(copy, name):
    with _changed(copy / "CASRSegmentation" / name, b"x"):
        fine, text = _configured(copy)
    assert fine, text


@needs_cmake
@pytest.mark.parametrize("key", METADATA)
def test_unset_metadata_fails(copy, key):
    text = re.sub(rf"set\(EXTENSION_{key} .*\)\n", "", _cmake())
    assert text != _cmake()
    with _changed(copy / "CMakeLists.txt", text.encode()):
        fine, error = _configured(copy)
    assert not fine and f"EXTENSION_{key} is not set" in error


@needs_cmake
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("NAME SegmentEditorCASR", "NAME SegmentEditorX", "SegmentEditorX.py is not among the SCRIPTS"),
        ("  RESOURCES ${EFFECT_PYTHON_RESOURCES}", "", "'SegmentEditorCASRLib/SegmentEditorEffect.png' is not listed"),
        ("  CASRSegmentation.py\n", "  CASRSegmentation.py\n  CASRSegmentation.py\n", "is listed twice"),
        ("  SegmentEditorCASR.py\n", "  SegmentEditorCASR.py\n  ../LICENSE\n", "outside of the module's folder"),
        ("WITH_GENERIC_TESTS", "WITH_GENERIC_TEST", "unknown arguments|nonexistent file"),
    ],
)
def test_wrong_use_of_the_macro_fails(copy, before, after, message):
    path = copy / "CASRSegmentation" / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    assert before in text
    with _changed(path, text.replace(before, after, 1).encode()):
        fine, error = _configured(copy)
    assert not fine and re.search(message, error)
