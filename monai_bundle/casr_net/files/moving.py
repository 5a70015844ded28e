"""A cine as a video, as an animated picture, or as one sheet of its frames."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from ..errors import UsageError
from .maps import write_png

__all__ = [
    "COVERED",
    "ENDINGS",
    "require_video",
    "sheet_frames",
    "shrunk",
    "write_animation",
    "write_sheet",
    "write_video",
]

ENDINGS = {"video": "webm", "animation": "webp", "sheet": "png"}
"""Of the files, by what ``--overlay`` calls them."""

CRF = "24"
"""Quality of VP9, 0 (best) to 63. Our choice: the grain stays; about 40 kB a frame of 512 x 512."""
EFFORT = "4"
"""Speed of VP9's encoder, 0 (slowest) to 8. Our choice: about 0.06 s a frame of 512 x 512 on one thread."""
WEBP_QUALITY = 75
SHEET_FRAMES, SHEET_COLUMNS, TILE = 20, 5, 320
"""Most frames on a sheet, frames side by side, and longest side of each in pixels. Our choice."""
COVERED = 0.3
"""Share of a pixel of a tile from which it counts as vessel: thin ones stay. Our choice."""
STRIP = 22
"""Height of a tile's caption in pixels."""


def require_video() -> None:
    """Refuse videos where PyAV, which writes them, is not installed.

    Raises:
        UsageError: naming the extra, and what works without it.
    """
    if importlib.util.find_spec("av") is None:
        raise UsageError(
            "overlay 'video': av not installed; pip install 'casr-net[video]' brings it. 'animation' needs no more."
        )


def write_video(path: Path, pictures: Iterable[np.ndarray], rate: float) -> None:
    """Write WebM with VP9, which browsers play.

    Args:
        path: of the file.
        pictures: uint8 (rows, columns, 3), RGB, of one size; they are taken one by one. An odd side gets one more row
            or column, since chroma is stored for two by two pixels.
        rate: frames a second.

    Raises:
        OSError: when it cannot be encoded or written.
    """
    import av  # an extra

    first, pictures = _first(pictures)
    rows, columns = (side + side % 2 for side in first.shape[:2])
    try:
        with av.open(str(path), "w", format="webm") as container:
            stream = container.add_stream("libvpx-vp9", rate=Fraction(rate).limit_denominator(1000))
            stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
            stream.options = {"crf": CRF, "b": "0", "deadline": "good", "cpu-used": EFFORT}
            for picture in pictures:
                padding = ((0, rows - picture.shape[0]), (0, columns - picture.shape[1]), (0, 0))
                frame = av.VideoFrame.from_ndarray(np.pad(picture, padding, mode="edge"), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


def write_animation(path: Path, pictures: Iterable[np.ndarray], rate: float, quality: int = WEBP_QUALITY) -> None:
    """Write an animated WebP that repeats for ever.

    Args:
        path: of the file.
        pictures: uint8 (rows, columns, 3), RGB, of one size.
        rate: frames a second; the file holds whole milliseconds, of which none is lost over the cine.
        quality: 0 to 100.
    """
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    marks = np.rint(np.arange(len(images) + 1) * 1000 / rate).astype(int)
    images[0].save(
        path, format="WEBP", save_all=True, append_images=images[1:], duration=np.diff(marks).tolist(), loop=0,
        quality=quality, method=2,
    )  # fmt: skip


def sheet_frames(frames: Sequence[int]) -> list[int]:
    """Those of the frames that a sheet shows: all of a few, else evenly spread ones with the first and the last."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), SHEET_FRAMES)).round().astype(int))
    return [frames[place] for place in places]


def write_sheet(path: Path, pictures: Iterable[np.ndarray], frames: Sequence[int], total: int) -> None:
    """Write several frames as one PNG, each with its number, counted from 1, and as files of results count, from 0.

    Args:
        path: of the file.
        pictures: uint8 (rows, columns, 3), RGB, of one size.
        frames: their numbers, from 0.
        total: frames of the cine.
    """
    tiles = [
        _tile(picture, f"{frame + 1}/{total}  f{frame:04d}") for picture, frame in zip(pictures, frames, strict=True)
    ]
    columns = min(SHEET_COLUMNS, len(tiles))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[begin : begin + columns]) for begin in range(0, len(tiles), columns)]
    write_png(path, np.vstack(rows)[..., ::-1])


def shrunk(image: np.ndarray) -> np.ndarray:
    """An image (rows, columns), float32 in [0, 1], as large as a tile of a sheet at most; what is smaller stays."""
    factor = min(1.0, TILE / max(image.shape))
    size = [max(1, round(side * factor)) for side in image.shape[::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _tile(picture: np.ndarray, caption: str) -> np.ndarray:
    framed = cv2.copyMakeBorder(picture, STRIP, 2, 2, 2, cv2.BORDER_CONSTANT)
    cv2.putText(framed, caption, (5, STRIP - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return framed


def _first(pictures: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first picture, and all of them."""
    found = iter(pictures)
    first = next(found)
    return first, chain([first], found)
