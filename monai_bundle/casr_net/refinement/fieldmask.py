"""Nothing is found outside the exposed field."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["MaskOutsideFieldd"]


class MaskOutsideFieldd(MapTransform):
    """Set a probability map to 0 outside the exposed field, where the network saw a mirror image only.

    Args:
        keys: maps (C, X, Y) on the grid of the field.
        field_key: entry with the field, (1, X, Y) of 0 and 1; when it is absent the map is left alone.
        margin: pixels that the field is widened by, since its detection takes a safe distance from the rim.
    """

    def __init__(
        self, keys: KeysCollection, field_key: str = "field", margin: int = 4, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.field_key, self.margin = field_key, margin

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.field_key not in result:
            return result
        field = torch.as_tensor(result[self.field_key])
        if bool((field != 0).all()):
            return result  # a map times 1
        side = 2 * self.margin + 1
        grown = [cv2.dilate(plane, np.ones((side, side), np.uint8)) for plane in field.float().cpu().numpy()]
        wide = torch.from_numpy(np.stack(grown))
        for key in self.key_iterator(result):
            result[key] = result[key] * wide.to(result[key].device)
        return result
