"""Grey values of a job's frames: those of their file, as the command line reads it, or, without one, of the frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, shown
from ..files.images import Angiogram, read_angiogram
from ..files.intensity import luminance
from .frame_jobs import FrameJob

__all__ = ["FrameGreys", "same_picture"]

TOLERANCE = 3.0
"""Grey levels by which a viewer's pixels may differ from ours: decoders of lossy JPEG differ by one or two, and color
becomes grey with a rounding of its own. Our choice."""


class FrameGreys:
    """Decides, frame by frame, which grey values the network gets.

    A viewer such as 3D Slicer holds a file's pixels, but not all that its header says about how they are shown. So that
    it gets the mask of the command line, the file itself is read, and the frames that the viewer sent only tell whether
    it shows that picture, and whether mirrored, as the axes of some files make it. The frames themselves count where
    the user has changed them, where the file cannot be read, and where the user has chosen the range of grey values.
    Where the viewer knows that nobody has changed them and they are others all the same, it has misread the file.

    Args:
        job: the frames.

    Attributes:
        warnings: what the user should know, one line each; the caller takes them out.
        rules: how grey values were made, JSON-ready, one for each way that was used; the caller takes them out.
    """

    def __init__(self, job: FrameJob) -> None:
        self.warnings: list[str] = []
        self.rules: list[dict[str, Any]] = []
        self._job = job
        self._frames = Angiogram.from_array(job.frames, _window(job.intensity_range), "frames of the job")
        self._file: Angiogram | None = None
        self._known: list[dict[str, Any]] = []
        self._said: set[str] = set()
        if job.source is not None and job.intensity_range is None:
            self._open(job.source)

    def frame(self, place: int) -> tuple[np.ndarray, str | None]:
        """Grey values of a frame of the job: float32 (X, Y) in [0, 1], vessels dark; and the file that they are from,
        None for the frame itself.

        Raises:
            DataError: when the frames are constant, or not finite.
        """
        values = self._shown(place)
        if values.min() == values.max():
            raise DataError(f"constant image, every pixel is {values.min():g}.")
        grey = None if self._file is None else self._of_the_file(self._file, place)
        if grey is not None and self._file is not None:
            source = str(self._job.source)
            self._note(self._file, source, self._job.source_frames[place])
            return grey, source
        grey = self._frames.grey(place)
        self._note(self._frames, None, place)
        return grey, None

    @property
    def file_frames(self) -> int | None:
        """How many frames the file has that the job's come from; None where there is none, or it cannot be read."""
        return None if self._file is None else self._file.frames

    def angiogram(self, place: int) -> tuple[Angiogram, int]:
        """What a frame of the job is to be measured on, standing as the viewer shows it, and the number of the frame
        there: the file, whose header may state a scale and whose pixels may be proportional to the absorber; or the
        frames themselves, where :meth:`frame` takes those.

        Raises:
            DataError: as :meth:`frame`.
        """
        _, source = self.frame(place)
        number = self._job.source_frames[place] if source is not None else place
        turn = None if source is None or self._file is None else self._shows(self._file, self._shown(place), number)
        if (
            self._file is None
            or turn is None
            or (self._job.inverted and _falls(self._shown(place), self._file.grey(number)[turn]))
        ):
            return self._frames, place
        along, across = (axis.step == -1 for axis in turn)
        return (self._file.mirrored(along, across) if along or across else self._file), number

    def _open(self, source: Path) -> None:
        try:
            self._file = read_angiogram(source)
        except DataError as error:
            self._warn(f"{error} The volume's own grey values are used.")

    def _of_the_file(self, file: Angiogram, place: int) -> np.ndarray | None:
        frame, number = self._shown(place), self._job.source_frames[place]
        try:
            turn = self._shows(file, frame, number) if number < file.frames else None
            if turn is None:
                self._warn(
                    f"The pixels of the volume are not those of {shown(file.path.name)}: they were changed, or turned. "
                    "Its own grey values are used."
                )
                return None
            grey = np.ascontiguousarray(file.grey(number)[turn])
        except DataError as error:
            self._warn(f"{error} The volume's own grey values are used.")
            return None
        for line in file.warnings:
            self._warn(f"{shown(file.path.name)}: {line}")
        # Inverted for the user, and now the other way round than the file is: the user sees bright vessels in a file
        # whose header does not tell so. Without the user's word, the header's counts.
        return 1 - grey if self._job.inverted and _falls(frame, grey) else grey

    def _shown(self, place: int) -> np.ndarray:
        """(X, Y), the values of a frame of the job."""
        return self._frames.stored(place)[0]

    def _shows(self, file: Angiogram, frame: np.ndarray, number: int) -> tuple[slice, slice] | None:
        """How the file's array has to be mirrored to show the frame; None if it does not show it."""
        stored = file.stored(number)
        turn = _turn(frame, stored)
        if turn is None and self._job.unchanged and frame.shape == stored.shape[1:]:
            # Slicer's reader (GDCM) does so with left-justified pixels, and with colors that are called grey.
            self._warn(
                f"The volume is as it was loaded, but shows other pixels than {shown(file.path.name)} holds: its "
                "reader has misread it. The file's grey values are used."
            )
            return slice(None), slice(None)
        return turn

    def _warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.warnings.append(text)

    def _note(self, used: Angiogram, source: str | None, number: int) -> None:
        rule = {"source": source, **used.rule_of(number).describe(), "bright_vessels": self._job.inverted}
        if self._job.intensity_range is not None:
            rule["rule"] = "range of the user"
        if rule not in self._known:
            self._known.append(rule)
            self.rules.append(rule)


def _turn(frame: np.ndarray, stored: np.ndarray) -> tuple[slice, slice] | None:
    """How the file's array (X, Y) has to be mirrored to show the frame; None if it does not show it."""
    ways = (slice(None), slice(None, None, -1))
    turns = ((along, across) for across in ways for along in ways)
    return next((turn for turn in turns if same_picture(frame, stored[:, turn[0], turn[1]])), None)


def same_picture(frame: np.ndarray, stored: np.ndarray) -> bool:
    """Whether a frame shows the stored pixels of a file: a constant times them plus a constant, at every pixel.

    So it does after a rescale (slope and intercept), and where a viewer has inverted it.

    Args:
        frame: (X, Y), grey values of the viewer.
        stored: (samples, X, Y), of the file.
    """
    if frame.shape != stored.shape[1:]:
        return False
    theirs, ours = np.asarray(frame, np.float64), luminance(stored).astype(np.float64)
    centred = ours - ours.mean()
    spread = float((centred**2).sum())
    if not spread:
        return False
    slope = float((centred * (theirs - theirs.mean())).sum()) / spread
    error = np.abs(theirs - theirs.mean() - slope * centred).max()
    return bool(slope) and error <= TOLERANCE * abs(slope) + 1e-6 * np.abs(theirs).max()


def _falls(frame: np.ndarray, grey: np.ndarray) -> bool:
    theirs = np.asarray(frame, np.float64)
    return float(((theirs - theirs.mean()) * (grey - grey.mean())).sum()) < 0


def _window(limits: tuple[float, float] | None) -> tuple[float, float] | None:
    """Centre and width of the window (PS3.3 C.11.2.1.2, LINEAR) that takes a range to 0 and 1."""
    if limits is None:
        return None
    width = limits[1] - limits[0] + 1
    return limits[0] + width / 2, width
