"""Reading of angiograms: PNG, JPEG, TIFF, BMP, NIfTI, NRRD and DICOM, single frames and cines."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import CASRError, DataError, shown
from .frames import MAX_SIDE, MIN_SIDE, MirroredFrames, Opened, array_frames
from .geometry import LPS_TO_RAS
from .intensity import Attenuation, Display, GreyRule, attenuation, choose_rule, luminance
from .kinds import absence, kind_of

__all__ = ["Angiogram", "guarded", "open_file", "read_angiogram"]

SAMPLED = 8
"""Frames of a cine that its grey range is chosen from, spread over it. Our choice."""

RECENT = 2**23
"""Bytes of decoded frames that stay at hand. Our choice: as many as are on their way together."""

MAX_VALUE = 1e30
"""Of floating point pixels: far above any detector's, and far enough below float32's limit to compute with."""

Result = TypeVar("Result")


class Angiogram:
    """One open file: what its header says, and its frames one by one.

    A frame is decoded when it is asked for. Where the grey range has to be chosen by the pixels, a few frames spread
    over the file are decoded first, and kept until their turn comes.

    Args:
        path: the file; only named here.
        opened: as the format's reader gives it.
        window: centre and width of the VOI window that the user wants; None leaves the choice to the file.

    Attributes:
        path, format, affine, header: see :class:`casr_net.files.frames.Opened`.
        warnings: what was ignored, completed or replaced so far, one line each, without the path.

    Raises:
        DataError: when an angiogram cannot have that size.
    """

    def __init__(self, path: Path, opened: Opened, window: tuple[float, float] | None = None) -> None:
        self.path, self.format, self.affine, self.header = path, opened.format, opened.affine, opened.header
        self.warnings = opened.warnings  # the reader may add to it when it decodes a frame
        self._opened, self._wanted = opened, window
        self._kept: dict[int, np.ndarray] = {}
        self._sampled: list[tuple[np.ndarray, Display]] | None = None
        # Overlay and attenuation ask again, when the next frames have been decoded.
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()
        self._rules: dict[Display, GreyRule] = {}
        self._lock = threading.RLock()
        columns, rows = self.size
        if min(columns, rows) < MIN_SIDE or max(columns, rows) > MAX_SIDE:
            raise DataError(
                f"{path}: {columns} x {rows} pixels; an angiogram has {MIN_SIDE} to {MAX_SIDE} on each side."
            )

    @classmethod
    def from_array(
        cls, frames: np.ndarray, window: tuple[float, float] | None = None, name: str = "array"
    ) -> Angiogram:
        """Grey values (frames, rows, columns) in memory, treated as those of a file that states nothing.

        Args:
            frames: any real type; 8 bit keep their full range, others get that of their percentiles. Those of an array
                that is mapped from a file are read from there one by one.
            window: centre and width, as above.
            name: what errors call it.
        """
        bits = 8 if frames.dtype == np.uint8 else 0
        return cls(Path(name), Opened(array_frames(frames), "array", LPS_TO_RAS.copy(), bits), window)

    def mirrored(self, along: bool, across: bool) -> Angiogram:
        """The same file as a viewer shows it that mirrors it, along X or across (along Y). Shown grey and attenuation
        are those of the file; the affine, which would have to be another one, is that of an array without geometry."""
        turned = replace(
            self._opened, source=MirroredFrames(self._opened.source, along, across), affine=LPS_TO_RAS.copy()
        )
        return Angiogram(self.path, turned, self._wanted)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self._opened.source.count

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self._opened.source.size

    @property
    def samples(self) -> int:
        """1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)."""
        return self._opened.source.samples

    @property
    def dtype(self) -> np.dtype:
        """Of the stored values."""
        return self._opened.source.dtype

    def stored(self, frame: int) -> np.ndarray:
        """Stored values (samples, X, Y) of one frame, from 0; not to be written to.

        Raises:
            DataError: when there is no such frame, it is damaged, or a value is not finite.
        """
        with self._lock:
            found = self._recent.get(frame)
            if found is None:
                kept = self._kept.pop(frame, None)
                found = self._recent[frame] = self._decoded(frame) if kept is None else kept
                while len(self._recent) > 1 and sum(part.nbytes for part in self._recent.values()) > RECENT:
                    self._recent.popitem(last=False)
            return found

    def _decoded(self, frame: int) -> np.ndarray:
        if not 0 <= frame < self.frames:
            raise DataError(f"{self.path}: there is no frame {frame}; it has {self.frames}, counted from 0.")
        stored = guarded(self.path, lambda: self._opened.source.frame(frame))
        if stored.dtype.kind == "f" and not np.isfinite(stored).all():
            count = int(stored.size - np.isfinite(stored).sum())
            raise DataError(f"{self.path}: {count} of {stored.size} pixel values are not finite (NaN or infinite).")
        if stored.dtype.kind == "f" and stored.size:
            largest = float(np.abs(stored).max())
            if largest > MAX_VALUE:
                raise DataError(f"{self.path}: pixel values go up to {largest:.3g}; the limit is {MAX_VALUE:g}.")
        return stored

    def grey(self, frame: int) -> np.ndarray:
        """Shown grey of one frame: float32 (X, Y) in [0, 1], vessels dark; see :mod:`casr_net.files.intensity`.

        Raises:
            DataError: as :meth:`stored`, and when every pixel of the file has the same value.
        """
        rule = self.rule_of(frame)
        return rule(self.stored(frame))

    def attenuation(self, frame: int) -> Attenuation:
        """What widths and densities are measured on, see :func:`casr_net.files.intensity.attenuation`.

        Raises:
            DataError: as :meth:`grey`.
        """
        rule = self.rule_of(frame)
        return attenuation(self.stored(frame), rule)

    @property
    def rule(self) -> GreyRule:
        """How stored values of the first frame become grey; only enhanced objects have another one for other frames.

        Raises:
            DataError: as :meth:`grey`.
        """
        return self.rule_of(0)

    def rule_of(self, frame: int) -> GreyRule:
        """How stored values of a frame become grey. It is the same for all frames with the same display, so that the
        brightness of a cine does not jump.

        Raises:
            DataError: as :meth:`grey`.
        """
        display = self._display(frame)
        with self._lock:
            if display not in self._rules:
                self._sample()
                rule, said = choose_rule(display, self._sample, self._wanted, lambda: self.stored(frame))
                self._rules[display] = rule
                self.warnings += [line for line in said if line not in self.warnings]
                self._sampled = None if self._opened.display is None else self._sampled
            return self._rules[display]

    def _display(self, frame: int) -> Display:
        opened = self._opened
        return opened.display(frame) if opened.display else Display(bits=opened.bits, inverted=opened.inverted)

    def _sample(self) -> list[tuple[np.ndarray, Display]]:
        """Stored values of a few frames, spread over the file, that can be decoded, each with its own display."""
        if self._sampled is None:
            failure: DataError | None = None
            for index in sorted({*np.linspace(0, self.frames - 1, SAMPLED).round().astype(int).tolist()}):
                try:
                    self._kept[index] = self._decoded(index)
                except DataError as error:
                    failure = error
            if not self._kept and failure is not None:
                raise failure
            self._sampled = [(stored, self._display(index)) for index, stored in self._kept.items()]
            grey = [luminance(stored) for stored in self._kept.values()]
            lowest, highest = min(part.min() for part in grey), max(part.max() for part in grey)
            if lowest == highest:
                raise DataError(f"{self.path}: constant image, every pixel is {lowest:g}.")
        return self._sampled

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            self._kept.clear()
            self._recent.clear()
            self._opened.source.close()


def read_angiogram(path: str | Path, window: tuple[float, float] | None = None) -> Angiogram:
    """Open one file by its header. The file opened last is kept, so that the frames of a cine cost one opening.

    Args:
        path: the file.
        window: centre and width of the VOI window that the user wants; None leaves the choice to the file.

    Raises:
        DataError: when the file is missing, damaged, not an angiogram, or of an impossible size; what is wrong with the
            pixels is found when they are asked for.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: {absence(error)}.") from error
    if status.st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes).")
    return _opened(str(path), status.st_mtime_ns, status.st_size, window)


@functools.lru_cache(maxsize=1)
def _opened(name: str, mtime: int, size: int, window: tuple[float, float] | None) -> Angiogram:
    path = Path(name)
    return Angiogram(path, open_file(path), window)


def open_file(path: Path) -> Opened:
    """Open any supported file without asking whether its size and content make an angiogram; masks are read so too.

    Raises:
        DataError: when the file is missing, damaged or of an unknown format.
    """
    return guarded(path, lambda: _READERS[kind_of(path)](path))


def guarded(path: Path, read: Callable[[], Result]) -> Result:
    """What ``read`` gives; decoders raise whatever they like on damaged files, and all of it means the same.

    Raises:
        DataError: naming the file.
    """
    try:
        return read()
    except CASRError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory.") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except Exception as error:
        raise DataError(
            f"{path}: the file is damaged, or of a kind that is not known here ({_reason(error)})."
        ) from error


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())
    return shown(words, 160).strip("'\"") if words else type(error).__name__


def _open_raster(path: Path) -> Opened:
    from .raster import open_raster

    return open_raster(path)


def _open_volume(path: Path) -> Opened:
    from .volumes import open_volume  # SimpleITK and nibabel are slow to import and not needed for other files

    return open_volume(path)


def _open_dicom(path: Path) -> Opened:
    from .dicom import open_xray

    return open_xray(path)


_READERS = {"raster": _open_raster, "volume": _open_volume, "dicom": _open_dicom}
