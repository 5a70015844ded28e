"""The plug: what Slicer lists, self test; without main window and without torch. [stand-in Qt, real scene]"""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import slicer
from standins import scripted_module
from standins.workers import install_python_slicer


@pytest.fixture
def loaded(scene, extension_dir):
    return scripted_module.load_module(extension_dir / "CASRSegmentation.py")


def test_description(loaded):
    parent = loaded.parent
    assert parent.title == "CASR Segmentation" and parent.categories == ["Segmentation"] and not parent.hidden
    assert "not a medical device" in parent.helpText and "2510.27315" in parent.acknowledgementText
    assert {"Segmentations", "Sequences"} <= set(parent.dependencies)


def test_plug_is_thin(extension_dir):
    tree = ast.parse((extension_dir / "CASRSegmentation.py").read_text(encoding="utf-8"))
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert classes == ["CASRSegmentation", "CASRSegmentationTest"]
    for name in ("Widget", "Logic"):
        assert f"CASRSegmentation{name}" in (extension_dir / "CASRSegmentation.py").read_text(encoding="utf-8")


def test_loads_without_a_main_window_and_without_torch(extension_dir, tmp_path):
    """In a process of its own where torch, MONAI and OpenCV cannot be imported."""
    code = """
import sys
from importlib.abc import MetaPathFinder
class Hide(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "monai", "cv2", "skimage", "casr_net"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
sys.path[:0] = sys.argv[1:3]
from standins import install
app = install()
app.set_main_window(False)
from standins import scripted_module
from pathlib import Path
loaded = scripted_module.load_module(Path(sys.argv[2]) / "CASRSegmentation.py", widget=True)
scripted_module.enter(loaded.widget)
scripted_module.load_module(Path(sys.argv[2]) / "SegmentEditorCASR.py")
import slicer
from CASRSegmentationLib import sample_data
volume, browser = sample_data.load_cine()
print("loaded", loaded.parent.title, volume.GetName(), loaded.widget.ui.applyButton.text)
"""
    testing = str(__import__("pathlib").Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, testing, str(extension_dir)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "loaded CASR Segmentation CASRCine Apply"


def test_self_test_of_slicer(loaded, tmp_path, monkeypatch):
    """``CASRSegmentationTest``, which Slicer runs with its own Python, here with the real worker."""
    install_python_slicer(tmp_path, monkeypatch)
    loaded.module.runTest(msec=0)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetSegmentation().GetNthSegment(0).GetName() == "Coronary artery"
