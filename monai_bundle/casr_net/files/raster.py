"""PNG, JPEG, TIFF and BMP."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .frames import MAX_SIDE, MIN_SIDE, ArrayFrames, Opened
from .nrrd_images import LPS_TO_RAS

__all__ = ["open_raster"]


def open_raster(path: Path) -> Opened:
    """Open a picture, or the pages of a TIFF as the frames of a cine.

    Raises:
        DataError: when the pages differ in size, or are too large.
    """
    from PIL import Image, ImageOps

    # Pillow's own limit guards against decompression bombs; ours is on the sides, and known before decoding.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as opened:
            if max(opened.size) > MAX_SIDE:
                columns, rows = opened.size
                raise DataError(
                    f"{path}: {columns} x {rows} pixels; an angiogram has {MIN_SIDE} to {MAX_SIDE} on each side."
                )
            frames = getattr(opened, "n_frames", 1)
            stack = []
            for index in range(frames):
                opened.seek(index)
                image = ImageOps.exif_transpose(opened)
                if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
                    image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
                elif image.mode == "1":
                    image = image.convert("L")
                stack.append(np.asarray(image))
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if len({array.shape for array in stack}) != 1:
        raise DataError(f"{path}: its {frames} pages differ in size.")
    array = np.stack(stack, axis=-1)  # (rows, columns[, samples], frames)
    array = array[None] if array.ndim == 3 else np.moveaxis(array, 2, 0)
    pixels = np.ascontiguousarray(array.swapaxes(1, 2))
    return Opened(ArrayFrames(pixels), "raster", LPS_TO_RAS.copy(), 8 if pixels.dtype == np.uint8 else 0)
