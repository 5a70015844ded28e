"""What the contour refinement does, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from numbers import Real

import numpy as np

from ..errors import shown

__all__ = ["RefinementParameters"]


@dataclass(frozen=True)
class RefinementParameters:
    """What :func:`casr_net.refinement.refine` does, and its limits.

    Lengths are shares of the longer image side, areas of the image's area.

    Attributes:
        threshold: probability from which a pixel is vessel, above 0 and at most 1.
        reconnect: join fragments by patch lines (:func:`.contours.reconnect`).
        fill_pinholes: fill small holes (:func:`.contours.fill_pinholes`); off, since it gained nothing on held-out
            images.
        remove_components: drop components that are no vessels (:func:`.contours.remove_components`).
        max_gap: longest patch line between two fragments. 0.05 is 26 pixels of 512.
        max_angle: largest angle between a patch line and a vessel's end, in degrees.
        max_cost: largest mean of ``1 - probability`` along a patch line; below 1, so that no line crosses plain
            background.
        direction_length: stretch of a vessel's end that gives its direction and width. 0.025 is 13 pixels of 512.
        max_hole_area: largest hole to be filled. 0.0002 is 52 pixels of 512 x 512; most loops of crossing vessels
            are larger.
        min_area: smallest component to be kept. 0.0003 is 79 pixels of 512 x 512.
        min_mean_probability: smallest mean probability of a component, over its pixels from the threshold on.
        min_elongation: smallest elongation of a component, which is its area over the square of its largest width:
            0.8 for a disc, 1 for a square, length over width for a vessel.
        max_distance: largest distance of a component from the main tree. 0.05 is 26 pixels of 512.
        far_area: components of at least this area stay at any distance, such as the second artery of a left coronary
            tree whose common trunk is not seen. 0.003 is 786 pixels of 512 x 512.

    Raises:
        ValueError: for a limit outside its range, or a value of another type.
    """

    threshold: float = 0.5
    reconnect: bool = True
    fill_pinholes: bool = False
    remove_components: bool = True
    max_gap: float = 0.05
    max_angle: float = 45.0
    max_cost: float = 0.85
    direction_length: float = 0.025
    max_hole_area: float = 0.0002
    min_area: float = 0.0003
    min_mean_probability: float = 0.8
    min_elongation: float = 3.0
    max_distance: float = 0.05
    far_area: float = 0.003

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, switch = getattr(self, entry.name), isinstance(entry.default, bool)
            if isinstance(value, (bool, np.bool_)) != switch or not isinstance(value, (Real, np.bool_)):
                kind = "true or false" if switch else "a number"
                raise ValueError(f"{entry.name} is {shown(value)}; it must be {kind}.")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; it must be above 0 and at most 1.")
        if not 0 <= self.max_angle < 90:
            raise ValueError(f"max_angle is {self.max_angle} degrees; it must be at least 0 and below 90.")
        if not 0 <= self.max_cost < 1:
            raise ValueError(f"max_cost is {self.max_cost}; it must be at least 0 and below 1.")
        for name in (
            "max_gap", "direction_length", "max_hole_area", "min_area", "min_mean_probability", "min_elongation",
            "max_distance", "far_area",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0.")

    def threshold_only(self) -> RefinementParameters:
        """The same with refinement off: the mask is what reaches the threshold."""
        return replace(self, reconnect=False, fill_pinholes=False, remove_components=False)
