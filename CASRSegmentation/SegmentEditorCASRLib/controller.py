"""What the effect does from a click to the changed segment, in steps that never wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from CASRSegmentationLib import settings
from CASRSegmentationLib.frames import FrameError
from CASRSegmentationLib.grey_rules import note_rule
from CASRSegmentationLib.installation import Installation, InstallationDeclined, InstallationError
from CASRSegmentationLib.signal import Signal
from slicer.i18n import tr as _

from .choices import Choices
from .maps import FrameKey, ProbabilityMap
from .preview import Preview
from .session import Session
from .status import Status
from .target import Target, current_target
from .task import Task
from .watch import Watch
from .writer import WriteError, write_slice

__all__ = ["Controller"]


class Controller:
    """Search, preview and writing of one instance of the effect.

    Args:
        effect: qSlicerSegmentEditorScriptedEffect.

    Attributes:
        changed: Signal(), one of the following has changed.
        busy: a click's work is under way; only canceling makes sense.
        writing: it ends with writing, so that the options must stay as they are.
        problem: why nothing can be done with the current volume, or empty.
        text: what the user should read.
    """

    def __init__(self, effect: Any) -> None:
        self.changed = Signal()
        self.problem = ""
        self.status = Status()
        self.session = Session()
        self.preview = Preview(effect)
        self.installation = Installation()
        self._effect = effect
        self._active = False
        self._task: Task | None = None
        self._shown: tuple[Any, ...] | None = None
        self._written: dict[FrameKey, tuple[Any, ...]] = {}
        self.status.changed.connect(self.changed.emit)
        self.session.found.connect(self._on_found)
        self.session.refined.connect(self._on_refined)
        self.session.failed.connect(self._on_failed)
        self.session.warned.connect(self.status.warn)
        self.session.progressed.connect(self.status.say)
        self.watch = Watch()
        self.watch.changed.connect(self.refresh)
        self.watch.moved.connect(self._on_moved)
        self.watch.displayed.connect(self._on_displayed)
        self.watch.closing.connect(self._on_scene_close)

    @property
    def busy(self) -> bool:
        return self._task is not None

    @property
    def writing(self) -> bool:
        return self._task is not None and self._task.write

    @property
    def text(self) -> str:
        return self.status.text

    # From Slicer and the user

    def enter(self) -> None:
        """The effect has become the active one."""
        self._active = True
        self.status.clear()
        self.preview.attach()
        self.watch.observe(self._volume())
        self.refresh()

    def leave(self) -> None:
        """Another effect has become the active one: what is under way is dropped, the maps stay."""
        self._drop(_("The effect was left before the work was done; nothing was written."))
        self._active = False
        self.watch.stop()
        self.session.release()
        self._hide()
        self.preview.detach()

    def close(self) -> None:
        """The effect is about to be deleted."""
        self.leave()
        self.session.clear()

    def layout_changed(self) -> None:
        if self._active:
            self.preview.attach()
            self.refresh()

    def source_changed(self) -> None:
        if self._active:
            self.watch.observe(self._volume())
            self.refresh()

    def view_moved(self, widget: Any) -> None:
        """A slice view was scrolled, moved or resized."""
        if self._active:
            self.refresh()
            self.preview.refresh(widget)

    def begin(self, write: bool) -> None:
        """Find the vessels of the current frame, and write them if that is asked for."""
        node = self._effect.parameterSetNode()
        if self._task is not None or node is None or node.GetSegmentationNode() is None:
            return
        self.status.clear_warning()
        try:
            target = self._target()
            found = self.session.cached(target.key)
            if found is None:
                restart = self.installation.ensure().restart
                if restart:
                    slicer.util.infoDisplay(restart)
                self.status.say(_("Reading {frame}...").format(frame=target.label))
                frame = target.read()
                self.session.find(target.key, frame, target.from_display, target.job(settings.device(), frame.dtype))
        except InstallationDeclined as reason:
            self.status.say(str(reason))
            return
        except (InstallationError, OSError, RuntimeError, ValueError) as error:
            self.status.fail(str(error))
            return
        self._task = Task.of(target, write, node)
        self._written.pop(target.key, None)
        self.changed.emit()
        if found is not None:
            self._proceed(found)

    def cancel(self) -> None:
        """Stop the worker; nothing is written."""
        self.session.cancel()
        self._drop(_("Canceled; nothing was written."))

    def options_changed(self) -> None:
        """The user, or a script, has changed an option."""
        self.refresh()
        task = self._task
        if task is not None and self.session.searching is None and not self.session.refining:
            found = self.session.cached(task.target.key)
            if found is not None:
                self._proceed(found)

    def refresh(self) -> None:
        """Show the preview of the frame, volume and options that are current now, if the network has done them."""
        if not self._active:
            return
        problem, choices = "", self._choices()
        target: Target | None = None
        found: ProbabilityMap | None = None
        try:
            target = self._target()
            found = self.session.cached(target.key)
        except FrameError as error:
            problem = str(error)
        if self._task is not None and self.session.searching is None:
            self._drop(self._obstacle(self._task))
        if target is None or found is None:
            self._hide()
        elif found.state(choices) not in (self._shown, self._written.get(found.key)):
            mask = found.mask(choices)
            self._shown = found.state(choices)
            self._written.pop(found.key, None)
            self.preview.show(self._volume(), target.slice_index, mask)
            self._describe(found, target, mask)
        elif self._shown is not None and self._shown[0] != found.key:
            self._hide()
        if problem != self.problem:
            self.problem = problem
            self.changed.emit()

    # From the worker

    def _on_found(self, found: ProbabilityMap) -> None:
        if self._task is not None and self._task.target.key == found.key:
            self._proceed(found)

    def _on_refined(self, found: ProbabilityMap, threshold: float) -> None:
        task = self._task
        if task is not None and task.target.key == found.key and threshold == self._choices().threshold:
            self._proceed(found)
        else:
            self.refresh()

    def _on_failed(self, text: str, details: str) -> None:
        waiting, self._task = self._task is not None, None
        if waiting:
            self.status.fail(text, details)
        else:  # a refinement that nobody has asked for with a click; a dialog for each step of a slider would not do
            self.status.say(text)

    # Steps

    def _proceed(self, found: ProbabilityMap) -> None:
        """There is a probability map: preview it, and write it unless the refined mask is still to come."""
        task = self._task
        assert task is not None
        problem = self._obstacle(task)
        if problem:
            self._task = None
            self.refresh()  # before the message, which it would replace
            self.status.dropped(problem)
            return
        choices = self._choices()
        if not task.write:
            self._task = None
        self.refresh()
        if task.write and found.lacks_refinement(choices):
            self.status.say(_("Refining..."))
            self.session.refine(found, choices.threshold, at_once=True)
        elif task.write:
            self._task = None
            self._write(task, found)
        self.changed.emit()

    def _write(self, task: Task, found: ProbabilityMap) -> None:
        choices = self._choices()
        mask = found.mask(choices)
        try:
            count = write_slice(self._effect, self._volume(), task.target.slice_index, mask, replace=not choices.add)
        except WriteError as error:
            self.status.fail(str(error))
            return
        self._hide()
        note_rule(self._effect.parameterSetNode().GetSegmentationNode(), "\n".join(found.rules))
        self._written[found.key] = found.state(choices)
        self.status.say(
            _("Vessels of {frame} written: {count} pixels before masking.").format(count=count, frame=task.target.label)
        )

    def _obstacle(self, task: Task) -> str:
        """Why a result must not be used any more, or nothing."""
        try:
            target = self._target()
        except FrameError as error:
            return _("{problem} Nothing was written.").format(problem=str(error))
        return task.obstacle(target, self._effect.parameterSetNode())

    # Small things

    def _choices(self) -> Choices:
        return Choices.read(self._effect)

    def _volume(self) -> Any:
        node = self._effect.parameterSetNode()
        return None if node is None else node.GetSourceVolumeNode()

    def _target(self) -> Target:
        choices = self._choices()
        return current_target(self._volume(), choices.bright, choices.window)

    def _describe(self, found: ProbabilityMap, target: Target, mask: np.ndarray) -> None:
        """Say what the preview shows, and have it refined if that is still to come."""
        choices = self._choices()
        if found.lacks_refinement(choices):
            self.session.refine(found, choices.threshold)
        else:
            self.session.drop_refinement()
        self.status.say(found.describe(target.label, mask, choices))

    def _hide(self) -> None:
        self._shown = None
        self.session.drop_refinement()
        self.preview.hide()

    def _drop(self, reason: str) -> None:
        if self._task is not None and reason:
            self._task = None
            self.status.dropped(reason)

    def _on_moved(self) -> None:
        self.refresh()
        self.preview.refresh()

    def _on_displayed(self) -> None:
        if self._choices().window:
            self.refresh()

    def _on_scene_close(self) -> None:
        self.session.clear()
        self._hide()
        self._drop(_("The scene was closed; nothing was written."))
