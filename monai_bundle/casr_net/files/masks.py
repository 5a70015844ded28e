"""Reading of masks in every format that angiograms come in, and of DICOM Segmentations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, shown
from .frames import FrameSource, Opened
from .images import guarded, open_file
from .kinds import kind_of

if TYPE_CHECKING:
    from .segmentations import SegmentationFrames

__all__ = ["MaskFile", "open_mask", "read_mask"]

LARGEST = (1, 255, 65535)  # of label maps, and of 8-bit and 16-bit images
GREY = 0.5  # edges of masks that were scaled or saved as JPEG are grey; an angiogram is grey all over


@dataclass(frozen=True)
class MaskFile:
    """One open file of masks: what its header says, and its frames one by one.

    Attributes:
        path: the file.
        size: columns and rows.
        frames: number of frames.
        affine: (4, 4), from index (x, y, z) to millimetres, RAS; None where the file does not state its place.
        numbers: of each frame, its number (from 0) in the source that the file itself names, a DICOM Segmentation;
            None where it names no frames.
        sources: of each frame, the SOPInstanceUID of that source; empty for other files.
        warnings: what a user should know, one line each, without the path.
        planes: what :meth:`frame` asks.
        source: what :meth:`close` closes.
    """

    path: Path
    size: tuple[int, int]
    frames: int
    affine: np.ndarray | None
    numbers: tuple[int, ...] | None
    sources: tuple[str, ...]
    warnings: list[str]
    planes: Callable[[int], np.ndarray]
    source: FrameSource | SegmentationFrames

    def frame(self, index: int) -> np.ndarray:
        """bool (X, Y) of one frame, from 0, True in the vessel; see :func:`read_mask`.

        Raises:
            DataError: when the file is damaged or no mask. Whether it is one is judged by all of its frames.
        """
        return self.planes(index)

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self.source.close()


def read_mask(path: str | Path, slices_as_frames: bool = False) -> np.ndarray:
    """Read one file of masks. Unlike an angiogram, a mask may be constant, and of any size that decodes.

    Vessel is what lies above half of the largest possible value: 1 for files with no value above 1 (label maps), else
    255, else 65535; where the file says that high values are dark (WhiteIsZero, MONOCHROME1), what lies below. A file
    whose largest value lies between 1 and half of that is refused: its scale cannot be told; so is one of which more
    than half of the pixels are neither black nor white, such as an angiogram. Of a DICOM Segmentation, the frames that
    it holds, in the order of the source's, and all segments together.

    Args:
        path: any image that :func:`casr_net.files.read_angiogram` knows, or a DICOM Segmentation. Grey values count,
            not transparency; a file whose content stands in the transparency is refused.
        slices_as_frames: take the slices of a volume (NIfTI, NRRD, MetaImage) for frames: programs that load a cine as
            a volume, such as 3D Slicer, write its label map so. Only for a caller who knows how many frames there
            should be.

    Returns:
        bool (X, Y, frames), True in the vessel.

    Raises:
        DataError: when the file is missing, damaged, coloured, transparent, grey, negative, not finite or of unknown
            scale.
    """
    mask = open_mask(path, slices_as_frames)
    try:
        whole = np.empty((*mask.size, mask.frames), bool)
        for index in range(mask.frames):
            whole[..., index] = mask.frame(index)
    finally:
        mask.close()
    return whole


def open_mask(path: str | Path, slices_as_frames: bool = False) -> MaskFile:
    """Open one file of masks by its header; see :func:`read_mask`.

    Raises:
        DataError: when the file is missing, damaged or of an unknown format.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "dicom":
        from .segmentations import SegmentationFrames, is_segmentation

        if is_segmentation(path):
            return _segmentation(path, SegmentationFrames(path))
    if slices_as_frames and kind == "volume":
        from .volumes import open_volume

        opened = guarded(path, lambda: open_volume(path, slices_as_frames=True))
    else:
        opened = open_file(path)
    source = opened.source
    return MaskFile(
        path, source.size, source.count, opened.affine if opened.placed else None, None, (), list(opened.warnings),
        _Grey(path, opened), source,
    )  # fmt: skip


def _segmentation(path: Path, found: SegmentationFrames) -> MaskFile:
    sources = tuple(instance for instance, _ in found.places)
    numbers: tuple[int, ...] | None = tuple(frame or 0 for _, frame in found.places)
    warnings = []
    if len(set(sources)) > 1:
        numbers = tuple(range(len(sources)))
        warnings.append(f"its frames lie on {len(set(sources))} images; they count in the order in which it lists them")
    elif found.places[0][1] is None:
        numbers = None
    if len(found.segments) > 1:
        names = ", ".join(shown(name, 30) for name in found.segments[:5])
        warnings.append(f"its {len(found.segments)} segments ({names}) count as one")
    return MaskFile(path, found.size, len(sources), found.affine, numbers, sources, warnings, found.frame, found)


class _Grey:
    """Vessel or not, from stored values; what they mean is decided once, by all frames of the file."""

    def __init__(self, path: Path, opened: Opened) -> None:
        self.path, self.source = path, opened.source
        self.inverted = opened.display(0).inverted if opened.display else opened.inverted
        self.largest: int | None = None
        self.transparent = False
        self._only: np.ndarray | None = None

    def __call__(self, index: int) -> np.ndarray:
        if self.largest is None:
            self._survey()
        assert self.largest is not None
        stored = self._stored(index)
        vessel = stored[0] > self.largest / 2
        vessel = ~vessel if self.inverted else vessel
        if self.transparent:
            hidden = int((vessel & (stored[-1] < self._opaque() / 2)).sum())
            if hidden:
                raise DataError(
                    f"{self.path}: {hidden} of {int(vessel.sum())} white pixels are transparent, so that it is not "
                    "clear what is vessel. Save the mask as a grey image without alpha channel."
                )
        return vessel

    def _stored(self, index: int) -> np.ndarray:
        if self._only is not None:
            return self._only
        stored = guarded(self.path, lambda: self.source.frame(index))
        if self.source.count == 1:
            self._only = stored
        return stored

    def _opaque(self) -> float:
        return 1.0 if self.source.dtype.kind in "fb" else float(np.iinfo(self.source.dtype).max)

    def _survey(self) -> None:
        """Find the scale, and refuse what is no mask; frame by frame, so that a long stack is never held."""
        lows, tops, alphas = [], [], []
        between: Counter[int | None] = Counter()
        for index in range(self.source.count):
            stored = self._stored(index)
            if stored.shape[0] > 2 and (stored[1:3] != stored[:1]).any():
                raise DataError(f"{self.path}: a coloured image; a mask is grey.")
            if stored.dtype.kind == "f" and not np.isfinite(stored).all():
                raise DataError(f"{self.path}: holds values that are not finite (NaN or infinite).")
            lows.append(stored[0].min().item())
            tops.append(stored[0].max().item())
            scale = _scale(tops[-1])
            if scale is not None:
                between[scale] += int(((stored[0] > 0.1 * scale) & (stored[0] < 0.9 * scale)).sum())
            if stored.shape[0] in (2, 4):
                alphas += [stored[-1].min().item(), stored[-1].max().item()]
        low, top = min(lows), max(tops)
        self.transparent = bool(alphas) and min(alphas) != max(alphas)
        if self.transparent and low == top:
            raise DataError(
                f"{self.path}: every pixel is {shown(low)}; the content stands in the transparency (alpha channel) "
                "only. Save the mask as a grey image without alpha channel."
            )
        if low < 0:
            raise DataError(f"{self.path}: the smallest value is {shown(low)}; a mask has none below 0.")
        largest = _scale(top)
        if largest is None or (largest > 1 and top <= largest / 2):
            raise DataError(
                f"{self.path}: the largest value is {shown(top)}; "
                "a mask's is 0 or 1, or 128 to 255, or from 32768 to 65535."
            )
        columns, rows = self.source.size
        share = between[largest] / (columns * rows * self.source.count)
        if share > GREY:
            raise DataError(
                f"{self.path}: a grey picture: {share:.0%} of its pixels are neither black nor white; "
                f"of a mask, at most {GREY:.0%} are."
            )
        self.largest = largest


def _scale(top: float) -> int | None:
    """The value that means white in a file, or a frame, with this largest one."""
    return next((limit for limit in LARGEST if top <= limit), None)
