"""Hidden module that puts the effect "Coronary artery (CASR)" into the Segment Editor."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

EFFECT = Path(__file__).parent / "SegmentEditorCASRLib" / "SegmentEditorEffect.py"


class SegmentEditorCASR(ScriptedLoadableModule):
    """Registers the effect when the application has started; nothing else."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Segment Editor effect: coronary artery (CASR)")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["Segmentations"]
        self.parent.contributors = ["CASR-Net contributors"]
        self.parent.hidden = True
        self.parent.helpText = _("Adds the effect 'Coronary artery (CASR)' to the Segment Editor.")
        self.parent.acknowledgementText = ""
        slicer.app.connect("startupCompleted()", register_effect)


def register_effect() -> None:
    """Register the effect with the Segment Editor's factory; a failure is logged, since Slicer must start anyway."""
    try:
        import qSlicerSegmentationsEditorEffectsPythonQt as effects
        import SegmentEditorCASRLib  # noqa: F401 - setPythonSource takes the class from this package if it is loaded

        instance = effects.qSlicerSegmentEditorScriptedEffect(None)
        instance.setPythonSource(EFFECT.as_posix())
        instance.self().register()
    except Exception:
        logging.exception("The Segment Editor effect 'Coronary artery (CASR)' could not be registered.")
