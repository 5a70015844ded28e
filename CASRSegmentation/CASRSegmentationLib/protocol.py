"""What the extension and its worker process say to each other: a job folder, and one JSON object a line.

The worker is ``python -m casr_net.worker`` of the bundle, see there for the messages. A job folder holds ``job.json``
and ``frames.npy`` with the frames (N, rows, columns) as they stand on the screen, vessels dark; the worker puts
``mask_<frame>.npy`` (uint8, 0 or 1) and ``probability_<frame>.npy`` (float32, 0 to 1) of shape (rows, columns) there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

__all__ = ["FRAME_TYPES", "PROTOCOL", "Job", "create_frames", "mismatch", "parse", "read_mask", "read_probability"]

PROTOCOL = 2
"""Number of the protocol, as the worker says it in its first message; bundles up to 0.3.0 say none."""

FRAME_TYPES = ("uint8", "uint16", "int16", "float32")
"""Types of grey values that ``frames.npy`` may have."""


@dataclass(frozen=True)
class Job:
    """What the worker is to do with the frames beside it.

    Attributes:
        indices: the user's number of each frame, counted from 0.
        intensity_range: values of the frames that become 0 and 1, if the user has chosen them; None leaves the choice
            to the file, or to the frames.
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        refine: run stage 3, the contour refinement.
        threshold: probability from which a pixel is vessel, above 0 and at most 1.
        source: path of the file that the frames come from, which the worker reads itself; None where it is not known.
        source_frames: which frames of that file they are, counted from 0.
        unchanged: nobody has changed the frames since Slicer has read them from there.
        inverted: the user has said that vessels are bright, and the frames were inverted for that.
    """

    indices: tuple[int, ...]
    intensity_range: tuple[float, float] | None = None
    device: str = "auto"
    refine: bool = True
    threshold: float = 0.5
    source: str | None = None
    source_frames: tuple[int, ...] = ()
    unchanged: bool = False
    inverted: bool = False

    def save(self, folder: str | Path, frames: np.ndarray | None = None) -> Path:
        """Write ``job.json``, and ``frames.npy`` unless :func:`create_frames` made it already.

        Raises:
            ValueError: when number or type of the frames does not fit.
        """
        folder = Path(folder)
        if frames is not None:
            if frames.ndim != 3 or len(frames) != len(self.indices):
                raise ValueError(f"frames of shape {frames.shape} for {len(self.indices)} indices.")
            create_frames(folder, frames.shape, frames.dtype)[...] = frames
        path = folder / "job.json"
        temporary = folder / ".job.json.part"
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(temporary, path)
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Job:
        """Read ``job.json``.

        Raises:
            OSError, ValueError, TypeError, KeyError: when it is missing or is no job.
        """
        content = json.loads((Path(folder) / "job.json").read_text(encoding="utf-8"))
        window = content.pop("intensity_range", None)
        return cls(
            indices=tuple(int(i) for i in content.pop("indices")),
            intensity_range=None if window is None else (float(window[0]), float(window[1])),
            source_frames=tuple(int(i) for i in content.pop("source_frames", ())),
            **content,
        )


def create_frames(folder: str | Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """Make ``frames.npy`` of shape (N, rows, columns), to be filled frame by frame, so that no step takes long.

    Raises:
        ValueError: for a type that is not in :data:`FRAME_TYPES`.
    """
    if np.dtype(dtype).name not in FRAME_TYPES:
        raise ValueError(f"frames of {np.dtype(dtype)}; known are {', '.join(FRAME_TYPES)}.")
    return np.lib.format.open_memmap(Path(folder) / "frames.npy", mode="w+", dtype=np.dtype(dtype), shape=shape)


def read_mask(folder: str | Path, index: int) -> np.ndarray:
    """Mask of a frame that the worker has reported: uint8, 0 or 1, (rows, columns)."""
    return np.load(Path(folder) / f"mask_{index:05d}.npy", allow_pickle=False)


def read_probability(folder: str | Path, index: int) -> np.ndarray:
    """Probability map, before refinement, of a frame that the worker has reported: float32, (rows, columns)."""
    return np.load(Path(folder) / f"probability_{index:05d}.npy", allow_pickle=False)


def parse(line: bytes | str) -> dict[str, Any] | None:
    """The message in a line of the worker's output; None if the line holds none."""
    try:
        message = json.loads(line.decode("utf-8", "replace") if isinstance(line, bytes) else line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("event"), str) else None


def mismatch(message: Mapping[str, Any], bundle: str | Path) -> str:
    """What the user has to know if a worker's first message shows another protocol; "" if it is ours."""
    spoken = message.get("protocol", 1)
    if spoken == PROTOCOL:
        return ""
    return _(
        "The bundle in {folder} (version {version}) and this extension do not fit together: it speaks protocol "
        "{theirs}, the extension {ours}. Take both of one version, or the bundle that comes with the extension."
    ).format(folder=bundle, version=message.get("version", "?"), theirs=spoken, ours=PROTOCOL)
