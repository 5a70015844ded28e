"""What the user has chosen, stored on the segment editor node with Slicer's own functions for effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULTS", "MAX_THRESHOLD", "MIN_THRESHOLD", "Choices"]

MIN_THRESHOLD, MAX_THRESHOLD = 0.02, 0.98
DEFAULTS: dict[str, Any] = {
    "ProbabilityThreshold": 0.5, "Refine": 1, "Mode": "Replace", "BrightVessels": 0, "DisplayedWindow": 0,
}  # fmt: skip
"""Parameters of the effect and their values in a new scene; Mode is "Replace" or "Add"."""


@dataclass(frozen=True)
class Choices:
    """Values of the options frame.

    Attributes:
        threshold: probability from which a pixel is vessel.
        refine: with contour refinement.
        add: add to the segment, rather than replace its pixels on the frame.
        bright: the image shows bright vessels on dark ground.
        window: grey values from black to white as the volume is displayed, rather than by the file's own rule.
    """

    threshold: float = 0.5
    refine: bool = True
    add: bool = False
    bright: bool = False
    window: bool = False

    @classmethod
    def read(cls, effect: Any) -> Choices:
        """From the segment editor node; values that a script has set to nonsense become the nearest sound ones."""
        threshold = effect.doubleParameter("ProbabilityThreshold")
        if not threshold > 0:  # not set, not a number
            threshold = float(DEFAULTS["ProbabilityThreshold"])
        return cls(
            threshold=round(min(max(threshold, MIN_THRESHOLD), MAX_THRESHOLD), 4),
            refine=effect.integerParameter("Refine") != 0,
            add=effect.parameter("Mode") == "Add",
            bright=effect.integerParameter("BrightVessels") != 0,
            window=effect.integerParameter("DisplayedWindow") != 0,
        )

    def store(self, effect: Any) -> None:
        """Onto the segment editor node."""
        effect.setParameter("ProbabilityThreshold", self.threshold)
        effect.setParameter("Refine", int(self.refine))
        effect.setParameter("Mode", "Add" if self.add else "Replace")
        effect.setParameter("BrightVessels", int(self.bright))
        effect.setParameter("DisplayedWindow", int(self.window))
