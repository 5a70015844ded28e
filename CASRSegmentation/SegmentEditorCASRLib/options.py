"""The effect's options frame: widgets and what they say; what they do is connected by the effect."""

from __future__ import annotations

from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from .choices import MAX_THRESHOLD, MIN_THRESHOLD, Choices

__all__ = ["OptionsFrame"]


class OptionsFrame:
    """The widgets, from top to bottom as the user goes through them.

    Args:
        effect: qSlicerSegmentEditorScriptedEffect that takes the widgets.
    """

    def __init__(self, effect: Any) -> None:
        self.find = qt.QPushButton(_("Find vessels"))
        self.find.setToolTip(_("Run the network on the frame or slice that is shown. The segment is not changed yet."))
        self.cancel = qt.QPushButton(_("Cancel"))
        self.cancel.setToolTip(_("Stop the network. The segment is not changed."))
        effect.addOptionsWidget(_row(self.find, self.cancel))

        self.threshold = ctk.ctkSliderWidget()
        self.threshold.minimum = MIN_THRESHOLD
        self.threshold.maximum = MAX_THRESHOLD
        self.threshold.singleStep = 0.01
        self.threshold.pageStep = 0.1
        self.threshold.decimals = 2
        self.threshold.setToolTip(
            _("Probability from which a pixel is vessel. The preview follows at once; the network does not run again.")
        )
        effect.addLabeledOptionsWidget(_("Threshold:"), self.threshold)

        self.refine = qt.QCheckBox(_("Remove false vessels and close gaps"))
        self.refine.setToolTip(
            _("Contour refinement, stage 3 of CASR-Net. The preview shows the mask without it first.")
        )
        effect.addLabeledOptionsWidget(_("Refinement:"), self.refine)

        self.replace = qt.QRadioButton(_("Replace"))
        self.replace.setToolTip(_("The segment's old pixels on this frame or slice go; other slices stay."))
        self.add = qt.QRadioButton(_("Add"))
        self.add.setToolTip(_("The vessels are added to the segment."))
        effect.addLabeledOptionsWidget(_("Segment:"), _row(self.replace, self.add))

        self.bright = qt.QCheckBox(_("Vessels are bright"))
        self.bright.setToolTip(_("For images with inverted grey values: the network expects dark vessels."))
        effect.addLabeledOptionsWidget(_("Image:"), self.bright)

        self.window = qt.QCheckBox(_("Use the displayed window"))
        self.window.setToolTip(
            _(
                "Grey values from black to white as the slice view shows the volume now. Otherwise the file's own rule "
                "holds, as on the command line."
            )
        )
        effect.addLabeledOptionsWidget(_("Grey values:"), self.window)

        self.apply = qt.QPushButton(_("Apply"))
        effect.addOptionsWidget(self.apply)

        self.status = qt.QLabel("")
        self.status.wordWrap = True
        effect.addOptionsWidget(self.status)
        self._choosers = (self.threshold, self.refine, self.replace, self.add, self.bright, self.window)

    def choices(self) -> Choices:
        """What the widgets show."""
        return Choices(
            threshold=round(self.threshold.value, 4),
            refine=self.refine.checked,
            add=self.add.checked,
            bright=self.bright.checked,
            window=self.window.checked,
        )

    def set_choices(self, choices: Choices) -> None:
        """Show choices, without telling anyone."""
        blocked = [widget.blockSignals(True) for widget in self._choosers]
        self.threshold.value = choices.threshold
        self.refine.checked = choices.refine
        self.add.checked = choices.add
        self.replace.checked = not choices.add
        self.bright.checked = choices.bright
        self.window.checked = choices.window
        for widget, was_blocked in zip(self._choosers, blocked, strict=True):
            widget.blockSignals(was_blocked)

    def set_state(self, busy: bool, writing: bool, problem: str, text: str) -> None:
        """Enable what makes sense.

        Args:
            busy: a search or refinement that the user waits for is under way.
            writing: it ends with writing, so that the options must not change meanwhile.
            problem: why the effect cannot work on the volume, or empty.
            text: shown below the buttons.
        """
        idle = not busy and not problem
        self.find.enabled = idle
        self.apply.enabled = idle
        self.cancel.enabled = busy
        for widget in self._choosers:
            widget.enabled = not writing
        reason = problem or (_("The network is working; wait, or cancel.") if busy else "")
        self.apply.setToolTip(reason or _("Write what the preview shows into the selected segment."))
        self.status.text = text or problem


def _row(*widgets: Any) -> Any:
    layout = qt.QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout
