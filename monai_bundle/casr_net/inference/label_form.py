"""The form in which MONAI Label's own inference task writes masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..files.names import suffix

__all__ = ["LabelSliced"]

NO_LABELS = (".jpg", ".jpeg", ".bmp")  # JPEG changes values; ITK writes neither from a slice of a volume


class LabelSliced(MapTransform):
    """Give a mask the form that MONAI Label's own inference task can write: uint8 (1, X, Y, 1), one slice of a volume.

    Its writer keeps the geometry of volumes only, cannot put floating point into PNG, and resizes to the size that the
    metadata of the image state; they are set to this slice, also for a frame of a cine. The rest of the bundle works on
    (1, X, Y): only items on their way to that writer are changed. They are told by ``image_path``, which MONAI Label
    adds to its requests, without ``skip_writer``, by which a caller asks for the data themselves. A request that
    does not state the result's format gets that of the image, but PNG in place of JPEG and BMP.

    Args:
        keys: masks (1, X, Y).
        image_key: entry with the image whose metadata MONAI Label's writer reads.
    """

    def __init__(self, keys: KeysCollection, image_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if "image_path" not in result or result.get("skip_writer"):
            return result
        image = result[self.image_key]
        if isinstance(image, MetaTensor):
            image.meta["spatial_shape"] = (*map(int, image.meta["spatial_shape"][:2]), 1)
        if not result.get("result_extension") and suffix(result["image_path"]) in NO_LABELS:
            result["result_extension"] = ".png"
        for key in self.key_iterator(result):
            result[key] = result[key].to(torch.uint8)[..., None]
        return result
