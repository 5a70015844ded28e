"""Key frames in a run of ``casr segment``: only they are segmented, and the contrast curve is written beside them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, UsageError
from ..files.atomic import write_atomically
from ..files.images import read_angiogram
from ..files.names import DERIVED, curve_name
from ..files.results import ResultWriter
from ..inference.origin import fingerprint
from ..inference.record import RunReport
from .curve import ContrastCurve
from .keyframes import KeyFrame, key_frames
from .survey import survey

if TYPE_CHECKING:
    from ..inference.segmenter import Segmenter

__all__ = ["KeyFrameSelection"]

logger = logging.getLogger("casr_net")

FORM, VERSION = "casr-net key frames", 1
LARGEST = 64 * 2**20
"""Bytes of a file that is looked at as a curve of an earlier run."""


class KeyFrameSelection:
    """Leaves the key frames of a file, for :func:`casr_net.inference.wanted_items`.

    Every frame goes through the network once for the curve, without refinement; see docs/cine.md for why on the full
    grid. The curve is written as ``<name>_contrast.json``, with the key frames, and as ``<name>_contrast.svg``, and is
    taken from there by a later run with the same input, weights and settings.

    Args:
        count: how many frames of each cine; None leaves all frames of all files.
        writer: of the run.
        config, device, overrides: of the :class:`casr_net.Segmenter` that looks at the frames, made when it is needed.

    Attributes:
        progress: called with path, frames done and frames of the cine.

    Raises:
        UsageError: for a format that keeps all frames of a file together and does not name them.
    """

    def __init__(
        self,
        count: int | None,
        writer: ResultWriter,
        config: Sequence[str | Path] = (),
        device: str = "auto",
        **overrides: Any,
    ) -> None:
        if count is not None and writer.stacked and writer.format not in DERIVED:
            raise UsageError(
                f"key frames cannot be written as {writer.format}: a stack of some frames would not tell which; use "
                f"the format png, {' or '.join(DERIVED)}."
            )
        self.count, self.writer = count, writer
        self.progress: Callable[[str, int, int], object] = lambda path, done, total: None
        self._make: Callable[[], Segmenter] = lambda: _segmenter(config, device, overrides)
        self._made: Segmenter | None = None

    def __call__(self, items: list[dict[str, Any]], report: RunReport) -> list[dict[str, Any]]:
        """The key frames of one file; a single image is left as it is.

        Raises:
            DataError: when no frame has contrast, the file cannot be read, or something else lies where the curve goes.
        """
        if self.count is None or len(items) < 2:
            return items
        path, place = items[0]["path"], self.writer.output_dir / curve_name(items[0]["name"], "json")
        made_by = {
            "input": fingerprint(path)["sha256"],
            "weights_sha256": report.run["weights_sha256"],
            "config_sha256": report.run["config_sha256"],
        }
        curve = self._known(place, made_by)
        if curve is None:
            logger.info("%s: contrast of %d frames ...", path, len(items))
            angiogram = read_angiogram(path, self.writer.window)
            curve = survey(angiogram, self._segmenter, progress=lambda done, total: self.progress(path, done, total))
        header = read_angiogram(path, self.writer.window).header
        chosen = key_frames(curve, header, self.count)
        self._write(items[0], place, made_by, curve, chosen, report)
        if not chosen:
            raise DataError(
                f"{path}: no contrast was found in any of its {len(items)} frames (see {place.name}); without key "
                "frames, all are segmented."
            )
        for key in chosen:
            logger.info("%s: key frame %d (file %d): %s", path, key.frame + 1, key.frame, key.reason)
        report.files[path].source |= {
            "key_frames": [key.as_dict() for key in chosen],
            "contrast": {
                "arrival": curve.arrival, "departure": curve.departure, "best": curve.best,
                "messages": list(curve.messages), "curve": place.name,
            },
        }  # fmt: skip
        wanted = {key.frame for key in chosen}
        return [item for item in items if item["frame"] in wanted]

    @property
    def _segmenter(self) -> Segmenter:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _known(self, place: Path, made_by: dict[str, Any]) -> ContrastCurve | None:
        """The curve of an earlier run with the same input, weights and settings.

        Raises:
            DataError: when there is a file that is none, and must not be replaced.
        """
        try:
            content = json.loads(place.read_bytes()) if place.stat().st_size <= LARGEST else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            content = None
        known: dict[str, Any] = content if isinstance(content, dict) else {}
        ours = known.get("format") == FORM
        if not ours and not self.writer.overwrite:
            raise DataError(
                f"{place}: exists already, was kept, and is no curve of this program; --overwrite replaces."
            )
        if not ours or known.get("version") != VERSION or known.get("made_by") != made_by:
            return None
        try:
            return ContrastCurve.from_dict(known.get("curve"))
        except DataError:
            return None

    def _write(
        self,
        item: dict[str, Any],
        place: Path,
        made_by: dict[str, Any],
        curve: ContrastCurve,
        chosen: Sequence[KeyFrame],
        report: RunReport,
    ) -> None:
        content = {
            "format": FORM, "version": VERSION, "made_by": made_by, "key_frames": [key.as_dict() for key in chosen],
            "curve": curve.as_dict(),
        }  # fmt: skip
        picture = curve.plot(tuple(key.frame for key in chosen))
        for path, text in (
            (place, json.dumps(content, indent=1) + "\n"),
            (place.with_name(curve_name(Path(item["name"]).name, "svg")), picture + "\n"),
        ):
            data = text.encode()
            write_atomically(path, lambda temporary, data=data: temporary.write_bytes(data))  # type: ignore[misc]
            report.wrote(item, "contrast", path)


def _segmenter(config: Sequence[str | Path], device: str, overrides: dict[str, Any]) -> Segmenter:
    from ..inference.segmenter import Segmenter  # torch and MONAI take seconds to import

    return Segmenter(config, device, **overrides)
