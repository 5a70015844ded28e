"""One frame of a file, angiogram or mask, as MONAI map transforms.

MONAI's ``LoadImaged`` reads a file whole for each of its frames; here a cine stays open, and a frame is decoded when
its turn comes (:func:`casr_net.files.read_angiogram`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..errors import DataError
from ..files.images import read_angiogram
from ..files.masks import open_mask

__all__ = ["LoadAngiogramd", "LoadMaskd", "image_tensor"]


def image_tensor(image: np.ndarray, affine: np.ndarray, name: str = "", frames: int | None = None) -> MetaTensor:
    """(X, Y) as a MONAI image (1, X, Y) with the metadata that transforms and writers of MONAI ask for, and the number
    of frames of its file, where that is known."""
    meta = {
        "affine": torch.from_numpy(np.asarray(affine, np.float64).copy()),
        "original_affine": np.asarray(affine, np.float64).copy(),
        "spatial_shape": np.asarray(image.shape),
        "original_channel_dim": 0,
        "filename_or_obj": name,
        **({} if frames is None else {"frames": frames}),
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(image))[None], meta=meta)


class LoadAngiogramd(MapTransform):
    """Shown grey of one frame of a file, float32 (1, X, Y) in [0, 1], vessels dark, in place of the file's path.

    Args:
        keys: paths.
        frame_key: entry of the data dictionary with the frame's index from 0; frame 0 when absent.
        window: centre and width of the VOI window to use in place of the file's own; None leaves it to the file.

    Raises:
        DataError: when the frame cannot be used, see :meth:`casr_net.files.Angiogram.grey`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        frame_key: str = "frame",
        window: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frame_key = frame_key
        self.window = None if window is None else (float(window[0]), float(window[1]))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            angiogram = read_angiogram(result[key], self.window)
            grey = angiogram.grey(int(result.get(self.frame_key, 0)))
            result[key] = image_tensor(grey, angiogram.affine, str(angiogram.path), angiogram.frames)
        return result


class LoadMaskd(MapTransform):
    """One frame of a file of masks, float32 (1, X, Y) of 0 and 1, in place of the file's path.

    Args:
        keys: paths.
        frame_key: entry of the data dictionary with the frame's index from 0; frame 0 when absent. A file of one mask
            gives that one.
        image_key: entry with the image, loaded before, whose size the masks must have; not looked at when absent.

    Raises:
        DataError: as :func:`casr_net.files.read_mask`, when there is no such frame, or when it has another size than
            the image: resized to the same longest side, it would still be cut and learned from, shifted.
    """

    def __init__(
        self,
        keys: KeysCollection,
        frame_key: str = "frame",
        allow_missing_keys: bool = False,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frame_key, self.image_key = frame_key, image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            path = Path(result[key])
            with closing(open_mask(path)) as masks:
                frame = int(result.get(self.frame_key, 0)) if masks.frames > 1 else 0
                if not 0 <= frame < masks.frames:
                    raise DataError(f"{path}: there is no mask {frame}; it has {masks.frames}, counted from 0.")
                mask = masks.frame(frame).astype(np.float32)
            image = result.get(self.image_key)
            if isinstance(image, torch.Tensor) and image.shape[1:] != mask.shape:
                sizes = [f"{size[0]} x {size[1]}" for size in (mask.shape, image.shape[1:])]
                raise DataError(f"{path}: the mask has {sizes[0]} pixels; its image has {sizes[1]}.")
            result[key] = image_tensor(mask, np.eye(4), str(path))
        return result
