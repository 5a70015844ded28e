"""The skeleton of a label, as wide as a thin vessel, for the Skeleton Recall loss."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from skimage.morphology import skeletonize

from .losses import SKELETON

__all__ = ["MarkSkeletond", "tubed_skeleton"]

TUBE = 2  # dilations, as in the authors' code


def tubed_skeleton(mask: np.ndarray, tube: int = TUBE) -> np.ndarray:
    """Skeleton of a mask, dilated and cut to the mask (Kirchhoff et al., arXiv 2404.03010, algorithm 1).

    Args:
        mask: (X, Y), vessel where not 0.
        tube: dilations by a cross of 3 x 3 pixels; the tube is 2 * tube + 1 pixels wide.

    Returns:
        bool (X, Y).
    """
    mask = np.asarray(mask) != 0
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    wide: Any = cv2.dilate(skeletonize(mask).astype(np.uint8), cross, iterations=tube)
    return (wide > 0) & mask


class MarkSkeletond(MapTransform):
    """Set a label of 0 and 1, (1, X, Y), to :data:`SKELETON` on its tubed skeleton (:func:`tubed_skeleton`)."""

    def __init__(self, keys: KeysCollection, tube: int = TUBE, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.tube = tube

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            label = result[key]
            skeleton = torch.from_numpy(tubed_skeleton(label[0].cpu().numpy(), self.tube))[None]
            result[key] = torch.where(skeleton, torch.full_like(label, SKELETON), label)
        return result
