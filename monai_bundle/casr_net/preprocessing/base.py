"""What MONAI map transforms of one image share."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

__all__ = ["ImageTransformd", "as_numpy", "like"]


def as_numpy(image: Any) -> np.ndarray:
    return image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)


def like(array: np.ndarray, image: Any) -> Any:
    """Give a new array the class, the metadata and the device of the image that it was computed from."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if isinstance(image, torch.Tensor):
        tensor = tensor.to(image.device)
    return (
        MetaTensor(tensor, meta=image.meta, applied_operations=image.applied_operations)
        if isinstance(image, MetaTensor)
        else tensor
    )


class ImageTransformd(MapTransform):
    """Base of the transforms below: subclasses change one image by ``apply``."""

    def apply(self, image: np.ndarray, meta: Mapping[str, Any], data: Mapping[Hashable, Any]) -> np.ndarray:
        raise AssertionError("subclasses define apply")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            meta = image.meta if isinstance(image, MetaTensor) else {}
            result[key] = like(self.apply(as_numpy(image), meta, result), image)
        return result
