"""Writing of results: every file is written whole under a temporary name and then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from .atomic import check_folder, write_atomically
from .images import Angiogram, read_angiogram
from .maps import write_map, write_png
from .moving import COVERED, ENDINGS, require_video, sheet_frames, shrunk, write_animation, write_sheet, write_video
from .names import DERIVED, FORMATS, OVERLAYS, result_name
from .overlay import draw_overlay
from .rate import frame_rate
from .stacks import Stack

__all__ = ["ResultWriter"]


class ResultWriter:
    """Writes masks, and on request probability maps and overlays, of the frames of a run.

    PNG files hold one frame each, 8 bit, 0 or 255; frames of a cine get a number from 0 (``<name>_f0007_mask.png``).
    NRRD, MetaImage and NIfTI files hold one file's frames together, labels 0 and 1, on the source's grid with its
    geometry. They are written once all frames are there: a stack that lacks some would look whole. So are the DICOM
    objects of :data:`casr_net.files.names.DERIVED` (``<name>_mask.dcm``, ``_capture.dcm``, ``_presentation.dcm``),
    which name the frames of their source and may hold a part of them.

    Args:
        output_dir: where to write; made when the first result is.
        format: one of :data:`casr_net.files.names.FORMATS`.
        overlay: also the outline on the angiogram: "frames" or True for ``<name>_overlay.png``, one a frame; "video",
            "animation" or "sheet" for one ``<name>_overlay.webm``, ``.webp`` or ``.png`` a cine, which is written once
            all frames are there, as a stack is. An image of one frame gives a PNG.
        probability: also ``<name>_probability.png``, 0 to 255 for 0 to 1.
        overwrite: replace existing files; without it they are kept.
        window: of the run, which the angiogram under an overlay is shown with.
        weights: file of the network's weights, which a DICOM object is marked with; None leaves the mark out.

    Attributes:
        frames: path of a file, to the frames that are to come, see :meth:`expect`.
        kept: results that were there when the run began; all others are to be made by it, see :meth:`write`.

    Raises:
        UsageError: for an unknown format or overlay, or a video where PyAV is not installed.
    """

    def __init__(
        self,
        output_dir: str | Path,
        format: str = "png",
        overlay: bool | str = False,
        probability: bool = False,
        overwrite: bool = False,
        window: Sequence[float] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        if format not in FORMATS:
            raise UsageError(f"format is {format!r}; known are {', '.join(FORMATS)}.")
        self.overlay = OVERLAYS[0] if overlay is True else overlay or ""
        if self.overlay and self.overlay not in OVERLAYS:
            raise UsageError(f"overlay is {overlay!r}; known are {', '.join(OVERLAYS)}.")
        if self.overlay == "video":
            require_video()
        self.output_dir, self.format = Path(output_dir), format
        self.probability, self.overwrite = probability, overwrite
        self.window = None if window is None else (window[0], window[1])
        self.weights = weights
        self._stack: Stack | None = None
        self.frames: dict[str, list[int]] = {}
        self.kept: set[Path] = set()

    @property
    def main(self) -> str:
        """Kind of the result that every frame leads to: "mask", or "capture" or "presentation"."""
        return DERIVED.get(self.format, "mask")

    @property
    def stacked(self) -> bool:
        """Whether one mask file holds all frames of its source."""
        return self.format != "png"

    def paths(self, item: dict[str, Any]) -> dict[str, Path]:
        """The files that one frame, as listed by :func:`casr_net.files.find_inputs`, leads to, by their kind."""
        endings = {self.main: FORMATS[self.format]}
        endings |= {"probability": "png"} if self.probability else {}
        endings |= {"overlay": self._overlay_ending(item)} if self.overlay else {}
        whole = self.whole(item)
        return {
            kind: self.output_dir
            / result_name(
                item["name"], item["frame"] if item["frames"] > 1 and kind not in whole else None, kind, ending
            )
            for kind, ending in endings.items()
        }

    def whole(self, item: dict[str, Any]) -> set[str]:
        """Kinds of results of which one file holds all frames of the item's source."""
        moving = self.overlay in ENDINGS and item["frames"] > 1
        return ({self.main} if self.stacked else set()) | ({"overlay"} if moving else set())

    def _overlay_ending(self, item: dict[str, Any]) -> str:
        return ENDINGS.get(self.overlay, "png") if item["frames"] > 1 else "png"

    def check_folder(self) -> None:
        """Make the output folder and try to write there, so that a run does not fail after its first image.

        Raises:
            DataError: when the folder cannot be made or written to.
        """
        check_folder(self.output_dir)

    def expect(self, items: Sequence[dict[str, Any]]) -> None:
        """Say which frames of a file are to come. Without that, all of them are waited for.

        Args:
            items: of one file.

        Raises:
            DataError: when the format cannot hold their masks: some frames of a cine in a stack that does not name its
                frames, or a DICOM object of a file that cannot be its source.
        """
        path, frames = items[0]["path"], sorted(item["frame"] for item in items)
        if self.format in DERIVED:
            from .dicom_derived import check_source  # pydicom is slow to import, and not needed for other formats

            check_source(Path(path), frames, self.format)
        elif self.stacked and len(frames) != items[0]["frames"]:
            raise DataError(
                f"{path}: {len(frames)} of its {items[0]['frames']} frames are asked for; a stack as {self.format} "
                f"would not tell which. The formats png, {', '.join(DERIVED)} do."
            )
        self.frames[path] = frames

    def check_kept(self, items: Sequence[dict[str, Any]]) -> None:
        """Look whether the DICOM object of a file, where there is one, holds the frames that are asked for.

        Args:
            items: of one file.

        Raises:
            DataError: when it holds other ones, or cannot be read.
        """
        path = self.paths(items[0])[self.main]
        if self.format not in DERIVED or not _is_there(path):
            return
        frames = _kept_frames(path, self.format)
        if frames != sorted(item["frame"] for item in items):
            raise DataError(
                f"{path}: exists already and was kept, it holds {len(frames)} frames, and other ones than "
                "those that are asked for; --overwrite replaces it."
            )

    def existing(self, item: dict[str, Any]) -> dict[str, Path]:
        """Those of :meth:`paths` that are there, and not empty.

        Raises:
            DataError: when a path cannot be one: its name is too long, its folder is a file or cannot be opened.
        """
        return {kind: path for kind, path in self.paths(item).items() if _is_there(path)}

    def write(
        self,
        item: dict[str, Any],
        mask: np.ndarray,
        probability: np.ndarray | None,
        note: Callable[[str, Path], object] = lambda kind, path: None,
        source: Angiogram | None = None,
    ) -> list[Path]:
        """Write one frame's results; without ``overwrite``, those that :attr:`kept` does not name.

        Args:
            item: the frame, as listed by :func:`casr_net.files.find_inputs`.
            mask: (X, Y), vessel where not 0, on the source's grid.
            probability: (X, Y) in [0, 1]; None when it was not kept.
            note: called with kind and path of each file as soon as it is written.
            source: the open file of the frame; None opens it when it is needed.

        Returns:
            the files written now; a stack is written with the last of its frames.

        Raises:
            DataError: when a file cannot be written, or is there without being :attr:`kept`: another run has made it.
        """
        paths = {kind: path for kind, path in self.paths(item).items() if self.overwrite or path not in self.kept}
        binary = (mask > 0).astype(np.uint8)
        written: list[Path] = []

        def put(kind: str, write: Callable[[Path], object]) -> None:
            written.append(write_atomically(paths[kind], write, replace=self.overwrite))
            note(kind, paths[kind])

        waiting = self.whole(item) & paths.keys()
        stack = self._gather(item, binary) if waiting else None
        if self.main in waiting:
            if stack is not None:
                put(self.main, lambda path: self._write_stack(path, item["path"], stack, source))
        elif "mask" in paths:
            put("mask", lambda path: write_png(path, binary.T * 255))
        if "probability" in paths and probability is not None:
            levels = np.round(np.clip(probability, 0, 1) * 255).astype(np.uint8)
            put("probability", lambda path: write_png(path, levels.T))
        if "overlay" in waiting:
            if stack is not None:
                put("overlay", lambda path: self._write_overlays(path, item, stack))
        elif "overlay" in paths:
            grey = (source or read_angiogram(item["path"], self.window)).grey(item["frame"])
            picture = draw_overlay(grey.T, binary.T)
            put("overlay", lambda path: write_png(path, picture[..., ::-1]))
        return written

    def _gather(self, item: dict[str, Any], mask: np.ndarray) -> Stack | None:
        """The stack of the item's file once all of its masks are there, else None."""
        path = item["path"]
        if self._stack is None or self._stack.path != path:
            frames = self.frames.get(path) or range(item["frames"])
            self._stack = Stack(path, frames, (mask.shape[0], mask.shape[1]))
        if not self._stack.put(item["frame"], mask):
            return None
        whole, self._stack = self._stack, None
        return whole

    def _write_stack(self, path: Path, source: str, stack: Stack, opened: Angiogram | None) -> None:
        if self.format == "seg":
            from .dicom_seg import write_segmentation

            write_segmentation(path, source, stack, weights=self.weights)
        elif self.format == "sc":
            from .dicom_capture import write_capture

            write_capture(path, source, stack, window=self.window, weights=self.weights)
        elif self.format == "gsps":
            from .dicom_presentation import write_presentation

            write_presentation(path, source, stack, window=self.window, weights=self.weights)
        else:
            write_map(path, stack.whole, (opened or read_angiogram(source, self.window)).affine)

    def _write_overlays(self, path: Path, item: dict[str, Any], stack: Stack) -> None:
        source = read_angiogram(item["path"], self.window)
        if self.overlay == "sheet":
            frames = sheet_frames(list(stack))
            tiles = (  # drawn after shrinking, so that the line is as thin as in the other pictures
                draw_overlay(shrunk(source.grey(frame).T), shrunk(stack[frame].T.astype(np.float32)) > COVERED)
                for frame in frames
            )
            write_sheet(path, tiles, frames, item["frames"])
            return
        write = write_video if self.overlay == "video" else write_animation
        pictures = (draw_overlay(source.grey(frame).T, mask.T) for frame, mask in stack.items())
        write(path, pictures, frame_rate(source.header))


def _kept_frames(path: Path, format: str) -> list[int]:
    """Frames of its source, from 0, that a DICOM object names."""
    if format == "seg":
        from .segmentations import SegmentationFrames

        kept = SegmentationFrames(path)
        kept.close()
        return sorted({frame or 0 for _, frame in kept.places})
    from .dicom_derived import named_frames

    return named_frames(path)


def _is_there(path: Path) -> bool:
    """Whether there is a file that holds anything: an empty one is what a power cut leaves."""
    try:
        return os.lstat(path).st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error
