"""Nothing is found outside the exposed field."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..preprocessing.base import as_numpy, like
from .probability import masked_outside

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
        field = as_numpy(result[self.field_key])
        if field.all():
            return result  # a map times 1
        for key in self.key_iterator(result):
            result[key] = like(masked_outside(as_numpy(result[key]), field, self.margin), result[key])
        return result
