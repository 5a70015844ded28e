"""Synthetic angiograms that come with the extension, offered in Slicer's Sample Data module; no internet is needed.

They are made by the project's generator (``experiments/sample_data.py``) and state no physical scale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

__all__ = ["CATEGORY", "CINE", "FRAME", "SampleDataError", "load_cine", "load_frame", "register"]

CATEGORY = "CASR-Net"
CINE, FRAME = "CASRCine", "CASRFrame"
FRAMES_PER_SECOND = 15.0

_RESOURCES = Path(__file__).resolve().parents[1] / "Resources"
_CINE_FILE = _RESOURCES / "SampleData" / "casr_cine.seq.nrrd"
_FRAME_FILE = _RESOURCES / "SampleData" / "casr_frame.nrrd"


class SampleDataError(RuntimeError):
    """A file of the extension is missing or cannot be read."""


def register() -> None:
    """Add both data sets to the Sample Data module; call it when the application has started."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # not in Slicer 5.10
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("CASR-Net"))
    for name, path, button in ((CINE, _CINE_FILE, _cine_button), (FRAME, _FRAME_FILE, _frame_button)):
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            # The module's buttons call the loader; scripts that ask the logic for the sample get the file itself.
            uris=path.as_uri(),
            fileNames=path.name,
            nodeNames=name,
            thumbnailFileName=str(_RESOURCES / "Icons" / f"{name}.png"),
            customDownloader=button,
        )


def load_cine() -> tuple[Any, Any]:
    """Load the synthetic cine (12 frames of 512 x 512) and show it.

    Returns:
        the volume that shows the browser's current frame, and the sequence browser.

    Raises:
        SampleDataError: when the file cannot be read.
    """
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GetUniqueNameByString(CINE))
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(_CINE_FILE))
    if not _CINE_FILE.is_file() or not storage.ReadData(sequence) or not sequence.GetNumberOfDataNodes():
        scene.RemoveNode(sequence)
        scene.RemoveNode(storage)
        raise SampleDataError(_("{path} cannot be read; install the extension again.").format(path=_CINE_FILE))
    sequence.SetAndObserveStorageNodeID(storage.GetID())
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sequence.GetName()} browser")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.SetPlaybackRateFps(FRAMES_PER_SECOND)
    module = slicer.modules.sequences
    module.logic().UpdateAllProxyNodes()
    volume = browser.GetProxyNode(sequence)
    _show(volume)
    if slicer.util.mainWindow() is not None:
        module.setToolBarActiveBrowserNode(browser)
        module.showSequenceBrowser(browser)
    return volume, browser


def load_frame() -> Any:
    """Load the synthetic single frame (512 x 512) and show it; returns the volume node.

    Raises:
        SampleDataError: when the file cannot be read.
    """
    logic = slicer.modules.volumes.logic()
    volume = logic.AddArchetypeVolume(str(_FRAME_FILE), FRAME) if _FRAME_FILE.is_file() else None
    if volume is None:
        raise SampleDataError(_("{path} cannot be read; install the extension again.").format(path=_FRAME_FILE))
    _show(volume)
    return volume


def _show(volume: Any) -> None:
    volume.CreateDefaultDisplayNodes()
    if slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=volume, fit=True)


# Functions of the module: the Sample Data module takes a source with another function for another source.
def _cine_button(source: Any = None) -> None:
    with slicer.util.tryWithErrorDisplay(_("The synthetic cine could not be loaded."), waitCursor=True):
        load_cine()


def _frame_button(source: Any = None) -> None:
    with slicer.util.tryWithErrorDisplay(_("The synthetic angiogram could not be loaded."), waitCursor=True):
        load_frame()
