"""Probability maps, and what they were made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from .choices import Choices

__all__ = ["FrameKey", "ProbabilityMap"]


@dataclass(frozen=True)
class FrameKey:
    """What a probability map was made from; another value of any of these needs another run of the network.

    Attributes:
        volume_id: node of the source volume.
        image_time: modification time of the frame's image data.
        index: frame of a cine, slice of a stack, or 0.
        inverted: the frame's grey values were inverted, since its vessels are bright.
        bundle: folder of the bundle.
        limits: pixel values shown black and white, where the user wants them taken; None for the file's own rule.
    """

    volume_id: str
    image_time: int
    index: int
    inverted: bool
    bundle: str
    limits: tuple[float, float] | None = None


@dataclass
class ProbabilityMap:
    """Result of the network for one frame.

    Attributes:
        key: what it was made from.
        probability: float32 (rows, columns), in the orientation of the volume's own array.
        refined: refined masks, bool (rows, columns) in the same orientation, by their threshold.
        rules: how the grey values were made, in words.
    """

    key: FrameKey
    probability: np.ndarray
    folder: Path
    from_display: Callable[[np.ndarray], np.ndarray]
    refined: dict[float, np.ndarray] = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    def mask(self, choices: Choices) -> np.ndarray:
        """The mask that was chosen, bool (rows, columns); without refinement until that is there."""
        refined = self.refined.get(choices.threshold) if choices.refine else None
        return self.probability >= np.float32(choices.threshold) if refined is None else refined

    def lacks_refinement(self, choices: Choices) -> bool:
        """Whether the mask that was chosen is still to be refined."""
        return choices.refine and choices.threshold not in self.refined

    def state(self, choices: Choices) -> tuple[Any, ...]:
        """What the mask depends on."""
        return self.key, choices.threshold, choices.refine, self.lacks_refinement(choices)

    def describe(self, label: str, mask: np.ndarray, choices: Choices) -> str:
        """What the user reads of its preview.

        Args:
            label: what the frame is called.
            mask: what the preview shows.
            choices: of which the mask was made.
        """
        text = _("Preview of {frame}: {count} pixels.").format(frame=label, count=int(np.count_nonzero(mask)))
        if self.lacks_refinement(choices):
            text += " " + _("Refinement follows...")
        return "\n".join((text, *self.rules))
