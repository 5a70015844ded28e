"""Fixtures of the Slicer extension's tests: real scene and logics of slicer-core, stand-ins for Qt (Testing/standins).

CASR_EXTENSION_DIR names the folder with CASRSegmentation.py to be tested, an installed tree for instance; without it
the repository's is.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TESTING = Path(__file__).resolve().parents[1]
EXTENSION = Path(os.environ.get("CASR_EXTENSION_DIR") or TESTING.parent / "CASRSegmentation").resolve()

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# Of these two only: a mistake in our own code must fail the tests, not skip them.
MISSING = [name for name in ("slicer_core", "PySide6") if importlib.util.find_spec(name) is None]
REASON = f"{' and '.join(MISSING)} cannot be imported: pip install slicer-core==5.12.4.0 PySide6_Essentials slicerio"

collect_ignore_glob = ["test_*.py"] if MISSING else []

if not MISSING:
    for folder in (TESTING, EXTENSION):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    from standins import install

    install()

    from standins.angiograms import draw_frames


def pytest_report_header(config: pytest.Config) -> str:
    return f"slicer extension: tests left out, {REASON}" if MISSING else f"slicer extension: {EXTENSION}"


class _LeftOut(pytest.Item):
    """Stands for the tests of this folder, which cannot even be imported."""

    def runtest(self) -> None:
        pytest.skip(REASON)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, "Slicer extension"


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    if MISSING:
        items.append(_LeftOut.from_parent(session, name="slicer extension", path=Path(__file__).parent))


@pytest.fixture(scope="session")
def extension_dir() -> Path:
    """Folder with CASRSegmentation.py."""
    return EXTENSION


@pytest.fixture(autouse=True)
def _no_hidden_errors() -> Iterator[None]:
    """An exception in a Qt slot or a VTK observer, which both libraries only print, fails the test."""
    from standins.event_loop import collect_errors

    with collect_errors() as errors:
        yield
    if errors:
        raise AssertionError(f"{len(errors)} error(s) in slots or observers, the first: {errors[0]!r}") from errors[0]


@pytest.fixture
def app() -> Iterator[Any]:
    """The double of ``slicer.app`` on an empty scene, with empty settings, a main window and no dialogs so far."""
    import slicer
    from standins import packaging, widgets

    packaging.reset()
    widgets.clear_settings()
    slicer.app.reset()
    yield slicer.app
    slicer.app.reset()
    packaging.reset()


@pytest.fixture
def scene(app: Any) -> Any:
    """The empty real scene."""
    return app.scene


@pytest.fixture
def installer(app: Any) -> Any:
    """What the extension asks to be installed; see standins.packaging."""
    from standins import packaging

    return packaging.installer


@pytest.fixture
def frame_pixels() -> np.ndarray:
    """A small angiogram, uint8 (96 rows, 128 columns): one dark curve, brighter at the left than at the right."""
    return draw_frames(1)[0]


def add_to_hierarchy(node: Any) -> int:
    """What Slicer's Qt plugins do with a new node: give it an item in the subject hierarchy."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


@pytest.fixture
def make_volume(scene: Any) -> Callable[..., Any]:
    """``make_volume(array, matrix=diag(-0.3, -0.3, 1), name="frame", vector=False)`` -> volume node.

    ``array`` is (rows, columns), (slices, rows, columns), or with ``vector`` (rows, columns, components).
    """
    import slicer

    def make(array: np.ndarray, matrix: np.ndarray | None = None, name: str = "frame", vector: bool = False) -> Any:
        pixels = array[None] if array.ndim == 2 or (vector and array.ndim == 3) else array
        if matrix is None:
            matrix = np.diag([-0.3, -0.3, 1.0, 1.0])
        kind = "vtkMRMLVectorVolumeNode" if vector else None
        volume = slicer.util.addVolumeFromArray(
            np.ascontiguousarray(pixels), ijkToRAS=slicer.util.vtkMatrixFromArray(matrix), name=name, nodeClassName=kind
        )
        volume.CreateDefaultDisplayNodes()
        add_to_hierarchy(volume)
        return volume

    return make


@pytest.fixture
def frame_volume(make_volume: Callable[..., Any], frame_pixels: np.ndarray) -> Any:
    """A single frame as Slicer loads a grey PNG: uint8, IJKtoRAS diag(-s, -s, 1)."""
    return make_volume(frame_pixels)


@pytest.fixture
def rgb_volume(make_volume: Callable[..., Any], frame_pixels: np.ndarray) -> Any:
    """The frame as Slicer loads a color picture: a vector volume with three different components."""
    color = np.stack([frame_pixels, frame_pixels // 2, 255 - frame_pixels], axis=-1)
    return make_volume(color, name="color", vector=True)


@pytest.fixture
def stack_volume(make_volume: Callable[..., Any]) -> Any:
    """A cine of five frames that was dragged into Slicer: slices of one volume, 66.6 apart."""
    return make_volume(draw_frames(5), np.diag([-0.3, -0.3, 66.6, 1.0]), "stack")


@pytest.fixture
def make_cine(scene: Any) -> Callable[..., Any]:
    """``make_cine(frames=6 or array, name=..., vector=False)`` -> namespace(volume, browser, sequence, frames)."""
    return lambda *arguments, **options: _cine(scene, *arguments, **options)


@pytest.fixture
def cine(make_cine: Callable[..., Any]) -> Any:
    """Six frames as DICOMImageSequencePlugin loads an XA file: sequence, browser and proxy volume."""
    return make_cine(6)


def _cine(scene: Any, frames: int | np.ndarray = 6, name: str = "3: XA Coro [1]", vector: bool = False) -> Any:
    from types import SimpleNamespace

    import slicer

    pixels = draw_frames(frames) if isinstance(frames, int) else frames
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    item = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode" if vector else "vtkMRMLScalarVolumeNode", name)
    item.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.diag([-0.308, -0.308, 1.0, 1.0])))
    for index in range(len(pixels)):
        slicer.util.updateVolumeFromArray(item, pixels[index : index + 1].copy())
        sequence.SetDataNodeAtValue(item, f"{index * 0.0666:.3f}")
    scene.RemoveNode(item)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetPlaybackRateFps(15)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    volume = browser.GetProxyNode(sequence)
    volume.CreateDefaultDisplayNodes()
    add_to_hierarchy(volume)
    return SimpleNamespace(volume=volume, browser=browser, sequence=sequence, frames=pixels)
