"""Pictures for the guide of the Slicer extension: its panels on stand-ins of Qt, and Slicer's own slice view.

python experiments/slicer_pictures.py [FOLDER]

The images are the synthetic ones that come with the extension; the masks are made by the shipped weights in the worker
process. Needs slicer-core and PySide6 (extra "test"). The panels are drawn by the stand-ins of Testing/standins, so
that colors and fonts differ from those of the desktop application.
"""

from __future__ import annotations

import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "CASRSegmentation"
FOLDER = EXTENSION / "Resources" / "Screenshots"
VIEW = (640, 640)


def start() -> Any:
    """Slicer's classes and the stand-ins, with ``PythonSlicer`` on the PATH."""
    import os

    sys.path[:0] = [str(ROOT / "Testing"), str(EXTENSION)]
    from standins import install

    script = Path(tempfile.mkdtemp(prefix="pythonslicer-")) / "PythonSlicer"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    os.environ["CASR_RUNTIME"] = "torch"  # what Slicer has; other runtimes are faster, and are not installed there
    os.environ["PATH"] = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    return install()


def side_by_side(left: Path, right: np.ndarray, path: Path) -> None:
    """A panel and a view, on white ground."""
    from PIL import Image

    panel, view = Image.open(left).convert("RGB"), Image.fromarray(right)
    page = Image.new("RGB", (panel.width + view.width + 12, max(panel.height, view.height)), "white")
    page.paste(panel, (0, 0))
    page.paste(view, (panel.width + 12, 0))
    page.save(path, optimize=True)
    left.unlink()


def module_pictures(folder: Path) -> None:
    """module.png: after the whole cine; running.png: in the middle of it; table.png would be Slicer's own."""
    import slicer
    from standins import scripted_module
    from standins.event_loop import wait_until
    from standins.render_slice import render
    from standins.screenshots import grab

    loaded = scripted_module.load_module(EXTENSION / "CASRSegmentation.py", widget=True)
    widget, ui = loaded.widget, loaded.widget.ui
    scripted_module.enter(widget)
    ui.sampleButton.click()
    volume = ui.inputSelector.currentNode()
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volume)
    browser.SetSelectedItemNumber(5)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    ui.advancedCollapsibleButton.collapsed = False
    ui.applyButton.click()
    wait_until(lambda: ui.progressBar.value >= 6, 300, "frame 6")
    side_by_side(grab(loaded.panel, folder / "panel.png", 500), render(volume, size=VIEW), folder / "running.png")
    wait_until(lambda: not widget.logic.busy, 300, "the end")
    ui.advancedCollapsibleButton.collapsed = True
    side_by_side(grab(loaded.panel, folder / "panel.png", 500, 500), render(volume, size=VIEW), folder / "module.png")
    print(ui.statusLabel.text)
    scripted_module.unload(widget)


def effect_pictures(folder: Path) -> None:
    """effect.png: the options of the effect, and its preview in the view."""
    import slicer
    from CASRSegmentationLib import sample_data
    from standins import scripted_module
    from standins.event_loop import wait_until
    from standins.render_slice import render
    from standins.screenshots import grab
    from standins.segment_editor import SegmentEditor

    slicer.app.reset()
    scripted_module.load_module(EXTENSION / "SegmentEditorCASR.py")
    volume = sample_data.load_frame()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "vessels")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("vessel", "Coronary artery", (0.85, 0.4, 0.31))
    render(volume, size=VIEW)
    editor = SegmentEditor()
    editor.set_segmentation(segmentation)
    editor.set_source_volume(volume)
    editor.select_segment(segment)
    effect = editor.activate("Coronary artery (CASR)")
    effect.onFind()
    wait_until(lambda: effect.controller.preview.visible, 300, "the preview")
    wait_until(lambda: not effect.controller.session.refining, 300, "the refinement")
    picture = grab(effect.scriptedEffect.optionsFrame(), folder / "panel.png", 500)
    side_by_side(picture, render(None, size=VIEW), folder / "effect.png")
    editor.close()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    start()
    module_pictures(folder)
    effect_pictures(folder)


if __name__ == "__main__":
    main()
