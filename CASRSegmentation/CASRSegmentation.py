"""CASR Segmentation: coronary arteries in X-ray angiograms. Only the plug; see CASRSegmentationLib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from CASRSegmentationLib import sample_data, settings
from CASRSegmentationLib.installation import Installation
from CASRSegmentationLib.job import Request
from CASRSegmentationLib.logic import CASRSegmentationLogic
from CASRSegmentationLib.sources import describe
from CASRSegmentationLib.widget import CASRSegmentationWidget
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

__all__ = ["CASRSegmentation", "CASRSegmentationLogic", "CASRSegmentationTest", "CASRSegmentationWidget"]


class CASRSegmentation(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CASR Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Sequences", "Volumes", "SubjectHierarchy", "Tables"]
        self.parent.contributors = ["CASR-Net contributors"]
        self.parent.helpText = (
            _(
                "Finds the coronary arteries in X-ray angiograms: a frame, a range, or all frames of a cine. "
                "For research only, not a medical device."
            )
            + self.getDefaultModuleDocumentationLink()
        )
        self.parent.acknowledgementText = _(
            "An open implementation of the method of CASR-Net (arXiv 2510.27315). Its authors published neither code "
            "nor weights; the weights here are ours."
        )
        slicer.app.connect("startupCompleted()", sample_data.register)


class CASRSegmentationTest(ScriptedLoadableModuleTest):
    """Self test in Slicer: two frames of the synthetic cine. Without the Python packages it only loads them."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_sample_cine()

    def test_sample_cine(self) -> None:
        volume, browser = sample_data.load_cine()
        source = describe(volume)
        self.assertEqual((source.kind, source.count), ("sequence", browser.GetNumberOfItems()))
        missing = Installation().missing()
        if missing:
            self.delayDisplay(
                _("Not installed, so the network was not run: {names}").format(
                    names=", ".join(need.text for need in missing)
                )
            )
            return
        folder = Path(settings.bundle().folder)
        summary = CASRSegmentationLogic().process(Request(source, (4, 5), folder, device="cpu", statistics=True))
        self.assertEqual(sorted(summary.pixels), [4, 5])
        self.assertTrue(all(pixels > 0 for pixels in summary.pixels.values()))
        self.delayDisplay(summary.text())
